"""What a run says while it runs: bars on a terminal, one plain line per stage elsewhere."""

import contextlib
import sys
from collections.abc import Generator
from typing import Protocol

from students.base import Progress


class Listener(Protocol):
    """Told what goes on. The loop knows nothing of terminals."""

    def line(self, text: str) -> None:
        """Say one finished thing."""
        ...

    def bar(self, title: str, total: int) -> "contextlib.AbstractContextManager[Progress]":
        """Show something long going on; what it yields is called with (done, total)."""
        ...


class Silent:
    """Says nothing: for programs and notebooks."""

    def line(self, text: str) -> None:
        """Say nothing."""

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Generator[Progress]:
        """Show nothing."""
        yield lambda done, of: None


class Terminal:
    """Lines on standard error; bars with rate and time left where that is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """Print a line; never reads markup out of it."""
        self.console.print(text, markup=False, style=None)

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Generator[Progress]:
        """Show a bar on a terminal, and nothing elsewhere."""
        if not self.console.is_terminal:
            yield lambda done, of: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("  {task.description:<10}"), BarColumn(bar_width=30), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(title, total=total, rate="")

            def update(done: int, of: int) -> None:
                speed = bars.tasks[0].speed
                bars.update(task, completed=done, total=of, rate=f"{speed:.1f}/s" if speed else "")

            yield update
