"""A child process is killed at each step of a batch, and started again: each request is paid for once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from teachers.base import Reply
from teachers.ledger import read_calls
from teachers.loopback import Fault
from teachers.loopback_batch import BatchFault, LoopbackBatchServer
from teachers.scripted import ScriptedTeacher

ROOT = Path(__file__).resolve().parents[2]


def digits(messages, sampling) -> Reply:
    return Reply(text="".join(sign for sign in messages[-1]["content"] if sign.isdigit()))


NUMBERS = ScriptedTeacher(replies=digits)
CHILD = """
import asyncio, os, signal, sys, time
from pathlib import Path
from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.batch import BatchTeacher
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.base import Prompt

folder, address, kill = sys.argv[1:]
prompt = Prompt(name="number", system="Answer.", user="{{ question }}", parse=int, sampling=Sampling(max_tokens=32))

class Dying(BatchTeacher):
    async def ask(self, messages, sampling):
        await super().ask(messages, sampling)
        os.kill(os.getpid(), signal.SIGKILL)  # before anything is in the ledger

if kill == "second":  # its start is over, and it asks when it is told to
    Path(folder, "ready").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.01)

async def main():
    kind = Dying if kill == "downloaded" else BatchTeacher
    teacher = kind(model="loopback", base_url=address, key="BATCH_KEY", gather=0.1, poll=0.02,
                   state=f"{folder}/batches.sqlite")
    with Ledger.open(Path(folder, "calls.sqlite")) as ledger:
        caller = Caller(teacher, ledger, in_flight=teacher.in_flight)
        asked = await asyncio.gather(*(caller.ask(prompt, {"question": f"Say {i}."}) for i in range(60)))
        await teacher.aclose()
    print(sum(answers[0].value == number for number, answers in enumerate(asked)))

asyncio.run(main())
"""
STEPS = {
    # step -> (is it reached?, before or after the request has its effect)
    "uploading": (lambda seen: seen.path == "/v1/files", "before"),
    "uploaded": (lambda seen: seen.path == "/v1/files", "after"),
    "submitting": (lambda seen: seen.path == "/v1/batches" and seen.body, "before"),
    "submitted, id not recorded": (lambda seen: seen.path == "/v1/batches" and seen.body, "after"),
    "polling": (lambda seen: seen.path == "/v1/batches/batch_0" and seen.index == 2, "after"),
    "ended": (lambda seen: seen.path == "/v1/batches/batch_0" and seen.index == 3, "after"),
    "downloading": (lambda seen: seen.path.endswith("/content"), "before"),
    "downloaded": (lambda seen: False, "by itself, before the ledger"),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_each_request_is_paid_for_once(step, tmp_path, monkeypatch):
    reached, when = STEPS[step]
    child: list[subprocess.Popen[str]] = []
    killed: list[str] = []

    def kill(seen, now: str) -> None:
        if when == now and not killed and reached(seen):
            killed.append(seen.path)
            child[0].send_signal(signal.SIGKILL)
            child[0].wait()

    server = LoopbackBatchServer(
        NUMBERS,
        fault=lambda seen: kill(seen, "before"),
        after=lambda seen: kill(seen, "after"),
        batch_fault=lambda index: BatchFault(polls=3),
    )
    with server:
        command = [sys.executable, "-c", CHILD, str(tmp_path), server.base_url]
        environment = {**os.environ, "BATCH_KEY": server.key, "PYTHONPATH": str(ROOT)}
        child.append(subprocess.Popen([*command, step], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))
        assert child[0].wait(60) == -signal.SIGKILL
        assert bool(killed) == (when in ("before", "after"))
        done = subprocess.run([*command, ""], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "60\n", done.stderr
    assert len(list(read_calls(tmp_path / "calls.sqlite"))) == 60
    assert (len(server.paid), set(server.paid.values())) == (60, {1})
    assert sum(len(batch.requests) for batch in server.batches if batch.polls) == 60
    assert len(server.batches) == 1


def test_two_processes_that_ask_the_same_share_one_batch(tmp_path):
    """The second one comes while the first one uploads, and has submitted nothing yet."""
    with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: BatchFault(polls=20)) as server:
        server.fault = lambda seen: Fault(delay=4.0) if seen.path == "/v1/files" else None
        environment = {**os.environ, "BATCH_KEY": server.key, "PYTHONPATH": str(ROOT)}
        one, other = tmp_path / "one", tmp_path / "other"  # a ledger each, one record of batches
        children = []

        def begin(folder: Path, when: str) -> None:
            folder.mkdir()
            command = [sys.executable, "-c", CHILD, str(folder), server.base_url, when]
            children.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))

        begin(other, "second")
        (other / "batches.sqlite").symlink_to(one / "batches.sqlite")
        while not (other / "ready").exists():
            time.sleep(0.01)
        begin(one, "")
        while not server.requests:
            time.sleep(0.01)
        (other / "go").touch()
        assert [child.communicate(timeout=60)[0] for child in children] == ["60\n", "60\n"]
    assert (len(server.paid), set(server.paid.values())) == (60, {1})
    assert len(server.batches) == 1
