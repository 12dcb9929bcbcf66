"""A headless Chromium for tests, in a thread of its own: Playwright's event loop would stop every other one here."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

T = TypeVar("T")

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""What a browser is called on PATH."""
WIDE, NARROW = 1440, 390
"""Widths in pixels that pages are looked at: a desk's and a phone's."""
PATIENCE = 20_000
"""Milliseconds that a step may take on a busy machine; a step that never comes fails then."""
STEP = 25
"""Milliseconds between two looks."""


@dataclass
class Seen:
    """What happened in a tab beside what was looked at."""

    requests: list[str] = field(default_factory=list)
    """Every request that was neither for the opened address nor for its own origin; none of them was let through."""
    errors: list[str] = field(default_factory=list)
    """What the page put out as errors and warnings, uncaught ones included."""
    dialogs: list[str] = field(default_factory=list)
    """What alert, confirm and prompt said; each was dismissed."""
    popups: list[str] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether nothing happened at all."""
        return not (self.requests or self.errors or self.dialogs or self.popups)


class Browser:
    """One Chromium. `look` opens an address in a fresh profile and hands the tab to a function."""

    def __init__(self, program: str | None) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="browser")
        try:
            self._playwright, self._chromium = self._do(lambda: _start(program)).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def look(
        self,
        address: Path | str,
        at: "Callable[[Page, Seen], T]",
        *,
        width: int = WIDE,
        height: int = 900,
        dark: bool = False,
        before: str = "",
    ) -> T:
        """Open a file or a URL, and return what `at` makes of the tab; an assertion that fails there fails here.

        `before` is JavaScript that runs in the tab before anything of the page does.
        """
        return self._do(lambda: self._looked(address, at, width, height, dark, before)).result()

    def _looked(
        self,
        address: Path | str,
        at: "Callable[[Page, Seen], T]",
        width: int,
        height: int,
        dark: bool,
        before: str,
    ) -> T:
        url = address.resolve().as_uri() if isinstance(address, Path) else address
        context = self._chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        try:
            context.set_default_timeout(PATIENCE)
            seen = Seen()
            page = _watched(context, url, seen)
            if before:
                page.add_init_script(before)
            page.goto(url)
            return at(page, seen)
        finally:
            context.close()

    def close(self) -> None:
        """End the browser."""
        self._do(self._chromium.close).result()
        self._do(self._playwright.stop).result()
        self._thread.shutdown()

    def _do(self, work: Callable[[], T]) -> "Future[T]":
        return self._thread.submit(work)


def _watched(context: "BrowserContext", url: str, seen: Seen) -> "Page":
    own = url.split("#")[0] if url.startswith("file:") else "/".join(url.split("/")[:3]) + "/"

    def judge(route: "Route") -> None:
        asked = route.request.url.split("#")[0]
        if asked == own or (not own.startswith("file:") and asked.startswith(own)):
            route.continue_()
        else:
            seen.requests.append(asked)
            route.abort()

    context.route("**/*", judge)
    page = context.new_page()
    page.on("console", lambda m: seen.errors.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("popup", lambda tab: seen.popups.append(tab.url))

    def dismiss(dialog: Any) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    return page


def _start(program: str | None) -> Any:
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    try:
        return playwright, playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
    except BaseException:
        playwright.stop()
        raise


def until(page: "Page", expression: str) -> None:
    """Wait until a JavaScript expression holds. Playwright's own way evaluates text in the page, which a strict policy
    forbids; this one asks from outside."""
    for _ in range(PATIENCE // STEP):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(STEP)
    raise AssertionError(f"in {PATIENCE / 1000:.0f} s this did not come true: {expression}")


def program() -> str | None:
    """Return the Chromium of TUTELAGE_CHROMIUM or of PATH; None for Playwright's own, where it has one."""
    named = os.environ.get("TUTELAGE_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)
