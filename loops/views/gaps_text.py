"""How `tutelage gaps` looks: one line per exam, one row per skill, and losses named as loudly as gains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lessons.pooling import Pooled
from loops.records import Change, NoiseFloor
from loops.views.exams_text import chosen_told, final_told
from loops.views.gap_rounds import RoundErrors
from loops.views.gaps import Gaps, RoundAccuracy, SkillRound, trend_of
from loops.views.missing import lacks, stands
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
    head.append_text(styled(f"   {stands(view.standing, view.state)}", "dim"))
    parts: list[RenderableType] = [head, *lacks(view.missing)]
    if not view.rounds:
        parts.append(Text("no exam yet"))
    if view.final is not None:
        parts.append(styled("  final    ", "bold").append_text(styled(final_told(view.final))))
    parts += [_exam_line(row) for row in view.rounds]
    parts += [Text(), *map(_errors_line, view.errors)] if view.errors else []
    if view.skills:
        parts += [Text(), Padding(_table(view), (0, 0, 0, 2)), Text()]
    if any(row.trend for row in view.skills):
        parts += [_moved("up", view.up, view), _moved("down", view.down, view)]
    if view.noise is not None:
        parts.append(_noise_line(view.noise))
    if len(view.rounds) > 1:
        parts.append(styled(f"  {chosen_told(view.chosen_on, final=view.final is not None)}", "dim"))
    parts += [styled(one_line(view.labels, 200), "dim")] if view.labels else []
    parts += [styled(one_line(view.labels_note, 400), "yellow")] if view.labels_note else []
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
    with_share = any(row.shares for row in view.skills)
    figures = ("p, corrected", "tried", "share")
    for title in ("change, 95 %", "p, corrected", "pooled gap, 95 %", "tried", *(("share",) * with_share), "trend"):
        table.add_column(title, no_wrap=True, justify="right" if title in figures else "left")
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
            _gap(row.pooled),
            f"{list(row.attempts.values())[-1]:,}" if row.attempts else "–",
            *((percent(list(row.shares.values())[-1], 0) if row.shares else "–",) * with_share),
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


def _gap(found: dict[int, Pooled]) -> str:
    values = list(found.values())
    if not values:
        return "–"
    last = values[-1]
    first = f"{100 * values[0].gap:.0f} > " if len(values) > 1 else ""
    return f"{first}{percent(last.gap, 0)} {interval(last.low, last.high, 0)}"


def _errors_line(row: RoundErrors) -> "RenderableType":
    line = styled(f"  round {row.round:<3}", "bold")
    kinds = sorted(row.errors.items(), key=lambda one: -one[1])
    kinds += [("kind not told", row.untold)] if row.untold > 0 else []
    told = ", ".join(f"{one_line(kind, 40)} {count:,}" for kind, count in kinds)
    line.append(f"failures {'–' if row.missed is None else f'{row.missed:,}'}" + (f": {told}" if told else ""))
    if row.formless:
        line.append(
            f"   form: {row.formless:,} of {row.missed or 0:,} failures are format or truncated; no skill's gap",
            "yellow",
        )
    if row.verdicts is not None:
        it = row.verdicts
        line.append(f"   teacher agrees on {it.confirmed:,} of {it.failures:,} failures")
        if it.checked:
            line.append(f", {it.passed:,} of {it.checked:,} right ones")
    return line


def _noise_line(noise: NoiseFloor) -> "RenderableType":
    twice = f"examined twice, {noise.flipped:,} of {noise.n:,} verdicts differ"
    return styled(f"  noise floor {100 * noise.floor:.1f} points: {twice}", "dim")


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
