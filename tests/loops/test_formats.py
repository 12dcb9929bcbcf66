"""Formats of run folders and ledgers: what older tools wrote is read and gone on with, what newer ones wrote is not."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.errors import InputError
from loops import formats
from loops.export.dataset import export_lessons
from loops.reading import RunView
from loops.recipe import resolve
from loops.report import write_report
from loops.run import Run
from loops.scores import Scores
from loops.store import RunFolder, read_yaml
from loops.views.compare import compare
from loops.views.gaps import gaps
from loops.views.show import show
from loops.views.why import why
from teachers.batch_state import BatchState
from teachers.ledger import Ledger

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = sorted(int(folder.name.removeprefix("format-")) for folder in GOLDEN.glob("format-*"))
NEWER = r"was written by a newer tutelage \(format 9, this one reads up to \d\); upgrade with pip install -U tutelage"


@pytest.fixture(params=FORMATS, ids=lambda number: f"format-{number}")
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the golden runs of one format: `finished` and `cut`."""
    return Path(shutil.copytree(GOLDEN / f"format-{request.param}", tmp_path / "runs"))


def newer(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "format.json").write_text('{"format": 9, "what": ["no tool of today knows this"]}')
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_is_a_golden_run_of_every_format() -> None:
    assert list(range(1, formats.FORMAT + 1)) == FORMATS
    told = {number: {formats.format_of(run) for run in (GOLDEN / f"format-{number}").iterdir()} for number in FORMATS}
    assert told == {number: {number} for number in FORMATS}


def test_golden_runs_are_small() -> None:
    for number in FORMATS:
        assert sum(map(len, files(GOLDEN / f"format-{number}").values())) < 300_000


@pytest.mark.parametrize("name", ["finished", "cut"])
def test_every_view_reads_a_golden_run(golden: Path, name: str) -> None:
    run = golden / name
    before = files(run)
    view = RunView.open(run)  # not forgiving: anything that cannot be read is an error
    assert len(view.rounds) == (2 if name == "finished" else 3)
    assert view.accounts
    funnel = show(view).rounds[1]
    assert funnel.candidates == 8
    assert funnel.kept == funnel.new == 3
    assert sum(drop.count for drop in funnel.dropped) == 5
    assert show(view).rounds[1].outcome is not None
    assert {row.skill for row in gaps(view).skills} == {"products", "carrying", "largest", "change"}
    row = next(view.rounds[1].lessons())
    assert row.completion.splitlines()[0] in why(view, row.id).text()
    assert not view.faults.found
    assert files(run) == before
    page = write_report(run).read_text()
    assert all(skill in page for skill in ("products", "carrying", "largest", "change"))
    assert export_lessons(run, golden / "dataset").files == {"train.parquet": 3}


def test_golden_runs_are_compared(golden: Path) -> None:
    told = compare([golden / "finished", golden / "cut"])
    assert "finished" in told.text()
    assert "cut" in told.text()


def test_a_cut_golden_run_goes_on(golden: Path) -> None:
    run = golden / "cut"
    kept = {path: data for path, data in files(run).items() if path.startswith(("problems", "rounds/01"))}
    calls = sqlite3.connect(run / "calls.sqlite").execute("SELECT id FROM calls").fetchall()
    done = Run.resume(run).to_the_end()
    assert [turn.index for turn in done] == [0, 1, 2]
    assert RunView.open(run).finished is not None
    assert formats.format_of(run) == formats.FORMAT
    after = files(run)
    assert {path: after[path] for path in kept} == kept
    assert set(calls) <= set(sqlite3.connect(run / "calls.sqlite").execute("SELECT id FROM calls").fetchall())
    again = files(run)
    Run.resume(run).to_the_end()  # and a run that is finished stays as it is
    assert {path for path, data in files(run).items() if again.get(path) != data} <= {"live.json", "clock.json"}


LOOKS: dict[str, Callable[[Path], object]] = {
    "look": RunView.open,
    "look forgivingly": RunView.of,
    "resume": Run.resume,
    "start": lambda run: RunFolder(run).start(resolve(read_yaml(run / "recipe.yaml"), folder=run).plain()),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_newer_run_is_refused(golden: Path, look: Callable[[Path], object]) -> None:
    run = newer(golden / "cut")
    before = files(run)
    with pytest.raises(InputError, match=NEWER):
        look(run)
    assert files(run) == before


def test_a_newer_recipe_is_not_even_read(golden: Path) -> None:
    run = newer(golden / "cut")
    (run / "recipe.yaml").write_text("what: [no tool of today, knows this]")
    with pytest.raises(InputError, match=NEWER):
        Run.resume(run)


def test_a_new_run_says_its_format(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start({"task": "any"})
    folder.release()
    assert formats.format_of(tmp_path / "run") == formats.FORMAT


def test_a_start_that_was_killed_after_the_format_goes_on(tmp_path: Path) -> None:
    formats.claim(tmp_path)
    assert RunFolder(tmp_path).start({"task": "any"})


def test_a_damaged_format_is_said(golden: Path) -> None:
    run = golden / "finished"
    (run / "format.json").write_text("")
    with pytest.raises(InputError, match=r"format\.json: cannot be read"):
        RunView.open(run)
    assert "format.json" in RunView.of(run).faults.found


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        formats.claim(tmp_path / "gone")


def test_a_newer_ledger_is_refused(golden: Path) -> None:
    path = golden / "cut" / "calls.sqlite"
    version(path, 9)
    before = path.read_bytes()
    with pytest.raises(InputError, match=NEWER):
        Ledger.open(path)
    assert "calls.sqlite" in missing_of(golden / "cut")
    assert path.read_bytes() == before


def test_newer_scores_are_refused(golden: Path) -> None:
    path = golden / "cut" / "scores.sqlite"
    version(path, 9)
    with pytest.raises(InputError, match=NEWER):
        list(Scores(path, {"now": lambda: pytest.fail("nobody is to be asked")}).of([((), "text")], Known()))  # type: ignore[arg-type]


def test_a_newer_record_of_batches_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "batches.sqlite"
    BatchState(path).close()
    version(path, 9)
    with pytest.raises(InputError, match=NEWER):
        BatchState(path)


class Known:
    """A student that has a digest, and is asked nothing else."""

    digest = "student"


def version(path: Path, number: int) -> None:
    with sqlite3.connect(path) as file:
        file.execute(f"PRAGMA user_version={number}")
    file.close()


def missing_of(run: Path) -> str:
    view = RunView.of(run)
    assert view.accounts == {}
    return " ".join(view.faults.found)
