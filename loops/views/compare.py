"""`tutelage compare RUN RUN...`: two methods or two seeds on the problems that both were examined on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lessons.errors import InputError
from lessons.records import Record
from lessons.seeds import OverSeeds
from loops.reading import RunView
from loops.records import Change
from loops.views.text import View
from loops.watching.standing import State

if TYPE_CHECKING:
    from rich.console import RenderableType


class Point(Record, frozen=True, kw_only=True):
    """One exam of a run, on the shared problems. Shares in [0, 1]; what the teacher had cost by then."""

    round: int
    n: int
    """Graded answers."""
    right: int
    accuracy: float
    low: float
    high: float
    """Wilson's 95 % interval."""
    promoted: bool
    """Whether the run went on with this student."""
    tokens: int | None
    """Prompt and completion tokens of all teacher calls from the run's beginning, those from the cache included; None
    where the run folder does not tell."""
    usd: float | None
    """What these calls cost whoever bought them; None where some price is not known."""


class Reach(Record, frozen=True, kw_only=True):
    """What it took to come to an accuracy."""

    level: float
    """Accuracy in [0, 1]."""
    round: int | None
    """The first round whose student was kept and has it; None where none has."""
    tokens: int | None
    usd: float | None


class Side(Record, frozen=True, kw_only=True):
    """One run of the comparison."""

    name: str
    """Letter of its group, with a number where the group has several runs: A1, A2, B."""
    run: str
    path: str
    group: str
    seed: int | None
    student: str
    teacher: str
    method: str
    state: str
    standing: State
    missing: tuple[str, ...]
    base: str
    """Digest of the student before any lesson; "" where it was not examined."""
    problems: int
    """Problems of its exam, of which the shared ones count."""
    end: int
    """Round whose student is compared: the one that the run ended with, or stands with."""
    curve: tuple[Point, ...]
    """On the held-out problems."""
    reached: tuple[Reach, ...]


class Group(Record, frozen=True, kw_only=True):
    """Runs of one recipe that differ in their seed only. Shares in [0, 1]."""

    name: str
    runs: tuple[str, ...]
    start: OverSeeds | None
    """Accuracy before any lesson."""
    end: OverSeeds | None
    gain: OverSeeds | None
    change: Change
    """End against start, paired over all shared problems and runs."""


class Against(Record, frozen=True, kw_only=True):
    """A group less the first one, at their ends."""

    group: str
    pairs: tuple[tuple[str, str], ...]
    """Runs side by side (of this group, of the first): the same seed where both have it, else in order."""
    over_seeds: OverSeeds | None
    """Difference of the accuracies, a pair each."""
    change: Change
    """Paired over the shared problems of all pairs. With several pairs, a problem's answers count as one cluster."""


class SkillCompared(Record, frozen=True, kw_only=True):
    """One skill at the ends of the runs."""

    skill: str
    n: int
    """Shared problems that need it."""
    accuracy: dict[str, float | None]
    """Group -> share of right answers, over all its runs."""
    against: dict[str, Change]
    """Group -> it less the first; p is Holm-corrected over the skills of this pair of groups."""


class Setting(Record, frozen=True, kw_only=True):
    """A key of the recipe that is not the same in all groups."""

    key: str
    values: dict[str, Any]
    """Group -> its value; a key that a group's recipe lacks is left out."""


class Compare(View, frozen=True, kw_only=True):
    """What `compare` shows."""

    exam: Literal["held_out", "final"]
    """What is compared at the ends: the final exam where every run has sat one, else the held-out one. Curves are
    always on the held-out problems."""
    shared: int
    """Problems that every run was examined on at its end: figures are of these alone."""
    shared_curve: int
    """The same of the held-out problems."""
    runs: tuple[Side, ...]
    groups: tuple[Group, ...]
    against: tuple[Against, ...]
    skills: tuple[SkillCompared, ...]
    levels: tuple[float, ...]
    settings: tuple[Setting, ...]
    same_base: bool | None
    """Whether all runs began with the same student; None where one was not examined."""
    notes: tuple[str, ...]
    """What a reader must know before believing a difference."""

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from loops.views.compare_text import rendered

        return rendered(self)


def compare(paths: Sequence[Path | str | RunView], levels: Sequence[float] = ()) -> Compare:
    """Compare runs on the problems that all of them were examined on.

    Runs whose recipes differ in `seed` only are a group; the first run's group is what the others are compared with.
    `levels` are accuracies in [0, 1]; without any, every 5 % that some run came to.

    Raises:
        InputError: fewer than two runs; a folder is no run, stands twice, or has no exam; no problem is shared.
    """
    from loops.views.comparing import compared

    if len(paths) < 2:
        raise InputError("compare: name two run folders, or more")
    wrong = [level for level in levels if not 0 < level <= 1]
    if wrong:
        raise InputError(f"compare: --level {wrong[0]:g} is no accuracy; give a share above 0 and up to 1, such as 0.6")
    runs = [RunView.of(path) for path in paths]
    seen: set[Path] = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise InputError(f"{run.path}: stands twice; name different runs")
        seen.add(run.path.resolve())
    return compared(runs, levels)
