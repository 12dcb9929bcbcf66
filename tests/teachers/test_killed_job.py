"""A job of many requests is killed at a random moment and started again: no more is lost than was in flight."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from lessons.records import Message
from teachers.base import Reply, Sampling, Usage
from teachers.calls import Caller
from teachers.ledger import Call, Ledger, call_key, read_calls
from teachers.loopback import Fault, LoopbackServer, Seen
from teachers.scripted import ScriptedTeacher

ROOT = Path(__file__).resolve().parents[2]
IN_FLIGHT = 64
SAMPLES = 4
"""Of each fifth prompt, in one request."""
DELAY = 0.004
"""Seconds that each reply takes: a kill finds requests on their way, with the server, and on their way back."""
JOB = """
import asyncio, json, sys
from pathlib import Path
from lessons.jsonl import whole_file
from teachers.base import Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.openai import OpenAITeacher
from teachers.prompts.base import Prompt

folder, address, prompts, in_flight, samples = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
prompt = Prompt(name="number", system="Answer.", user="{{ question }}", parse=int, sampling=Sampling(max_tokens=32))

async def main():
    teacher = OpenAITeacher(model="loopback", base_url=address, key="JOB_KEY", label="the same", features=("n",))
    with Ledger.open(folder / "calls.sqlite", cache=folder / "shared.sqlite") as ledger:
        caller = Caller(teacher, ledger, in_flight=in_flight, seed=3)
        asked = [
            caller.ask(prompt, {"question": f"Say {i}."}, n=1 if i % 5 else samples) for i in range(prompts)
        ]
        done = await asyncio.gather(*asked)
    await teacher.aclose()
    with whole_file(folder / "output.jsonl") as out:
        for answers in done:
            line = [(a.value, a.reason, a.text, a.call) for a in answers]
            out.write(json.dumps(line).encode() + b"\\n")
    print(caller.totals.sent, caller.totals.from_ledger, caller.totals.from_cache)

asyncio.run(main())
"""


def digits(messages, sampling) -> Reply:
    """The same for all samples, and no tokens of a prompt: a kill may leave half of a group, which is another group."""
    number = "".join(sign for sign in messages[1]["content"] if sign.isdigit())
    return Reply(text=number, usage=Usage(completion=len(number), reasoning=0))


@dataclass(kw_only=True)
class Ended:
    """A job that ended, after a kill or without one."""

    requests: int
    """That the server saw, of both processes where there were two."""
    kept: int
    """Calls in the ledger when the job was killed."""
    records: list[str]
    """The ledger: all that does not depend on the clock, sorted."""
    output: bytes
    bought: int
    """Requests of the process that went to the end."""
    from_ledger: int


def records_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM broken").fetchone() == (0,)
        rows = connection.execute("SELECT id, paid, prompt, completion, record FROM calls").fetchall()
    records = [{**json.loads(row[-1]), "columns": row[:-1]} for row in rows]
    for record in records:
        del record["seconds"], record["created"]
    return sorted(json.dumps(record, sort_keys=True) for record in records)


def run_job(folder: Path, prompts: int, kill_at: int | None = None) -> Ended:
    """Run the job to its end; kill it when the server sees request number `kill_at`, and start it again."""
    folder.mkdir()
    ledger, child = folder / "calls.sqlite", []

    def kill(seen: Seen) -> Fault:
        if seen.index == kill_at:
            os.kill(child[0].pid, signal.SIGKILL)
        return Fault(delay=DELAY)

    with LoopbackServer(ScriptedTeacher(replies=digits), fault=kill) as server:
        numbers = [str(number) for number in (prompts, IN_FLIGHT, SAMPLES)]
        command = [sys.executable, "-c", JOB, str(folder), server.base_url, *numbers]
        environment: Mapping[str, str] = {**os.environ, "JOB_KEY": server.key, "PYTHONPATH": str(ROOT)}
        kept = 0
        if kill_at is not None:
            child.append(subprocess.Popen(command, cwd=ROOT, env=environment))
            assert child[0].wait(120) == -signal.SIGKILL
            assert not (folder / "output.jsonl").exists()
            kept = len(records_of(ledger)) if ledger.exists() else 0
            kill_at = None
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        requests = len(server.requests)
    bought, from_ledger, _ = map(int, done.stdout.split())
    return Ended(
        requests=requests,
        bought=bought,
        from_ledger=from_ledger,
        kept=kept,
        records=records_of(ledger),
        output=(folder / "output.jsonl").read_bytes(),
    )


def check_trials(folder: Path, prompts: int, trials: int) -> None:
    undisturbed = run_job(folder / "undisturbed", prompts)
    asked = [[number] * (1 if number % 5 else SAMPLES) for number in range(prompts)]
    read = [[value for value, _, _, _ in json.loads(line)] for line in undisturbed.output.splitlines()]
    assert read == asked
    assert (undisturbed.requests, len(undisturbed.records)) == (prompts, sum(map(len, asked)))
    for trial in range(trials):
        moment = random.Random(trial).randrange(1, prompts)
        again = run_job(folder / str(trial), prompts, moment)
        asked_again = again.requests - prompts
        print(f"trial {trial}: killed at request {moment} of {prompts}, {asked_again} asked again")
        assert 0 <= asked_again <= IN_FLIGHT
        assert again.from_ledger == again.kept
        assert again.bought <= prompts - moment + IN_FLIGHT
        assert again.records == undisturbed.records
        assert again.output == undisturbed.output
        cached = set(records_of(folder / str(trial) / "shared.sqlite"))
        assert cached <= set(again.records)
        assert len(again.records) - len(cached) <= IN_FLIGHT * SAMPLES


@pytest.mark.slow
def test_after_a_kill_no_more_is_asked_again_than_was_in_flight(tmp_path: Path):
    check_trials(tmp_path, 400, 3)


@pytest.mark.slow
def test_twenty_kills_of_a_job_of_two_thousand_requests(tmp_path: Path):
    check_trials(tmp_path, 2000, 20)


async def test_a_call_is_in_its_own_ledger_before_it_is_in_the_shared_one(tmp_path: Path):
    """Else a kill between the two would leave a call that the next run takes for somebody else's."""
    own, shared = tmp_path / "calls.sqlite", tmp_path / "shared.sqlite"
    sampling, messages = Sampling(), (Message(role="user", content="2 + 2?"),)
    call = Call(
        id=call_key("t", messages, sampling, 0),
        teacher="t",
        purpose="number",
        messages=messages,
        sampling=sampling,
        sample=0,
        reply=Reply(text="4"),
        seconds=0.0,
        created="",
    )
    with Ledger.open(own, cache=shared) as ledger, closing(sqlite3.connect(own, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing can be written now
        putting = asyncio.ensure_future(ledger.put_now(call))
        await asyncio.sleep(0.2)
        assert (list(read_calls(own)), list(read_calls(shared)), putting.done()) == ([], [], False)
        other.execute("ROLLBACK")
        assert await putting == call
        assert list(read_calls(own)) == list(read_calls(shared)) == [call]


async def test_a_reply_that_is_not_on_disk_yet_is_still_in_flight(client, tmp_path: Path, number_prompt):
    """A disk that writes nothing stops the buying after as many requests as a kill may lose."""
    own = tmp_path / "calls.sqlite"
    async with LoopbackServer(ScriptedTeacher(replies=digits)) as server:
        teacher = client(server)
        with Ledger.open(own) as ledger, closing(sqlite3.connect(own, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # nothing can be written now
            caller = Caller(teacher, ledger, in_flight=5)
            asked = (caller.ask(number_prompt, {"question": f"Say {number}."}) for number in range(30))
            asking = asyncio.gather(*asked)
            async with asyncio.timeout(60):
                while len(server.requests) < 5:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert len(server.requests) == 5
            other.execute("ROLLBACK")
            assert [answer.value for (answer,) in await asking] == list(range(30))
        await teacher.aclose()
