"""All figures of a page by name; among them the learning curve: accuracy against rounds, tokens, time, dollars."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from lessons.records import Record
from loops.reading import RunView
from loops.report.bars import error_bars, loss_lines, second_bars
from loops.report.failures import Failures
from loops.report.heat import accuracy_map, change_map, gap_map
from loops.report.plotting import Figure, title
from loops.report.spending import Spending
from loops.views.gaps import Gaps, RoundAccuracy
from loops.views.text import interval, p_value, percent, points

BESIDE = 0.14
"""How far the final exam stands to the right of the round's own, where rounds are a unit apart."""


class Point(Record, frozen=True, kw_only=True):
    """One exam in a learning curve; shares in [0, 1]."""

    x: float
    accuracy: float
    low: float
    high: float
    hover: str


def charts(run: RunView, view: Gaps, spent: Sequence[Spending], failed: Failures) -> dict[str, Figure]:
    """Return the figures by name; one that has nothing to show is left out."""
    found: dict[str, Figure] = {}
    if view.rounds:
        found |= curves(run, view, spent)
        if view.skills:
            found["skills-accuracy"] = accuracy_map(view)
    if any(row.gaps for row in view.skills):
        found["skills-gap"] = gap_map(view)
    if any(exam.change for row in view.skills for exam in row.exams):
        found["skills-change"] = change_map(view)
    if failed.errors:
        found["errors"] = error_bars(failed.errors)
    losses = {turn.index: turn.learned.learned.losses for turn in run.rounds if turn.learned is not None}
    if any(losses.values()):
        found["loss"] = loss_lines({index: values for index, values in losses.items() if values})
    seconds = {turn.index: {n: m.seconds for n, m in turn.markers.items()} for turn in run.rounds if turn.markers}
    if any(value for row in seconds.values() for value in row.values()):
        found["seconds"] = second_bars(seconds)
    return found


def curves(run: RunView, view: Gaps, spent: Sequence[Spending]) -> dict[str, Figure]:
    """Return the learning curve against the rounds and against whatever it is known to have cost."""
    rounds = [row.round for row in view.rounds]
    axis = {"tickvals": rounds, "ticktext": [title(index) for index in rounds], "showgrid": False}
    wide = {"range": [min(rounds) - 0.5, max(rounds) + 0.5]}
    found = {"accuracy": _curve(run, view, {index: float(index) for index in rounds}, axis | wide, beside=BESIDE)}
    by_round = {row.round: row for row in spent}
    if len(rounds) < 2 or set(by_round) != set(rounds):
        return found
    tokens = {index: row.tokens for index, row in by_round.items()}
    if (tokens[max(rounds)] or 0) > (tokens[min(rounds)] or 0):
        axis = _axis("teacher tokens, prompt and completion", tickformat="~s")
        found["accuracy-tokens"] = _curve(run, view, {i: float(n or 0) for i, n in tokens.items()}, axis)
    hours = {index: row.seconds / 3600 for index, row in by_round.items()}
    if hours[max(rounds)] > 0:
        unit, scale = ("hours", 1) if hours[max(rounds)] >= 2 else ("minutes", 60)
        axis = _axis(f"{unit} of work, teacher and student")
        found["accuracy-time"] = _curve(run, view, {i: h * scale for i, h in hours.items()}, axis)
    usd = {index: row.usd for index, row in by_round.items()}
    if (usd[max(rounds)] or 0.0) > (usd[min(rounds)] or 0.0):
        axis = _axis("dollars paid for the teacher", tickprefix="$")
        found["accuracy-usd"] = _curve(run, view, {i: paid or 0.0 for i, paid in usd.items()}, axis)
    return found


def _axis(told: str, **more: str) -> Figure:
    return {
        "title": {"text": told, "font": {"size": 13}},
        "rangemode": "tozero",
        "gridcolor": "--line",
        "nticks": 7,
    } | more


def _curve(run: RunView, view: Gaps, x: Mapping[int, float], axis: Figure, *, beside: float = 0.0) -> Figure:
    kept = [_point(row, x[row.round]) for row in view.rounds if row.promoted]
    tried = [_point(row, x[row.round]) for row in view.rounds if not row.promoted]
    final = _final(run, x, beside)
    data = [_trace(kept, "exam after a round", "circle", "--accent", "lines+markers+text")]
    if tried:
        data.append(_trace(tried, "not kept", "circle-open", "--down", "markers+text"))
    if final:
        data[0]["textposition"] = [place.replace("bottom right", "top left") for place in data[0]["textposition"]]
        data.append(_trace(final, "final exam, on questions never used before", "diamond", "--final", "lines+markers"))
        data[-1]["line"] |= {"dash": "dot", "width": 1.5}
    top = min(1.0, max(0.05, *(point.high for point in (*kept, *tried, *final))) * 1.15)
    return {
        "data": data,
        "layout": {
            "height": 340,
            "margin": {"r": 48},
            "xaxis": axis,
            "yaxis": {"range": [0, 100 * top], "ticksuffix": " %", "nticks": 6, "gridcolor": "--line"},
            "showlegend": len(data) > 1,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        },
    }


def _point(row: RoundAccuracy, x: float) -> Point:
    lines = [
        f"<b>{title(row.round)}</b>",
        f"{percent(row.accuracy)} {interval(row.low, row.high)}, {row.right:,} of {row.n:,}",
    ]
    if row.change is not None:
        lines.append(f"{points(row.change.difference)} points, {p_value(row.change.p)}")
    return Point(x=x, accuracy=row.accuracy, low=row.low, high=row.high, hover="<br>".join(lines))


def _final(run: RunView, x: Mapping[int, float], beside: float) -> list[Point]:
    if run.final is None:
        return []
    some = {0: run.final.base, run.final.round: run.final.metrics}
    return [
        Point(
            x=x[index] + beside,
            accuracy=exam.accuracy,
            low=exam.low,
            high=exam.high,
            hover=f"<b>final exam, {title(index)}</b><br>{percent(exam.accuracy)} {interval(exam.low, exam.high)}, "
            f"{exam.right:,} of {exam.n:,}",
        )
        for index, exam in some.items()
        if index in x
    ]


def _trace(rows: Sequence[Point], name: str, symbol: str, color: str, mode: str) -> Figure:
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": [row.x for row in rows],
        "y": [100 * row.accuracy for row in rows],
        "text": [f"<b>{percent(row.accuracy)}</b>" for row in rows],
        "textposition": _clear_of_line(rows),
        "cliponaxis": False,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (row.high - row.accuracy) for row in rows],
            "arrayminus": [100 * (row.accuracy - row.low) for row in rows],
            "color": color,
            "thickness": 1.5,
            "width": 6,
        },
        "line": {"color": color, "width": 2.5},
        "marker": {"size": 10, "color": color, "symbol": symbol, "line": {"width": 2, "color": color}},
        "hoverinfo": "text",
        "hovertext": [row.hover for row in rows],
    }


def _clear_of_line(rows: Sequence[Point]) -> list[str]:
    """Put each figure on the side of its point that the line to the next one does not cross."""
    rising = [after.accuracy > row.accuracy for row, after in pairwise(rows)]
    return [f"{'bottom' if up else 'top'} right" for up in rising] + ["top right"]
