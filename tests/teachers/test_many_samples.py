import asyncio
import json
from collections import Counter

import pytest

from lessons.errors import TeacherError
from teachers.accounts import account
from teachers.base import ManyTeacher, Reply, Sampling, Usage
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.loopback import Fault, LoopbackServer
from teachers.scripted import ScriptedTeacher


def by_seed(messages, sampling) -> Reply:
    text = str((sampling.seed or 0) % 1000)
    return Reply(text=text, usage=Usage(prompt=12, cached_prompt=4, completion=len(text), reasoning=0))


SEEDED = ScriptedTeacher(replies=by_seed)


def counts_of(server: LoopbackServer) -> list[int]:
    return [seen.body.get("n", 1) for seen in server.requests]


async def test_samples_of_one_chat_are_one_request_where_the_endpoint_can(client, ledger, number_prompt):
    async with LoopbackServer(SEEDED) as server:
        teacher = client(server, features=("n",))
        assert isinstance(teacher, ManyTeacher)
        caller = Caller(teacher, ledger)
        answers = await caller.ask(number_prompt, {"question": "Any?"}, n=5)
        assert counts_of(server) == [5]
        assert len({answer.call for answer in answers}) == len({answer.value for answer in answers}) == 5
        again = await caller.ask(number_prompt, {"question": "Any?"}, n=7)
        assert again[:5] == answers  # the first five are in the ledger
        assert counts_of(server) == [5, 2]
        assert (caller.totals.sent, caller.totals.from_ledger, caller.totals.parsed) == (2, 5, 12)
        await teacher.aclose()
    bill = account(ledger.path).paid
    assert bill.tokens.prompt == 24  # once a request, not once a sample
    assert bill.tokens.cached_prompt == 8
    assert bill.tokens.completion == sum(len(answer.text) for answer in again)
    assert [call.sample for call in read_calls(ledger.path)] == list(range(7))


async def test_an_endpoint_that_ignores_n_gives_one_sample_a_request(client, ledger, number_prompt):
    async with LoopbackServer(SEEDED, features=()) as server:
        teacher = client(server, features=("n",))  # the recipe says that it can; it cannot
        answers = await Caller(teacher, ledger).ask(number_prompt, {"question": "Any?"}, n=3)
        assert [answer.reason for answer in answers] == ["", "", ""]
        assert sorted(counts_of(server)) == [1, 1, 3]
        await teacher.aclose()


async def test_what_an_endpoint_can_is_found_out_once_and_before_it_matters(client, ledger, number_prompt):
    async with LoopbackServer(SEEDED) as server:
        teacher = client(server, features="auto")
        caller = Caller(teacher, ledger)
        await caller.ask(number_prompt, {"question": "Alone?"})
        assert len(server.requests) == 1  # one sample without a schema needs nothing to be known
        await asyncio.gather(*(caller.ask(number_prompt, {"question": f"{i}?"}, n=3) for i in range(4)))
        paths = Counter(seen.path for seen in server.requests)
        assert paths == {"/v1/models": 1, "/v1/chat/completions": 1 + 2 + 4}
        await teacher.aclose()
    async with LoopbackServer(SEEDED, features=()) as server:
        teacher = client(server, features="auto")
        assert not await teacher.offers_many()
        assert (await teacher._abilities.get(teacher)).models == ("loopback",)
        await Caller(teacher, ledger).ask(number_prompt, {"question": "One by one?"}, n=3)
        assert all(seen.body.get("n") is None for seen in server.requests[-3:])
        await teacher.aclose()


async def test_choices_in_any_order_are_samples_in_order(client, ledger, number_prompt):
    choices = [{"index": index, "message": {"content": str(index)}, "finish_reason": "stop"} for index in (2, 0, 3, 1)]
    body = {"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 4}, "id": "the same"}
    async with LoopbackServer(SEEDED, fault=lambda seen: Fault(raw=json.dumps(body).encode())) as server:
        teacher = client(server, features=("n",))
        answers = await Caller(teacher, ledger).ask(number_prompt, {"question": "Any?"}, n=4)
        assert [answer.value for answer in answers] == [0, 1, 2, 3]
        assert account(ledger.path).paid.tokens == Usage(prompt=9, completion=4)
        await teacher.aclose()


async def test_a_request_for_many_that_fails_fails_them_all_and_only_them(client, ledger, number_prompt):
    def many(seen):
        return Fault(status=400, message="no") if seen.body.get("n") else None

    async with LoopbackServer(SEEDED, fault=many) as server:
        teacher = client(server, features=("n",))
        caller = Caller(teacher, ledger)
        lost, kept = await asyncio.gather(
            caller.ask(number_prompt, {"question": "Many?"}, n=3), caller.ask(number_prompt, {"question": "One?"})
        )
        assert [answer.reason for answer in (*lost, *kept)] == ["failed", "failed", "failed", ""]
        await teacher.aclose()


async def test_cancelling_those_who_wait_calls_the_request_off_and_cancelling_one_does_not(ledger, number_prompt):
    started, release, ended = asyncio.Event(), asyncio.Event(), []

    class Slow(ScriptedTeacher):
        async def offers_many(self) -> bool:
            return True

        async def ask_many(self, messages, samplings):
            started.set()
            try:
                await release.wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return [Reply(text=str(number)) for number, _ in enumerate(samplings)]

    caller = Caller(Slow(replies=[]), ledger)
    first = asyncio.create_task(caller.ask(number_prompt, {"question": "Any?"}, n=2))
    await started.wait()
    second = asyncio.create_task(caller.ask(number_prompt, {"question": "Any?"}, n=2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not ended
    release.set()
    assert [answer.value for answer in await second] == [0, 1]
    started.clear(), release.clear()
    third = asyncio.create_task(caller.ask(number_prompt, {"question": "Another?"}, n=2))
    await started.wait()
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    await asyncio.sleep(0)
    assert ended == ["cancelled"]


@pytest.mark.parametrize("status", [401, 404])
async def test_a_fatal_error_of_a_request_for_many_stops_all(client, ledger, number_prompt, status):
    async with LoopbackServer(SEEDED, fault=lambda seen: Fault(status=status)) as server:
        teacher = client(server, features=("n",))
        with pytest.raises(TeacherError) as end:
            await Caller(teacher, ledger).ask(number_prompt, {"question": "Any?"}, n=4)
        assert end.value.fatal
        await teacher.aclose()


async def test_a_schema_is_asked_of_an_endpoint_that_can_hold_a_model_to_it(client):
    sampling = Sampling(json_schema='{"type":"object","properties":{"a":{"type":"integer"}}}')
    async with LoopbackServer(ScriptedTeacher(replies=lambda m, s: s.json_schema or "free")) as server:
        able, unable, asks = client(server, features=("json_schema",)), client(server), client(server, features="auto")
        for teacher, sent in ((able, True), (unable, False), (asks, True)):
            reply = await teacher.ask([{"role": "user", "content": "?"}], sampling)
            assert (reply.text != "free") == sent == ("response_format" in server.requests[-1].body)
            await teacher.aclose()
    async with LoopbackServer(ScriptedTeacher(replies=lambda m, s: "free"), features=()) as server:
        asks = client(server, features="auto")
        await asks.ask([{"role": "user", "content": "?"}], sampling)
        assert "response_format" not in server.requests[-1].body
        await asks.aclose()


async def test_a_ledger_of_samples_does_not_depend_on_how_they_were_asked_for(client, tmp_path, number_prompt):
    keys = []
    for features in ((), ("n",)):
        async with LoopbackServer(SEEDED) as server:
            teacher = client(server, features=features, label="the same")
            with Ledger.open(tmp_path / f"{len(keys)}.sqlite") as ledger:
                await Caller(teacher, ledger, seed=3).ask(number_prompt, {"question": "Any?"}, n=4)
                keys.append([call.id for call in read_calls(ledger.path)])
            await teacher.aclose()
    assert sorted(keys[0]) == sorted(keys[1])
