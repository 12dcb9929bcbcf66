"""The whole path of a call, ledger and accounts included, against an endpoint that misbehaves in every known way."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lessons.errors import TeacherError
from teachers.accounts import account, accounts
from teachers.base import Usage
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.loopback import Fault, LoopbackServer, Seen
from teachers.totals import CallTotals
from tests.teachers.misbehaving import GOOD, KINDS, SLOW, Plan, choice, completion, number_in, outcome, raw, spread

ATTEMPTS = 3
TIMEOUT = 1.0
HANG = 120.0
"""Seconds: many times what the longest of these tests takes."""
NUMBERS = range(1000, 1300)


def about(number: int) -> dict[str, object]:
    return {"question": f"Say {number}."}


async def ask_all(caller, prompt, numbers=NUMBERS):
    async with asyncio.timeout(HANG):
        asked = await asyncio.gather(*(caller.ask(prompt, about(number)) for number in numbers))
    return {number: answer for number, (answer,) in zip(numbers, asked, strict=True)}


def broken_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM broken").fetchone()[0]


def check_answers(answers, must) -> None:
    """A value is what was asked for, or there is none, and the reason says why."""
    assert {n: a.reason for n, a in answers.items()} == {n: must[n].reason for n in answers}
    assert {n: a.value for n, a in answers.items()} == {n: None if must[n].reason else n for n in answers}
    assert {n for n, a in answers.items() if a.repaired and not a.reason} == {n for n in answers if must[n].repaired}
    assert all(a.text == str(n) for n, a in answers.items() if not a.reason)


def check_totals(totals: CallTotals, must) -> None:
    ends = must.values()
    assert totals.asked == len(must) == totals.parsed + totals.lost.total()
    assert totals.lost == Counter(end.reason for end in ends if end.reason)
    assert totals.repaired == sum(end.repaired for end in ends)
    assert totals.answered == sum(end.reason in ("", "invalid") for end in ends)
    assert totals.unmeasured == sum(end.whole + end.broken - end.told for end in ends)
    assert totals.tokens == Counter({kind: n * sum(end.told for end in ends) for kind, n in TOLD if ends})


TOLD = (("prompt", 7), ("completion", 2))


def check_ledger(path: Path, answers, must) -> None:
    ends = must.values()
    whole, broken, told = (sum(getattr(end, name) for end in ends) for name in ("whole", "broken", "told"))
    calls = list(read_calls(path))
    assert len(calls) == whole
    assert all(call.reply.finish != "other" and len(call.reply.text) < 10_000 for call in calls)
    assert {key for a in answers.values() for key in (a.call, a.repaired) if key} <= {call.id for call in calls}
    assert {n for n, a in answers.items() if a.call} == {n for n in answers if must[n].whole}
    assert broken_in(path) == broken
    bill = account(path).paid
    assert (bill.calls, bill.broken, bill.unmeasured) == (whole + broken, broken, whole + broken - told)
    assert bill.tokens == Usage(prompt=7 * told or None, completion=2 * told or None)
    assert sum(one.paid.calls for one in accounts(path).values()) == bill.calls


@pytest.mark.parametrize("share", [0.01, 0.17, 0.6])
@pytest.mark.parametrize("for_ever", [False, True], ids=["transient", "permanent"])
async def test_every_good_row_is_kept_and_every_bad_one_counted(client, ledger, number_prompt, share, for_ever):
    plan = spread(share, NUMBERS, for_ever=for_ever)
    must = {number: outcome(plan, number, ATTEMPTS) for number in NUMBERS}
    assert len(plan.scripts) == round(share * len(NUMBERS))
    if share > 0.17:
        assert {name for script in plan.scripts.values() for name in script} == set(KINDS)
    async with LoopbackServer(GOOD, fault=plan) as server:
        teacher = client(server, timeout=TIMEOUT, attempts=ATTEMPTS)
        caller = Caller(teacher, ledger, in_flight=16)
        answers = await ask_all(caller, number_prompt)
        check_answers(answers, must)
        check_totals(caller.totals, must)
        check_ledger(ledger.path, answers, must)
        assert plan.came == Counter({number: must[number].requests for number in NUMBERS})

        plan.healed, before = True, len(server.requests)
        healed = Caller(teacher, ledger, in_flight=16)
        after = await ask_all(healed, number_prompt)
        lost = [number for number in NUMBERS if must[number].asked_again]
        assert sorted(n for n in NUMBERS for _ in range(plan.came[n] - must[n].requests)) == lost
        assert len(server.requests) - before == len(lost) == healed.totals.sent
        assert all(after[number].value == number for number in lost)
        assert {n: after[n] for n in NUMBERS if n not in lost} == {n: answers[n] for n in NUMBERS if n not in lost}
        await teacher.aclose()


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("stall", "drip")])
async def test_each_kind_alone(client, ledger, number_prompt, name):
    """Some samples are hit once, some again and again; their neighbours are not touched, and each class is right."""
    numbers = range(1000, 1012)
    plan = Plan(scripts={number: [name] * (1 if number % 8 else 99) for number in numbers[::4]})
    must = {number: outcome(plan, number, ATTEMPTS) for number in numbers}
    async with LoopbackServer(GOOD, fault=plan) as server:
        teacher = client(server, attempts=ATTEMPTS)
        caller = Caller(teacher, ledger)
        answers = await ask_all(caller, number_prompt, numbers)
        check_answers(answers, must)
        check_totals(caller.totals, must)
        check_ledger(ledger.path, answers, must)
        assert plan.came == Counter({number: must[number].requests for number in numbers})
        assert max(Counter(seen.repeat for seen in server.requests)) < (20 if KINDS[name].put_off else ATTEMPTS)
        await teacher.aclose()


FAST = [name for name in KINDS if name not in SLOW]
runs = st.tuples(st.sampled_from(FAST), st.integers(1, 3) | st.integers(19, 21))
scripts = st.lists(runs, max_size=5).map(lambda some: [name for name, times in some for _ in range(times)])


@given(
    scripts=st.lists(scripts, min_size=1, max_size=6),
    for_ever=st.booleans(),
    in_flight=st.integers(1, 8),
    attempts=st.integers(1, 4),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_faults_in_any_order(client, number_prompt, scripts, for_ever, in_flight, attempts):
    """Whatever comes: all that was asked for is answered or lost, in order, as the policy says, and accounted for."""
    plan = Plan(scripts=dict(enumerate(scripts, 1000)), for_ever=for_ever)
    must = {number: outcome(plan, number, attempts) for number in plan.scripts}

    async def run(server: LoopbackServer, path: Path):
        teacher = client(server, attempts=attempts)
        with Ledger.open(path) as ledger:
            caller = Caller(teacher, ledger, in_flight=in_flight, give_up_after=20)
            answers = await ask_all(caller, number_prompt, list(plan.scripts))
        await teacher.aclose()
        return answers, caller.totals

    with tempfile.TemporaryDirectory() as folder, LoopbackServer(GOOD, fault=plan) as server:
        path = Path(folder, "calls.sqlite")
        answers, totals = asyncio.run(run(server, path))
        check_answers(answers, must)
        check_totals(totals, must)
        check_ledger(path, answers, must)
    assert plan.came == Counter({number: must[number].requests for number in plan.scripts})


def group(number: int, *indexes: int, **bad: str) -> bytes:
    """Choices in this order; the text of each is the number and its index. `bad`: finish_reason by index."""
    return completion(*(choice(f"{number}{i}", i, bad.get(f"_{i}", "stop")) for i in indexes))


async def test_samples_of_one_request_do_not_sink_each_other(client, ledger, number_prompt):
    """Choices out of order, missing, cut or broken off: each sample is judged for itself."""
    whole, few, late = range(1000, 1010), range(1010, 1020), range(1020, 1030)

    def fault(seen: Seen) -> Fault:
        number = number_in(seen.body["messages"][1]["content"])
        if "n" not in seen.body:  # a sample that the group lacked: every other one fails for ever
            again = Counter(str(one.body) for one in server.requests if one.body["messages"] == seen.body["messages"])
            return Fault(status=500) if len(again) % 2 else raw(completion(choice(f"{number}9")))
        if number in whole:
            return raw(group(number, 2, 0, 3, 1))
        return raw(group(number, 1, 0)) if number in few else raw(group(number, 3, 1, 0, 2, _1="length", _2="abort"))

    async with LoopbackServer(GOOD, fault=fault) as server:
        teacher = client(server, attempts=ATTEMPTS, features=("n",))
        caller = Caller(teacher, ledger, in_flight=4)
        async with asyncio.timeout(HANG):
            asked = await asyncio.gather(*(caller.ask(number_prompt, about(n), n=4) for n in range(1000, 1030)))
        answers = dict(zip(range(1000, 1030), asked, strict=True))
        for number in whole:
            assert [a.value for a in answers[number]] == [number * 10 + index for index in range(4)]
        for number in few:  # two came, two were sent for, of which one failed
            assert [a.value for a in answers[number]][:2] == [number * 10, number * 10 + 1]
            assert sorted((a.value, a.reason) for a in answers[number][2:] if a.value) == [(number * 10 + 9, "")]
            assert sorted(a.reason for a in answers[number]) == ["", "", "", "failed"]
        for number in late:
            assert [a.value for a in answers[number]] == [number * 10, None, None, number * 10 + 3]
            assert [a.reason for a in answers[number]] == ["", "truncated", "failed", ""]
        assert caller.totals.lost == {"failed": 20, "truncated": 10}
        assert caller.totals.asked == 120 == caller.totals.parsed + 30
        assert len(list(read_calls(ledger.path))) == 40 + 30 + 30
        assert broken_in(ledger.path) == 10
        assert account(ledger.path).paid.tokens == Usage(prompt=7 * 40, completion=2 * 40)  # 30 groups, 10 alone
        await teacher.aclose()


async def test_what_a_cache_had_of_a_group_is_kept_where_the_rest_fails(client, tmp_path, number_prompt):
    cache = tmp_path / "shared.sqlite"
    async with LoopbackServer(GOOD) as server:
        teacher = client(server, attempts=1, features=("n",))
        for run, count in (("first", 2), ("second", 5)):
            server.fault = None if run == "first" else lambda seen: Fault(status=500)
            with Ledger.open(tmp_path / f"{run}.sqlite", cache=cache) as ledger:
                answers = await Caller(teacher, ledger).ask(number_prompt, about(1000), n=count)
        await teacher.aclose()
    assert [answer.reason for answer in answers] == ["", "", "failed", "failed", "failed"]


def unlucky(numbers, kind="500") -> Plan:
    return Plan(scripts={number: [kind] for number in numbers}, for_ever=True)


@pytest.mark.parametrize("in_flight", [1, 48, 300])
async def test_calls_that_fail_for_ever_do_not_look_like_a_teacher_that_is_gone(
    client, ledger, number_prompt, in_flight
):
    """They are tried again and again, so that they are the last to end, one after another."""
    plan = unlucky(NUMBERS[::2])
    async with LoopbackServer(GOOD, fault=plan) as server:
        teacher = client(server, attempts=ATTEMPTS)
        caller = Caller(teacher, ledger, in_flight=in_flight)
        await ask_all(caller, number_prompt)
        assert (caller.totals.parsed, caller.totals.lost) == (150, {"failed": 150})
        assert len(server.requests) == 150 + 150 * ATTEMPTS  # and nothing to find that out
        await teacher.aclose()


async def test_refusals_at_once_do_not_look_like_a_teacher_that_never_answers(client, ledger, number_prompt):
    """They come back before the first reply does."""

    def fault(seen: Seen) -> Fault:
        hopeless = number_in(seen.body["messages"][1]["content"]) % 5 < 3
        return Fault(status=400, message="too long") if hopeless else Fault(delay=0.2)

    async with LoopbackServer(GOOD, fault=fault) as server:
        teacher = client(server)
        caller = Caller(teacher, ledger, in_flight=100)
        await ask_all(caller, number_prompt)
        assert (caller.totals.parsed, caller.totals.lost) == (120, {"failed": 180})
        await teacher.aclose()


async def test_a_row_of_calls_that_fail_for_ever_is_told_from_a_teacher_that_is_gone(client, ledger, number_prompt):
    """A resumed run begins with all that failed before: its teacher is asked once more what it answered last."""
    plan = unlucky(NUMBERS[50:250])
    async with LoopbackServer(GOOD, fault=plan) as server:
        teacher = client(server, attempts=2)
        await ask_all(Caller(teacher, ledger), number_prompt, NUMBERS[:50])
        resumed = Caller(teacher, ledger, in_flight=32)
        await ask_all(resumed, number_prompt)
        assert (resumed.totals.parsed, resumed.totals.lost) == (100, {"failed": 200})
        probes = resumed.totals.sent - 250
        assert 1 <= probes <= 200 // 20
        bill = account(ledger.path).paid
        assert (bill.calls, bill.broken) == (100 + probes, probes)
        assert bill.tokens.prompt == 7 * (100 + probes) == 7 * len([r for r in server.requests if good(plan, r)])

        # now it is gone
        server.fault = lambda seen: Fault(status=500)
        before = len(server.requests)
        with pytest.raises(TeacherError, match="not answer either what it answered before") as end:
            await ask_all(Caller(teacher, ledger, in_flight=4), number_prompt)
        assert end.value.fatal
        assert len(server.requests) - before <= 2 * (20 + 4 + 1 + 4)
        await teacher.aclose()


def good(plan: Plan, seen: Seen) -> bool:
    return number_in(seen.body["messages"][1]["content"]) not in plan.scripts
