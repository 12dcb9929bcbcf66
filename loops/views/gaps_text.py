"""How `tutelage gaps` looks: one line per exam, one row per skill, and losses named as loudly as gains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loops.records import Change
from loops.views.gaps import Gaps, RoundAccuracy, SkillRound, trend_of
from loops.views.text import interval, one_line, p_value, percent, points, spark, styled

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def rendered(view: Gaps) -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    facts = (("run", view.run), ("student", view.student), ("teacher", view.teacher), ("method", view.method))
    head = Text("   ").join([styled(f"{key} {one_line(value, 60)}") for key, value in facts if value])
    head.append_text(styled(f"   {view.state}", "dim"))
    parts: list[RenderableType] = [head]
    if not view.rounds:
        parts.append(Text("no exam yet"))
    parts += [_exam_line(row) for row in view.rounds]
    if view.skills:
        parts += [Text(), Padding(_table(view), (0, 0, 0, 2)), Text()]
    if any(row.trend for row in view.skills):
        parts += [_moved("up", view.up, view), _moved("down", view.down, view)]
    return Group(*parts)


def _exam_line(row: RoundAccuracy) -> "RenderableType":
    line = styled(f"  {'start' if row.round == 0 else f'round {row.round}':<9}", "bold")
    line.append(f"accuracy {percent(row.accuracy):>7}  {interval(row.low, row.high)}   n {row.n:,}")
    if row.ungraded:
        line.append(f"   {row.ungraded:,} not graded")
    if row.change is not None:
        line.append(
            f"   {points(row.change.difference)} {interval(row.change.low, row.change.high)}", _style(row.change)
        )
        line.append(f" ({p_value(row.change.p)})")
    if row.round:
        line.append("   promoted" if row.promoted else "   not promoted", "" if row.promoted else "yellow")
    if row.since_start is not None and row.round > 1:
        line.append(f"   since start {points(row.since_start.difference)} ({p_value(row.since_start.p)})")
    return line


def _table(view: Gaps) -> "Table":
    from rich.table import Table

    indexes = [row.round for row in view.rounds]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("skill", overflow="fold", max_width=36)
    table.add_column("n", justify="right")
    for index in indexes:
        table.add_column("start" if index == 0 else f"round {index}", justify="right", no_wrap=True)
    for title in ("change, 95 %", "p, corrected", "gap", "trend"):
        table.add_column(title, no_wrap=True, justify="right" if title == "p, corrected" else "left")
    for row in view.skills:
        exams = {exam.round: exam for exam in row.exams}
        tested = [exam.n for exam in row.exams]
        change = row.since_start
        table.add_row(
            styled(one_line(row.skill)),
            f"{tested[-1]:,}" if tested else "–",
            *(_cell(exams.get(index)) for index in indexes),
            styled(f"{points(change.difference, 0)} {interval(change.low, change.high, 0)}", _style(change))
            if change
            else "–",
            p_value(change.p).removeprefix("p ") if change else "–",
            _gap(row.gaps),
            f"{spark([exam.accuracy for exam in row.exams])} {row.trend or ''}",
        )
    return table


def _cell(exam: SkillRound | None) -> "RenderableType":
    if exam is None or exam.accuracy is None:
        return "–"
    cell = styled(percent(exam.accuracy, 0))
    if exam.change is not None:
        cell.append(f" {points(exam.change.difference, 0):>4}", _style(exam.change))
    return cell


def _gap(found: dict[int, float]) -> str:
    values = list(found.values())
    if len(values) < 2:
        return percent(values[0], 0) if values else "–"
    return f"{100 * values[0]:.0f} > {percent(values[-1], 0)}"


def _style(change: Change) -> str:
    return {"up": "green", "down": "bold red", "level": "dim"}[trend_of(change) or "level"]


def _moved(word: str, names: Sequence[str], view: Gaps) -> "RenderableType":
    rows = {row.skill: row.since_start for row in view.skills}
    line = styled(f"  {word + ':':<6}", "bold green" if word == "up" else "bold red")
    told = [
        f"{one_line(name, 60)} {points(change.difference, 0)} ({p_value(change.p)})"
        for name in names
        if (change := rows[name]) is not None
    ]
    return line.append_text(styled(", ".join(told) or "none beyond noise"))
