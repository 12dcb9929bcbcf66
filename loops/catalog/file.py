"""The catalogue as a file that people review and edit, and the labels that lie beside it.

`skills.yaml` is the closed list; `skills.labels.jsonl` has one label a line; `skills.json` says how both came to be.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from lessons.errors import InputError
from lessons.ids import ID_LENGTH, content_id, digest
from lessons.jsonl import read_jsonl, write_jsonl, write_whole
from lessons.plain_yaml import read_yaml_file
from lessons.records import Record
from lessons.skills import Skill, SkillCatalog
from loops.knobs import nearest, shown
from loops.records import CatalogInfo
from loops.store import dump_yaml, read_record, write_record
from teachers.prompts.reading import MOST_JOINED

LONGEST = 100
"""Characters of a skill's name, at most: a longer one is a sentence. Our own bound."""
_KEYS = ("name", "description", "subject", "was")

FOR_EDITING = """\
# The closed list of skills. Review it and edit it, then give the command `tutelage catalog RECIPE` again: the teacher
# is asked only about what an edit touches.
#   a skill is taken out              its problems are labelled anew
#   a skill is renamed                `was: OLD NAME` under the new name: nothing is asked
#   two skills become one             take one out, and write `was: ITS NAME` under the other: nothing is asked
#   a description is changed          the problems that carry the skill are labelled anew
#   a skill is added                  every problem of its subject is labelled anew, since any of them may need it
# A skill without a subject belongs to every subject. Lists of up to about 20 names a subject are labelled best.
"""
FROZEN = """\
# The closed list of skills that this run goes by, frozen with it. To use it elsewhere, copy it with catalog.json and
# catalog.labels.jsonl, and name the copy in a recipe under diagnose.catalog.
"""


class Label(Record, frozen=True, kw_only=True):
    """One line of the labels: which skills of the closed list a problem needs, and what that hangs on."""

    problem: str
    """Id of the problem, a content hash."""
    skills: tuple[str, ...] = ()
    """Names from the catalogue, the most important first; empty where none fits."""
    again: tuple[str, ...] | None = None
    """What a second, independent pass said; None where it was not asked."""
    subject: str = ""
    by: str = ""
    """Name of the teacher that was asked."""
    entries: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Name -> digest of the catalogue's entry as it stood then."""
    question: str = ""
    """The beginning of the question, for people."""


class CatalogFile(NamedTuple):
    """A catalogue as it stands in its file."""

    catalog: SkillCatalog
    was: dict[str, tuple[str, ...]]
    """Name -> the names that it had before."""


class Stored(NamedTuple):
    """What lies beside a catalogue: the labels, and the catalogue that they were made with."""

    labels: dict[str, Label]
    info: CatalogInfo | None
    """None where there are no labels yet."""


def entry_digest(skill: Skill) -> str:
    """Return the content id of what a teacher reads of a skill: its name and its description."""
    return content_id("skill", name=skill.name, description=skill.description)


def entries_of(catalog: SkillCatalog, names: Iterable[str]) -> dict[str, str]:
    """Return name -> digest of its entry."""
    by_name = {skill.name: skill for skill in catalog.skills}
    return {name: entry_digest(by_name[name]) for name in names}


def labels_path(path: Path) -> Path:
    """Return where the labels of a catalogue lie."""
    return path.with_suffix(".labels.jsonl")


def info_path(path: Path) -> Path:
    """Return where it is written how a catalogue and its labels came to be."""
    return path.with_suffix(".json")


def read_catalog(path: Path) -> CatalogFile:
    """Read a catalogue.

    Raises:
        InputError: the file cannot be read, is no YAML, or an entry is not as it should be; names the entry.
    """
    data = read_yaml_file(path)
    if not isinstance(data, Mapping) or "skills" not in data:
        raise InputError(f"{path}: is no catalogue of skills (it has no list 'skills')")
    return catalog_of(cast(Mapping[str, Any], data)["skills"], str(path))


def catalog_of(rows: Any, where: str) -> CatalogFile:
    """Return a catalogue from plain data, a list whose members are mappings or mere names.

    Raises:
        InputError: an entry is not as it should be; the line begins with `where`.
    """
    if not isinstance(rows, list):
        raise InputError(f"{where}: skills: expected a list, got {shown(rows)}")
    skills: list[Skill] = []
    was: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(cast(list[Any], rows), start=1):
        place = f"{where}: skill {number}"
        if not isinstance(row, Mapping | str):
            raise InputError(f"{place}: expected a mapping with 'name' and 'description', got {shown(row)}")
        fields = {"name": row} if isinstance(row, str) else cast(Mapping[Any, Any], row)
        for key in fields:
            if key not in _KEYS:
                raise InputError(f"{place}: unknown key {key!r}; {nearest(str(key), _KEYS)}")
        if "name" not in fields:
            raise InputError(f"{place}: has no 'name'")
        name = _name(fields["name"], f"{place}: name")
        if SkillCatalog(skills=tuple(skills)).match(name) is not None:
            raise InputError(f"{place}: {name!r} stands in the list twice; take one out, or give it another name")
        description, subject = (_text(fields.get(key), f"{place}: {key}") for key in ("description", "subject"))
        skills.append(Skill(name=name, description=" ".join(description.split()), subject=subject))
        before = fields.get("was") or []
        if before:
            names = cast(list[Any], before if isinstance(before, list) else [before])
            was[name] = tuple(_name(one, f"{place}: was") for one in names)
    return CatalogFile(SkillCatalog(skills=tuple(skills)), was)


def _name(value: Any, where: str) -> str:
    name = " ".join(_text(value, where).split())
    if not any(sign.isalpha() for sign in name) or len(name) > LONGEST or name.casefold() == "none":
        raise InputError(f"{where}: must be a name of at most {LONGEST} characters with a letter, got {shown(value)}")
    if ";" in name or name.count(",") >= MOST_JOINED:
        raise InputError(f"{where}: {shown(name)} has signs that lists of names are cut at; take them out")
    return name


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: must be a text, got {shown(value)}; put it in quotes")
    return value


def rows_of(file: CatalogFile) -> list[dict[str, Any]]:
    """Return the entries as plain data, as a person would write them."""
    return [
        {key: value for key, value in _row(skill, file.was.get(skill.name, ())).items() if value}
        for skill in file.catalog.skills
    ]


def _row(skill: Skill, was: tuple[str, ...]) -> dict[str, Any]:
    before = was[0] if len(was) == 1 else list(was)
    return {"name": skill.name, "description": skill.description, "subject": skill.subject, "was": before}


def write_catalog_file(path: Path, file: CatalogFile, head: str = FOR_EDITING) -> None:
    """Write a catalogue, with a comment at its top that says how it may be edited."""
    write_whole(path, head.encode() + dump_yaml({"skills": rows_of(file)}))


def write_labels(path: Path, labels: Mapping[str, Label], info: CatalogInfo) -> None:
    """Write what lies beside a catalogue; `path` is the catalogue's."""
    write_jsonl(labels_path(path), labels.values())
    write_record(info_path(path), info)


def read_labels(path: Path) -> Stored:
    """Read what lies beside a catalogue; `path` is the catalogue's. Nothing there is no error.

    Raises:
        InputError: a file is damaged or was not written by this program, or only the labels are there.
    """
    labels, info = labels_path(path), info_path(path)
    try:
        told = read_record(info, CatalogInfo)
        if not labels.exists():
            return Stored({}, told)
        found = {one.problem: one for one in read_jsonl(labels, Label)}
    except InputError as error:
        raise InputError(f"{error}; mend it, or delete {labels} and {info} to label every problem anew") from error
    if told is None:
        raise InputError(
            f"{labels}: {info.name}, which says what the labels were made with, is not beside it; bring it back, or "
            f"delete {labels.name} to label every problem anew"
        )
    return Stored(found, told)


def labels_digest(labels: Mapping[str, Label]) -> str:
    """Return the content id of which problem has which skills; "" where there are none."""
    names = {key: list(one.skills) for key, one in labels.items()}
    return digest(names)[:ID_LENGTH] if names else ""


def inlined(given: str | Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Return a recipe's catalogue as plain data with its content, so that a run hangs on that and not on a path.

    Args:
        given: `diagnose.catalog`: a path, relative to the recipe's folder; or the data that this function returned.
        folder: of the recipe.

    Raises:
        InputError: the file or its labels cannot be read, or are not as they should be.
    """
    if not given:
        return {}
    if isinstance(given, str):
        path = (folder or Path.cwd()) / Path(given).expanduser()
        if not path.exists():
            raise InputError(
                f"diagnose.catalog: {given} is not there; `tutelage catalog RECIPE` writes it, or write it yourself"
            )
        file, labels = read_catalog(path), read_labels(path).labels
        return {"path": str(path.resolve()), "skills": rows_of(file), "labels": labels_digest(labels)}
    for key in given:
        if key not in ("path", "skills", "labels"):
            raise InputError(f"diagnose.catalog: unknown key {key!r}; {nearest(key, ('path', 'skills', 'labels'))}")
    catalog_of(given.get("skills"), "diagnose.catalog")
    return dict(given)
