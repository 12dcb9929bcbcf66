import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from loops.recipe import resolve
from loops.run import Run
from teachers.base import Reply, Sampling, Usage
from teachers.calls import Caller
from teachers.ledger import Call, Ledger, call_key, read_calls
from teachers.loopback import Fault, LoopbackServer
from teachers.replay import ReplayTeacher
from teachers.scripted import ScriptedTeacher

ROOT = Path(__file__).resolve().parents[2]


def say(messages, sampling) -> Reply:
    """A reply that each sample has for itself; some ask for a repair turn, and some are never repaired."""
    question = messages[1]["content"]
    number = int("".join(sign for sign in question if sign.isdigit()))
    usage = Usage(prompt=20, completion=7, reasoning=3)
    if number % 7 == 3 and len(messages) == 2:
        return Reply(text="about a dozen", usage=usage)
    if number % 7 == 5:
        return Reply(text=f"not a number, {sampling.seed}", usage=usage)
    return Reply(text=str(sampling.seed), reasoning="let me see", usage=usage)


def misbehave(seen) -> Fault | None:
    number = int("".join(sign for sign in seen.body["messages"][1]["content"] if sign.isdigit()))
    faults = {
        2: Fault(status=400, message="too long"),
        4: Fault(finish_reason="length"),
        6: Fault(finish_reason="abort"),
        8: Fault(finish_reason="content_filter"),
    }
    return faults.get(number % 10)


async def ask_all(teacher, ledger: Ledger, prompt) -> list:
    caller = Caller(teacher, ledger, in_flight=8, seed=3)
    answered = await asyncio.gather(*(caller.ask(prompt, {"question": f"Say {i}."}, n=3) for i in range(60)))
    await teacher.aclose()
    return [answer for answers in answered for answer in answers]


def plain(answer) -> tuple:
    """All of an answer but the words of a failure, which no ledger holds; a reply that broke off is not kept either."""
    gone = answer.reason == "failed"
    words = answer.detail.split(": the repair was failed")[0].split("; the repair was failed")[0]
    return answer.value, answer.reason, "" if gone else answer.text, answer.call, answer.repaired, "" if gone else words


async def test_a_run_with_faults_is_replayed_to_the_same_answers(tmp_path, client, number_prompt):
    async with LoopbackServer(ScriptedTeacher(replies=say), fault=misbehave) as server:
        with Ledger.open(tmp_path / "calls.sqlite") as recorded:
            original = client(server)
            first = await ask_all(original, recorded, number_prompt)
        sent = len(server.requests)
        replay = ReplayTeacher(ledger=str(tmp_path))
        with Ledger.open(tmp_path / "again.sqlite") as again:
            second = await ask_all(replay, again, number_prompt)
        assert len(server.requests) == sent  # nobody was asked
    assert replay.name == original.name
    assert [plain(answer) for answer in second] == [plain(answer) for answer in first]
    reasons = [answer.reason for answer in first]
    assert {reason: reasons.count(reason) for reason in set(reasons)} == {
        "": 93,
        "failed": 36,
        "truncated": 18,
        "refused": 18,
        "invalid": 15,
    }
    assert sum(answer.repaired is not None for answer in first) == 33  # those whose repair was as bad are among them
    one = {call.id: call for call in read_calls(tmp_path / "calls.sqlite")}
    other = {call.id: call for call in read_calls(tmp_path / "again.sqlite")}
    assert one.keys() == other.keys()
    for key, call in other.items():
        assert call.reply == msgspec.structs.replace(one[key].reply, usd=0.0)
        assert (call.reply.usage.reasoning, call.reply.reasoning in ("let me see", "")) == (3, True)


async def test_what_is_not_recorded_loses_one_call_or_stops(tmp_path, number_prompt):
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        await Caller(ScriptedTeacher(replies=["1"]), ledger).ask(number_prompt, {"question": "1?"})
    chat = [Message(role="user", content="never asked")]
    for missing, fatal in (("lose", False), ("stop", True)):
        with pytest.raises(TeacherError, match="no reply to 'never asked'") as end:
            await ReplayTeacher(ledger=str(tmp_path), missing=missing).ask(chat, Sampling())
        assert (end.value.fatal, end.value.retryable) == (fatal, False)


async def test_a_recording_of_several_teachers_asks_for_a_choice(tmp_path, number_prompt):
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        for name, count in (("anna", 3), ("boris", 2)):
            teacher = ScriptedTeacher(replies=[str(len(name))] * count, name=name)
            await Caller(teacher, ledger).ask(number_prompt, {"question": "1?"}, n=count)
    with pytest.raises(InputError, match=r"set teacher\.teacher to one of 'anna' \(3 calls\), 'boris' \(2 calls\)"):
        assert ReplayTeacher(ledger=str(tmp_path)).name
    with pytest.raises(InputError, match="no call of the teacher 'clara' is recorded; recorded are 'anna'"):
        assert ReplayTeacher(ledger=str(tmp_path), teacher="clara").name
    chosen = ReplayTeacher(ledger=str(tmp_path / "calls.sqlite"), teacher="boris")
    assert chosen.name == "boris"
    with Ledger.open(tmp_path / "again.sqlite") as ledger:
        answers = await Caller(chosen, ledger).ask(number_prompt, {"question": "1?"}, n=3)
    assert [(answer.value, answer.reason) for answer in answers] == [(5, ""), (5, ""), (None, "failed")]


def test_what_is_no_recording_is_said(tmp_path):
    with pytest.raises(InputError, match="there is no ledger: give a calls.sqlite or the folder of a run"):
        assert ReplayTeacher(ledger=str(tmp_path)).name
    Ledger.open(tmp_path / "calls.sqlite").close()
    with pytest.raises(InputError, match="holds no calls"):
        assert ReplayTeacher(ledger=str(tmp_path)).name
    (tmp_path / "notes.sqlite").write_text("not a database, but longer than a header of one, which has 100 bytes" * 3)
    with pytest.raises(InputError, match="damaged or not a ledger"):
        assert ReplayTeacher(ledger=str(tmp_path / "notes.sqlite")).name


READ = """
import asyncio, os, sys
from pathlib import Path
from teachers.ledger import read_calls
from teachers.replay import ReplayTeacher
folder = Path(sys.argv[1])
(call,) = read_calls(folder / "calls.sqlite")
(folder / "calls.sqlite").chmod(0o444)
folder.chmod(0o555)
if os.getuid() == 0:  # whom no right stops
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try:
    (folder / "new").touch()
except PermissionError:
    print(asyncio.run(ReplayTeacher(ledger=str(folder)).ask(call.messages, call.sampling)).text)
"""


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="needs another user's rights")
async def test_a_ledger_that_may_only_be_read_is_replayed(number_prompt):
    with TemporaryDirectory() as name:  # not pytest's folders, which are their owner's alone
        path = Path(name, "calls.sqlite")
        with Ledger.open(path) as ledger:
            await Caller(ScriptedTeacher(replies=["42"]), ledger).ask(number_prompt, {"question": "1?"})
        before = path.read_bytes()
        Path(name).chmod(0o755)
        done = subprocess.run([sys.executable, "-c", READ, name], cwd=ROOT, capture_output=True, text=True)
        Path(name).chmod(0o755)
        assert done.stdout == "42\n", done.stderr
        assert path.read_bytes() == before


async def test_a_ledger_that_a_run_is_writing_is_replayed(tmp_path, number_prompt):
    """Replies that come while the replay runs are found as well."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        async def main() -> None:
            with Ledger.open(tmp_path / "calls.sqlite") as ledger:
                caller = Caller(ScriptedTeacher(replies=lambda messages, sampling: "7"), ledger)
                while not stop.is_set():
                    await caller.ask(number_prompt, {"question": f"{len(written)}?"})
                    written.append(len(written))

        asyncio.run(main())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(written) < 20:
            await asyncio.sleep(0.01)
        teacher = ReplayTeacher(ledger=str(tmp_path))
        assert teacher.name == "scripted"
        known = len(written)
        while len(written) < known + 20:
            await asyncio.sleep(0.01)
        with Ledger.open(tmp_path / "again.sqlite") as ledger:
            caller = Caller(teacher, ledger)
            for number in range(known + 20):
                assert (await caller.ask(number_prompt, {"question": f"{number}?"}))[0].value == 7
    finally:
        stop.set()
        writer.join()


async def test_a_request_without_a_seed_is_found(tmp_path):
    chat, sampling = (Message(role="user", content="2 + 2?"),), Sampling(stop=("\n",))
    call = Call(
        id=call_key("scripted", chat, sampling, 0),
        teacher="scripted",
        purpose="plain",
        messages=chat,
        sampling=sampling,
        sample=0,
        reply=Reply(text="4", usd=0.25),
        seconds=1.0,
        created="2026-11-20T10:00:00Z",
    )
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        await ledger.put(call)
    assert await ReplayTeacher(ledger=str(tmp_path)).ask(list(chat), sampling) == Reply(text="4", usd=0.0)


RECIPE = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 3, "gate": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 8, "temperature": 1.0}, "adapter": {"rank": 2}},
    "teacher": {"kind": "rule_tutor", "error_rate": 0.2},
    "method": "rationale",
    "select": {"id": "profile", "budget": 8},
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
}


def test_a_whole_run_is_replayed_to_the_same_lessons(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    Run.start(resolve(RECIPE), first).to_the_end()
    replayed = {**RECIPE, "teacher": {"kind": "replay", "ledger": str(first), "missing": "stop"}}
    shutil.copytree(first, tmp_path / "kept")
    Run.start(resolve(replayed), second).to_the_end()
    for name in ("candidates.jsonl", "dropped.jsonl", "lessons.jsonl"):
        one, other = (folder / "rounds" / "01" / name for folder in (first, second))
        assert other.read_bytes() == one.read_bytes()
    assert (second / "rounds/01/lessons.jsonl").read_bytes().count(b"\n") > 3
    info = [json.loads((folder / "run.json").read_text())["teacher"] for folder in (first, second)]
    assert info[0] == info[1]
    assert (first / "calls.sqlite").read_bytes() == (tmp_path / "kept" / "calls.sqlite").read_bytes()
