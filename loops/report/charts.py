"""The charts as plain Plotly figures. Colours are the names of the page's CSS variables, set when the page is shown.

Plotly reads a little HTML in its texts, so every text is escaped here, as it is in the page.
"""

from html import escape
from itertools import pairwise
from typing import Any

from loops.reading import RunView
from loops.records import Change
from loops.views.gaps import Gaps, RoundAccuracy, SkillGap, SkillRound
from loops.views.text import clipped, interval, p_value, percent, points, visible

Figure = dict[str, Any]
"""`{"data": [...], "layout": {...}}`."""

LABEL = 34
"""Characters of a skill's name beside the heat map."""


def charts(run: RunView, view: Gaps) -> dict[str, Figure]:
    """Return the figures by name; one that has nothing to show is left out."""
    found: dict[str, Figure] = {}
    if view.rounds:
        found["accuracy"] = _accuracy(view)
        if view.skills:
            found["skills-accuracy"] = _skills(view)
    if any(row.gaps for row in view.skills):
        found["skills-gap"] = _gaps(view)
    if any(exam.change for row in view.skills for exam in row.exams):
        found["skills-change"] = _changes(view)
    losses = {turn.index: turn.learned.learned.losses for turn in run.rounds if turn.learned is not None}
    if any(losses.values()):
        found["loss"] = _loss({index: values for index, values in losses.items() if values})
    return found


def safe(text: str) -> str:
    """Return a text that Plotly shows as it is: no tags, no entities of its own, no hidden characters."""
    return escape(visible(text), quote=False)


def title(index: int) -> str:
    """Return how a round is called below a chart."""
    return "start" if index == 0 else f"round {index}"


def _accuracy(view: Gaps) -> Figure:
    kept = [row for row in view.rounds if row.promoted]
    tried = [row for row in view.rounds if not row.promoted]
    data = [_exams(kept, "kept", "circle", "--accent", "lines+markers+text")]
    if tried:
        data.append(_exams(tried, "not kept", "circle-open", "--down", "markers+text"))
    top = min(1.0, max(row.high for row in view.rounds) * 1.15)
    labels = [title(row.round) for row in view.rounds]
    return {
        "data": data,
        "layout": {
            "height": 320,
            "xaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": labels,
                "range": _around(labels),
                "showgrid": False,
            },
            "yaxis": {"range": [0, 100 * top], "ticksuffix": " %", "nticks": 6, "gridcolor": "--line"},
            "showlegend": bool(tried),
            "legend": {"orientation": "h", "y": 1.12, "x": 0},
        },
    }


def _around(labels: list[str]) -> list[float]:
    return [-0.5, len(labels) - 0.5]


def _exams(rows: list[RoundAccuracy], name: str, symbol: str, color: str, mode: str) -> Figure:
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": [title(row.round) for row in rows],
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
        "hovertext": [_exam_hover(row) for row in rows],
    }


def _clear_of_line(rows: list[RoundAccuracy]) -> list[str]:
    """Put each figure on the side of its point that the line to the next one does not cross."""
    rising = [after.accuracy > row.accuracy for row, after in pairwise(rows)]
    return [f"{'bottom' if up else 'top'} right" for up in rising] + ["top right"]


def _exam_hover(row: RoundAccuracy) -> str:
    lines = [
        f"<b>{title(row.round)}</b>",
        f"{percent(row.accuracy)} {interval(row.low, row.high)}, {row.right:,} of {row.n:,}",
    ]
    if row.change is not None:
        lines.append(f"{points(row.change.difference)} points, {p_value(row.change.p)}")
    return "<br>".join(lines)


def _skills(view: Gaps) -> Figure:
    indexes = [row.round for row in view.rounds]
    cells = [{exam.round: exam for exam in row.exams} for row in view.skills]
    return _heat(
        view.skills,
        [title(index) for index in indexes],
        z=[[_share(row.get(index)) for index in indexes] for row in cells],
        hover=[
            [_skill_hover(skill.skill, index, row.get(index)) for index in indexes]
            for skill, row in zip(view.skills, cells, strict=True)
        ],
        scale=("--heat-0", "--heat-1", "--heat-2", "--heat-3", "--heat-4"),
        bounds=(0, 100),
    )


def _share(exam: SkillRound | None) -> float | None:
    return None if exam is None or exam.accuracy is None else 100 * exam.accuracy


def _skill_hover(skill: str, index: int, exam: SkillRound | None) -> str:
    head = f"<b>{safe(skill)}</b>, {title(index)}"
    if exam is None or exam.accuracy is None:
        return f"{head}<br>not asked"
    told = f"{percent(exam.accuracy)} {interval(exam.low, exam.high)}, {exam.right:,} of {exam.n:,}"
    change = f"<br>{_change_hover(exam.change)} against the student before" if exam.change is not None else ""
    return f"{head}<br>{told}{change}"


def _change_hover(change: Change) -> str:
    return f"{points(change.difference)} points {interval(change.low, change.high)}, {p_value(change.p)}"


def _gaps(view: Gaps) -> Figure:
    indexes = sorted({index for row in view.skills for index in row.gaps})
    return _heat(
        view.skills,
        [f"before round {index}" for index in indexes],
        z=[[100 * row.gaps[index] if index in row.gaps else None for index in indexes] for row in view.skills],
        hover=[
            [f"<b>{safe(row.skill)}</b><br>{_gap_hover(row.gaps.get(index), index)}" for index in indexes]
            for row in view.skills
        ],
        scale=("--gap-0", "--gap-1", "--gap-2", "--gap-3", "--gap-4"),
        bounds=(0, 100),
    )


def _gap_hover(gap: float | None, index: int) -> str:
    return "not measured" if gap is None else f"gap {percent(gap)} when round {index} began"


def _changes(view: Gaps) -> Figure:
    indexes = [row.round for row in view.rounds if row.round > 0]
    columns = [title(index) for index in indexes] + ["since start"]
    changes = [
        [*({exam.round: exam.change for exam in row.exams}.get(index) for index in indexes), row.since_start]
        for row in view.skills
    ]
    return _heat(
        view.skills,
        columns,
        z=[[None if change is None else 100 * change.difference for change in row] for row in changes],
        hover=[
            [
                f"<b>{safe(skill.skill)}</b>, {column}<br>{_change_hover(change) if change else 'no comparison'}"
                for column, change in zip(columns, row, strict=True)
            ]
            for skill, row in zip(view.skills, changes, strict=True)
        ],
        scale=("--down-2", "--down-1", "--heat-none", "--up-1", "--up-2"),
        bounds=(-60, 60),
        signed=True,
    )


def _heat(
    skills: tuple[SkillGap, ...],
    columns: list[str],
    *,
    z: list[list[float | None]],  # [skill][column], per cent
    hover: list[list[str]],
    scale: tuple[str, ...],
    bounds: tuple[float, float],
    signed: bool = False,
) -> Figure:
    steps = len(scale) - 1
    return {
        "data": [
            {
                "type": "heatmap",
                "z": z,
                "x": columns,
                "y": list(range(len(skills))),
                "text": [["" if v is None else _cell(v, signed) for v in row] for row in z],
                "hoverinfo": "text",
                "hovertext": hover,
                "hoverongaps": False,
                "colorscale": [[step / steps, color] for step, color in enumerate(scale)],
                "zmin": bounds[0],
                "zmax": bounds[1],
                "showscale": False,
                "xgap": 4,
                "ygap": 4,
            }
        ],
        "layout": {
            "height": 64 + 38 * len(skills),
            "xaxis": {"type": "category", "side": "top", "showgrid": False, "fixedrange": True},
            "yaxis": {
                "autorange": "reversed",
                "tickvals": list(range(len(skills))),
                "ticktext": [safe(clipped(" ".join(row.skill.split()), LABEL)) for row in skills],
                "showgrid": False,
                "zeroline": False,
            },
        },
    }


def _cell(value: float, signed: bool) -> str:
    return points(value / 100, 0) if signed else f"{value:.0f}"


def _loss(losses: dict[int, tuple[float, ...]]) -> Figure:
    shades = ("--heat-2", "--heat-3", "--heat-4")
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "warm-up" if index == 0 else f"round {index}",
                "x": list(range(1, len(values) + 1)),
                "y": list(values),
                "line": {"width": 2, "color": shades[min(place, len(shades) - 1)]},
                "hovertemplate": "step %{x}: %{y:.3f}",
            }
            for place, (index, values) in enumerate(losses.items())
        ],
        "layout": {
            "height": 280,
            "xaxis": {"title": {"text": "step", "font": {"size": 13}}, "gridcolor": "--line", "rangemode": "tozero"},
            "yaxis": {"title": {"text": "loss", "font": {"size": 13}}, "rangemode": "tozero", "gridcolor": "--line"},
            "showlegend": True,
            "legend": {"orientation": "h", "y": 1.15, "x": 0},
        },
    }
