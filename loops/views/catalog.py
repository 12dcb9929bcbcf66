"""What `tutelage catalog` says: the skills with their problems, how well the labels agree, what was asked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lessons.records import Problem, Record
from loops.catalog.file import Label
from loops.records import CatalogInfo
from loops.views.text import View
from teachers.totals import CallTotals

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLES = 3
"""Questions that are shown of those that no skill fits."""


class SkillLine(Record, frozen=True, kw_only=True):
    """One skill of the list."""

    name: str
    description: str
    subject: str
    problems: int
    """Problems that carry it."""
    kappa: float | None
    """Agreement of two passes on this skill alone; None where it could not be told."""
    example: str
    """A question that carries it and few others; "" where none does."""


class Calls(Record, frozen=True, kw_only=True):
    """What the teacher was asked by this command."""

    asked: int
    """Replies that were needed."""
    sent: int
    """Calls that went to the teacher for them, repair turns included."""
    kept: int
    """Calls that were paid for before."""
    lost: dict[str, int]
    """Replies that could not be used, by reason."""
    tokens: dict[str, int]
    """Of the calls that were sent, by kind."""


class CatalogView(View, frozen=True, kw_only=True):
    """The catalogue and its labels, and what this command did for them."""

    path: str
    info: CatalogInfo
    skills: tuple[SkillLine, ...]
    problems: int
    unlabelled: tuple[str, ...]
    """Some of the questions that no skill of the list fits."""
    changed: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """Why labels did not hold any more -> how many problems were asked again for it."""
    labelled_now: int
    """Problems whose label was asked for by this command."""
    calls: Calls
    flagged: bool
    """Whether the labels agree too little (kappa under 0.6)."""
    note: str

    def render(self) -> "RenderableType":
        """Return the catalogue for a terminal."""
        from loops.views.catalog_text import rendered

        return rendered(self)


def catalog_view(
    path: Path,
    info: CatalogInfo,
    problems: Sequence[Problem],
    labels: Mapping[str, Label],
    *,
    ask: Mapping[str, str],
    totals: CallTotals,
    asked: int,
) -> CatalogView:
    """Return what the command says.

    Args:
        path: of the catalogue.
        info: how it came to be.
        problems: every problem of the task.
        labels: problem id -> label, for those that brought no skills.
        ask: problem id -> why its label did not hold any more.
        totals: of the teacher's calls.
        asked: problems whose label was asked for.
    """
    unique = {problem.id: problem for problem in problems}
    skills = {key: one.skills or (labels[key].skills if key in labels else None) for key, one in unique.items()}
    bearers: dict[str, list[str]] = {}
    for key in sorted(skills, key=lambda key: len(skills[key] or ())):  # one that needs little else shows a skill best
        for name in skills[key] or ():
            bearers.setdefault(name, []).append(key)
    per_skill = info.agreement.per_skill if info.agreement else {}
    lines = tuple(
        SkillLine(
            name=skill.name,
            description=skill.description,
            subject=skill.subject,
            problems=len(bearers.get(skill.name, ())),
            kappa=per_skill.get(skill.name),
            example=unique[bearers[skill.name][0]].question if skill.name in bearers else "",
        )
        for skill in info.skills
    )
    return CatalogView(
        path=str(path),
        info=info,
        skills=lines,
        problems=len(unique),
        unlabelled=tuple(one.question for key, one in unique.items() if skills[key] == ())[:EXAMPLES],
        changed=dict(Counter(why for key, why in ask.items() if key in unique)),
        labelled_now=asked,
        calls=Calls(
            asked=totals.asked,
            sent=totals.sent,
            kept=totals.from_ledger + totals.from_cache,
            lost=dict(totals.lost),
            tokens=dict(totals.tokens),
        ),
        flagged=info.flagged,
        note=info.note,
    )
