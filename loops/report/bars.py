"""Figures that count: ways of going wrong by round, seconds by stage, the loss of every step."""

from collections.abc import Mapping, Sequence
from typing import get_args

from lessons.records import ErrorKind
from loops.records import STAGES
from loops.report.failures import UNTOLD
from loops.report.plotting import Figure, safe, title
from loops.views.text import clipped, duration

KINDS: tuple[str, ...] = ("wrong plan", "arithmetic slip", "misread question", "gave up", "format", "truncated")
"""Kinds of error, those that tell of a skill first; `UNTOLD` comes last."""
assert set(KINDS) == set(get_args(ErrorKind))

POINTS = 400
"""Points of one line of losses at most: more cannot be told apart."""


def error_bars(errors: Mapping[int, Mapping[str, int]]) -> Figure:
    """Stack the failed train attempts of each round by how they went wrong."""
    indexes = sorted(errors)
    totals = {index: sum(errors[index].values()) for index in indexes}
    known = [*KINDS, *sorted({kind for row in errors.values() for kind in row} - {*KINDS, UNTOLD}), UNTOLD]
    data = [
        {
            "type": "bar",
            "name": safe(kind),
            "x": [f"before round {index}" for index in indexes],
            "y": [errors[index].get(kind, 0) for index in indexes],
            "marker": {"color": f"--kind-{min(place, len(KINDS))}"},
            "hoverinfo": "text",
            "textposition": "none",
            "hovertext": [_share(kind, errors[index].get(kind, 0), totals[index]) for index in indexes],
        }
        for place, kind in enumerate(known)
        if any(errors[index].get(kind) for index in indexes)
    ]
    return _stacked(data, height=340, xaxis={"showgrid": False, "type": "category"}, yaxis={"gridcolor": "--line"})


def _share(kind: str, number: int, total: int) -> str:
    return f"<b>{safe(kind)}</b><br>{number:,} of {total:,} failed attempts"


def second_bars(seconds: Mapping[int, Mapping[str, float]]) -> Figure:
    """Lay the stages of each round end to end, as long as they took."""
    indexes = sorted(seconds)
    names = [*STAGES, *sorted({name for row in seconds.values() for name in row} - set(STAGES))]
    longest = max(sum(row.values()) for row in seconds.values())
    scale, unit = (3600, "hours") if longest >= 7200 else (60, "minutes") if longest >= 180 else (1, "seconds")
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": safe(clipped(name, 30)),
            "y": [title(index) for index in indexes],
            "x": [seconds[index].get(name, 0) / scale for index in indexes],
            "marker": {"color": f"--kind-{place % 7}"},
            "hoverinfo": "text",
            "textposition": "none",
            "hovertext": [f"<b>{safe(name)}</b>, {title(i)}<br>{duration(seconds[i].get(name, 0))}" for i in indexes],
        }
        for place, name in enumerate(names)
        if any(seconds[index].get(name) for index in indexes)
    ]
    xaxis = {"title": {"text": unit, "font": {"size": 13}}, "gridcolor": "--line", "rangemode": "tozero"}
    yaxis = {"autorange": "reversed", "type": "category", "showgrid": False}
    return _stacked(data, height=110 + 34 * len(indexes), xaxis=xaxis, yaxis=yaxis)


def _stacked(data: list[Figure], *, height: int, xaxis: Figure, yaxis: Figure) -> Figure:
    return {
        "data": data,
        "layout": {
            "height": height,
            "barmode": "stack",
            "bargap": 0.35,
            "xaxis": xaxis,
            "yaxis": yaxis,
            "showlegend": True,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        },
    }


def loss_lines(losses: Mapping[int, Sequence[float]]) -> Figure:
    """Draw the loss of every step, one line for each round; long ones by the means of equal stretches."""
    shades = [f"--loss-{place}" for place in range(5)]
    drawn = {index: thinned(values) for index, values in losses.items()}
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "warm-up" if index == 0 else f"round {index}",
                "x": steps,
                "y": values,
                "line": {"width": 2, "color": shades[place * len(shades) // max(len(shades), len(drawn))]},
                "hovertemplate": "step %{x}: %{y:.3f}",
            }
            for place, (index, (steps, values)) in enumerate(drawn.items())
        ],
        "layout": {
            "height": 300,
            "xaxis": {"title": {"text": "step", "font": {"size": 13}}, "gridcolor": "--line", "rangemode": "tozero"},
            "yaxis": {"title": {"text": "loss", "font": {"size": 13}}, "rangemode": "tozero", "gridcolor": "--line"},
            "showlegend": True,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        },
    }


def thinned(values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Return steps (from 1) and losses: all, or where there are too many, the mean of each stretch at its last step."""
    width = -(-len(values) // POINTS)
    stretches = [values[start : start + width] for start in range(0, len(values), max(1, width))]
    ends = [min((number + 1) * width, len(values)) for number in range(len(stretches))]
    return ends, [round(sum(some) / len(some), 5) for some in stretches]
