"""The report in a real browser: what a reader does with it, and what hostile text cannot do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import yaml

from lessons.jsonl import read_jsonl, write_jsonl
from lessons.records import Dropped, Lesson, Message, Problem, Provenance
from loops.reading import RunView
from loops.records import RunInfo
from loops.report import write_report
from loops.report.choosing import rows_of
from loops.store import write_record
from tests.browsing import NARROW, WIDE, Browser, Seen, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

OWN = "window.owned=1"
HOSTILE = (
    f"<script>{OWN}</script><img src=x onerror='{OWN}'>\"><svg onload={OWN}>' onmouseover='{OWN}' autofocus "
    f"onfocus='{OWN}</script></style></textarea></pre></title><!-- {{{{ 7 * 7 }}}} {{% raw %}} ${{{OWN}}} "
    f"<a href='javascript:{OWN}'>x</a>"
    "<link rel=stylesheet href=http://evil.example/a.css><style>*{display:none}</style>url(http://evil.example/b) %{x}"
    "<iframe src=http://evil.example/c></iframe><base href=http://evil.example/><meta http-equiv=refresh content=0>"
    f"&lt;b&gt; \u202e\u2067\x1b[31m\x9b2J\u2028\ufeff\U000e0041 {'W' * 400}"
)


def drawn(page: "Page") -> None:
    until(page, "performance.getEntriesByName('tutelage:charts').length > 0")


def outside(page: "Page") -> list[str]:
    """Elements that stick out of the window at a side; what lies in a box that scrolls or cuts is inside it.

    Plotly measures its texts in an element of its own, far outside and unseen.
    """
    return page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((element) => {
          if (element.closest("#js-plotly-tester")) { return false; }
          const box = element.getBoundingClientRect();
          if (!box.width || !box.height || (box.right <= innerWidth + 1 && box.left >= -1)) { return false; }
          for (let above = element.parentElement; above; above = above.parentElement) {
            if (getComputedStyle(above).overflowX !== "visible") { return false; }
          }
          return true;
        }).map((element) => `${element.tagName} ${element.id} ${element.className.baseVal ?? element.className}`)"""
    )


@pytest.fixture(scope="module")
def example_report(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(example_run, tmp_path_factory.mktemp("reports") / "report.html")


@pytest.fixture(scope="module")
def hostile_report(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every text is an attack: problems, skills, answers, replies, reasons, filters, names, recipe."""
    run = make_run(hostile=HOSTILE, train=6, held_out=6)
    info = RunView.open(run).info
    assert info is not None
    names = {
        "id": HOSTILE,
        "student": HOSTILE,
        "method": HOSTILE,
        "task": HOSTILE,
        "notes": (HOSTILE,),
        "created": HOSTILE,
    }
    write_record(run / "run.json", msgspec.convert({**msgspec.to_builtins(info), **names}, RunInfo))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    (run / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "task": {"id": HOSTILE, HOSTILE: [HOSTILE]}}))
    path = run / "rounds/01/dropped.jsonl"
    drops = [
        msgspec.structs.replace(
            drop, check=msgspec.structs.replace(drop.check, filter=f"mine:{HOSTILE}", detail=HOSTILE)
        )
        for drop in read_jsonl(path, Dropped)
    ]
    write_jsonl(path, drops)
    metrics = run / "rounds/01/metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"verdict": HOSTILE}))
    return write_report(run, tmp_path_factory.mktemp("reports") / "hostile.html")


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)])
def test_hostile_text_does_nothing(browser: Browser, hostile_report: Path, width: int, dark: bool) -> None:
    def at(page: "Page", seen: Seen) -> None:
        drawn(page)
        assert outside(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for look in ("skills-gap", "skills-change"):
            page.locator(f"[data-chooses] input[value={look}]").evaluate("(choice) => choice.click()")
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        page.locator("#lesson-standing").select_option("dropped")
        page.locator("#lesson-rows .row").first.click()
        page.wait_for_selector("#lesson-detail .lesson")
        assert "<script>window.owned=1</script>" in page.locator("#lesson-detail").inner_text()
        assert "⟨U+202E⟩" in page.locator("#lesson-detail").inner_text()
        page.fill("#lesson-text", "onmouseover")
        until(page, "!document.getElementById('lesson-count').textContent.includes('reading')")
        page.locator("[data-cell=exam]").first.click()
        page.wait_for_selector("#failures[open] .failure")
        assert "<img src=x onerror=" in page.locator("#failures-list").inner_text()
        assert outside(page) == []
        page.keyboard.press("Escape")
        page.mouse.move(width / 2, 300)
        for attack in page.locator(".js-plotly-plot").all()[:3]:
            attack.hover()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("window.owned") is None
        assert page.evaluate("document.querySelectorAll('img, iframe, base, link, a[href^=javascript]').length") == 0
        hidden = page.evaluate(
            "document.body.innerText.match(/[\\u202a-\\u202e\\u2066-\\u2069\\u001b\\u2028\\ufeff]/g)"
        )
        assert hidden is None
        assert seen.quiet, seen

    browser.look(hostile_report, at, width=width, dark=dark)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_plain_report_fits_and_is_quiet(browser: Browser, example_report: Path, width: int) -> None:
    def at(page: "Page", seen: Seen) -> None:
        drawn(page)
        assert outside(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator(".js-plotly-plot .main-svg").count() >= 5
        assert page.locator("#trouble").is_hidden()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(247, 245, 240)"
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 23)"
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(247, 245, 240)"
        assert page.locator("#lesson-list").is_hidden()
        assert seen.quiet, seen

    browser.look(example_report, at, width=width)


def test_a_cell_leads_to_the_failures_behind_it(browser: Browser, example_report: Path, example_run: Path) -> None:
    (turn,) = (turn for turn in RunView.open(example_run).rounds if turn.index == 1)
    wrong = [attempt for attempt in turn.exam() if attempt.failed and "percent" in attempt.problem.skills]
    lacked = [attempt for attempt in turn.attempts() if "carrying" in attempt.missing]

    def at(page: "Page", seen: Seen) -> None:
        drawn(page)
        button = page.locator("[data-cell=exam][data-round='1'][data-skill=percent]")
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#failures[open] .failure")
        assert page.locator("#failures-count").inner_text() == f"{len(wrong)} failures"
        shown = page.locator("#failures-list").inner_text()
        assert wrong[0].problem.question in shown
        assert f"Reference answer: {wrong[0].problem.answer} · read as: {wrong[0].answer}" in shown
        assert page.locator(".failure").count() == 10
        page.locator("#failures-more").click()
        assert page.locator(".failure").count() == min(20, len(wrong))
        page.locator("#failures-kind").select_option("train")
        page.locator("#failures-skill").select_option("carrying")
        until(page, "document.getElementById('failures').dataset.ready === 'train 1 carrying'")
        assert page.locator("#failures-count").inner_text() == f"{len(lacked)} failures"
        assert "Lacked: carrying" in page.locator(".failure").first.inner_text()
        assert "Diagnosis by teacher, verdict wrong" in page.locator(".failure").first.inner_text()
        page.keyboard.press("Escape")
        assert not page.locator("#failures").is_visible()
        assert button.evaluate("(button) => document.activeElement === button")
        cells = page.locator("#figure-heat .nsewdrag").first
        cells.scroll_into_view_if_needed()
        box = cells.bounding_box()
        assert box is not None
        cells.click(position={"x": box["width"] / 2, "y": 12}, force=True)  # the first skill, after round 1
        page.wait_for_selector("#failures[open]")
        until(page, "document.getElementById('failures').dataset.ready.startsWith('exam 1 ')")
        first = page.locator("#skills tbody th").first.inner_text()
        assert page.locator("#failures-skill").input_value() == first
        assert seen.quiet, seen

    browser.look(example_report, at)


def test_the_list_filters_searches_and_follows_the_keys(
    browser: Browser, example_report: Path, example_run: Path
) -> None:
    run = RunView.open(example_run)
    rows = [(turn.index, row) for turn in run.rounds for row in rows_of(turn)]
    carrying = [row for index, row in rows if index == 2 and row.standing == "trained" and row.skill == "carrying"]
    said = [row for _, row in rows if "Take a tenth." in row.lesson.completion]

    def count(page: "Page") -> int:
        until(page, "!document.getElementById('lesson-count').textContent.includes('reading')")
        return int(page.locator("#lesson-count").inner_text().split(" of ")[0].replace(",", ""))

    def at(page: "Page", seen: Seen) -> None:
        drawn(page)
        assert count(page) == len(rows)
        page.wait_for_selector("#lesson-detail .lesson")  # the first one is open
        detail = page.locator("#lesson-detail").inner_text()
        before = ("Before: the student, round 1", "After: the same question, round 2", "Lacked: ")
        steps = ("The seed problem", "The teacher's calls", "Filters", "Selection", "Training", "The exam after")
        for told in ("The lesson", *before, *steps):
            assert told in detail
        assert "weight 1.5, drawn with probability 0.25" in detail
        page.locator("#lesson-round").select_option("2")
        page.locator("#lesson-standing").select_option("trained")
        page.locator("#lesson-skill").select_option(label="carrying")
        page.wait_for_timeout(0)
        assert count(page) == len(carrying)
        page.locator("#lesson-list").focus()
        page.keyboard.press("End")
        until(page, f"document.getElementById('lesson-detail').dataset.shows === '{carrying[-1].lesson.id}'")
        page.keyboard.press("Home")
        until(page, f"document.getElementById('lesson-detail').dataset.shows === '{carrying[0].lesson.id}'")
        assert page.locator(".row[aria-selected=true]").count() == 1
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "lesson-detail"
        for name in ("round", "standing", "skill"):
            page.locator(f"#lesson-{name}").select_option("")
        page.fill("#lesson-text", "take A TENTH.")
        until(page, f"document.getElementById('lesson-count').textContent.startsWith('{len(said):,} of')")
        assert count(page) == len(said)
        page.evaluate("document.dispatchEvent(new Event('tutelage:changed'))")  # as a live page does
        until(page, "performance.getEntriesByName('tutelage:lessons').length === 2")
        assert (count(page), page.input_value("#lesson-text")) == (len(said), "take A TENTH.")
        assert seen.quiet, seen

    browser.look(example_report, at)


def test_an_address_may_name_a_lesson(browser: Browser, example_report: Path, example_run: Path) -> None:
    turn = RunView.open(example_run).rounds[2]
    *_, row = (row for row in rows_of(turn) if row.standing == "dropped")

    def at(page: "Page", seen: Seen) -> None:
        until(page, f"document.getElementById('lesson-detail').dataset.shows === '{row.lesson.id}'")
        assert row.checks[-1].reason in page.locator("#lesson-detail").inner_text()
        assert seen.quiet, seen

    browser.look(f"{example_report.as_uri()}#lesson={row.lesson.id}", at)


def test_of_thousands_of_rows_only_those_in_sight_are_drawn(browser: Browser, own_run: Path, tmp_path: Path) -> None:
    made = [
        Lesson(
            prompt=(Message(role="user", content=f"Question {number}?"),),
            completion=f"word {number}",
            problem=Problem(question=f"Question {number}?"),
            provenance=Provenance(method="stat_syn", round=1, skill="carrying"),
        )
        for number in range(4_000)
    ]
    path = own_run / "rounds/01/lessons.jsonl"
    write_jsonl(path, [*read_jsonl(path, Lesson), *made])
    report = write_report(own_run, tmp_path / "report.html")

    def at(page: "Page", seen: Seen) -> None:
        drawn(page)
        assert page.locator(".row").count() < 40
        page.locator("#lesson-skill").select_option(label="carrying")
        page.locator("#lesson-list").focus()
        page.keyboard.press("End")
        until(page, "document.querySelector('.row[aria-selected=true]') !== null")
        assert page.locator(".row").count() < 40
        page.fill("#lesson-text", "word 3999")
        until(page, "document.getElementById('lesson-count').textContent.startsWith('1 of')")
        page.locator(".row").first.click()
        until(page, f"document.getElementById('lesson-detail').dataset.shows === '{made[-1].id}'")
        assert "word 3999" in page.locator("#lesson-detail").inner_text()
        assert seen.quiet, seen

    browser.look(report, at)
