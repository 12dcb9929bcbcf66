"""The page of `tutelage compare RUN RUN --out`: several runs beside each other, in the report's looks, in one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessons.jsonl import write_whole
from loops.report.page import HERE, STYLE_MARK, STYLES, environment, plotly_block, plotly_js
from loops.report.plotting import Figure, safe
from loops.report.policy import policy, script_json
from loops.views.compare import Compare, Point, Side
from loops.views.compare_text import cost, reached
from loops.views.missing import stands
from loops.views.text import interval, percent

SCRIPTS = ("core.js", "charts.js", "begin.js")
COLORS = ("--accent", "--down", "--final", "--kind-4", "--kind-1", "--muted")
"""One a group; more groups begin again."""
DASHES = ("solid", "dot", "dash", "longdash")
"""One a run of a group; more begin again."""


def write_comparison(view: Compare, out: Path) -> Path:
    """Write the comparison as one HTML file that needs no network, and return where it is."""
    write_whole(out, comparison_page(view).encode("utf-8"), private=False)
    return out


def comparison_page(view: Compare) -> str:
    """Return the page. Every text is escaped; scripts and styles are named in its policy by their content."""
    from markupsafe import Markup

    figures = _figures(view)
    style = "\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    program = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    plotly = plotly_js() if figures else ""
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            view=view,
            interval=interval,
            stands=stands,
            reached=reached,
            figures_json=Markup(script_json(figures)),  # noqa: S704 - no sign in it could end the element
            figures=figures,
            plotly=plotly_block() if figures else "",
            style=Markup(style),  # noqa: S704 - our own files
            program=Markup(program),  # noqa: S704 - our own files
            style_marks=STYLE_MARK.findall(plotly),
            policy=policy([plotly, program] if plotly else [program], [style]),
        )
    )


def _figures(view: Compare) -> dict[str, Figure]:
    """Return the curves against rounds, and against the teacher's tokens where some run tells them."""
    if not any(side.curve for side in view.runs):
        return {}
    found = {"curves": _curves(view, lambda point: point.round, {"dtick": 1, "title": {"text": "round"}})}
    if any(point.tokens for side in view.runs for point in side.curve):
        axis = {"title": {"text": "teacher tokens"}, "rangemode": "tozero"}
        found["curves-tokens"] = _curves(view, lambda point: point.tokens, axis)
    return found


def _curves(view: Compare, place: Callable[[Point], int | None], axis: dict[str, Any]) -> Figure:
    groups = [group.name for group in view.groups]
    data: list[dict[str, Any]] = []
    for side in view.runs:
        told = [point for point in side.curve if place(point) is not None]
        numbers = [other.name for other in view.runs if other.group == side.group]
        color = COLORS[groups.index(side.group) % len(COLORS)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": safe(f"{side.name}  {side.method}"),
                "x": [place(point) for point in told],
                "y": [100 * point.accuracy for point in told],
                "line": {"color": color, "width": 2.5, "dash": DASHES[numbers.index(side.name) % len(DASHES)]},
                "marker": {
                    "size": 9,
                    "color": color,
                    "symbol": ["circle" if point.promoted else "circle-open" for point in told],
                },
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * (point.high - point.accuracy) for point in told],
                    "arrayminus": [100 * (point.accuracy - point.low) for point in told],
                    "color": color,
                    "thickness": 1,
                    "width": 4,
                },
                "hoverinfo": "text",
                "hovertext": [_hover(side, point) for point in told],
            }
        )
    return {
        "data": data,
        "layout": {
            "height": 360,
            "xaxis": {"showgrid": False, **axis},
            "yaxis": {"ticksuffix": " %", "nticks": 6, "gridcolor": "--line", "rangemode": "tozero"},
            "showlegend": True,
            "legend": {"orientation": "h", "y": 1.14, "x": 0},
        },
    }


def _hover(side: Side, point: Point) -> str:
    lines = [
        f"<b>{safe(side.name)}, {'start' if point.round == 0 else f'round {point.round}'}</b>",
        f"{percent(point.accuracy)} {interval(point.low, point.high)}",
        safe(cost(point.tokens, point.usd)),
    ]
    return "<br>".join([*lines, *([] if point.promoted else ["not kept"])])
