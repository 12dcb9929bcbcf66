"""Readers of whole runs that somebody hands on: every view, the report; and the words of the command line."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click

from fuzzing.reader import Kind, Reader, Seed
from fuzzing.run_folder import folder, run_files
from lessons.errors import InputError
from loops.reading import RunView
from loops.views import finding

READ_ONLY = ("gaps", "show", "why", "compare", "methods", "version")
"""Commands that are carried out; of the others, which start something or write somewhere, only the words are read."""


def readers() -> Iterator[Reader]:
    """Yield the readers of whole runs, and that of the command line."""
    yield _run_folder("views of a run", _looked_at, weight=0.05)
    yield _run_folder("report of a run", _reported, weight=0.02)
    yield _command_line()


@cache
def _run(name: str) -> Path:
    """Return a whole run's folder, one file of which is replaced by each input."""
    run = folder(name) / "run"
    for file, data in run_files().items():
        (run / file).parent.mkdir(parents=True, exist_ok=True)
        (run / file).write_bytes(data)
    return run


def _run_folder(name: str, look: Callable[[Path], object], weight: float) -> Reader:
    """Return a reader of whole runs: one file is the input, the others are as they were written."""
    files = sorted(file for file in run_files() if not file.endswith(".sqlite"))

    def read(data: bytes) -> object:
        place = data[0] if data else 0
        path = _run(name) / files[place % len(files)]
        good = path.read_bytes()
        try:
            path.write_bytes(data[1:])
            return look(_run(name))
        finally:
            path.write_bytes(good)

    seeds = tuple(
        Seed(run_files()[file], _kind_of(file), bytes([place])) for place, file in enumerate(files)
    )  # fmt: skip
    return Reader(name=name, read=read, seeds=seeds, refuses=(InputError,), weight=weight)


def _kind_of(file: str) -> Kind:
    return "jsonl" if file.endswith(".jsonl") else "yaml" if file.endswith(".yaml") else "json"


def _looked_at(run: Path) -> object:
    from loops.views.compare import compare
    from loops.views.gaps import gaps
    from loops.views.show import show
    from loops.views.why import why
    from loops.watching.standing import standing

    view = RunView.of(run)  # one for all: what was read is read once
    for look in (
        lambda: show(view).text(),
        lambda: gaps(view).text(),
        lambda: why(view, _LESSON.get(run) or _lesson_of(run)).text(),
        lambda: compare([view, _other()], ()).text(),
        lambda: standing(view),
    ):
        try:
            said = look()
        except InputError:
            continue
        assert not isinstance(said, str) or "\x1b" not in said
    return None


@cache
def _other() -> RunView:
    return RunView.of(_run("views, the other"))


_LESSON: dict[Path, str] = {}


def _lesson_of(run: Path) -> str:
    """Return the id of a lesson of the whole run."""
    data = run_files()["rounds/01/lessons.jsonl"].split(b"\n")[0]
    _LESSON[run] = finding.lesson_id(data)
    return _LESSON[run]


def _reported(run: Path) -> object:
    from loops.report import write_report

    return write_report(run, run.parent / "report.html")


def _command_line() -> Reader:
    from typer.main import get_command

    from loops.cli import app

    run = _run("command line")
    lesson = finding.lesson_id(run_files()["rounds/01/lessons.jsonl"].split(b"\n")[0])
    words = (
        f"why {run} {lesson} --json", f"show {run}", f"gaps {run} --json", f"compare {run} {run} --level 0.6",
        "methods filter --json", "run r.yaml --into x --set rounds=3 --quiet", "estimate r.yaml --failing 0.5",
        "bench a.yaml b.yaml --seeds 2 --arm x:method.new=1", "export run lessons --round 1 --push a/b", "ui run",
    )  # fmt: skip
    group: Any = get_command(app)

    def read(data: bytes) -> object:
        try:
            given = shlex.split(data.decode("utf-8", "surrogateescape").replace("\x00", ""))
        except ValueError:
            return None
        name = given[0] if given else ""
        command = group.commands.get(name)
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what is printed goes nowhere
            kept, sys.stdout = sys.stdout, nowhere
            try:
                context = (command or group).make_context(name or "tutelage", given[1:] if command else given)
                if name in READ_ONLY:
                    with context:
                        command.invoke(context)
            finally:
                sys.stdout = kept
        return None

    refused = (InputError, click.ClickException, click.exceptions.Exit, SystemExit, *_vendored(group))
    seeds = tuple(Seed(one.encode(), "text") for one in words)
    return Reader(name="command line", read=read, seeds=seeds, refuses=refused, weight=0.1)


def _vendored(group: Any) -> tuple[type[BaseException], ...]:
    """Return the exceptions of the click that typer carries, where that is another than the installed one."""
    found: list[type[BaseException]] = []
    for cls in type(group).__mro__:
        module = sys.modules.get(cls.__module__.rpartition(".")[0] + ".exceptions")
        found += [getattr(module, name) for name in ("ClickException", "Exit", "Abort") if hasattr(module, name)]
    return tuple(dict.fromkeys(found))
