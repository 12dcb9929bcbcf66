"""Nothing waits without a limit: what stalls is written down, said, and stopped so that it can be resumed."""

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loops.recipe import resolve
from loops.run import Run
from loops.watching.heartbeat import Pulse, read_heartbeat
from loops.watching.stalls import CODE, NAME, Watchdog, described
from loops.watching.stopping import Stop, Stopped

ROOT = Path(__file__).parents[2]
METHOD = """
import asyncio, time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Hangs", "Waits"]

@dataclass(frozen=True, kw_only=True)
class Hangs:
    '''Hangs in Python, as long as a file is there.'''

    while_there: str = ""

    async def teach(self, round_):
        while Path(self.while_there).exists():
            time.sleep(1000)
        return [round_.lesson(a.problem, round_.task.reference(a.problem)) for a in round_.missed]

class Waits(Hangs):
    '''Waits for what never comes.'''

    async def teach(self, round_):
        while Path(self.while_there).exists():
            await asyncio.Event().wait()
        return await super().teach(round_)
"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A watchdog of a run that is in its teach stage, on a clock that the test moves."""

    def __init__(self, run: Path, pulse: Pulse) -> None:
        self.clock, self.stop, self.pulse, self.said = Clock(), Stop(), pulse, list[str]()
        pulse.begins(1, "teach")
        self.dog = Watchdog(run, 600.0, pulse, self.stop, self.said.append, clock=self.clock)

    def after(self, seconds: float) -> bool:
        self.clock.now += seconds
        return self.dog.look()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Pulse(tmp_path) as pulse:
        yield Watched(tmp_path, pulse)


def test_what_stalls_is_written_said_and_stopped(watched: Watched, tmp_path: Path) -> None:
    watched.pulse.counted("teach", 3, 40)
    assert not watched.after(1)
    assert not watched.after(599)
    assert watched.after(1)
    (said,) = watched.said
    assert said.startswith("stalled: nothing went on for 10 m 00 s in round 1, teach; what it waits for is in ")
    assert watched.stop.reason is not None
    assert (watched.stop.reason.code, watched.stop.reason.at_once) == (CODE, True)
    written = (tmp_path / NAME).read_text()
    for word in ("round   1", "stage   teach", "done    3", "total   40", "thread MainThread", "test_stalls.py"):
        assert word in written
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def moves() -> dict[str, Any]:
    return {
        "a stage begins": lambda run, pulse: pulse.begins(1, "filter"),
        "a line is said": lambda run, pulse: pulse.said("teach done"),
        "a count moves": lambda run, pulse: pulse.counted("teach", 4, 40),
        "figures": lambda run, pulse: pulse.told("4 requests/s"),
        "a file grows": lambda run, pulse: (run / "rounds" / "01.jsonl").open("a").write("x"),
        "the ledger grows": lambda run, pulse: (run / "calls.sqlite-wal").open("a").write("x"),
    }


@pytest.mark.parametrize("move", moves().values(), ids=moves())
def test_whatever_goes_on_is_no_stall(move: Any, watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "rounds").mkdir()
    watched.after(0)
    for _ in range(5):
        assert not watched.after(599)
        move(tmp_path, watched.pulse)
        assert not watched.after(1)
    assert watched.after(600)


def test_the_heartbeat_itself_is_nothing_that_goes_on(watched: Watched, tmp_path: Path) -> None:
    watched.after(0)
    for name in ("live.json", ".live.json.77.tmp", "clock.json"):
        (tmp_path / name).write_text("again")
    assert watched.after(600)


def test_who_looks_away_sees_no_stall_and_who_is_patient_sees_it_later(watched: Watched) -> None:
    watched.after(0)
    with watched.dog.paused():
        assert not watched.after(10_000)
    assert not watched.after(599)
    with watched.dog.patient(3000.0):
        assert not watched.after(2400)
    assert not watched.after(599)
    assert watched.after(1)


def test_off_means_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with Watchdog(tmp_path, 0, Pulse(tmp_path), Stop(), print):
        assert threading.active_count() == before


def test_where_a_task_waits_is_told() -> None:
    async def innermost() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await innermost()

    async def main() -> str:
        task = asyncio.create_task(outer(), name="a call")
        await asyncio.sleep(0)
        try:
            return described("stalled", {}, [asyncio.get_running_loop()])
        finally:
            task.cancel()

    told = asyncio.run(main())
    assert told.index("task a call") < told.index("in outer") < told.index("in innermost")


def before_it_hangs(folder: Path, method: str) -> None:
    """Begin a run whose teach stage will hang, and bring it there."""
    (folder / "mine.py").write_text(METHOD)
    (folder / "hang").touch()
    path = folder / "r.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "task": {"id": "skills_demo", "train": 2, "held_out": 1},
                "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
                "teacher": "rule_tutor",
                "method": {"id": f"mine:{method}", "while_there": str(folder / "hang")},
                "train": {"epochs": 1},
                "gate": {"rule": "always"},
                "preflight": {"problems": 0},
                "stalls": {"minutes": 0},
            }
        )
    )
    Run.start(path, folder / "run").up_to(1, "teach")


@pytest.mark.slow
def test_a_method_that_hangs_in_python(tmp_path: Path) -> None:
    """A real process: it writes down where it hangs, says how to go on, exits with a code of its own, and resumes."""
    before_it_hangs(tmp_path, "Hangs")
    command = [
        sys.executable,
        "-c",
        "from loops.cli import main; main()",
        "resume",
        "run",
        "--set",
        "stalls.minutes=0.1",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == CODE, done.stderr
    assert "stalled: nothing went on for 6.0 s in round 1, teach" in done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith("go on with tutelage resume run")
    assert 'mine.py", line 16, in teach' in (tmp_path / "run" / NAME).read_text()
    beat = read_heartbeat(tmp_path / "run")
    assert beat is not None
    assert (beat.ended, beat.reason[:24]) == ("stopped", "because nothing went on ")
    (tmp_path / "hang").unlink()
    resumed = Run.resume(tmp_path / "run", changes=["stalls.minutes=0"])
    assert [one.index for one in resumed.to_the_end()] == [0, 1]


def test_a_method_that_waits_in_a_program_of_the_users_own(tmp_path: Path) -> None:
    """Here nobody has set handlers, and the process is not the run's: it is stopped, and the program goes on."""
    before_it_hangs(tmp_path, "Waits")
    with pytest.raises(Stopped, match="nothing went on for 1.2 s in round 1, teach"):
        Run.resume(tmp_path / "run", changes=["stalls.minutes=0.02"]).to_the_end()
    assert "in teach" in (tmp_path / "run" / NAME).read_text()
    (tmp_path / "hang").unlink()
    assert len(Run.resume(tmp_path / "run", changes=["stalls.minutes=0"]).to_the_end()) == 2


def test_the_key_is_operational() -> None:
    plain = {"task": "skills_demo", "student": "tiny", "teacher": "rule_tutor", "method": "rationale"}
    assert resolve({**plain, "stalls": {"minutes": 5}}).digest == resolve(plain).digest
    assert resolve(plain).stalls.minutes == 60
