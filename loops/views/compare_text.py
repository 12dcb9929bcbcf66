"""How `tutelage compare` looks: the runs by letter, the figures beside each other, what each accuracy took."""

from typing import TYPE_CHECKING

from lessons.seeds import OverSeeds
from loops.records import Change
from loops.views.compare import Against, Compare, Group, Reach, Side
from loops.views.gaps import trend_of
from loops.views.missing import lacks, stands
from loops.views.text import count, dollars, interval, one_line, p_value, percent, points, spark, styled

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

MOST = 24
"""Skills that are shown, those that differ most; `--json` has all of them."""


def rendered(view: Compare) -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group as Lines
    from rich.padding import Padding
    from rich.text import Text

    called = "final" if view.exam == "final" else "held-out"
    parts: list[RenderableType] = [
        styled(f"{len(view.runs)} runs on the {count(view.shared)} {called} problems that all were examined on", "bold")
    ]
    for side in view.runs:
        parts += [_side(side, view.shared), *lacks(side.missing)]
    parts += [styled(f"  differs: {one_line(row.key, 60)}   {_values(row.values)}") for row in view.settings]
    if view.same_base is not None:
        parts.append(styled(f"  {'the same student' if view.same_base else 'not the same student'} before any lesson"))
    parts += [styled(f"  note: {one_line(note, 300)}", "yellow") for note in view.notes]
    parts += [Text(), Padding(_groups(view), (0, 0, 0, 2))]
    parts += [_against(row, view.groups[0].name) for row in view.against]
    parts += [Text(), styled(f"learning curves ({count(view.shared_curve)} held-out problems)", "bold")]
    parts += [_curve(side) for side in view.runs]
    if view.levels:
        parts += [
            Text(),
            styled("what each accuracy took of the teacher", "bold"),
            Padding(_levels(view), (0, 0, 0, 2)),
        ]
    if view.skills:
        parts += [Text(), Padding(_skills(view), (0, 0, 0, 2))]
        if len(view.skills) > MOST:
            parts.append(styled(f"  and {count(len(view.skills) - MOST)} skills more; --json has all"))
    return Lines(*parts)


def _side(side: Side, shared: int) -> "Text":
    left = f"   {count(shared)} of its {count(side.problems)} problems are shared" if side.problems != shared else ""
    facts = [("method", side.method), ("student", side.student), ("teacher", side.teacher)]
    told = "   ".join(f"{key} {one_line(value, 50)}" for key, value in facts if value)
    seed = "" if side.seed is None else f"   seed {side.seed}"
    return styled(f"{side.name:<3} {one_line(side.run, 60)}   {told}{seed}   {stands(side.standing, side.state)}{left}")


def _values(values: dict[str, object]) -> str:
    return "   ".join(f"{group} {one_line(str(value), 60)}" for group, value in values.items())


def _groups(view: Compare) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "runs", "start", "end", "gain, 95 %", "p", "gain over seeds"):
        table.add_column(title, no_wrap=True, justify="right" if title in ("runs", "start", "end", "p") else "left")
    for row in view.groups:
        table.add_row(
            styled(row.name, "bold"),
            str(len(row.runs)),
            _mean(row.start),
            _mean(row.end),
            _changed(row.change),
            p_value(row.change.p).removeprefix("p ") if row.change.n else "–",
            _gain(row),
        )
    return table


def _mean(found: OverSeeds | None) -> str:
    return "–" if found is None else percent(found.mean)


def _gain(row: Group) -> str:
    found = row.gain
    if found is None or found.low is None or found.high is None:
        return "one seed" if found is None or len(found.values) < 2 else "repeated seeds"
    return f"{points(found.mean)} {interval(found.low, found.high)}  n {len(found.values)}"


def _changed(change: Change, digits: int = 1) -> "RenderableType":
    if not change.n:
        return "–"
    told = f"{points(change.difference, digits)} {interval(change.low, change.high, digits)}"
    return styled(told, {"up": "green", "down": "bold red", "level": "dim"}[trend_of(change) or "level"])


def _against(row: Against, first: str) -> "Text":
    line = styled(f"  {row.group} less {first}: ", "bold")
    if not row.change.n:
        return line.append_text(styled("no pair of runs to compare"))
    found = row.over_seeds
    change = row.change
    line.append(f"{points(change.difference)} {interval(change.low, change.high)} ({p_value(change.p)})")
    line.append(
        f"   {row.group} alone right {count(change.gained)}, {first} alone {count(change.lost)} of {count(change.n)}"
    )
    if found is not None and found.low is not None and found.high is not None:
        line.append(f"   over {len(found.values)} seeds {points(found.mean)} {interval(found.low, found.high)}")
    return line


def _curve(side: Side) -> "Text":
    told = " > ".join(f"{percent(point.accuracy)}{'' if point.promoted else ' (not kept)'}" for point in side.curve)
    last = side.curve[-1] if side.curve else None
    spent = f"   {cost(last.tokens, last.usd)}" if last is not None else ""
    return styled(f"  {side.name:<3} {spark([point.accuracy for point in side.curve])}  {told or 'no exam'}{spent}")


def cost(tokens: int | None, usd: float | None) -> str:
    """Return what a student had cost of the teacher: "12,400 tokens, $0.31"."""
    price = "price unknown" if usd is None else dollars(usd)
    return "tokens not known" if tokens is None else f"{count(tokens)} tokens, {price}"


def _levels(view: Compare) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("accuracy", justify="right", no_wrap=True, min_width=8)
    for side in view.runs:
        table.add_column(side.name, no_wrap=True)
    for place, level in enumerate(view.levels):
        table.add_row(percent(level, 0), *(reached(side.reached[place]) for side in view.runs))
    return table


def reached(found: Reach) -> str:
    """Return when and for what an accuracy was reached; an unknown price is said once, with the curves."""
    if found.round is None:
        return "not reached"
    if found.round == 0:
        return "at the start"
    return f"round {found.round}: {cost(found.tokens, found.usd).removesuffix(', price unknown')}"


def _skills(view: Compare) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("skill", overflow="fold", max_width=36)
    table.add_column("n", justify="right")
    for group in view.groups:
        table.add_column(group.name, justify="right", no_wrap=True)
    for row in view.against:
        table.add_column(f"{row.group} less {view.groups[0].name}, 95 %", no_wrap=True)
        table.add_column("p, corrected", justify="right", no_wrap=True)
    for row in view.skills[:MOST]:
        cells: list[RenderableType] = [
            "–" if (share := row.accuracy[group.name]) is None else percent(share, 0) for group in view.groups
        ]
        for other in view.against:
            change = row.against[other.group]
            cells += [_changed(change, 0), p_value(change.p).removeprefix("p ") if change.n else "–"]
        table.add_row(styled(one_line(row.skill)), count(row.n), *cells)
    return table
