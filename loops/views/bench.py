"""`tutelage bench`: what each arm came to at equal cost, against the first one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lessons.records import Record
from lessons.seeds import OverSeeds
from loops.reading import RunView
from loops.records import Change
from loops.views.compare import Compare, compare
from loops.views.text import View, count, interval, p_value, percent, points, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from loops.benching.running import BenchRun


class ArmDone(Record, frozen=True, kw_only=True):
    """One arm of a bench. Shares in [0, 1]."""

    name: str
    group: str
    """Its letter in the comparison."""
    seeds: tuple[int, ...]
    start: OverSeeds | None
    end: OverSeeds | None
    gain: OverSeeds | None
    tokens: float | None
    """Teacher tokens of a run, mean over seeds; None where a run does not tell."""
    usd: float | None
    lessons: float
    """Rows trained in a run's rounds, replayed ones included, mean over seeds."""
    against: OverSeeds | None
    """Its end less the first arm's with the same seed; None for the first."""
    change: Change | None
    """The same, paired over the problems of all seeds, a problem one cluster."""


class StoppedRun(Record, frozen=True, kw_only=True):
    """A run of a bench whose round could not go on; it counts nowhere else."""

    arm: str
    seed: int
    reason: str


class BenchView(View, frozen=True, kw_only=True):
    """What `bench` shows."""

    folder: str
    arms: tuple[ArmDone, ...]
    stopped: tuple[StoppedRun, ...]
    comparison: Compare

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        less = f"less {self.arms[0].name}, 95 % over seeds"
        for title in ("arm", "", "seeds", "start", "end", less, "paired", "tokens", "rows"):
            table.add_column(title, no_wrap=True)
        for arm in self.arms:
            table.add_row(
                styled(arm.name, "bold"), arm.group, str(len(arm.seeds)), _mean(arm.start), _mean(arm.end),
                _less(arm.against), _paired(arm.change),
                "–" if arm.tokens is None else count(round(arm.tokens)), count(round(arm.lessons)),
            )  # fmt: skip
        told = [styled(f"  stopped: {run.arm}, seed {run.seed}: {run.reason}", "yellow") for run in self.stopped]
        return Group(Padding(table, (0, 0, 0, 2)), *told, Text(), self.comparison.render())


def _mean(over: OverSeeds | None) -> str:
    if over is None:
        return "–"
    spread = "" if over.low is None or over.high is None else f" {interval(over.low, over.high)}"
    return percent(over.mean) + spread


def _less(over: OverSeeds | None) -> str:
    if over is None:
        return ""
    if over.low is None or over.high is None:
        return points(over.mean)
    return f"{points(over.mean)} [{points(over.low)}, {points(over.high)}]"


def _paired(change: Change | None) -> str:
    return "" if change is None or not change.n else p_value(change.p)


def bench_view(done: Sequence["BenchRun"], folder: Path) -> BenchView:
    """Return what a bench came to.

    done: the first arm's first.

    Raises:
        InputError: fewer than two runs, or runs without an exam.
    """
    whole = [run for run in done if not run.stopped]
    names = list(dict.fromkeys(run.arm for run in whole))
    ordered = [run for name in names for run in whole if run.arm == name]
    view = compare([run.folder for run in ordered])
    arms: list[ArmDone] = []
    for name in names:
        folders = {str(run.folder): run.seed for run in ordered if run.arm == name}
        sides = [side for side in view.runs if side.path in folders]
        group = next(one for one in view.groups if one.name == sides[0].group)
        against = next((one for one in view.against if one.group == group.name), None)
        costs = [side.curve[-1] for side in sides if side.curve]
        tokens = [point.tokens for point in costs if point.tokens is not None]
        dollars = [point.usd for point in costs if point.usd is not None]
        arms.append(
            ArmDone(
                name=name,
                group=group.name,
                seeds=tuple(folders.values()),
                start=group.start,
                end=group.end,
                gain=group.gain,
                tokens=sum(tokens) / len(tokens) if len(tokens) == len(sides) else None,
                usd=sum(dollars) / len(dollars) if len(dollars) == len(sides) else None,
                lessons=sum(_rows(Path(side.path)) for side in sides) / len(sides),
                against=against.over_seeds if against else None,
                change=against.change if against else None,
            )
        )
    stopped = tuple(StoppedRun(arm=run.arm, seed=run.seed, reason=run.stopped) for run in done if run.stopped)
    return BenchView(folder=str(folder), arms=tuple(arms), stopped=stopped, comparison=view)


def _rows(path: Path) -> int:
    """Return the rows that a run's rounds have trained."""
    return sum(turn.learned.learned.lessons for turn in RunView.of(path).rounds if turn.index and turn.learned)
