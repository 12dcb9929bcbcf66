"""The made-up run of any size is a whole run, and the benchmark of the report measures it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loops.reading import RunView
from loops.report.choosing import choose
from loops.views.gaps import gaps
from loops.views.show import show
from loops.views.why import why
from tests.browsing import Browser

ROOT = Path(__file__).parents[2]


def script(name: str, *words: str) -> str:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    sizes = ("--rounds", "2", "--skills", "4", "--lessons", "60", "--train", "80", "--held-out", "60")
    assert script("synthesise_run.py", str(path), *sizes) == str(path)
    return path


def test_every_view_reads_it(small: Path) -> None:
    run = RunView.open(small)
    view = gaps(run)
    assert (view.state, len(view.rounds), len(view.skills), view.missing) == ("finished", 3, 4, ())
    first, second = show(run).rounds[1:]
    assert (first.new, second.new) == (30, 30)
    assert first.candidates == (first.kept or 0) + sum(drop.count for drop in first.dropped)
    assert dict(choose(run).counted)["trained"] == 60
    lesson = next(row for row in run.rounds[1].lessons() if run.rounds[1].is_new(row))
    chain = why(run, lesson.id)
    assert chain.attempt is not None
    assert chain.seed is not None
    assert [call.purpose for call in chain.calls] == ["missing_skills", "new_problem", "solution"]
    assert chain.calls_missing == ()


def test_the_same_seed_makes_the_same_lessons(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "small"
    sizes = ("--rounds", "2", "--skills", "4", "--lessons", "30", "--a-round", "--train", "80", "--held-out", "60")
    script("synthesise_run.py", str(other), *sizes)
    for name in ("rounds/01/lessons.jsonl", "rounds/02/exam.jsonl", "rounds/02/metrics.json", "problems/train.jsonl"):
        assert (small / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.slow
def test_the_benchmark_measures_it(small: Path, browser: Browser) -> None:  # the fixture skips where none starts
    told = json.loads(script("bench_report.py", str(small), "--opens", "1"))
    assert told["trained rows"] == sum(1 for turn in RunView.open(small).rounds for _ in turn.lessons())
    page = {name: figures["median"] for name, figures in told["page"].items()}
    assert 0 < page["rows"] < page["charts in sight"] < page["all charts"]
    assert told["page"]["cpu"]["median"] > 0
    assert set(told["commands"]) == {"gaps", "show", "why"}
