"""What a run says while it runs: bars on a terminal, one plain line per stage elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from typing import Protocol

from students.base import Progress

Told = Callable[[int, int, Callable[[], str]], None]
"""Takes calls done, calls in all, and what makes the line about them: only a line that is shown is made."""

EVERY = 0.5
"""Seconds between two looks of a live line on a terminal."""

EVERY_PLAIN = 30.0
"""Seconds between two live lines in a log."""


class Listener(Protocol):
    """Told what goes on. The loop knows nothing of terminals."""

    def line(self, text: str) -> None:
        """Say one finished thing."""
        ...

    def bar(self, title: str, total: int) -> "contextlib.AbstractContextManager[Progress]":
        """Show something long going on; what it yields is called with (done, total)."""
        ...

    def live(self, title: str) -> "contextlib.AbstractContextManager[Told]":
        """Show calls going on; what it yields is called with (done, total, a function that makes the line)."""
        ...


class Silent:
    """Says nothing: for programs and notebooks."""

    def line(self, text: str) -> None:
        """Say nothing."""

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Generator[Progress]:
        """Show nothing."""
        yield lambda done, of: None

    @contextlib.contextmanager
    def live(self, title: str) -> Generator[Told]:
        """Show nothing."""
        yield lambda done, of, line: None


class Terminal:
    """Lines on standard error; bars with rate and time left where that is a terminal."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._clock = clock

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

    @contextlib.contextmanager
    def live(self, title: str) -> Generator[Told]:
        """Show a bar with a line of figures on a terminal; elsewhere, the line now and then."""
        if not self.console.is_terminal:
            yield self._now_and_then(title)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("  {task.description:<10}"), BarColumn(bar_width=20), MofNCompleteColumn())
        with Bars(*columns, TextColumn("{task.fields[line]}"), console=self.console, transient=True) as bars:
            task, last = bars.add_task(title, total=None, line=""), -EVERY

            def told(done: int, of: int, line: Callable[[], str]) -> None:
                nonlocal last
                if self._clock() - last >= EVERY or done == of:
                    last = self._clock()
                    bars.update(task, completed=done, total=of, line=line())

            yield told

    def _now_and_then(self, title: str) -> Told:
        last = self._clock()

        def told(done: int, of: int, line: Callable[[], str]) -> None:
            nonlocal last
            if self._clock() - last >= EVERY_PLAIN:
                last = self._clock()
                self.line(f"  {title:<10} {done:,} of {of:,}   {line()}")

        return told
