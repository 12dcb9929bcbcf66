import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lessons.errors import BudgetError
from loops.reading import RunView
from loops.store import now, read_record, write_record
from loops.watching.heartbeat import GONE, NAME, Heartbeat, Pulse, Watched, here, read_heartbeat
from loops.watching.progress import Silent, Told
from loops.watching.standing import standing
from students.base import Progress
from teachers.servers import ProcessId, process_id


def own() -> ProcessId:
    found = process_id(os.getpid())
    assert found is not None
    return found


def beat(**fields: object) -> Heartbeat:
    plain = {"process": own(), "place": here(), "began": now(), "beat": now(), "moved": now()}
    return Heartbeat(**{**plain, **fields})


def dead() -> ProcessId:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = process_id(process.pid)
    process.communicate()
    assert found is not None
    return found


def read(folder: Path, until: Callable[[Heartbeat], bool]) -> Heartbeat:
    """Read the file again until it says something; the thread that writes it has its own time."""
    for _ in range(20_000):
        found = read_heartbeat(folder)
        if found is not None and until(found):
            return found
        time.sleep(0)
    raise AssertionError(f"never came: {read_heartbeat(folder)}")


@dataclass
class Recorder:
    """A listener that remembers."""

    heard: list[tuple[object, ...]] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.heard.append(("line", text))

    @contextmanager
    def bar(self, title: str, total: int) -> Generator[Progress]:
        self.heard.append(("bar", title, total))
        yield lambda done, of: self.heard.append((title, done, of))
        self.heard.append(("bar ends", title))

    @contextmanager
    def live(self, title: str) -> Generator[Told]:
        self.heard.append(("live", title))
        yield lambda done, of, line: self.heard.append((title, done, of, line()))


def test_what_a_run_notes_can_be_read_beside_it(tmp_path: Path) -> None:
    with Pulse(tmp_path, every=0) as pulse:
        pulse.begins(2, "teach")
        first = read_heartbeat(tmp_path)  # the first is there before the stage begins
        assert first is not None
        assert (first.round, first.stage, first.doing, first.process, first.place) == (
            2,
            "teach",
            "teach",
            own(),
            here(),
        )
        assert first.living
        listener = Watched(Silent(), pulse)
        with listener.live("teach") as told:
            told(3, 40, lambda: "4 requests/s")
            found = read(tmp_path, lambda it: it.done == 3)
            assert (found.total, found.line, found.stage) == (40, "4 requests/s", "teach")
        listener.line("  teach      40 asked")
        assert read(tmp_path, lambda it: it.said != "").said == "teach      40 asked"
        pulse.begins(2, "filter")
        found = read(tmp_path, lambda it: it.stage == "filter")
        assert (found.done, found.total, found.line) == (0, 0, "")
    last = read_heartbeat(tmp_path)
    assert last is not None
    assert (last.ended, last.reason, last.stage, last.round) == ("finished", "", "", 2)
    assert not last.living
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_nothing_is_written_for_a_run_that_has_nothing_to_do(tmp_path: Path) -> None:
    with Pulse(tmp_path) as pulse:
        Watched(Silent(), pulse).line("nothing is left")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BudgetError("the cap of $2.00\nis reached"), "the cap of $2.00 is reached"),
        (KeyboardInterrupt(), "by Ctrl-C"),
        (GeneratorExit(), "by the program that ran it"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_error_is_the_reason_and_goes_on_its_way(tmp_path: Path, error: BaseException, reason: str) -> None:
    with pytest.raises(type(error)), Pulse(tmp_path) as pulse:
        pulse.begins(1, "teach")
        raise error
    found = read_heartbeat(tmp_path)
    assert found is not None
    assert (found.ended, found.reason) == ("stopped", reason)


def test_a_folder_that_cannot_be_written_does_not_stop_the_run(tmp_path: Path) -> None:
    with Pulse(tmp_path / "gone") as pulse:
        pulse.begins(1, "teach")
        pulse.counted("teach", 1, 2)
    assert read_heartbeat(tmp_path / "gone") is None


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.text(), reason=st.text(), done=st.integers(0, 2**53), total=st.integers(0, 2**53))
def test_whatever_is_said_the_file_can_be_read(tmp_path: Path, said: str, reason: str, done: int, total: int) -> None:
    with pytest.raises(RuntimeError), Pulse(tmp_path) as pulse:
        pulse.begins(1, "teach")
        pulse.said(said)
        pulse.counted("teach", done, total)
        raise RuntimeError(reason)
    found = read_record(tmp_path / NAME, Heartbeat)
    assert found is not None
    assert found.ended == "stopped"
    assert len(found.said) <= 400


def test_a_listener_is_told_all_the_same(tmp_path: Path) -> None:
    plain, behind = Recorder(), Recorder()
    with Pulse(tmp_path) as pulse:
        pulse.begins(1, "exam")
        for listener in (plain, Watched(behind, pulse)):
            listener.line("round 1")
            with listener.bar("exam", 3) as progress:
                progress(1, 3)
                progress(3, 3)
            with listener.live("teach") as told:
                told(1, 2, lambda: "a line")
    assert behind.heard == plain.heard


def test_the_living_the_dead_and_another_machine() -> None:
    assert beat().living
    assert not beat(ended="finished").living
    assert not beat(process=dead()).living
    assert not beat(process=ProcessId(own().pid, own().created + 1)).living  # the number was given to another
    away = {"place": "another machine", "process": dead()}
    assert beat(**away).living  # its process cannot be looked for here: its last word counts
    long_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - GONE - 5))
    assert not beat(**away, beat=long_ago).living


def unfinished(run: Path) -> RunView:
    (run / "finished.json").unlink()
    (run / "rounds/02/metrics.json").unlink()
    return RunView.open(run)


def test_standing_of_a_run(own_run: Path) -> None:
    assert standing(RunView.open(own_run)).state == "finished"
    run = unfinished(own_run)
    resume = f"tutelage resume {own_run}"
    alone = standing(run)
    assert (alone.state, alone.where, alone.resume) == ("stopped", "in round 2, exam", resume)
    write_record(own_run / NAME, beat(round=2, stage="exam", doing="gate", done=3, total=40, line="4 requests/s"))
    going = standing(run)
    assert (going.state, going.where, going.done, going.total) == ("running", "round 2 of 2, exam", 3, 40)
    assert (going.line, going.resume, going.quiet < 5) == ("4 requests/s", "", True)
    write_record(own_run / NAME, beat(round=2, stage="exam", process=dead()))
    killed = standing(run)
    assert (killed.state, killed.where, killed.resume) == ("killed", "round 2 of 2, exam", resume)
    write_record(own_run / NAME, beat(round=2, ended="stopped", reason="the cap of $2.00 is reached"))
    stopped = standing(run)
    assert (stopped.state, stopped.where, stopped.reason) == (
        "stopped", "in round 2, exam", "the cap of $2.00 is reached",
    )  # fmt: skip
    assert stopped.resume == resume


def test_a_finished_run_that_is_taken_up_again_is_running(own_run: Path) -> None:
    write_record(own_run / NAME, beat(round=2, stage="teach"))
    assert standing(RunView.open(own_run)).state == "running"


@pytest.mark.parametrize("text", ["", "{", '{"process": 3}', '{"pulse": 1}', "\xff"])
def test_a_heartbeat_that_cannot_be_read_hides_no_run(own_run: Path, text: str) -> None:
    (own_run / NAME).write_bytes(text.encode("latin-1"))
    assert standing(RunView.open(own_run)).state == "finished"
    assert standing(unfinished(own_run)).state == "stopped"


@pytest.mark.parametrize(
    ("index", "stage", "where"), [(0, "freeze", "freeze"), (0, "exam", "first exam"), (0, "learn", "warm-up")]
)
def test_what_comes_before_round_1_has_words(own_run: Path, index: int, stage: str, where: str) -> None:
    write_record(own_run / NAME, beat(round=index, stage=stage))
    assert standing(RunView.open(own_run)).where == where


def test_noting_is_cheap(tmp_path: Path) -> None:
    """A hundred thousand notes make a handful of writings: the writing is the thread's, and at most one a second."""
    with Pulse(tmp_path) as pulse:
        pulse.begins(1, "teach")
        inode, written = -1, 0
        for done in range(100_000):
            pulse.counted("teach", done, 100_000)
            if done % 1000 == 0 and (seen := (tmp_path / NAME).stat().st_ino) != inode:
                inode, written = seen, written + 1
    assert written <= 30
    assert msgspec.json.decode((tmp_path / NAME).read_bytes())["ended"] == "finished"
