"""What all commands share: the application, arguments that several take, and how an answer is printed."""

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


def answer(found: Any, as_json: bool) -> None:
    """Print a view, for people or as JSON."""
    print_json(found.data()) if as_json else print_view(found)


def print_view(found: Any) -> None:
    """Print a view in colour and at the terminal's width where there is one, and plain elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(found.render())
    else:
        print(found.text())  # noqa: T201 - the command's answer


def print_json(data: Any) -> None:
    """Print data as JSON, indented."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")
