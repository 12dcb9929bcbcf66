"""Follows a run folder for the live page: looks at it when asked, and renders its page anew only when it has changed.

Nothing happens while nobody watches. While somebody does, one look a second reads the sizes and times of the run's
files and its small heartbeat; the page is rendered in a thread, one rendering at a time.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lessons.errors import InputError
from lessons.records import Record
from loops.reading import RunView
from loops.report.fingerprints import IGNORED, fingerprint
from loops.report.page import page
from loops.ui.live_page import LivePage, live_page
from loops.views.text import duration, one_line
from loops.watching.standing import Standing, State, standing

LOOK = 0.9
"""Seconds for which one look serves everybody who asks: a page asks every second."""

REST = 4.0
"""Times the last rendering's seconds that pass before the next: rendering takes at most a fifth of one core."""

QUIET = 5.0
"""Seconds without anything going on after which a running run's silence is said."""

_CHANGING = IGNORED | {"clock.json", "calls.sqlite", "calls.sqlite-wal", "calls.sqlite-shm"}
"""Files that change while a stage runs. What the page shows of them is shown when a stage is done."""


class Status(Record, frozen=True, kw_only=True):
    """What the page's first line says. Every text is one visible line, to be set as text and never as markup."""

    version: str
    """Id of the newest page; "" before the first."""
    state: State
    sentence: str
    """The state and where the run is: "running: round 2 of 3, teach"."""
    count: str = ""
    """"120 of 400", where something is counted."""
    share: float | None = None
    """Of what is counted, in [0, 1]; None where the whole is not known."""
    line: str = ""
    """Figures about the calls that go on, or the last line that the run said."""
    note: str = ""
    """Why it ended, or how long nothing has gone on."""
    resume: str = ""
    """The command that goes on with it."""
    trouble: str = ""
    """Why the page could not be made from the folder as it is now; what is shown is older."""


class Follower:
    """One run, as it was last seen. Asked from one event loop; make it with the run folder's path."""

    def __init__(
        self, path: Path, *, render: Callable[[RunView], str] = page, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self.renderings = 0
        """How often the page was rendered."""
        self._render, self._clock = render, clock
        self._page: LivePage | None = None
        self._shown = ""
        """The files as they were when the page was last rendered, or could not be."""
        self._trouble = ""
        self._next = 0.0
        self._status: tuple[float, Status] | None = None
        self._looking = asyncio.Lock()
        self._rendering: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rendering")

    async def status(self) -> Status:
        """Look where the run is, and have the page rendered where its files have changed; never waits for that."""
        async with self._looking:
            if self._status is None or self._clock() - self._status[0] >= LOOK:
                self._status = (self._clock(), await self._look())
            return self._status[1]

    async def page(self) -> LivePage | None:
        """Return the newest page; waits for the first. None where it cannot be made."""
        if self._page is None:
            await self.status()
            if self._rendering is not None:
                await self._rendering
        return self._page

    def close(self) -> None:
        """Give the thread back."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> Status:
        facts, stands, trouble = await asyncio.to_thread(_looked, self.path)
        if facts != self._shown and self._rendering is None and self._clock() >= self._next and not trouble:
            self._rendering = asyncio.create_task(self._rendered(facts))
        return status_of(stands, self._page.version if self._page else "", trouble or self._trouble)

    async def _rendered(self, facts: str) -> None:
        began = self._clock()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._made)
        except Exception as error:  # noqa: BLE001 - the page says what is wrong, and the run is followed further
            self._trouble = one_line(f"{error}" if isinstance(error, InputError) else repr(error), 300)
        else:
            self._page, self._trouble = found, ""
            self.renderings += 1
        finally:
            self._shown = facts
            self._next = self._clock() + REST * (self._clock() - began)
            self._status = self._rendering = None

    def _made(self) -> LivePage:
        return live_page(self._render(RunView.open(self.path)))


def status_of(stands: Standing, version: str, trouble: str = "") -> Status:
    """Put a run's standing into the words of the page's first line."""
    joined = {"running": ": ", "killed": " in "}.get(stands.state, ": ")
    sentence = f"{stands.state}{joined}{stands.where}" if stands.where else stands.state
    counted = f"{stands.done:,} of {stands.total:,}" if stands.total else f"{stands.done:,}" if stands.done else ""
    if stands.doing and counted and not stands.where.endswith(stands.doing):
        counted = f"{stands.doing} {counted}"
    note = stands.reason
    if stands.state == "running" and stands.quiet >= QUIET:
        note = f"nothing has gone on for {duration(stands.quiet)}"
    return Status(
        version=version,
        state=stands.state,
        sentence=one_line(sentence),
        count=one_line(counted),
        share=min(1.0, stands.done / stands.total) if stands.total else None,
        line=one_line((stands.line or stands.said).replace("   ", " · "), 240),
        note=one_line(note, 300),
        resume=one_line(stands.resume, 300),
        trouble=trouble,
    )


def _looked(path: Path) -> tuple[str, Standing, str]:
    try:
        return fingerprint(path, ignored=_CHANGING), standing(RunView.open(path)), ""
    except InputError as error:  # the folder is gone, or what says where the run stands is damaged
        return "", Standing(state="stopped", where=""), one_line(str(error), 300)
