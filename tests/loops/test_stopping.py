"""A run that is asked to stop: in this process, and by real signals to real processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loops.benching.planning import arms_of
from loops.benching.running import run_bench
from loops.recipe import resolve
from loops.run import Run
from loops.watching.heartbeat import read_heartbeat
from loops.watching.progress import Silent
from loops.watching.stopping import BY_SIGNAL, Reason, Stop, Stopped, stopped_by_signals, until_stopped
from teachers.base import Reply, Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.loopback import Fault, LoopbackServer
from teachers.prompts.base import Prompt
from teachers.rule_tutor import RuleTutor

ROOT = Path(__file__).parents[2]
WHY = Reason("by a test", 130)
PROMPT = Prompt(name="echo", system="Echo.", user="{{ text }}", parse=str, example=lambda fields, sample: "x")


class Waiting:
    """A teacher that answers when it is told to."""

    name = "waiting"
    placement = "remote"

    def __init__(self) -> None:
        self.begun = 0
        self.may = asyncio.Event()

    async def ask(self, messages: object, sampling: Sampling) -> Reply:
        self.begun += 1
        await self.may.wait()
        return Reply(text="here")

    async def aclose(self) -> None:
        pass


async def ask_twenty(caller: Caller) -> None:
    await asyncio.gather(*(caller.ask(PROMPT, {"text": str(number)}) for number in range(20)))


def run_and_stop(path: Path, reason: Reason, drive: Callable[[Stop, Waiting], Any]) -> Waiting:
    """Ask twenty things, four at a time, while `drive` does what it does; return the teacher that was asked."""
    stop, teacher = Stop(), Waiting()

    async def main() -> None:
        with Ledger.open(path) as ledger:
            caller = Caller(teacher, ledger, in_flight=4)  # type: ignore[arg-type]
            driving = asyncio.create_task(drive(stop, teacher))
            try:
                await until_stopped(stop, caller, ask_twenty(caller))
            finally:
                await driving

    with pytest.raises(Stopped, match=reason.words):
        asyncio.run(main())
    return teacher


async def four_are_out(teacher: Waiting) -> None:
    while teacher.begun < 4:
        await asyncio.sleep(0)


def test_nothing_more_is_sent_and_what_is_out_comes_back(tmp_path: Path) -> None:
    async def drive(stop: Stop, teacher: Waiting) -> None:
        await four_are_out(teacher)
        threading.Thread(target=stop.ask, args=(WHY,)).start()
        while stop.reason is None:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0.001)
        teacher.may.set()

    assert run_and_stop(tmp_path / "calls.sqlite", WHY, drive).begun == 4
    assert len(list(read_calls(tmp_path / "calls.sqlite"))) == 4


def test_at_once_waits_for_nothing(tmp_path: Path) -> None:
    at_once = Reason("at once", 4, at_once=True)

    async def drive(stop: Stop, teacher: Waiting) -> None:
        await four_are_out(teacher)
        stop.ask(at_once)

    assert run_and_stop(tmp_path / "calls.sqlite", at_once, drive).begun == 4
    assert not list(read_calls(tmp_path / "calls.sqlite"))


async def test_what_fails_fails_and_what_is_done_is_returned(tmp_path: Path) -> None:
    async def seven() -> int:
        return 7

    async def fails() -> int:
        raise ValueError("no")

    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        caller = Caller(Waiting(), ledger)  # type: ignore[arg-type]
        assert await until_stopped(Stop(), caller, seven()) == 7
        with pytest.raises(ValueError, match="no"):
            await until_stopped(Stop(), caller, fails())


def test_the_first_reason_counts() -> None:
    stop = Stop()
    stop.check()
    stop.ask(WHY)
    stop.ask(BY_SIGNAL[signal.SIGTERM])
    with pytest.raises(Stopped, match="by a test"):
        stop.check()
    with pytest.raises(Stopped, match="by a test"), stop.named():
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt) as plain, Stop().named():
        raise KeyboardInterrupt
    assert not isinstance(plain.value, Stopped)


def test_a_signal_asks_and_the_second_stops_now(capfd: pytest.CaptureFixture[str]) -> None:
    stop, before = Stop(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="by SIGTERM"), stopped_by_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == BY_SIGNAL[signal.SIGTERM]
        assert "stopping at the next safe point" in capfd.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.alarm(0) == 0


def test_a_forked_child_ends_by_the_signal_that_its_parent_sends() -> None:
    with stopped_by_signals(Stop()):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, b"!")  # a signal that comes before Python has taken note of the fork is lost
            for _ in range(1000):
                time.sleep(0.01)
            os._exit(0)
        os.read(read, 1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def recipe(server: LoopbackServer | None = None, **more: Any) -> dict[str, Any]:
    teacher: dict[str, Any] = {"kind": "rule_tutor"}
    if server is not None:
        teacher = {"kind": "openai", "model": "loopback", "base_url": server.base_url, "key": "LOOPBACK_KEY",
                   "features": ["n"]}  # fmt: skip
    return {
        "task": {"id": "skills_demo", "train": 3, "held_out": 1},
        "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
        "teacher": teacher,
        "method": "rationale",
        "train": {"epochs": 1},
        "calls": {"in_flight": 4},
        "gate": {"rule": "always"},
        **more,
    }


class AsksAt:
    """A listener that asks the run to stop when something is said or counted."""

    def __init__(self, run: Callable[[], Run], word: str) -> None:
        self.run, self.word = run, word

    def line(self, text: str) -> None:
        if self.word in text:
            self.run().work.stop.ask(WHY)

    def bar(self, title: str, total: int) -> Any:
        if self.word == f"bar {title}":
            self.run().work.stop.ask(WHY)
        return Silent().bar(title, total)

    def live(self, title: str) -> Any:
        return Silent().live(title)


@pytest.mark.parametrize(("word", "done"), [("bar learn", "select"), ("bar examine", "label"), ("filter ", "filter")])
def test_a_run_stops_between_stages_and_while_a_student_works(word: str, done: str, tmp_path: Path) -> None:
    made: list[Run] = []
    made.append(Run.start(resolve(recipe()), tmp_path / "run", AsksAt(lambda: made[0], word)))
    with pytest.raises(Stopped, match="by a test"):
        made[0].to_the_end()
    beat = read_heartbeat(tmp_path / "run")
    assert beat is not None
    assert (beat.ended, beat.reason) == ("stopped", "by a test")
    last = {"learn": "learn", "examine": "examine", "filter ": "select"}[word.removeprefix("bar ")]
    index = 1
    assert made[0].work.folder.marker(index, last) is None
    assert made[0].work.folder.marker(0 if done == "label" else index, done) is not None
    finished = Run.resume(tmp_path / "run").to_the_end()
    assert [one.index for one in finished] == [0, 1]


def test_a_bench_is_stopped_too(tmp_path: Path) -> None:
    path, stop = tmp_path / "recipe.yaml", Stop()
    path.write_text(yaml.safe_dump(recipe()))
    stop.ask(WHY)
    with pytest.raises(Stopped, match="by a test"):
        run_bench(arms_of([path], ()), tmp_path / "bench", 1, None, None, Silent(), stop)
    assert not list(tmp_path.glob("bench/stems/*/rounds/00/.done/*"))


def start(path: Path, server: LoopbackServer) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from loops.cli import main; main()", "run", str(path), "--into", "run", "--quiet"]
    environment = {**os.environ, "LOOPBACK_KEY": server.key, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(command, cwd=path.parent, env=environment, stderr=subprocess.PIPE, text=True)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def asked(server: LoopbackServer) -> list[str]:
    rows = [seen for seen in server.requests if seen.path.endswith("completions")]
    return [json.dumps([row.body["messages"], row.body.get("seed")], sort_keys=True) for row in rows]


def test_signals_to_a_command(tmp_path: Path) -> None:
    """Once: what is out comes back, and is asked for no second time. Twice: it ends though nothing comes back."""
    path = tmp_path / "recipe.yaml"
    with LoopbackServer(RuleTutor()) as server:
        path.write_text(yaml.safe_dump(recipe(server)))
        server.fault = lambda seen: Fault(delay=0.3)
        process = start(path, server)
        until(lambda: len(asked(server)) >= 9)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        first, last = said.strip().splitlines()
        assert first.startswith("stopping at the next safe point")
        assert last == "tutelage: stopped by Ctrl-C; go on with tutelage resume run"
        beat = read_heartbeat(tmp_path / "run")
        assert beat is not None
        assert (beat.ended, beat.reason) == ("stopped", "by Ctrl-C")
        held = {json.dumps([list(call.messages), call.sampling.seed], sort_keys=True)
                for call in read_calls(tmp_path / "run" / "calls.sqlite")}  # fmt: skip
        assert set(asked(server)) == held

        server.fault = lambda seen: Fault(delay=float("inf"))
        process, before = start(path, server), len(asked(server))
        until(lambda: len(asked(server)) >= before + 4)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None  # it waits for what is out
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143, said
        assert time.monotonic() - began < 8
        assert said.strip().splitlines()[-1] == "tutelage: stopped by SIGTERM; go on with tutelage resume run"
        assert not set(asked(server)[before:]) & held


SWALLOWED = """
import os, signal, sys, time
from loops.watching.stopping import Stop, Stopped, stopped_by_signals

class Held:
    def __del__(self) -> None:  # Python swallows what a finalizer raises
        os.kill(os.getpid(), signal.SIGTERM)

stop = Stop()
try:
    with stopped_by_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason is not None
        held = Held()
        del held
        time.sleep(5)
        print("went on")
except Stopped as stopped:
    print(stopped)
"""

ABANDONED = """
import asyncio, gc, os, signal
from loops.watching.stopping import Stop, Stopped, stopped_by_signals, until_stopped

class Caller:
    teacher = None

    async def land(self, seconds: float) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:  # the loop is being closed
            pass

stop = Stop()

def ask() -> None:
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await until_stopped(stop, Caller(), asyncio.sleep(10))

    with stopped_by_signals(stop):
        asyncio.run(main())

try:
    ask()
except Stopped as stopped:
    print(stopped)
gc.collect()
"""


@pytest.mark.parametrize("script", [SWALLOWED, ABANDONED], ids=["in a finalizer", "while a teacher is asked"])
def test_a_second_signal_stops_wherever_it_comes_and_tells_of_no_traceback(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "by SIGTERM\n"), done.stderr
    assert done.stderr.strip() == "stopping at the next safe point; calls that are out may come back; again: stops now"


ENDING = """
import atexit, os, signal, sys
import typer
from lessons.errors import StoppedError
import loops.cli

def second() -> None:  # Ctrl-C once more, while the process ends
    os.kill(os.getpid(), signal.SIGINT)

atexit.register(second)
loops.cli.app = typer.Typer()

@loops.cli.app.command()
def stop(how: str) -> None:
    if how == "stopped":
        raise StoppedError("stopped by SIGTERM; go on with ...", code=143)
    os.kill(os.getpid(), signal.SIGINT)

loops.cli.main()
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("stopped", 143, "tutelage: stopped by SIGTERM; go on with ..."),
        ("interrupted", 130, "stopped; the same command goes on from here"),
    ],
)
def test_an_interrupt_while_the_process_ends_is_no_traceback(how: str, code: int, said: str) -> None:
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heeding}\n{ENDING}", how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
