"""The report's page: gathers what the views tell, escapes it, and makes one file that needs nothing else."""

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lessons.jsonl import write_whole
from loops.exams.records import ContaminationKind
from loops.filters.base import normal
from loops.reading import RunView
from loops.records import Prompts
from loops.report.blocks import packed_text, short
from loops.report.chains import Lessons, lessons
from loops.report.charts import charts
from loops.report.failures import Failures, failures
from loops.report.headline import headline, paid, tiles
from loops.report.heat import KEY
from loops.report.plotting import Figure, title
from loops.report.policy import policy, script_json
from loops.report.spending import spending
from loops.store import dump_yaml
from loops.views.exams_text import teacher_told, teacher_warned
from loops.views.gaps import Gaps, gaps
from loops.views.missing import missing
from loops.views.show import Funnel, Show, show
from loops.views.text import count, duration, interval, one_line, p_value, percent, points, visible

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
SCRIPTS = ("core.js", "chain.js", "failures.js", "lessons.js", "charts.js", "begin.js")
"""In the order in which they run; together they are one script element."""
STYLES = ("page.css", "page_parts.css", "page_lessons.css")

STYLE_MARK = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')
"""Where Plotly asks whether the style sheet of its maps, which are not used here, is there already. The policy would
block it; an element of that name keeps Plotly from trying."""


@dataclass(frozen=True, kw_only=True)
class PageData:
    """All that a page shows, gathered from a run folder; nothing of it is read again when the page is made."""

    run: RunView
    view: Gaps
    funnels: Show
    lessons: Lessons
    failures: Failures
    figures: dict[str, Figure]
    in_exam: int | None
    """Trained rows whose question stands in the exam; None where nothing has been trained on."""
    missing: tuple[str, ...]
    """What the run lacks, and what of it is damaged, a sentence each."""
    prompts: dict[str, tuple[str, ...]]
    """Name of a prompt -> versions of its wording that the run asked with."""


def write_report(run: Path | str | RunView, out: Path | None = None) -> Path:
    """Write the report of a run and return where it is; without `out` it is `report.html` in the run folder.

    Raises:
        InputError: there is no run at this path, or the page cannot be written.
    """
    view = RunView.of(run)
    target = out if out is not None else view.path / "report.html"
    write_whole(target, page(view).encode("utf-8"), private=out is None)
    return target


def page(run: RunView) -> str:
    """Return the page of a run.

    Raises:
        InputError: a file of the run is damaged, and the run was not opened forgivingly.
    """
    return page_of(gather(run))


def gather(run: RunView) -> PageData:
    """Read what a page shows. Memory grows with what the page carries (`loops.report.choosing`), not with the run.

    Raises:
        InputError: a file of the run is damaged, and the run was not opened forgivingly.
    """
    view, funnels, failed = gaps(run), show(run), failures(run)
    rows, figures = lessons(run), charts(run, view, spending(run), failed)
    in_exam = _in_exam(run) if any(row.trained for row in funnels.rounds) else None
    noted = run.faults.record(run.path / "prompts.json", Prompts)
    return PageData(
        run=run,
        view=view,
        funnels=funnels,
        lessons=rows,
        failures=failed,
        figures=figures,
        in_exam=in_exam,
        missing=missing(run),  # the files are read by now: what is damaged is known
        prompts=noted.versions if noted else {},
    )


def page_of(data: PageData) -> str:
    """Make the page.

    Who changes the page's content while it is open (the sections of `main`, the elements of `#data`) dispatches the
    event `tutelage:changed` on the document afterwards: charts, list and filters then begin anew where the reader is.
    """
    from markupsafe import Markup

    run, view, examined = data.run, data.view, data.funnels.teacher_exam
    plotly = plotly_js() if data.figures else ""
    style = "\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    program = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    taught = [row for row in data.funnels.rounds if row.round]
    found = [turn.contamination for turn in run.rounds if turn.contamination is not None]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            interval=interval,
            run=run,
            info=run.info,
            recipe=dump_yaml(run.recipe).decode() if run.recipe else "",
            view=view,
            missing=data.missing,
            catalog=run.catalog_info,
            teacher_exam=examined,
            teacher_told=teacher_told(examined) if examined else "",
            teacher_warned=teacher_warned(examined) if examined else "",
            skill_rows={row.skill: row for row in view.skills},
            by_skill={row.skill: {exam.round: exam for exam in row.exams} for row in view.skills},
            gap_rounds=sorted({index for row in view.skills for index in row.gaps}),
            exams=[exam for exam in view.rounds if exam.round],
            headline=headline(view, run.final),
            tiles=tiles(run, data.funnels, data.in_exam),
            in_exam=data.in_exam,
            funnels=taught,
            stages=data.funnels.rounds,
            spent=data.funnels.teacher,
            unmeasured=sum(row.unmeasured for row in data.funnels.teacher),
            drops=_drops(data.funnels.rounds),
            lessons=data.lessons,
            contaminations=found,
            contamination_kinds=[
                kind for kind in get_args(ContaminationKind) if any(kind in row.rows for row in found)
            ],
            prompts=data.prompts,
            figures=data.figures,
            figures_json=Markup(script_json(data.figures)),  # noqa: S704 - no sign in it could end the element
            failure_counts_json=Markup(script_json(data.failures.counts)),  # noqa: S704 - the same
            blocks=_blocks(data),
            style=Markup(style),  # noqa: S704 - our own files
            program=Markup(program),  # noqa: S704 - our own files
            style_marks=STYLE_MARK.findall(plotly),
            policy=policy([plotly, program] if plotly else [program], [style]),
        )
    )


@lru_cache(maxsize=1)
def plotly_js() -> str:
    """Return Plotly's own script: the page carries it compressed, runs it last, and knows it by its content."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@lru_cache(maxsize=1)
def plotly_block() -> str:
    """Return Plotly's script as a block that `core.js` unpacks."""
    return packed_text(plotly_js())


def _blocks(data: PageData) -> dict[str, str]:
    """Return the compressed blocks by the id of their element; base64 needs no escaping."""
    blocks = {"plotly": plotly_block()} if data.figures else {}
    blocks |= {f"failures-{index}": block for index, block in data.failures.rounds.items()}
    if data.lessons.counted:
        blocks["lessons-index"] = data.lessons.index
        blocks |= {f"chains-{number}": block for number, block in enumerate(data.lessons.chains)}
    return blocks


@lru_cache(maxsize=1)
def environment() -> "Environment":
    """Return what renders a page: it escapes every text, and writes out hidden characters."""
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
        "paid": paid,
        "key": partial(short, longest=KEY),
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
    exam = {normal(problem.question) for part in ("held_out", "gate", "final") for problem in run.problems(part)}
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
