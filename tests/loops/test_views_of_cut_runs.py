"""Every view on a real run that was cut after every stage and within it, and on one whose files are gone or damaged."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lessons.errors import InputError
from loops.cli import app
from loops.costs.spending import spent_by_round
from loops.reading import RunView
from loops.recipe import resolve
from loops.run import Run
from loops.store import RunFolder
from loops.views.gaps import gaps
from loops.views.show import Show, show
from loops.views.why import rows
from loops.watching.progress import Silent, Told
from teachers.accounts import Account
from teachers.servers import process_id

ROOT = Path(__file__).parents[2]
RECIPE = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 3, "gate": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor", "error_rate": 0.2},
    "method": "rationale",
    "select": {"id": "profile", "budget": 20, "replay": 0.2},
    "train": {"epochs": 1},
    "examine": {"per_round": 24},
    "gate": {"rule": "always"},
    "rounds": 2,
}
Cuts = dict[str, Path]


class Cutter(Silent):
    """Copies the run folder as a kill would leave it: after each marker, before it, and while the teacher is asked."""

    def __init__(self, run: Path, into: Path) -> None:
        self.run, self.into = run, into
        self.cuts: Cuts = {}
        self.stage = ""

    def cut(self, name: str) -> None:
        path = self.into / f"{len(self.cuts):02d}-{name.replace(' ', '-')}"
        shutil.copytree(self.run, path, ignore=lambda folder, names: {n for n in names if n == "student"})
        self.cuts[name] = path

    @contextlib.contextmanager
    def live(self, title: str) -> Generator[Told]:
        """Cut once, when a third of the calls are there."""
        taken = False

        def told(done: int, of: int, line: Callable[[], str]) -> None:
            nonlocal taken
            if not taken and done and done >= of / 3:
                taken = True
                self.cut(f"asking {title} {sum(name.startswith(f'asking {title}') for name in self.cuts)}")

        yield told


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cuts]:
    folder = tmp_path_factory.mktemp("cut")
    cutter = Cutter(folder / "whole", folder)
    finish = RunFolder.finish

    def finish_and_cut(self: RunFolder, index: int, stage: str, *rest: object) -> object:
        cutter.cut(f"before the marker of {stage} {index}")
        marker = finish(self, index, stage, *rest)
        cutter.cut(f"after {stage} {index}")
        return marker

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "finish", finish_and_cut)
        Run.start(resolve(RECIPE), folder / "whole", cutter).to_the_end()
    killed = dead_process()
    for path in cutter.cuts.values():
        forget_the_writer(path, killed)
    yield {"whole": folder / "whole", **cutter.cuts}


def dead_process() -> dict[str, object]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = process_id(process.pid)
    assert found is not None
    process.communicate(b"\n")
    return {"pid": found.pid, "created": found.created}


def forget_the_writer(path: Path, dead: dict[str, object]) -> None:
    """Name a process that is gone in the heartbeat: the one that wrote it is this test, and lives."""
    beat = path / "live.json"
    if beat.is_file():
        beat.write_text(json.dumps({**json.loads(beat.read_text()), "process": dead}))


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """File -> its bytes and when it was last written."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def command(*arguments: str) -> str:
    """Run a command of the command line; it must come back with exit code 0."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, (arguments, done.exception)
    return done.stdout


def test_every_view_of_every_cut(cuts: Cuts, tmp_path: Path) -> None:
    stages = {f"{stage} {index}" for index in (1, 2) for stage in ("examine", "diagnose", "teach", "filter", "select")}
    assert {f"after {name}" for name in stages} <= cuts.keys()
    assert len([name for name in cuts if name.startswith("asking")]) >= 2
    for name, path in cuts.items():
        before = tree(path)
        for view in ("gaps", "show"):
            data = json.loads(command(view, str(path), "--json"))
            told = command(view, str(path))
            if name == "whole":
                assert (data["standing"], data["missing"], data["state"]) == ("finished", [], "finished")
                continue
            assert data["standing"] == ("killed" if (path / "live.json").is_file() else "stopped"), name
            assert f"`tutelage resume {path}` goes on" in data["missing"][0], name
            assert f"missing: {data['missing'][0][:60]}" in told
        assert tree(path) == before, name


def first_missing(view: Show) -> str:
    return view.missing[0].partition("; `tutelage resume")[0]


def test_what_is_missing_is_said_stage_by_stage(cuts: Cuts) -> None:
    told = {name: first_missing(show(path)) for name, path in cuts.items() if name != "whole"}
    assert told["before the marker of freeze 0"] == "the run was killed in freeze: the problems are not frozen yet"
    assert told["after exam 1"].startswith("round 1 was killed at its end")
    assert told["before the marker of examine 2"] == "round 2 was killed in examine: no answers yet"
    assert told["before the marker of learn 1"] == "round 1 was killed in learn: no student yet"
    assert told["after examine 1"].startswith("round 1 was killed in diagnose: no diagnosis and no profile yet")
    assert told["after diagnose 2"].startswith("round 2 was killed in teach")
    assert told["after diagnose 2"].endswith("no candidates yet")
    assert show(cuts["after diagnose 1"]).missing[1] == "round 2 has not begun"


def test_a_round_killed_while_the_teacher_was_asked_counts_what_the_ledger_holds(cuts: Cuts) -> None:
    (name,) = [name for name in cuts if name == "asking teach 1"]
    path = cuts[name]
    with contextlib.closing(sqlite3.connect(f"file:{path}/calls.sqlite?mode=ro", uri=True)) as ledger:
        (held,) = ledger.execute("SELECT count(*) FROM calls").fetchone()
    before = json.loads((path / "rounds/02/.done/diagnose.json").read_text())["counts"]["ledger/calls"]
    assert held > before
    told = first_missing(show(path))
    assert told.startswith(f"round 2 was killed in teach: {held - before} ")
    assert told.endswith("in the ledger; no candidates yet")


def test_a_run_that_somebody_has_in_hand_is_running(cuts: Cuts, tmp_path: Path) -> None:
    path = shutil.copytree(cuts["after diagnose 1"], tmp_path / "run")
    folder = RunFolder(path)
    folder.acquire()
    try:
        for view in (show(path), gaps(path)):
            assert view.standing == "running"
            assert view.missing[0].startswith("round 1 is in teach")
            assert "resume" not in view.missing[0]
    finally:
        folder.release()
    assert show(path).standing == "killed"


def test_the_lock_is_never_taken_by_who_looks(cuts: Cuts, tmp_path: Path) -> None:
    """A run that begins while somebody looks at its folder is not refused."""
    path = shutil.copytree(cuts["after diagnose 1"], tmp_path / "run")
    program = "import sys; from loops.views.show import show\nwhile True: show(sys.argv[1]).text(); print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as viewer:
        assert viewer.stdout is not None
        viewer.stdout.readline()
        for _ in range(300):
            folder = RunFolder(path)
            folder.acquire()
            folder.release()
        viewer.kill()


READ = {
    *("run.json", "recipe.yaml", "calls.sqlite", "profile.json", "learned.json", "metrics.json", "noise.json"),
    *("contamination.json", "lost.jsonl", "kept.jsonl", "dropped.jsonl", "lessons.jsonl"),
}
"""Files that `show` opens, beside the markers: each must be named where it is damaged."""


def harmed(whole: bytes, harm: str) -> bytes:
    return {"empty": b"", "garbage": b"\x00{[\n" * 9, "torn": whole[: len(whole) // 2]}[harm]


@pytest.mark.parametrize("harm", ["empty", "garbage", "torn"])
def test_each_file_in_turn_is_damaged(harm: str, cuts: Cuts, tmp_path: Path) -> None:
    run = shutil.copytree(cuts["whole"], tmp_path / "run", ignore=lambda folder, names: ["student", "02", "problems"])
    (run / "finished.json").unlink()
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.stat().st_size]
    assert len(files) > 30
    for path in files:
        whole, name = path.read_bytes(), path.relative_to(run).as_posix()
        path.write_bytes(harmed(whole, harm))
        for view in ("show", "gaps"):
            assert command(view, str(run))
        told = (*show(run).missing, *gaps(run).missing)
        half_a_yaml_file_is_yaml = harm == "torn" and path.suffix == ".yaml"
        if (path.name in READ or path.parent.name == ".done") and not half_a_yaml_file_is_yaml:
            assert any(one.startswith(name) for one in told), (name, told)
        path.write_bytes(whole)


def test_each_file_in_turn_is_gone(cuts: Cuts, tmp_path: Path) -> None:
    run = shutil.copytree(cuts["whole"], tmp_path / "run", ignore=lambda folder, names: ["student", "02", "problems"])
    outputs = {
        f"rounds/{turn.index:02d}/{name}": stage
        for turn in RunView.open(run).rounds
        for stage, marker in turn.markers.items()
        for name in marker.outputs
    }
    assert len(outputs) > 10
    for name, stage in outputs.items():
        whole = (run / name).read_bytes()
        (run / name).unlink()
        for view in ("show", "gaps"):
            assert f"missing: {name} is not there, though {stage} is done" in command(view, str(run))
        (run / name).write_bytes(whole)
    (run / "calls.sqlite").unlink()
    for view in ("show", "gaps"):
        assert "missing: calls.sqlite is not there" in command(view, str(run))
    for marker in sorted((run / "rounds/01/.done").iterdir()):
        whole = marker.read_bytes()
        marker.unlink()
        assert f"round 1: {marker.stem} has no marker" in show(run).missing
        marker.write_bytes(whole)


def test_rounds_without_an_exam_and_without_anything(cuts: Cuts, tmp_path: Path) -> None:
    run = shutil.copytree(cuts["whole"], tmp_path / "run", ignore=lambda folder, names: ["student"])
    for name in ("metrics.json", "exam.jsonl", ".done/exam.json"):
        (run / "rounds/01" / name).unlink()
    (run / "rounds/03").mkdir()
    (run / "rounds/notes").mkdir()
    assert [row.round for row in gaps(run).rounds] == [0, 2]
    assert [row.round for row in show(run).rounds] == [0, 1, 2, 3]
    assert show(run).rounds[1].outcome is None
    shutil.rmtree(run / "rounds")
    assert "no exam yet" in command("gaps", str(run))
    assert "no round has begun" in command("show", str(run))


def test_a_ledger_that_cannot_be_read_is_said(cuts: Cuts, tmp_path: Path) -> None:
    path = shutil.copytree(cuts["whole"], tmp_path / "run", ignore=lambda folder, names: ["student"])
    with contextlib.closing(sqlite3.connect(path / "calls.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert show(path).teacher == show(cuts["whole"]).teacher  # a writer keeps nobody from reading
        other.execute("ROLLBACK")
        other.execute("PRAGMA application_id=1")
    view = show(path)
    assert view.teacher == ()
    assert view.rounds == show(cuts["whole"]).rounds
    assert view.missing == ("calls.sqlite: this SQLite file is not a ledger: give another path",)


def test_a_strict_reader_still_refuses_damage(cuts: Cuts, tmp_path: Path) -> None:
    path = shutil.copytree(cuts["whole"], tmp_path / "run", ignore=lambda folder, names: ["student"])
    (path / "rounds/01/kept.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"kept\.jsonl: line 1"):
        list(RunView.open(path).rounds[1].kept())
    assert any("rounds/01/kept.jsonl: line 1" in told for told in show(path).missing)


def test_a_folder_that_cannot_be_written(cuts: Cuts) -> None:
    """Also one with a ledger that a kill left open, as somebody who may only read."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # one that another user can reach
        run = Path(folder, "run")
        shutil.copytree(cuts["asking teach 1"], run)
        (run / "calls.sqlite-shm").unlink()
        for path in (run.parent, *run.rglob("*"), run):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = tree(run)
        # Everything is imported as the user that owns the project; only then does the process become another one.
        program = (
            "import os, sys; from loops.views.gaps import gaps; from loops.views.show import show\n"
            "def look(run): return gaps(run).text() + show(run).text()\n"
            "look(sys.argv[1])\nif not os.getuid(): os.setuid(65534)\nprint(look(sys.argv[2]))"
        )
        arguments = [sys.executable, "-c", program, str(cuts["whole"]), str(run)]
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "in the ledger; no candidates yet" in done.stdout
        assert tree(run) == before
        for path in (run, *run.rglob("*")):
            path.chmod(0o755)


def test_what_the_rounds_cost_adds_up_to_the_ledger(cuts: Cuts) -> None:
    run = RunView.open(cuts["whole"])
    spent = spent_by_round(run)
    assert list(spent) == [0, 1, 2]
    whole = sum(run.accounts.values(), Account())
    last, every = spent[2].used, whole.used
    assert (last.calls, last.tokens, last.usd) == (every.calls, every.tokens, every.usd)
    assert 0 < spent[1].used.calls < spent[2].used.calls
    killed = spent_by_round(RunView.open(cuts["asking teach 1"]))
    assert {0: spent[0].used.calls, 1: spent[1].used.calls} == {n: row.used.calls for n, row in killed.items()}


def test_a_killed_run_is_compared_by_what_it_has(cuts: Cuts, tmp_path: Path) -> None:
    data = json.loads(command("compare", str(cuts["whole"]), str(cuts["asking teach 1"]), "--json"))
    whole, killed = data["runs"]
    assert (whole["end"], killed["end"], killed["standing"]) == (2, 1, "killed")
    assert killed["missing"][0].startswith("round 2 was killed in teach")
    assert "no candidates yet" in command("compare", str(cuts["whole"]), str(cuts["asking teach 1"]))


def test_every_cut_with_a_row_explains_it_and_has_a_report(cuts: Cuts, tmp_path: Path) -> None:
    told = {}
    for name, path in cuts.items():
        before = tree(path)
        first = next(rows(RunView.open(path)), None)
        if first is not None:
            lesson, place, _ = first
            data = json.loads(command("why", str(path), lesson.id, "--json"))
            assert (data["id"], data["found"]["status"]) == (lesson.id, place.status), name
            told[name] = place.status
        assert tree(path) == before, name
    assert set(told.values()) >= {"candidate", "kept", "trained"}
    for name in ("before the marker of exam 0", "asking teach 0", "after select 1", "before the marker of exam 2"):
        before = tree(cuts[name])
        out = tmp_path / f"{name}.html"
        command("report", str(cuts[name]), "--out", str(out))
        assert out.stat().st_size > 10_000
        assert tree(cuts[name]) == before
