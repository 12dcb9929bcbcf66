"""The report's page: gathers what the views tell, escapes it, and writes one file that needs nothing else."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessons.jsonl import write_whole
from loops.filters.base import normal
from loops.reading import RunView
from loops.report.charts import charts, title
from loops.report.headline import headline, tiles
from loops.report.samples import samples
from loops.store import dump_yaml
from loops.views.gaps import gaps
from loops.views.show import Funnel, show
from loops.views.text import count, duration, interval, one_line, p_value, percent, points, visible

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent

_STYLE_MARK = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')
"""Where Plotly asks whether the style sheet of its maps, which are not used here, is there already. The policy would
block it; an element of that name keeps Plotly from trying."""


def write_report(run: Path | str | RunView, out: Path | None = None) -> Path:
    """Write the report of a run and return where it is; without `out` it is `report.html` in the run folder.

    Raises:
        InputError: there is no run at this path, or a file of it is damaged.
    """
    view = RunView.of(run)
    target = out if out is not None else view.path / "report.html"
    write_whole(target, page(view).encode("utf-8"))
    return target


def page(run: RunView) -> str:
    """Return the page. Reads the run folder only; its length does not grow with the number of lessons."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    skills, funnels = gaps(run), show(run)
    found = samples(run, [row.skill for row in skills.skills])
    in_exam = _in_exam(run) if any(row.trained for row in funnels.rounds) else None
    figures = charts(run, skills)
    # A `</script` in a script's own strings would end it; `<\/` means the same to JavaScript.
    plotly = get_plotlyjs().replace("</script", "<\\/script") if figures else ""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    drawing = (HERE / "charts.js").read_text(encoding="utf-8") if figures else ""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            interval=interval,
            run=run,
            info=run.info,
            recipe=dump_yaml(run.recipe).decode() if run.recipe else "",
            view=skills,
            skill_rows={row.skill: row for row in skills.skills},
            by_skill={row.skill: {exam.round: exam for exam in row.exams} for row in skills.skills},
            exams=[exam for exam in skills.rounds if exam.round],
            headline=headline(skills),
            tiles=tiles(run, funnels, in_exam),
            in_exam=in_exam,
            funnels=[row for row in funnels.rounds if row.round],
            stages=funnels.rounds,
            spent=funnels.teacher,
            drops=_drops(funnels.rounds),
            samples=found,
            figures=figures,
            figures_json=Markup(_json(figures)),  # noqa: S704 - `_json` leaves no sign that could end the element
            plotly=Markup(plotly),  # noqa: S704 - the library's own file
            style=Markup(style),  # noqa: S704 - our own file
            drawing=Markup(drawing),  # noqa: S704 - our own file
            style_marks=_STYLE_MARK.findall(plotly),
            policy=_policy([plotly, drawing] if figures else [], style),
        )
    )


def _policy(scripts: list[str], style: str) -> str:
    """Return the content security policy: only these very scripts run, and nothing is fetched from anywhere.

    Style attributes are allowed, since Plotly sets them; the page has none, and a style cannot call out under it.
    """
    hashes = " ".join(_hash(script) for script in scripts) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode()}'"


def _json(data: Any) -> str:
    """Return JSON that stays JSON inside a script element: no sign that HTML or an old JavaScript reads."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "percent": percent,
        "points": points,
        "count": count,
        "duration": duration,
        "p_value": p_value,
        "one_line": one_line,
        "title": title,
        "width": _width,
    }
    environment.filters.update(filters)
    return environment


def _shown(value: object) -> object:
    """Make hidden characters of every text visible on its way into the page; escaping comes after."""
    from markupsafe import Markup

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _width(part: float | None, whole: float | None) -> str:
    """Return a bar's width out of 100; something is never drawn as nothing."""
    if not part or not whole:
        return "0"
    return f"{max(0.8, min(100.0, 100 * part / whole)):.2f}"


def _in_exam(run: RunView) -> int:
    """Count the trained rows whose question stands in the exam (case and spaces aside)."""
    exam = {normal(problem.question) for part in ("held_out", "gate") for problem in run.problems(part)}
    return sum(normal(lesson.problem.question) in exam for turn in run.rounds for lesson in turn.lessons())


def _drops(rows: tuple[Funnel, ...]) -> list[dict[str, Any]]:
    """Return filter, reason, count in each round and in all; most frequent first; lost replies are not among them."""
    counts: dict[tuple[str, str], dict[int, int]] = {}
    for row in rows:
        for drop in row.dropped:
            counts.setdefault((drop.by, drop.reason), {})[row.round] = drop.count
    made = [
        {"by": by, "reason": reason, "rounds": found, "total": sum(found.values())}
        for (by, reason), found in counts.items()
    ]
    return sorted(made, key=lambda drop: (-drop["total"], drop["by"], drop["reason"]))
