"""Measure the report of a run: writing it, opening it in headless Chromium, filtering, reading. Prints one JSON object.

    python scripts/synthesise_run.py /tmp/ten --lessons 10000
    python scripts/bench_report.py /tmp/ten [--opens 7] [--out report.html]

Times are seconds of wall clock, each the median over the opens, with the fastest and the slowest. `rows`,
`charts in sight` and `all charts` are reckoned from the start of the navigation. `cpu` is what the page's main thread
worked until every chart was drawn, which a busy machine changes less. A search waits 0.12 s for the next key, which is
in its figure. Commands are timed as processes, Python's start included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loops.reading import RunView
from tests.browsing import Browser, Seen, program, until

CHARTS = "performance.getEntriesByName('tutelage:charts')"
ROWS = "performance.getEntriesByName('tutelage:lessons')"
IN_SIGHT = "performance.getEntriesByName('tutelage:charts in sight')"
STEPS = {
    "filter by skill": "const s = document.getElementById('lesson-skill'); s.selectedIndex = 3; fire(s)",
    "search, first time": "const t = document.getElementById('lesson-text'); t.value = '{word}'; fire(t)",
    "search again": "const t = document.getElementById('lesson-text'); t.value = '{word}s'; fire(t)",
    "clear": "const t = document.getElementById('lesson-text'); t.value = ''; fire(t)",
}
"""What a reader does, one after the other."""
TIMED = """async () => {{
  const fire = (element) => element.dispatchEvent(new Event('input', {{ bubbles: true }}));
  const told = () => document.getElementById('lesson-count').dataset.search;
  const before = told(), start = performance.now();
  {step};
  while (told() === before) {{ await new Promise((next) => setTimeout(next, 1)); }}
  return (performance.now() - start) / 1000;
}}"""
OPENED = """async () => {
  const detail = document.getElementById('lesson-detail'), before = detail.dataset.shows;
  const line = document.querySelector("#lesson-rows .row[aria-selected=false]");
  const start = performance.now();
  line.click();
  while (detail.dataset.shows === before) { await new Promise((next) => setTimeout(next, 1)); }
  return (performance.now() - start) / 1000;
}"""


def opened(page: Any, seen: Seen, word: str) -> dict[str, float]:
    """Return the seconds of everything that a reader waits for."""
    until(page, f"{CHARTS}.length && document.querySelector('#lesson-rows .row')")
    found = {
        "rows": page.evaluate(f"{ROWS}[0].startTime") / 1000,
        "charts in sight": page.evaluate(f"{IN_SIGHT}[0].startTime") / 1000,
        "all charts": page.evaluate(f"{CHARTS}[0].startTime") / 1000,
    }
    for name, step in STEPS.items():
        found[name] = page.evaluate(TIMED.format(step=step.replace("{word}", word)))
    found["open a lesson"] = page.evaluate(OPENED)
    found["heap MB"] = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    assert seen.quiet, seen
    return found


def cpu(browser: Browser, report: Path) -> float:
    """Return the seconds that the page's main thread works until every chart is drawn."""

    def at(page: Any, _: Seen) -> float:
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def worked() -> float:
            rows = session.send("Performance.getMetrics")["metrics"]
            return next(row["value"] for row in rows if row["name"] == "TaskDuration")

        page.context.unroute_all()
        page.goto(report.resolve().as_uri())
        until(page, f"{CHARTS}.length")
        return worked()

    return browser.look("about:blank", at)


def command(*words: str) -> dict[str, float]:
    """Run a command of ours; return its seconds and its greatest memory."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen([_tutelage(), *words], stdout=sink)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"tutelage {' '.join(words)} failed")
    took, worked = time.perf_counter() - start, used.ru_utime + used.ru_stime
    return {"seconds": round(took, 2), "cpu": round(worked, 2), "peak MB": used.ru_maxrss // 1024}


def _tutelage() -> str:
    return str(Path(sys.executable).with_name("tutelage"))


def middle(values: list[float]) -> dict[str, float]:
    """Return the median with the least and the greatest."""
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--opens", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where the report is written; default a temporary folder")
    asked = parser.parse_args()
    run = RunView.open(asked.run)
    lesson = next(row for turn in run.rounds for row in turn.lessons())
    word = max(lesson.problem.question.lower().split(), key=len).strip("?.,'")
    with tempfile.TemporaryDirectory() as folder:
        report = asked.out or Path(folder) / "report.html"
        written = command("report", str(asked.run), "--out", str(report))
        browser = Browser(program())
        try:
            looks = [browser.look(report, lambda page, seen: opened(page, seen, word)) for _ in range(asked.opens)]
            worked = [cpu(browser, report) for _ in range(asked.opens)]
        finally:
            browser.close()
        size = report.stat().st_size
    views = {name: command(name, str(asked.run)) for name in ("gaps", "show")}
    views["why"] = command("why", str(asked.run), lesson.id)
    print(
        json.dumps(
            {
                "run": run.name,
                "trained rows": sum(1 for turn in run.rounds for _ in turn.lessons()),
                "load": os.getloadavg()[0],
                "write": written,
                "file MB": round(size / 1e6, 1),
                "opens": asked.opens,
                "page": {name: middle([look[name] for look in looks]) for name in looks[0]} | {"cpu": middle(worked)},
                "commands": views,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
