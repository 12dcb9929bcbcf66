"""The live page in a headless Chromium: it follows a real run, keeps the reader's place, and runs nothing hostile."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from loops.watching.heartbeat import NAME
from teachers.loopback import Fault, LoopbackServer
from teachers.rule_tutor import RuleTutor
from tests.browsing import NARROW, Browser, Seen

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
LONG = 120_000
"""Milliseconds in which a real run on a busy machine gets to its next stage."""
HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'></script></style></title>"
    "<a href='javascript:window.pwned = 3' style='position:fixed;inset:0'>x</a>\u202e\x1b[31m\u2028${window.pwned = 4}"
)


def tutelage(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", "from loops.cli import main; main()", *arguments]
    return subprocess.Popen(
        line,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def watched(run: Path) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """Serve a run by the real command; yield its address and the process."""
    process = tutelage("ui", str(run), "--json")
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process
    finally:
        process.kill()
        process.communicate()


def rounds(page: "Page") -> list[str]:
    """Return the first two words of each exam in the table."""
    return [" ".join(name.split()[:2]) for name in page.locator("#rounds tbody th").all_inner_texts()]


def says(page: "Page", words: str, part: str = "sentence") -> None:
    """Wait until the line on top says something."""
    page.wait_for_function(
        "([part, words]) => document.querySelector(`#live [data-live=${part}]`).textContent.includes(words)",
        arg=[part, words],
        timeout=LONG,
    )


def recipe(server: LoopbackServer) -> dict[str, Any]:
    return {
        "task": {"id": "skills_demo", "train": 2, "held_out": 2},
        "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
        "teacher": {"kind": "openai", "model": "loopback", "base_url": server.base_url, "key": "LOOPBACK_KEY"},
        "method": "rationale",
        "diagnose": {"by": "needed"},
        "select": {"id": "profile", "budget": 16, "replay": 0.2},
        "train": {"epochs": 1},
        "calls": {"in_flight": 4},
        "preflight": {"problems": 0},
        "gate": {"rule": "always"},
        "rounds": 2,
    }


@pytest.mark.slow
def test_it_follows_a_run_through_a_kill_to_its_end(browser: Browser, tmp_path: Path) -> None:
    run, file, answered = tmp_path / "run", tmp_path / "recipe.yaml", 6

    def stuck(_: object) -> Fault | None:
        """After some answers the teacher never answers again: the run stands in the middle of a stage."""
        return Fault(delay=float("inf")) if len(server.requests) > answered else None

    with LoopbackServer(RuleTutor(), fault=stuck) as server:
        file.write_text(yaml.safe_dump(recipe(server)))
        running = tutelage("run", str(file), "--into", str(run), "--quiet", LOOPBACK_KEY=server.key)
        while not (run / "recipe.yaml").exists():
            assert running.poll() is None, running.communicate()[1]

        def follow(page: "Page", seen: Seen) -> None:
            nonlocal answered
            says(page, "running: round 1 of 2, teach")
            says(page, f"{answered} of 16", "count")
            assert page.evaluate("document.querySelector('#live progress').value") == pytest.approx(answered / 16)
            says(page, "requests/s", "line")
            page.wait_for_selector("text=teach not done yet")
            page.evaluate("window.unloaded = false; addEventListener('pagehide', () => { window.unloaded = true; })")
            running.send_signal(signal.SIGKILL)
            running.communicate()
            says(page, "killed in round 1 of 2, teach")
            says(page, f"tutelage resume {run}", "resume")
            assert page.inner_text("#live progress") == ""
            page.evaluate("document.querySelectorAll('details')[0].open = true")
            answered = 10**6
            going_on = tutelage("resume", str(run), "--quiet", LOOPBACK_KEY=server.key)
            says(page, "running")
            assert page.is_hidden("#live [data-live=resume]")
            page.wait_for_selector("#rounds th:has-text('round 1')", timeout=LONG)
            says(page, "finished")
            page.wait_for_selector("#rounds th:has-text('round 2')")
            page.wait_for_selector(".state.done:has-text('finished')")
            assert going_on.wait(60) == 0
            assert page.evaluate("[window.unloaded, document.querySelectorAll('details')[0].open]") == [False, True]
            assert seen.quiet, seen

        try:
            with watched(run) as (url, _):
                browser.look(url, follow)
        finally:
            running.kill()
            running.communicate()


@contextmanager
def held_back(run: Path) -> Generator[Callable[[], None]]:
    """Take the second round and the end out of a run; what is yielded puts them back, as the loop would."""
    aside = run.with_name("aside")
    aside.mkdir()
    shutil.move(run / "rounds" / "02", aside / "02")
    shutil.move(run / "finished.json", aside / "finished.json")

    def put_back() -> None:
        shutil.move(aside / "02", run / "rounds" / "02")
        shutil.move(aside / "finished.json", run / "finished.json")

    yield put_back


PLACE = """() => [
    scrollY,
    [...document.querySelectorAll("details")].map((each) => each.open),
    document.querySelector("input[value='skills-gap']").checked,
    document.getElementById("lesson-text").value,
    document.getElementById("lesson-list").scrollTop,
    document.querySelector("#lesson-detail .id").textContent,
    document.activeElement.id,
    window.unloaded,
]"""


@pytest.mark.slow
def test_a_new_round_comes_in_and_the_reader_stays_where_they_are(browser: Browser, own_run: Path) -> None:
    def read(page: "Page", seen: Seen) -> None:
        says(page, "stopped")
        assert rounds(page) == ["start", "round 1"]
        page.wait_for_selector("#lesson-detail .id")
        page.evaluate("""() => {
            window.unloaded = false;
            addEventListener("pagehide", () => { window.unloaded = true; });
            document.querySelectorAll("details").forEach((each, place) => { each.open = place % 2 === 0; });
        }""")
        page.check("input[value='skills-gap']", force=True)
        page.fill("#lesson-text", "answer")
        page.wait_for_selector("#lesson-rows [role=option]")
        page.wait_for_selector("#lesson-count:not(:has-text('reading'))")
        page.locator("#lesson-rows [role=option]").nth(3).click()
        page.evaluate("document.getElementById('lesson-list').scrollTop = 90")
        page.evaluate("document.getElementById('lesson-text').focus()")
        page.evaluate("document.getElementById('lesson-text').scrollIntoView({block: 'center', behavior: 'instant'})")
        place = page.evaluate(PLACE)
        top = page.evaluate("document.getElementById('lesson-text').getBoundingClientRect().top")
        put_back()
        says(page, "finished")
        page.wait_for_selector("#rounds tbody th:has-text('round 2')")
        page.wait_for_function("() => document.querySelectorAll('#figure-accuracy .point').length >= 3")
        page.wait_for_selector("#lesson-round option:has-text('round 2')", state="attached")
        page.wait_for_selector("#lesson-count:not(:has-text('reading'))")
        # What came in above it moves the page by as much: what is read stays under the reader's eyes.
        page.wait_for_function(
            "(top) => Math.abs(document.getElementById('lesson-text').getBoundingClientRect().top - top) < 2", arg=top
        )
        page.wait_for_function(
            f"(place) => JSON.stringify(({PLACE})().slice(1)) === JSON.stringify(place)", arg=place[1:]
        )
        assert page.locator("#lesson-round option").all_inner_texts()[-1] == "round 2"
        assert seen.quiet, seen

    with held_back(own_run) as put_back, watched(own_run) as (url, _):
        browser.look(url, read)


@pytest.mark.slow
def test_two_readers_see_the_same_and_the_last_state_stays_when_the_server_ends(
    browser: Browser, own_run: Path
) -> None:
    def read(page: "Page", seen: Seen) -> None:
        other = page.context.new_page()
        other.goto(page.url)
        for tab in (page, other):
            says(tab, "finished")
        assert page.inner_html("main .lead") == other.inner_html("main .lead")
        process.send_signal(signal.SIGINT)
        for tab in (page, other):
            says(tab, "not followed any more")
        assert rounds(page) == ["start", "round 1", "round 2"]

    with watched(own_run) as (url, process):
        browser.look(url, read)


@pytest.mark.parametrize("width", [NARROW, 1440])
def test_nothing_hostile_runs_asks_or_breaks_the_layout(
    browser: Browser, make_run: Callable[..., Path], width: int
) -> None:
    run = make_run(hostile=HOSTILE, train=6, held_out=6)
    (run / "finished.json").unlink()
    beat: Mapping[str, object] = {
        "process": {"pid": 1, "created": -1.0},
        "place": "elsewhere",
        "began": "2026-11-20T10:00:00Z",
        "beat": "2026-11-20T10:00:00Z",
        "moved": "2026-11-20T10:00:00Z",
        "round": 2,
        "stage": f"teach{HOSTILE}",
        "said": HOSTILE,
        "reason": HOSTILE * 3,
        "line": HOSTILE,
        "doing": HOSTILE,
        "done": 3,
        "total": 4,
    }
    (run / NAME).write_text(json.dumps(beat))

    def read(page: "Page", seen: Seen) -> None:
        says(page, "killed in")
        says(page, "⟨U+202E⟩⟨ESC⟩", "note")
        assert page.evaluate("window.pwned") is None
        assert page.locator("#live script, #live img, #live a").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        bar = page.locator("#live").bounding_box()
        assert bar is not None
        assert bar["height"] < 400
        assert seen.quiet, seen

    with watched(run) as (url, _):
        browser.look(url, read, width=width)


def test_the_line_is_on_top_at_every_width_light_and_dark(browser: Browser, example_run: Path) -> None:
    def read(page: "Page", seen: Seen) -> None:
        says(page, "finished")
        page.evaluate("scrollTo({top: 900, behavior: 'instant'})")
        bar = page.locator("#live").bounding_box()
        assert bar is not None
        assert (bar["y"], bar["x"]) == (0, 0)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        ink, paper = page.evaluate("""() => [
            getComputedStyle(document.querySelector("#live b")).color,
            getComputedStyle(document.querySelector("#live")).backgroundColor,
        ]""")
        assert ink != paper
        assert seen.quiet, seen

    with watched(example_run) as (url, _):
        for width, dark in ((NARROW, True), (1440, False)):
            browser.look(url, read, width=width, dark=dark)
