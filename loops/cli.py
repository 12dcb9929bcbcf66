"""The command `tutelage`. Commands read a recipe or a run folder, and nothing else; heavy parts load when needed."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="tutelage",
    help="A teacher studies how a small model fails, writes lessons for its gaps, trains it, examines it again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunPath = Annotated[Path, typer.Argument(help="A run folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a YAML file.")],
    into: Annotated[Path | None, typer.Option("--into", help="The run folder; default runs/RECIPE-DIGEST.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe, such as rounds=3 or method.new=4.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while running.")] = False,
) -> None:
    """Run a recipe to its end; the same command again goes on where it stopped."""
    from loops.progress import Silent, Terminal
    from loops.recipe import load
    from loops.run import Run, run_name

    resolved = load(recipe, changes or ())
    _finish(Run.start(resolved, into or run_name(recipe.stem, resolved), Silent() if quiet else Terminal()), quiet)


@app.command()
def estimate(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a YAML file.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a key of the recipe.")] = None,
    failing: Annotated[
        float | None, typer.Option("--failing", min=0, max=1, help="Share of the attempts that the student fails.")
    ] = None,
    calls: Annotated[
        int, typer.Option("--calls", min=0, help="Sample calls of each prompt, which are paid for and kept; 0: none.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Say what a run would ask of its teacher: requests, tokens, dollars, before anything is paid for."""
    from loops.estimating import Range
    from loops.estimating import estimate as reckon
    from loops.recipe import load

    share = None if failing is None else Range(failing, failing)
    _answer(reckon(load(recipe, changes or ()), failing=share, calls=calls), as_json)


@app.command()
def resume(
    path: RunPath,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key that results do not depend on: budget.usd=40.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while running.")] = False,
) -> None:
    """Go on with a run that was stopped or killed."""
    from loops.progress import Silent, Terminal
    from loops.run import Run

    _finish(Run.resume(path, Silent() if quiet else Terminal(), changes or ()), quiet)


@app.command()
def gaps(path: RunPath, as_json: AsJson = False) -> None:
    """Show every skill, round by round, with its change and interval."""
    from loops.views.gaps import gaps as view

    _answer(view(path), as_json)


@app.command()
def show(path: RunPath, as_json: AsJson = False) -> None:
    """Show the funnel of each round: asked, answered, parsed, dropped by reason, trained."""
    from loops.views.show import show as view

    _answer(view(path), as_json)


@app.command()
def why(
    path: RunPath,
    lesson: Annotated[str, typer.Argument(help="A lesson's id, or the beginning of it.")],
    dropped: Annotated[bool, typer.Option("--dropped", help="Look among the dropped candidates only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show why a lesson exists, or why a candidate was dropped: from the failure to what became of the skill."""
    from loops.views.why import why as view

    _answer(view(path, lesson, dropped=dropped), as_json)


@app.command()
def report(
    path: RunPath,
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; default RUN/report.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file that shows the whole run; it opens without a network."""
    from loops.report import write_report

    written = write_report(path, out)
    _print_json({"report": str(written)}) if as_json else print(written)  # noqa: T201 - the command's answer


@app.command()
def methods(
    family: Annotated[str, typer.Argument(help="method, filter, selector, task, grader or teacher.")] = "method",
    as_json: AsJson = False,
) -> None:
    """List what can be named in a recipe, with its knobs."""
    from loops.listing import listing, listing_text

    found = listing(family)
    _print_json(found) if as_json else print(listing_text(found))  # noqa: T201 - the command's answer


@app.command()
def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="Check this recipe's teacher too, by a few short calls.")
    ] = None,
    reap: Annotated[bool, typer.Option("--reap", help="End the servers that dead runs have left behind.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what this machine has, and with a recipe, what its teacher can; find servers that dead runs left."""
    from loops import doctor as look
    from loops.doctor import checks_text
    from loops.work import run_async

    if reap:
        sys.stderr.write(f"{look.reap()} processes of orphaned servers were ended\n")
    found = look.checks()
    if recipe is not None:
        from loops.recipe import load

        found += run_async(look.check_teacher(load(recipe).make_teacher()))
    _print_json([check._asdict() for check in found]) if as_json else print(checks_text(found))  # noqa: T201 - answer
    if any(not check.ok for check in found):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from loops.run import own_version

    print(own_version())  # noqa: T201 - the command's answer


def _finish(running: Any, quiet: bool) -> None:
    from loops.report import write_report
    from loops.views.gaps import gaps as view

    running.to_the_end()
    written = write_report(running.folder)
    if not quiet:
        _print_view(view(running.folder))
        print(f"\nreport  {written}\ngaps    tutelage gaps {running.folder}")  # noqa: T201 - the command's answer


def _answer(found: Any, as_json: bool) -> None:
    _print_json(found.data()) if as_json else _print_view(found)


def _print_view(found: Any) -> None:
    """Print a view in colour and at the terminal's width where there is one, and plain elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(found.render())
    else:
        print(found.text())  # noqa: T201 - the command's answer


def _print_json(data: Any) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")


def main() -> None:
    """Run the command line; an error is one line. Exit codes: 1 a round stopped, 2 wrong input, 3 budget spent."""
    from lessons.errors import BudgetError, InputError, TutelageError

    # Read before torch is imported: with two processes on two cores, spinning threads are ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except InputError as error:
        sys.exit(_say(error, 2))
    except BudgetError as error:
        sys.exit(_say(error, 3))
    except TutelageError as error:
        sys.exit(_say(error, 1))
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C: typer makes an exit of it
            sys.stderr.write("\nstopped; the same command goes on from here\n")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _say(error: Exception, code: int) -> int:
    sys.stderr.write(f"tutelage: {' '.join(str(error).split())}\n")
    return code
