"""Commands that do a run's work, or say what it would take."""

from pathlib import Path
from typing import Annotated, Any

import typer

from loops.commands.app import AsJson, RunPath, answer, app, print_view


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
    from loops.recipe import load
    from loops.run import Run, run_name
    from loops.watching.progress import Silent, Terminal

    resolved = load(recipe, changes or ())
    finish(Run.start(resolved, into or run_name(recipe.stem, resolved), Silent() if quiet else Terminal()), quiet)


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
    from loops.costs.estimating import Range
    from loops.costs.estimating import estimate as reckon
    from loops.recipe import load

    share = None if failing is None else Range(failing, failing)
    answer(reckon(load(recipe, changes or ()), failing=share, calls=calls), as_json)


@app.command()
def resume(
    path: RunPath,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key that results do not depend on: budget.usd=40.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while running.")] = False,
) -> None:
    """Go on with a run that was stopped or killed."""
    from loops.run import Run
    from loops.watching.progress import Silent, Terminal

    finish(Run.resume(path, Silent() if quiet else Terminal(), changes or ()), quiet)


@app.command()
def catalog(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a YAML file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; default: the recipe's, or skills.yaml beside it.")
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a key of the recipe.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the closed list of skills and the labels, to be reviewed and edited; again, it asks only what changed."""
    from loops.catalog.command import catalog as write
    from loops.watching.progress import Terminal

    answer(write(recipe, out, changes or (), Terminal()), as_json)


def finish(running: Any, quiet: bool) -> None:
    """Run to the end, write the report, and say how it went."""
    from loops.report import write_report
    from loops.views.gaps import gaps as view

    running.to_the_end()
    written = write_report(running.folder)
    if not quiet:
        print_view(view(running.folder))
        print(f"\nreport  {written}\ngaps    tutelage gaps {running.folder}")  # noqa: T201 - the command's answer
