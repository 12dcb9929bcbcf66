"""Commands that do a run's work, or say what it would take."""

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessons.errors import StoppedError
from loops.commands.app import AsJson, RunPath, answer, app, print_view

if TYPE_CHECKING:
    from loops.watching.stopping import Stop


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
def bench(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes with one task and one student.")],
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds of each recipe: 0, 1, ...")] = 3,
    arms: Annotated[
        list[str] | None,
        typer.Option("--arm", metavar="NAME:KEY=VALUE,...", help="A variant of the first recipe; repeatable."),
    ] = None,
    equal: Annotated[
        str | None,
        typer.Option("--equal", help="What all arms may take alike: teacher_tokens, lessons or cost (dollars)."),
    ] = None,
    amount: Annotated[
        float | None,
        typer.Option("--amount", help="How much of it; default: what the first recipe takes with the same seed."),
    ] = None,
    into: Annotated[Path, typer.Option("--into", help="The bench's folder.")] = Path("bench"),
    out: Annotated[Path | None, typer.Option("--out", help="The report; default bench.html in the folder.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while running.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run recipes side by side from one student and on one exam; the same command again goes on where it stopped."""
    from lessons.errors import InputError
    from loops.benching.planning import EQUALS, Equal, arms_of
    from loops.benching.running import run_bench
    from loops.knobs import nearest
    from loops.report.comparison import write_comparison
    from loops.views.bench import bench_view
    from loops.watching.progress import Silent, Terminal
    from loops.watching.stopping import Stop

    if equal is not None and equal not in EQUALS:
        raise InputError(f"--equal {equal}: {nearest(equal, EQUALS)}")
    told: Equal | None = next((one for one in EQUALS if one == equal), None)
    listener = Silent() if quiet or as_json else Terminal()
    stop = Stop()
    with _stoppable(stop, "give the same command again to go on"):
        done = run_bench(arms_of(recipes, arms or ()), into, seeds, told, amount, listener, stop)
    view = bench_view(done, into)
    written = write_comparison(view.comparison, out or into / "bench.html")
    answer(view, as_json)
    if not as_json:
        print(f"\nreport  {written}")  # noqa: T201 - the command's answer


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
    """Run to the end, write the report, and say how it went.

    Raises:
        StoppedError: the run was stopped before its end.
    """
    from loops.report import write_report
    from loops.views.gaps import gaps as view

    with _stoppable(running.work.stop, f"go on with tutelage resume {shlex.quote(str(running.folder))}"):
        running.to_the_end()
    written = write_report(running.folder)
    if not quiet:
        print_view(view(running.folder))
        print(f"\nreport  {written}\ngaps    tutelage gaps {running.folder}")  # noqa: T201 - the command's answer


@contextmanager
def _stoppable(stop: "Stop", again: str) -> Generator[None]:
    """Have signals stop what the block does, and say in one line how to go on.

    Raises:
        StoppedError: it was stopped before its end.
    """
    from loops.watching.stopping import Stopped, stopped_by_signals

    try:
        with stopped_by_signals(stop):
            yield
    except Stopped as stopped:
        raise StoppedError(f"stopped {stopped}; {again}", code=stopped.reason.code) from None
