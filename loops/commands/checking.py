"""Commands that say what there is: plug-ins, this machine, this version."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from loops.commands.app import AsJson, app, print_json


@app.command()
def methods(
    family: Annotated[
        str, typer.Argument(help="method, filter, selector, order, objective, task, grader, scorer or teacher.")
    ] = "method",
    as_json: AsJson = False,
) -> None:
    """List what can be named in a recipe, with its knobs."""
    from loops.listing import listing, listing_text

    found = listing(family)
    print_json(found) if as_json else print(listing_text(found))  # noqa: T201 - the command's answer


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Its name, in lower case with underscores: worst_first.")],
    into: Annotated[Path, typer.Option("--into", help="The folder that gets the files, beside your recipe.")] = Path(),
) -> None:
    """Write a method of your own to start from, with a recipe that runs it and a test that passes."""
    from loops.scaffold import scaffold

    written = scaffold(name, into)
    told = "\n".join(f"wrote   {path}" for path in written)
    _, recipe, test = written
    print(f"{told}\nrun     tutelage run {recipe}\ntest    python -m pytest {test}")  # noqa: T201 - the command's answer


@app.command()
def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="Check this recipe's teachers too, by a few short calls.")
    ] = None,
    reap: Annotated[bool, typer.Option("--reap", help="End the servers that dead runs have left behind.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what this machine has, and with a recipe, what its teacher can; find servers that dead runs left."""
    from loops import doctor as look
    from loops.asking import run_async
    from loops.doctor import checks_text

    if reap:
        sys.stderr.write(f"{look.reap()} processes of orphaned servers were ended\n")
    found = look.checks()
    if recipe is not None:
        from loops.recipe import load

        found += run_async(look.check_recipe(load(recipe)))
    print_json([check._asdict() for check in found]) if as_json else print(checks_text(found))  # noqa: T201 - answer
    if any(not check.ok for check in found):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from loops.formats import own_version

    print(own_version())  # noqa: T201 - the command's answer
