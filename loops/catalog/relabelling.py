"""What an edit of the catalogue means for the labels: which stay, which are renamed, which problems are asked again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import msgspec

from lessons.errors import InputError
from lessons.skills import Skill, SkillCatalog
from loops.catalog.file import CatalogFile, Label, entries_of, entry_digest


class Relabelling(NamedTuple):
    """The labels after an edit."""

    stay: dict[str, Label]
    """Problem id -> its label under the new names. Where only the second pass has to be asked again, it has none."""
    ask: dict[str, str]
    """Problem id -> why its label does not hold any more, for people."""


@dataclass(frozen=True)
class _Edit:
    """How one subject's list was changed."""

    before: SkillCatalog
    after: SkillCatalog
    was: Mapping[str, tuple[str, ...]]

    @cached_property
    def now(self) -> dict[str, Skill]:
        """Old name -> the entry that it has become; a name that is gone is not among them."""
        found: dict[str, Skill] = {}
        for skill in self.after.skills:
            for name in (skill.name, *self.was.get(skill.name, ())):
                old = self.before.match(name)
                if old is not None:
                    found.setdefault(old, skill)
        return found

    @cached_property
    def anew(self) -> set[str]:
        """Old names whose entry is described otherwise than each that it came from."""
        described = {skill.name: skill.description for skill in self.before.skills}
        same = {new.name for old, new in self.now.items() if new.description == described[old]}
        return {old for old, new in self.now.items() if new.name not in same}

    @cached_property
    def added(self) -> list[str]:
        """New names that came from none."""
        known = {skill.name for skill in self.now.values()}
        return [skill.name for skill in self.after.skills if skill.name not in known]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Old name -> digest of the old entry."""
        return {skill.name: entry_digest(skill) for skill in self.before.skills}


def relabelled(before: SkillCatalog, after: CatalogFile, labels: Mapping[str, Label]) -> Relabelling:
    """Return which labels stay under an edited catalogue, and which problems are asked again.

    A skill that is gone: the problems that carried it. Another description: the problems that carry it. A renamed one
    (`was`), and one that was merged into another: none. A skill that is added: every problem of its subject, for any
    of them may need it, and only a teacher can tell. Lists of other subjects: none.

    Args:
        before: the catalogue that the labels were made with.
        after: the edited one.
        labels: problem id -> label.

    Raises:
        InputError: `was` contradicts the list.
    """
    _check_was(before, after)
    edits: dict[str, _Edit] = {}
    stay: dict[str, Label] = {}
    ask: dict[str, str] = {}
    for key, label in labels.items():
        if label.subject not in edits:
            old, new = (SkillCatalog(skills=one.of_subject(label.subject)) for one in (before, after.catalog))
            edits[label.subject] = _Edit(old, new, after.was)
        edit = edits[label.subject]
        why = _why(label.skills, label.entries, edit)
        if why:
            ask[key] = why
            continue
        names = _renamed(label.skills, edit)
        again = label.again
        if again is not None:
            again = None if _why(again, {}, edit) else _renamed(again, edit)
        entries = entries_of(after.catalog, names)
        stay[key] = msgspec.structs.replace(label, skills=names, again=again, entries=entries)
    return Relabelling(stay, ask)


def _check_was(before: SkillCatalog, after: CatalogFile) -> None:
    """Refuse a rename that cannot be meant; one that was carried out before says nothing any more."""
    claimed: dict[str, str] = {}
    for name, names in after.was.items():
        for old in (one for one in map(before.match, names) if one is not None):
            listed = after.catalog.match(old)
            if listed not in (None, name):
                raise InputError(
                    f"catalogue: {name!r} says `was: {old}`, but {listed!r} stands in the list too; take one out"
                )
            if claimed.setdefault(old, name) != name:
                raise InputError(
                    f"catalogue: {claimed[old]!r} and {name!r} both say `was: {old}`; a skill that is split is taken "
                    "out, and its parts are added without `was`"
                )


def _why(names: tuple[str, ...], entries: Mapping[str, str], edit: _Edit) -> str:
    """Return why a label does not hold any more; "" where it does."""
    for name in names:
        old = edit.before.match(name)
        if old is None:
            if edit.after.match(name) is None:
                return f"it carries {name!r}, which is not in the list"
        elif old not in edit.now:
            return f"{old!r} was taken out"
        elif old in edit.anew or entries.get(name, edit.digests[old]) not in (
            edit.digests[old], entry_digest(edit.now[old]),
        ):  # fmt: skip
            return f"{edit.now[old].name!r} is described anew"
    return f"{edit.added[0]!r} was added" if edit.added else ""


def _renamed(names: tuple[str, ...], edit: _Edit) -> tuple[str, ...]:
    """Return the names as they stand in the new list, each once."""
    found: dict[str, None] = {}
    for name in names:
        old = edit.before.match(name)
        now = edit.now[old].name if old is not None else edit.after.match(name)
        assert now is not None
        found[now] = None
    return tuple(found)
