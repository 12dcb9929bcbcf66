import asyncio
import sqlite3
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers.base import GatheringTeacher, Reply, Sampling, Teacher, Usage
from teachers.batch import BatchTeacher
from teachers.batch_results import read_results
from teachers.batch_state import BatchState, default_path
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.loopback import Fault
from teachers.loopback_batch import BatchFault, LoopbackBatchServer
from teachers.prices import Prices
from teachers.scripted import ScriptedTeacher

CHAT = [Message(role="user", content="2 + 2?")]


def digits(messages, sampling) -> Reply:
    number = "".join(sign for sign in messages[-1]["content"] if sign.isdigit())
    return Reply(text=number, usage=Usage(prompt=1000, completion=100))


NUMBERS = ScriptedTeacher(replies=digits)


@dataclass(frozen=True, kw_only=True, eq=False)
class Patient(BatchTeacher):
    """A BatchTeacher whose waits are noted, and last no more than it takes for other tasks to come first."""

    waits: list[float] = field(default_factory=list)

    @property
    def sleep(self):
        async def note(seconds: float) -> None:
            self.waits.append(seconds)
            await asyncio.sleep(min(seconds, 0.05) if seconds == self.gather else 0)

        return note


@pytest.fixture
def batcher(monkeypatch, tmp_path):
    def make(server: LoopbackBatchServer, **knobs) -> Patient:
        monkeypatch.setenv("BATCH_KEY", server.key)
        given = {"model": server.model, "base_url": server.base_url, "key": "BATCH_KEY", **knobs}
        return Patient(**{"state": str(tmp_path / "batches.sqlite"), **given})

    return make


async def ask_rows(teacher: BatchTeacher, ledger: Ledger, prompt, count: int) -> tuple[list, Caller]:
    caller = Caller(teacher, ledger, in_flight=teacher.in_flight)
    try:
        asked = await asyncio.gather(*(caller.ask(prompt, {"question": f"Say {i}."}) for i in range(count)))
    finally:
        await teacher.aclose()
    return [answers[0] for answers in asked], caller


def paths(server: LoopbackBatchServer) -> Counter[str]:
    return Counter(seen.path for seen in server.requests)


async def test_three_hundred_requests_are_one_batch_at_half_the_price(batcher, ledger, number_prompt):
    plan = BatchFault(polls=3)
    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: plan) as server:
        teacher: Teacher = batcher(server, prices=Prices(prompt=2.0, completion=10.0))
        assert isinstance(teacher, GatheringTeacher)
        assert teacher.in_flight == 10_000
        answers, caller = await ask_rows(teacher, ledger, number_prompt, 300)
        assert [answer.value for answer in answers] == list(range(300))  # although they came back shuffled
        assert [len(batch.requests) for batch in server.batches] == [300]
        assert (caller.totals.sent, set(server.paid.values()), len(server.paid)) == (300, {1}, 300)
        assert paths(server)["/v1/batches/batch_0"] == 4
        assert teacher.waits.count(30.0) == 3
        assert teacher.name == f"batch:loopback@127.0.0.1:{server.port}"
        (cost,) = {call.reply.usd for call in read_calls(ledger.path)}
        assert cost == pytest.approx((1000 * 2.0 + 100 * 10.0) / 1e6 / 2)
        sent = server.batches[0].requests[0]
        assert (sent["method"], sent["url"]) == ("POST", "/v1/chat/completions")
        assert sent["body"].keys() == {"model", "messages", "max_tokens", "temperature", "seed"}


async def test_an_unknown_price_stays_unknown(batcher):
    async with LoopbackBatchServer(NUMBERS) as server:
        teacher = batcher(server)
        assert (await teacher.ask(CHAT, Sampling())).usd is None
        await teacher.aclose()


async def test_a_full_batch_is_submitted_without_waiting_for_more(batcher, ledger, number_prompt):
    async with LoopbackBatchServer(NUMBERS) as server:
        teacher = batcher(server, most=40)
        answers, _ = await ask_rows(teacher, ledger, number_prompt, 100)
        assert [answer.value for answer in answers] == list(range(100))
        sizes = [len(batch.requests) for batch in server.batches]
        assert sum(sizes) == 100
        assert max(sizes) == 40


async def test_samples_are_requests_of_their_own_also_where_no_seed_is_sent(batcher, ledger, number_prompt):
    async with LoopbackBatchServer(NUMBERS) as server:
        teacher = batcher(server, send_seed=False)
        await Caller(teacher, ledger, in_flight=9).ask(number_prompt, {"question": "Say 7."}, n=5)
        assert [len(batch.requests) for batch in server.batches] == [5]
        assert len({request["custom_id"] for request in server.batches[0].requests}) == 5
        await teacher.aclose()


async def test_the_same_request_of_several_who_ask_is_one(batcher):
    async with LoopbackBatchServer(NUMBERS) as server:
        teacher = batcher(server)
        replies = await asyncio.gather(*(teacher.ask(CHAT, Sampling(seed=1)) for _ in range(5)))
        assert {reply.text for reply in replies} == {"22"}
        assert [len(batch.requests) for batch in server.batches] == [1]
        await teacher.aclose()
        again = batcher(server)  # another process would find it as well: its results are kept
        assert (await again.ask(CHAT, Sampling(seed=1))).text == "22"
        assert len(server.batches) == 1
        await again.aclose()


async def test_a_batch_that_is_completed_before_its_file_is_there_is_asked_about_again(batcher):
    early = b'{"id": "batch_0", "status": "completed", "output_file_id": null}'

    def plan(seen):
        return Fault(raw=early) if seen.path == "/v1/batches/batch_0" and seen.index < 3 else None

    async with LoopbackBatchServer(NUMBERS, fault=plan) as server:
        teacher = batcher(server)
        assert (await teacher.ask(CHAT, Sampling())).text == "22"
        assert (len(server.batches), paths(server)["/v1/batches/batch_0"]) == (1, 4)
        await teacher.aclose()


async def test_what_an_expired_batch_lacks_is_submitted_again_and_no_more(batcher, ledger, number_prompt):
    late = BatchFault(end="expired", missing=frozenset(range(10, 40)))
    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: None if index else late) as server:
        answers, _ = await ask_rows(batcher(server), ledger, number_prompt, 50)
        assert [answer.value for answer in answers] == list(range(50))
        assert [len(batch.requests) for batch in server.batches] == [50, 30]
        assert set(server.paid.values()) == {1}


async def test_a_request_that_always_expires_is_given_up_and_the_others_are_kept(batcher, ledger, number_prompt):
    def plan(index: int) -> BatchFault:
        return BatchFault(end="expired", missing=frozenset({7} if index == 0 else {0}))

    async with LoopbackBatchServer(NUMBERS, batch_fault=plan) as server:
        answers, caller = await ask_rows(batcher(server, attempts=3), ledger, number_prompt, 30)
        assert [len(batch.requests) for batch in server.batches] == [30, 1, 1]
        assert caller.totals.lost == {"failed": 1}
        lost = next(answer for answer in answers if answer.reason)
        assert "no reply in 3 batches: the last, batch_2, expired" in lost.detail
        assert "executed before it expired" in lost.detail
        server.batch_fault = None  # a later run may ask it anew
        again, _ = await ask_rows(batcher(server, attempts=3), ledger, number_prompt, 30)
        assert [answer.value for answer in again] == list(range(30))
        assert [len(batch.requests) for batch in server.batches] == [30, 1, 1, 1]


async def test_lines_that_failed_are_counted_under_their_class(batcher, ledger, number_prompt):
    def plan(index: int) -> BatchFault | None:
        lines = {
            0: Fault(status=400, message="context too long", code="context_length_exceeded"),
            1: Fault(status=429, message="slow down"),
            2: Fault(finish_reason="length"),
            3: Fault(finish_reason="content_filter"),
            4: Fault(text=""),
            5: Fault(finish_reason="abort"),
        }
        return BatchFault(lines=lines, malformed=frozenset({6}), missing=frozenset({8}), twice=frozenset({9, 10}))

    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: None if index else plan(0)) as server:
        answers, caller = await ask_rows(batcher(server), ledger, number_prompt, 40)
        assert caller.totals.lost == {"failed": 2, "truncated": 1, "refused": 1, "empty": 1}
        assert sum(answer.reason == "" for answer in answers) == 35
        assert [len(batch.requests) for batch in server.batches] == [40, 3]  # 429, malformed and missing come again
        assert "400: context too long" in next(a.detail for a in answers if "400" in a.detail)
        assert all(answer.value in (None, number) for number, answer in enumerate(answers))
        # What is no whole reply is asked anew by a later run, as from any teacher; nothing else is.
        await ask_rows(batcher(server), ledger, number_prompt, 40)
        assert [len(batch.requests) for batch in server.batches] == [40, 3, 2]


async def test_a_batch_that_fails_validation_stops_the_run_and_can_be_submitted_again(batcher, ledger, number_prompt):
    bad = BatchFault(end="failed", message="line 3: the model is not\nfor batches")
    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: None if index else bad) as server:
        with pytest.raises(TeacherError, match="refused batch batch_0: line 3: the model is not for batches") as end:
            await ask_rows(batcher(server), ledger, number_prompt, 20)
        assert end.value.fatal
        answers, _ = await ask_rows(batcher(server), ledger, number_prompt, 20)
        assert [answer.value for answer in answers] == list(range(20))
        assert set(server.paid.values()) == {1}


async def test_a_cancelled_batch_stops_the_run_and_what_it_answered_is_kept(batcher, ledger, number_prompt):
    ended = BatchFault(end="cancelled", missing=frozenset(range(5, 20)))
    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: None if index else ended) as server:
        with pytest.raises(TeacherError, match="batch_0 was cancelled at the endpoint") as end:
            await ask_rows(batcher(server), ledger, number_prompt, 20)
        assert end.value.fatal
        await ask_rows(batcher(server), ledger, number_prompt, 20)
        assert [len(batch.requests) for batch in server.batches] == [20, 15]
        assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/batches/batch_0", "/v1/files/file-1/content"])
@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (Fault(status=500), None),
        (Fault(status=429, headers={"Retry-After": "9"}), 9.0),
        (Fault(cut=True), None),
        (Fault(raw=b"<html>"), None),
    ],
    ids=["500", "429", "cut", "page"],
)
async def test_a_fault_on_the_way_is_tried_again_and_nothing_is_paid_twice(batcher, path, fault, wait):
    def twice(seen):
        return fault if seen.path == path and sum(one.path == path for one in server.requests) <= 2 else None

    async with LoopbackBatchServer(NUMBERS, fault=twice) as server:
        teacher = batcher(server)
        assert (await teacher.ask(CHAT, Sampling())).text == "22"
        assert (len(server.batches), set(server.paid.values())) == (1, {1})
        if wait:
            assert sum(wait <= waited <= wait * 1.1 for waited in teacher.waits) == 2
        await teacher.aclose()


async def test_a_batch_whose_submission_was_not_answered_is_found_and_not_submitted_again(batcher):
    """The effect came, the answer did not: within one process, and over a restart."""
    async with LoopbackBatchServer(NUMBERS) as server:
        lost: list[str] = []

        def lose(seen) -> None:
            if seen.path == "/v1/batches" and seen.body and len(lost) < 1:
                lost.append(seen.path)
                raise ConnectionResetError

        server.after = lose
        teacher = batcher(server)
        assert (await teacher.ask(CHAT, Sampling())).text == "22"
        assert (len(server.batches), len(lost)) == (1, 1)
        await teacher.aclose()
        lost.clear()
        one = batcher(server, attempts=1)
        other = [Message(role="user", content="4 + 4?")]
        with pytest.raises(TeacherError) as end:
            await one.ask(other, Sampling())
        assert end.value.retryable
        await one.aclose()
        again = batcher(server)
        assert (await again.ask(other, Sampling())).text == "44"
        assert [len(batch.requests) for batch in server.batches] == [1, 1]
        await again.aclose()


async def test_a_batch_that_cannot_be_found_is_looked_for_once_more_and_then_submitted_again(batcher, tmp_path):
    async with LoopbackBatchServer(NUMBERS) as server:
        server.fault = lambda seen: Fault(cut=True) if seen.path == "/v1/batches" else None
        one = batcher(server, attempts=1)
        with pytest.raises(TeacherError):
            await one.ask(CHAT, Sampling())
        await one.aclose()
        server.fault = None
        again = batcher(server)
        assert (await again.ask(CHAT, Sampling())).text == "22"
        assert again.waits.count(10.0) == 1
        assert (len(server.batches), set(server.paid.values())) == (1, {1})
        await again.aclose()


async def test_a_batch_far_down_the_list_is_found(batcher):
    async with LoopbackBatchServer(NUMBERS) as server:

        def lose(seen) -> None:
            if seen.path == "/v1/batches" and seen.body:
                raise ConnectionResetError

        server.after = lose
        one = batcher(server, attempts=1)
        with pytest.raises(TeacherError):
            await one.ask(CHAT, Sampling())
        await one.aclose()
        first = server.batches[0]
        server.batches += [type(first)(id=f"x{i}", requests=[], metadata=None, fault=BatchFault()) for i in range(250)]
        again = batcher(server)
        assert (await again.ask(CHAT, Sampling())).text == "22"
        assert len(server.batches) == 251
        assert sum(seen.path == "/v1/batches" and not seen.body for seen in server.requests) == 3
        await again.aclose()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=401, message="Incorrect key"), "Incorrect key: check the key"),
        (Fault(status=400, message="this model has no batches"), "400: this model has no batches"),
        (Fault(status=429, code="insufficient_quota", message="quota"), "cannot pay"),
    ],
    ids=str,
)
async def test_a_refusal_is_fatal_at_once(batcher, ledger, number_prompt, fault, words):
    async with LoopbackBatchServer(NUMBERS, fault=lambda seen: fault) as server:
        with pytest.raises(TeacherError, match=words) as end:
            await ask_rows(batcher(server), ledger, number_prompt, 10)
        assert (end.value.fatal, len(server.requests)) == (True, 1)


async def test_a_redirect_is_asked_again_and_never_followed(batcher, ledger, number_prompt):
    async with LoopbackBatchServer(NUMBERS) as elsewhere, LoopbackBatchServer(NUMBERS) as server:
        server.fault = lambda seen: Fault(status=302, headers={"Location": f"{elsewhere.base_url}/files"}, raw=b"")
        answers, caller = await ask_rows(batcher(server, attempts=3), ledger, number_prompt, 10)
        assert caller.totals.lost == {"failed": 10}
        assert all("answered 302" in answer.detail for answer in answers)
        assert "give the final address as base_url" in answers[0].detail
        assert len(server.requests) % 3 == 0
        assert server.requests
        assert not elsewhere.requests
        server.fault = None
        answers, _ = await ask_rows(batcher(server), ledger, number_prompt, 10)
        assert [answer.value for answer in answers] == list(range(10))


async def test_polls_that_fail_for_a_while_lose_nothing(batcher, ledger, number_prompt):
    down = Fault(status=503)

    def plan(seen):
        asked = paths(server)["/v1/batches/batch_0"]
        return down if seen.path == "/v1/batches/batch_0" and 1 < asked <= 20 else None

    async with LoopbackBatchServer(NUMBERS, fault=plan, batch_fault=lambda index: BatchFault(polls=1)) as server:
        answers, _ = await ask_rows(batcher(server, attempts=5), ledger, number_prompt, 10)
        assert [answer.value for answer in answers] == list(range(10))


async def test_an_endpoint_that_is_gone_for_good_ends_the_wait_and_the_run_can_go_on(batcher, ledger, number_prompt):
    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: BatchFault(polls=1)) as server:
        server.fault = lambda seen: Fault(status=503) if seen.path == "/v1/batches/batch_0" else None
        answers, caller = await ask_rows(batcher(server, attempts=2), ledger, number_prompt, 10)
        assert caller.totals.lost == {"failed": 10}
        assert "batch batch_0: the endpoint answered 503" in answers[0].detail
        server.fault = None
        answers, _ = await ask_rows(batcher(server), ledger, number_prompt, 10)
        assert [answer.value for answer in answers] == list(range(10))
        assert [len(batch.requests) for batch in server.batches] == [10]


async def test_a_batch_of_another_account_is_not_paid_for_again_unasked(batcher, ledger, number_prompt):
    async with LoopbackBatchServer(NUMBERS) as server:
        server.fault = lambda seen: Fault(status=404) if seen.path == "/v1/batches/batch_0" else None
        with pytest.raises(TeacherError, match="does not know batch batch_0.*use the key.*or remove") as end:
            await ask_rows(batcher(server), ledger, number_prompt, 10)
        assert (end.value.fatal, len(server.batches)) == (True, 1)


async def test_who_no_longer_waits_is_not_submitted_and_what_is_submitted_is_kept(batcher):
    async with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: BatchFault(polls=2)) as server:
        teacher = batcher(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):  # before it is submitted
                await teacher.ask(CHAT, Sampling(seed=1))
        stays = asyncio.create_task(teacher.ask(CHAT, Sampling(seed=2)))
        leaves = asyncio.create_task(teacher.ask(CHAT, Sampling(seed=3)))
        while not server.batches:
            await asyncio.sleep(0.005)
        leaves.cancel()
        assert (await stays).text == "22"
        assert [len(batch.requests) for batch in server.batches] == [2]
        assert (await teacher.ask(CHAT, Sampling(seed=3))).text == "22"
        assert len(server.batches) == 1
        await teacher.aclose()
        await teacher.aclose()


def test_one_event_loop_after_another(batcher):
    with LoopbackBatchServer(NUMBERS, batch_fault=lambda index: BatchFault(polls=10**9)) as server:
        teacher = batcher(server)

        async def broken_off() -> None:
            asked = asyncio.create_task(teacher.ask(CHAT, Sampling()))
            while not server.batches:
                await asyncio.sleep(0.005)
            asked.cancel()

        asyncio.run(broken_off())  # and nobody closes it
        server.batches[0].fault = BatchFault()
        assert asyncio.run(teacher.ask(CHAT, Sampling())).text == "22"
        assert len(server.batches) == 1


async def test_a_key_is_never_shown(batcher, monkeypatch, ledger, number_prompt):
    secret = "batch-Abc123Secret456"
    async with LoopbackBatchServer(NUMBERS) as server:
        teacher = batcher(server, attempts=1)
        monkeypatch.setenv("BATCH_KEY", secret)
        shown = [repr(teacher), teacher.name]
        for fault in (Fault(status=401, message=f"bad {secret}"), Fault(raw=secret.encode()), Fault(cut=True)):
            server.fault = lambda seen, fault=fault: fault
            with pytest.raises(TeacherError) as end:
                await teacher.ask(CHAT, Sampling())
            shown += [str(end.value), "".join(traceback.format_exception(end.value))]
        await teacher.aclose()
    for text in [
        *shown,
        *(path.read_bytes().decode("latin-1") for path in Path(teacher.state).parent.glob("batches*")),
    ]:
        assert secret[:12] not in text


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"most": 0}, "most"),
        ({"most": 50_001}, "50,000"),
        ({"poll": 0.0}, "poll"),
        ({"gather": -1.0}, "gather"),
        ({"discount": 1.5}, "discount"),
        ({"extra_body": {"n": 2}}, "extra_body must not set n"),
        ({"key": "sk-proj-abc123"}, "looks like a key"),
    ],
)
def test_knobs_that_cannot_work_are_refused(knobs, words):
    with pytest.raises(InputError, match=words):
        BatchTeacher(**{"model": "m", **knobs})


def test_the_record_is_the_users_own_and_another_database_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    state = BatchState(default_path())
    state.close()
    assert (tmp_path / "cache" / "batches.sqlite").stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    before = other.read_bytes()
    with pytest.raises(InputError, match="holds no batches: give teacher.state another path"):
        BatchState(other)
    assert other.read_bytes() == before
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match="record of batches cannot be used"):
        BatchState(damaged)


def test_old_results_are_forgotten_and_unfinished_batches_are_not(monkeypatch, tmp_path):
    state = BatchState(tmp_path / "b.sqlite")
    done, _ = state.make(["a"])
    going, _ = state.make(["b"])
    state.advance(done.number, "sent", "batch_0")
    state.finish(state.batch(done.number), {"a": b"{}"}, [])
    state.advance(going.number, "sent", "batch_1")
    state.close()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    state = BatchState(tmp_path / "b.sqlite")
    assert state.known("a") is None
    assert state.known("b").batch.id == "batch_1"
    state.close()


@given(st.lists(st.binary(max_size=50) | st.sampled_from([b'{"custom_id": "a"}', b"null", b"[]", b'{"custom_id": 1}'])))
def test_any_lines_are_read(lines):
    for outcome in read_results(lines, frozenset({"a"}), str).values():
        assert isinstance(outcome.error, TeacherError)


def test_of_several_lines_the_first_completion_counts():
    def line(key: str, text: str, status: int = 200) -> bytes:
        body = f'{{"choices": [{{"message": {{"content": "{text}"}}, "finish_reason": "stop"}}]}}'
        return f'{{"custom_id": "{key}", "response": {{"status_code": {status}, "body": {body}}}}}'.encode()

    lines = [line("a", "no", 500), line("b", "1"), line("a", "2"), line("a", "3"), line("c", "4"), line("b", "5")]
    found = read_results([*lines, line("d", "half \\ud83d")], frozenset("abd"), str)
    assert {key: outcome.body.count(b'"2"') for key, outcome in found.items()} == {"a": 1, "b": 0, "d": 0}
    assert b'"1"' in found["b"].body
    assert found["d"].error is None
