"""Commands that look at a run folder, or take something out of it; none writes into what a run comes to."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from loops.commands.app import AsJson, RunPath, answer, app, print_json


@app.command()
def gaps(path: RunPath, as_json: AsJson = False) -> None:
    """Show every skill, round by round, with its change and interval."""
    from loops.views.gaps import gaps as view

    answer(view(path), as_json)


@app.command()
def show(
    path: RunPath,
    time: Annotated[bool, typer.Option("--time", help="Show where the wall time went.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the funnel of each round: asked, answered, parsed, dropped by reason, trained; or where the time went."""
    from loops.views.show import show as view
    from loops.views.timing import run_time

    answer(run_time(path) if time else view(path), as_json)


@app.command()
def why(
    path: RunPath,
    identity: Annotated[
        str,
        typer.Argument(
            metavar="LESSON", help="A lesson's id, or the beginning of it; or a problem's, attempt's or call's."
        ),
    ],
    dropped: Annotated[bool, typer.Option("--dropped", help="Look among the dropped candidates only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show why a lesson exists, or why a candidate was dropped: from the failure to what became of the skill."""
    from loops.views.why import why as view

    answer(view(path, identity, dropped=dropped), as_json)


@app.command()
def compare(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders: two methods, or two seeds.")],
    levels: Annotated[
        list[float] | None,
        typer.Option("--level", help="An accuracy, such as 0.6, whose cost is told; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it as one HTML file, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the problems that they share: accuracy, skills, and what each accuracy took of the teacher."""
    from loops.views.compare import compare as view

    found = view(paths, levels or ())
    if out is not None:
        from loops.report.comparison import write_comparison

        write_comparison(found, out)
    answer(found, as_json)


@app.command()
def report(
    path: RunPath,
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; default RUN/report.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file that shows the whole run; it opens without a network."""
    from loops.report import write_report

    written = write_report(path, out)
    print_json({"report": str(written)}) if as_json else print(written)  # noqa: T201 - the command's answer


@app.command()
def export(
    path: RunPath,
    what: Annotated[str, typer.Argument(help="lessons (a dataset), adapter, or model (the adapter merged in).")],
    out: Annotated[Path | None, typer.Option("--out", help="The folder; default RUN/export/WHAT.")] = None,
    index: Annotated[
        int | None, typer.Option("--round", help="Of this round; default: what the run stands with.")
    ] = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="Lessons: the dropped candidates too.")] = False,
    license: Annotated[str, typer.Option("--license", help="For the card, as the hub names it: apache-2.0.")] = "",  # noqa: A002
    push: Annotated[str | None, typer.Option("--push", help="Upload it to OWNER/NAME on the hub.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a pushed repository public.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the lessons as a Hugging Face dataset, or the student as an adapter or a whole model, with a card."""
    from loops.export.command import export as write

    found = write(path, what, out, index=index, dropped=dropped, license=license, push_to=push, public=public)
    print_json(found) if as_json else print(found["told"])  # noqa: T201 - the command's answer


@app.command()
def ui(
    path: RunPath,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0: a free one.")] = 0,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser where there is a display.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show the report as a live page that follows the run while it goes; only this machine can open it."""
    from loops.ui.serving import can_browse, serve

    def told(url: str) -> None:
        if as_json:
            sys.stdout.write(f'{{"url": "{url}"}}\n')
        else:
            sys.stdout.write(f"{url}\nit follows {path} until Ctrl-C\n")
        sys.stdout.flush()

    serve(path, port=port, told=told, browse=browse and not as_json and can_browse())
