import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lessons.errors import InputError, TeacherError
from lessons.ids import seed_of
from teachers.base import Reply, Sampling, Usage
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.loopback import Fault, LoopbackServer
from teachers.scripted import ScriptedTeacher

ROOT = Path(__file__).resolve().parents[2]


def asked(teacher: ScriptedTeacher) -> list[str]:
    return [request.messages[-1]["content"] for request in teacher.requests]


def about(number: int) -> dict[str, object]:
    return {"question": f"Say {number}."}


def digits(messages, sampling) -> str:
    return "".join(sign for sign in messages[1]["content"] if sign.isdigit())


async def test_samples_come_in_order_of_their_index_whatever_the_order_of_completion(ledger, number_prompt):
    left, seeds = 8, [seed_of(5, sample) for sample in range(8)]
    turn = asyncio.Condition()

    async def last_first(messages, sampling):
        nonlocal left
        async with turn:
            await turn.wait_for(lambda: seeds.index(sampling.seed) == left - 1)
            left -= 1
            turn.notify_all()
        return str(seeds.index(sampling.seed))

    caller = Caller(ScriptedTeacher(replies=last_first), ledger, seed=5)
    answers = await caller.ask(number_prompt, about(0), n=8)
    assert [answer.value for answer in answers] == list(range(8))
    assert [ledger.get(answer.call).sample for answer in answers] == list(range(8))


async def test_a_request_is_never_sent_twice_also_after_reopening(tmp_path, number_prompt):
    teacher = ScriptedTeacher(replies=digits)
    path = tmp_path / "calls.sqlite"
    with Ledger.open(path) as ledger:
        first = await Caller(teacher, ledger).ask(number_prompt, about(7), n=3)
        assert await Caller(teacher, ledger).ask(number_prompt, about(7), n=3) == first
    with Ledger.open(path) as ledger:
        caller = Caller(teacher, ledger)
        assert await caller.ask(number_prompt, about(7), n=3) == first
        assert len(teacher.requests) == 3
        assert (caller.totals.sent, caller.totals.from_ledger, caller.totals.parsed) == (0, 3, 3)
        for other in (
            Caller(teacher, ledger, seed=1).ask(number_prompt, about(7)),
            caller.ask(number_prompt, about(8)),
            caller.ask(number_prompt, about(7), sampling=Sampling(max_tokens=33)),
            caller.ask(number_prompt, about(7), n=4),  # its first three are known
            Caller(ScriptedTeacher(replies=digits, name="another"), ledger).ask(number_prompt, about(7)),
        ):
            await other
        assert len(teacher.requests) == 3 + 4
    assert len(list(read_calls(path))) == 8


async def test_each_sample_has_a_seed_that_only_the_run_and_its_index_decide(ledger, number_prompt):
    teacher = ScriptedTeacher(replies=digits)
    caller = Caller(teacher, ledger, seed=11)
    await caller.ask(number_prompt, about(1), n=3)
    await caller.ask(number_prompt, about(2), n=1, sampling=Sampling(seed=4))
    seeds = [request.sampling.seed for request in teacher.requests]
    assert seeds == [seed_of(11, 0), seed_of(11, 1), seed_of(11, 2), seed_of(4, 0)]


async def test_identical_requests_in_flight_are_sent_once(ledger, number_prompt):
    let_go = asyncio.Event()

    async def held(messages, sampling):
        await let_go.wait()
        return "1"

    teacher = ScriptedTeacher(replies=held)
    caller = Caller(teacher, ledger)
    asking = [asyncio.create_task(caller.ask(number_prompt, about(1), n=2)) for _ in range(10)]
    await asyncio.sleep(0)
    let_go.set()
    answers = await asyncio.gather(*asking)
    assert len(teacher.requests) == 2
    assert all(answer == answers[0] for answer in answers)
    assert (caller.totals.asked, caller.totals.sent, caller.totals.parsed) == (20, 2, 20)


async def test_one_who_shares_a_request_may_leave_without_ending_it(ledger, number_prompt):
    let_go = asyncio.Event()

    async def held(messages, sampling):
        await let_go.wait()
        return "1"

    teacher = ScriptedTeacher(replies=held)
    caller = Caller(teacher, ledger)
    leaves, stays = (asyncio.create_task(caller.ask(number_prompt, about(1))) for _ in range(2))
    while not teacher.requests:
        await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    let_go.set()
    assert [answer.value for answer in await stays] == [1]
    assert len(teacher.requests) == 1


async def test_when_all_leave_the_request_ends_and_may_be_made_again_at_once(ledger, number_prompt):
    ended = 0

    async def held(messages, sampling):
        nonlocal ended
        if len(teacher.requests) > 1:
            return "2"
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    teacher = ScriptedTeacher(replies=held)
    caller = Caller(teacher, ledger)
    leaves = asyncio.create_task(caller.ask(number_prompt, about(1)))
    while not teacher.requests:
        await asyncio.sleep(0)
    leaves.cancel()
    again = asyncio.create_task(caller.ask(number_prompt, about(1)))
    assert [answer.value for answer in await again] == [2]
    assert leaves.cancelled()
    assert ended == 1


async def test_no_more_than_the_limit_are_with_the_teacher_at_once(ledger, number_prompt):
    now = most = 0

    async def counting(messages, sampling):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return "1"

    caller = Caller(ScriptedTeacher(replies=counting), ledger, in_flight=5)
    await asyncio.gather(*(caller.ask(number_prompt, about(i), n=2) for i in range(20)))
    assert most == 5


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        (Reply(text=" \n"), "empty", ""),
        (Reply(text="I cannot", finish="refused", detail="policy"), "refused", "policy"),
        (Reply(text="12", finish="length", detail="length"), "truncated", "length"),
        (Reply(text="", finish="length"), "truncated", ""),
        (Reply(text="twelve"), "invalid", "'twelve' is no number"),
    ],
)
async def test_a_bad_reply_is_data_counted_and_kept(ledger, number_prompt, reply, reason, detail):
    caller = Caller(ScriptedTeacher(replies=lambda messages, sampling: reply), ledger, repair=False)
    (answer,) = await caller.ask(number_prompt, about(1))
    assert (answer.value, answer.reason, answer.text, answer.detail) == (None, reason, reply.text, detail)
    assert ledger.get(answer.call).reply == reply
    totals = caller.totals
    assert (totals.asked, totals.parsed, totals.lost) == (1, 0, Counter({reason: 1}))
    assert totals.answered == (reason == "invalid")


async def test_a_reply_that_broke_off_is_lost_and_asked_for_again_the_next_time(ledger, number_prompt):
    cut = Reply(text="12", finish="other", detail="abort", usage=Usage(completion=2))
    caller = Caller(ScriptedTeacher(replies=[cut, "123"]), ledger)
    (answer,) = await caller.ask(number_prompt, about(1))
    assert (answer.reason, answer.text, answer.call, answer.detail) == ("failed", "12", None, "abort")
    assert caller.totals.tokens == {"completion": 2}  # paid all the same
    assert [a.value for a in await caller.ask(number_prompt, about(1))] == [123]


async def test_an_invalid_reply_is_given_back_once_with_what_was_wrong(ledger, number_prompt):
    teacher = ScriptedTeacher(replies=["twelve", "12"])
    caller = Caller(teacher, ledger)
    (answer,) = await caller.ask(number_prompt, about(1))
    assert (answer.value, answer.reason, answer.text) == (12, "", "12")
    first, repair = (ledger.get(key) for key in (answer.repaired, answer.call))
    assert (first.purpose, first.reply.text) == ("number", "twelve")
    assert (repair.purpose, repair.reply.text) == ("number/repair", "12")
    assert repair.messages[:2] == first.messages
    assert repair.messages[2] == {"role": "assistant", "content": "twelve"}
    assert "'twelve' is no number" in repair.messages[3]["content"]
    totals = caller.totals
    assert (totals.asked, totals.sent, totals.parsed, totals.repaired, totals.lost) == (1, 2, 1, 1, Counter())
    assert await Caller(teacher, ledger).ask(number_prompt, about(1)) == [answer]
    assert len(teacher.requests) == 2


@pytest.mark.parametrize(
    ("second", "text", "detail"),
    [
        ("dozen", "dozen", "'dozen' is no number"),
        ("", "twelve", "'twelve' is no number; the repair was empty: "),
        (TeacherError("too long", status=400), "twelve", "'twelve' is no number; the repair was failed: too long"),
    ],
)
async def test_a_repair_that_fails_leaves_an_invalid_answer(ledger, number_prompt, second, text, detail):
    caller = Caller(ScriptedTeacher(replies=["twelve", second]), ledger)
    (answer,) = await caller.ask(number_prompt, about(1))
    assert (answer.value, answer.reason, answer.text, answer.detail) == (None, "invalid", text, detail)
    assert ledger.get(answer.call).reply.text == text
    assert caller.totals.lost == {"invalid": 1}


async def test_a_call_that_fails_is_lost_alone(ledger, number_prompt):
    def every_third(messages, sampling):
        number = digits(messages, sampling)
        return TeacherError("too long", status=400) if int(number) % 3 == 0 else number

    teacher = ScriptedTeacher(replies=every_third)
    caller = Caller(teacher, ledger)
    answers = [
        a for many in await asyncio.gather(*(caller.ask(number_prompt, about(i)) for i in range(9))) for a in many
    ]
    assert [answer.value for answer in answers] == [None, 1, 2, None, 4, 5, None, 7, 8]
    assert (answers[3].reason, answers[3].detail, answers[3].call) == ("failed", "too long", None)
    assert caller.totals.lost == {"failed": 3}
    await caller.ask(number_prompt, about(3))
    assert asked(teacher).count("Say 3.") == 2  # an error is not kept


async def test_a_fatal_error_stops_all_and_what_had_been_replied_is_kept(ledger, number_prompt):
    replied, holding = asyncio.Event(), asyncio.Event()

    async def one_good_one_held_then_fatal(messages, sampling):
        number = digits(messages, sampling)
        if number == "1":
            replied.set()
            return "1"
        if number == "2":
            holding.set()
            await asyncio.Event().wait()
        await replied.wait()
        await holding.wait()
        raise TeacherError("no such model", status=404, fatal=True)

    teacher = ScriptedTeacher(replies=one_good_one_held_then_fatal)
    caller = Caller(teacher, ledger, in_flight=3)
    asking = [asyncio.create_task(caller.ask(number_prompt, about(i), n=1 + (i == 3))) for i in range(1, 100)]
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(end, TeacherError) and end.fatal and end.status == 404 for end in done[1:])
    assert len(teacher.requests) <= 4
    ledger.close()  # its last put may still be on the way
    assert [call.reply.text for call in read_calls(ledger.path)] == ["1"]


async def test_a_fatal_error_of_one_sample_ends_the_others_before_it_goes_on(ledger, number_prompt):
    ended = 0

    async def first_is_fatal(messages, sampling):
        nonlocal ended
        if sampling.seed == seed_of(0, 0):
            while len(teacher.requests) < 4:
                await asyncio.sleep(0)
            raise TeacherError("wrong key", status=401, fatal=True)
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    teacher = ScriptedTeacher(replies=first_is_fatal)
    with pytest.raises(TeacherError, match="wrong key"):
        await Caller(teacher, ledger).ask(number_prompt, about(1), n=4)
    assert ended == 3


async def test_after_a_fatal_error_nothing_more_is_sent(ledger, number_prompt):
    teacher = ScriptedTeacher(replies=[TeacherError("no such model", status=404, fatal=True)])
    caller = Caller(teacher, ledger)
    for number in range(3):
        with pytest.raises(TeacherError, match="no such model") as end:
            await caller.ask(number_prompt, about(number))
        assert (end.value.fatal, end.value.status) == (True, 404)
    assert len(teacher.requests) == 1


async def test_a_teacher_that_never_answers_is_given_up(ledger, number_prompt):
    teacher = ScriptedTeacher(replies=lambda messages, sampling: TeacherError("context too long", status=400))
    caller = Caller(teacher, ledger, in_flight=4, give_up_after=20)
    with pytest.raises(
        TeacherError, match="the first 20 calls of the teacher all failed; the last one: context"
    ) as end:
        await asyncio.gather(*(caller.ask(number_prompt, about(i)) for i in range(500)))
    assert end.value.fatal
    assert 20 <= len(teacher.requests) <= 24


async def test_a_teacher_that_is_gone_in_the_middle_is_given_up(ledger, number_prompt):
    def soon_gone(messages, sampling):
        return "1" if len(teacher.requests) <= 50 else TeacherError("connection refused", retryable=True)

    teacher = ScriptedTeacher(replies=soon_gone)
    caller = Caller(teacher, ledger, in_flight=4, give_up_after=20)
    with pytest.raises(TeacherError, match="the last 20 calls of the teacher all failed"):
        await asyncio.gather(*(caller.ask(number_prompt, about(i)) for i in range(500)))
    assert len(teacher.requests) <= 75
    ledger.close()  # its last puts may still be on the way
    assert len(list(read_calls(ledger.path))) == 50


async def test_a_resumed_run_that_begins_with_hopeless_calls_goes_on(ledger, number_prompt):
    def long_ones_fail(messages, sampling):
        number = int(digits(messages, sampling))
        return TeacherError("context too long", status=400) if number < 30 else str(number)

    teacher = ScriptedTeacher(replies=long_ones_fail)
    await Caller(teacher, ledger).ask(number_prompt, about(99))
    resumed = Caller(teacher, ledger, in_flight=1)
    await asyncio.gather(*(resumed.ask(number_prompt, about(i)) for i in range(40)))
    assert (resumed.totals.parsed, resumed.totals.lost) == (10, {"failed": 30})


async def test_a_ledger_that_cannot_be_written_stops_the_buying(tmp_path, number_prompt):
    ledger = Ledger.open(tmp_path / "calls.sqlite")
    teacher = ScriptedTeacher(replies=lambda messages, sampling: ledger.close() or "1")
    caller = Caller(teacher, ledger, in_flight=1)
    asking = [asyncio.create_task(caller.ask(number_prompt, about(i))) for i in range(50)]
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert len(teacher.requests) == 1
    assert isinstance(done[0], InputError)
    assert all("the ledger is closed" in str(end) for end in done)


async def test_totals_add_up_and_are_told(ledger, number_prompt):
    script = {
        "Say 1.": Reply(text="1", usage=Usage(prompt=10, cached_prompt=6, completion=1, reasoning=0)),
        "Say 2.": Reply(text="2", usage=Usage(prompt=11, completion=1)),
        "Say 3.": "3",
        "Say 4.": "",
    }
    told: list[tuple[int, int]] = []
    caller = Caller(
        ScriptedTeacher(replies=script),
        ledger,
        on_change=lambda totals: told.append((totals.parsed, totals.lost.total())),
    )
    for number in range(1, 5):
        await caller.ask(number_prompt, about(number))
    assert told == [(1, 0), (2, 0), (3, 0), (3, 1)]
    totals = caller.totals.copy()
    assert totals.tokens == {"prompt": 21, "cached_prompt": 6, "completion": 2, "reasoning": 0}
    assert totals.unmeasured == 2
    assert totals.asked == totals.parsed + totals.lost.total() == 4
    await caller.ask(number_prompt, about(1))
    added = caller.totals.since(totals)
    assert (added.asked, added.sent, added.from_ledger, added.parsed) == (1, 0, 1, 1)
    assert (added.tokens, added.ledger_tokens["prompt"], added.lost) == (Counter(), 10, Counter())


async def test_half_a_surrogate_pair_harms_nobody(ledger, number_prompt):
    caller = Caller(ScriptedTeacher(replies=lambda m, s: "7 \ud83d"), ledger, repair=False)
    (answer,) = await caller.ask(number_prompt, {"question": "broken \udc00 question"})
    assert (answer.reason, answer.text) == ("invalid", "7 \ufffd")
    assert ledger.get(answer.call).messages[-1]["content"] == "broken \ufffd question"


def test_one_caller_serves_one_event_loop_after_another(ledger, number_prompt):
    teacher = ScriptedTeacher(replies=digits)
    caller = Caller(teacher, ledger, in_flight=1)

    async def stage(begin: int) -> list[int | None]:
        done = await asyncio.gather(*(caller.ask(number_prompt, about(i)) for i in range(begin, begin + 5)))
        return [answer.value for (answer,) in done]

    assert asyncio.run(stage(0)) == [0, 1, 2, 3, 4]
    assert asyncio.run(stage(3)) == [3, 4, 5, 6, 7]
    assert len(teacher.requests) == 8


async def test_a_missing_field_is_an_input_error_before_anything_is_sent(ledger, number_prompt):
    teacher = ScriptedTeacher(replies=["1"])
    with pytest.raises(InputError, match="'number' cannot be rendered"):
        await Caller(teacher, ledger).ask(number_prompt, {})
    assert teacher.requests == []


RUN = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]) / "tests" / "teachers"))
from conftest import a_number
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.openai import OpenAITeacher
from teachers.prompts.base import Prompt

async def main():
    prompt = Prompt(name="number", system="Answer.", user="{{ question }}", parse=a_number)
    teacher = OpenAITeacher(model="loopback", base_url=sys.argv[3], key="LOOPBACK_KEY")
    with Ledger.open(Path(sys.argv[2])) as ledger:
        caller = Caller(teacher, ledger, in_flight=8)
        done = await asyncio.gather(*(caller.ask(prompt, {"question": f"Say {i}."}) for i in range(200)))
        assert sorted(a.value for (a,) in done) == list(range(200))
    await teacher.aclose()
    print(caller.totals.sent, caller.totals.from_ledger)
asyncio.run(main())
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_after_a_kill_only_what_was_in_flight_is_asked_again(tmp_path: Path, monkeypatch, seed):
    path, process = tmp_path / "calls.sqlite", None
    kill_at = random.Random(seed).randrange(20, 180)

    def kill(seen) -> Fault | None:
        if seen.index == kill_at:
            os.kill(process.pid, signal.SIGKILL)
        return None

    with LoopbackServer(ScriptedTeacher(replies=digits), fault=kill) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        command = [sys.executable, "-c", RUN, str(ROOT), str(path), server.base_url]
        process = subprocess.Popen(command, cwd=ROOT)
        assert process.wait() == -signal.SIGKILL
        before = {call.messages[-1]["content"] for call in read_calls(path)}
        reached = len(server.requests)
        server.fault = None
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        again = [seen.body["messages"][-1]["content"] for seen in server.requests[reached:]]
    assert finished.stdout.split() == [str(len(again)).encode(), str(len(before)).encode()]
    assert not before & set(again)
    assert len(before) + len(again) == 200
    assert len(before) >= kill_at + 1 - 8
