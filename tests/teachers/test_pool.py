import asyncio
import traceback
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers.base import ManyTeacher, Reply, Sampling, Teacher
from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.loopback import Fault, LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.pool import PoolTeacher
from teachers.prices import Prices
from teachers.retry import RetryPolicy
from teachers.scripted import ScriptedTeacher


def chat(words: str) -> list[Message]:
    return [Message(role="user", content=words)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(PoolTeacher):
    """A pool whose waits are noted, not slept; they move its clock."""

    waits: list[float] = field(default_factory=list)

    @property
    def policy(self) -> RetryPolicy:
        async def note(seconds: float) -> None:
            self.waits.append(seconds)
            await asyncio.sleep(0)

        return RetryPolicy(attempts=self.attempts, sleep=note, uniform=lambda low, high: low)

    @property
    def clock(self):
        return lambda: sum(self.waits)


@pytest.fixture
def endpoint(monkeypatch):
    """Makes a client of a loopback server, with a key variable of its own."""

    def make(server: LoopbackServer, **knobs) -> OpenAITeacher:
        monkeypatch.setenv(f"POOL_KEY_{server.port}", server.key)
        given = {"model": server.model, "base_url": server.base_url, "key": f"POOL_KEY_{server.port}", **knobs}
        return OpenAITeacher(**given)

    return make


def number_after(seconds: float = 0.0) -> ScriptedTeacher:
    async def say(messages, sampling) -> str:
        await asyncio.sleep(seconds)
        return "".join(sign for sign in messages[-1]["content"] if sign.isdigit())

    return ScriptedTeacher(replies=say)


async def ask_rows(pool: Teacher, ledger: Ledger, prompt, count: int, in_flight: int = 32) -> list:
    caller = Caller(pool, ledger, in_flight=in_flight)
    asked = await asyncio.gather(*(caller.ask(prompt, {"question": f"Say {i}."}) for i in range(count)))
    return [answers[0] for answers in asked]


async def test_load_goes_to_whoever_has_least_to_do(endpoint, ledger, number_prompt):
    """Of two equal endpoints each gets half; one four times as slow gets a fourth of what a quick one gets."""
    async with LoopbackServer(number_after(0.02)) as one, LoopbackServer(number_after(0.02)) as other:
        pool = PoolTeacher(members=(endpoint(one), endpoint(other)))
        answers = await ask_rows(pool, ledger, number_prompt, 200, in_flight=16)
        assert [answer.value for answer in answers] == list(range(200))
        assert (len(one.requests) + len(other.requests), pool.outstanding) == (200, (0, 0))
        assert 90 <= len(one.requests) <= 110
        await pool.aclose()
    async with LoopbackServer(number_after(0.01)) as quick, LoopbackServer(number_after(0.08)) as slow:
        pool = PoolTeacher(members=(endpoint(quick), endpoint(slow)), label="another")
        await ask_rows(pool, ledger, number_prompt, 200, in_flight=8)
        assert len(quick.requests) + len(slow.requests) == 200
        assert len(slow.requests) < 0.45 * len(quick.requests)
        await pool.aclose()


async def test_a_dead_member_costs_no_row(endpoint, ledger, number_prompt):
    async with LoopbackServer(number_after()) as dead:
        pass
    async with LoopbackServer(number_after(0.005)) as alive:
        pool = PoolTeacher(members=(endpoint(dead), endpoint(alive)))
        answers = await ask_rows(pool, ledger, number_prompt, 200)
        assert [answer.value for answer in answers] == list(range(200))
        assert len(alive.requests) == 200
        assert not pool.out  # it may come back
        await pool.aclose()


async def test_while_one_is_told_to_wait_the_other_serves(endpoint, ledger, number_prompt):
    full = Fault(status=429, headers={"Retry-After": "30"})
    async with (
        LoopbackServer(number_after(), fault=lambda seen: full) as busy,
        LoopbackServer(number_after(0.005)) as free,
    ):
        pool = PoolTeacher(members=(endpoint(busy), endpoint(free)))
        started = asyncio.get_running_loop().time()
        answers = await ask_rows(pool, ledger, number_prompt, 200, in_flight=8)
        assert [answer.value for answer in answers] == list(range(200))
        assert asyncio.get_running_loop().time() - started < 10  # nobody waited for the 30 seconds
        assert len(free.requests) == 200
        assert len(busy.requests) <= 8  # what was out when it said so
        await pool.aclose()


async def test_a_member_that_is_back_is_asked_again():
    down = True

    def first(messages, sampling):
        return TeacherError("down", retryable=True) if down else "first"

    pool = Pool(members=(ScriptedTeacher(replies=first), ScriptedTeacher(replies=lambda m, s: "second")), label="two")
    said = [(await pool.ask(chat(f"{i}"), Sampling())).text for i in range(4)]
    assert said == ["second"] * 4
    assert len(pool.members[0].requests) == 1  # passed over since
    pool.waits.append(9.9)
    assert (await pool.ask(chat("5"), Sampling())).text == "second"
    pool.waits.append(0.2)
    down = False
    assert {(await pool.ask(chat(f"{i}"), Sampling())).text for i in range(2)} == {"first", "second"}


async def test_a_member_that_may_be_back_is_tested_by_one_request():
    tested = 0

    async def first(messages, sampling):
        nonlocal tested
        tested += 1
        await asyncio.sleep(0.01)
        raise TeacherError("still down", retryable=True)

    async def second(messages, sampling):
        await asyncio.sleep(0.01)
        return "second"

    pool = Pool(members=(ScriptedTeacher(replies=first), ScriptedTeacher(replies=second)), label="two")
    await pool.ask(chat("0"), Sampling())
    pool.waits.append(10.0)
    await asyncio.gather(*(pool.ask(chat(f"{i}"), Sampling()) for i in range(20)))
    assert tested == 2


async def test_a_wrong_key_takes_one_member_out(endpoint, ledger, number_prompt, monkeypatch):
    async with LoopbackServer(number_after()) as bad, LoopbackServer(number_after(0.002)) as good:
        pool = PoolTeacher(members=(endpoint(bad), endpoint(good)))
        monkeypatch.setenv(f"POOL_KEY_{bad.port}", "another-Secret123")
        answers = await ask_rows(pool, ledger, number_prompt, 100, in_flight=8)
        assert [answer.value for answer in answers] == list(range(100))
        assert len(bad.requests) <= 8
        assert list(pool.out) == [0]
        assert "incorrect API key" in pool.out[0]
        await pool.aclose()


async def test_all_out_is_fatal_and_names_each_with_its_reason(endpoint, monkeypatch):
    echo = Fault(status=401, message="bad key another-Secret123")
    async with LoopbackServer(number_after(), fault=lambda seen: echo) as one, LoopbackServer(number_after()) as other:
        pool = Pool(members=(endpoint(one, model="m"), endpoint(other, model="m")))
        monkeypatch.setenv(f"POOL_KEY_{one.port}", "another-Secret123")
        with pytest.raises(TeacherError) as end:
            await pool.ask(chat("1"), Sampling())
        words = str(end.value)
        assert end.value.fatal
        assert "\n" not in words
        assert f"0 (openai:m@127.0.0.1:{one.port}): the endpoint answered 401: bad key [key]" in words
        assert f"1 (openai:m@127.0.0.1:{other.port}): the endpoint answered 404: the model 'm' does not exist" in words
        for text in (words, "".join(traceback.format_exception(end.value)), repr(pool), pool.name, str(pool.out)):
            assert "another-Secret" not in text
            assert other.key not in text
        assert (len(one.requests), len(other.requests), pool.waits) == (1, 1, [])
        with pytest.raises(TeacherError, match="every member of the pool is out"):
            await pool.ask(chat("2"), Sampling())
        assert (len(one.requests), len(other.requests)) == (1, 1)
        await pool.aclose()


async def test_tries_are_counted_over_all_members(endpoint):
    down = Fault(status=503)
    async with (
        LoopbackServer(number_after(), fault=lambda seen: down) as one,
        LoopbackServer(number_after(), fault=lambda seen: down) as other,
    ):
        pool = Pool(members=(endpoint(one, attempts=9), endpoint(other, attempts=9)), attempts=5)
        with pytest.raises(TeacherError, match="503") as end:
            await pool.ask(chat("1"), Sampling())
        assert (end.value.retryable, end.value.fatal) == (True, False)
        assert len(one.requests) + len(other.requests) == 5
        assert abs(len(one.requests) - len(other.requests)) == 1
        await pool.aclose()


async def test_a_call_that_is_refused_for_what_it_asks_is_not_sent_to_others():
    refused = ScriptedTeacher(replies=lambda m, s: TeacherError("too long", status=400), name="same")
    pool = Pool(members=(refused, refused))
    with pytest.raises(TeacherError, match="too long") as end:
        await pool.ask(chat("1"), Sampling())
    assert (end.value.fatal, len(refused.requests)) == (False, 1)


async def test_by_problem_each_problem_has_its_member_also_in_a_repair_turn_and_after_resuming(ledger, number_prompt):
    def says(name: str) -> ScriptedTeacher:
        return ScriptedTeacher(replies=lambda m, s: f"{len(name)}" if len(m) > 2 else f"{name}?", name=name)

    def made() -> PoolTeacher:
        return PoolTeacher(members=(says("a"), says("bb"), says("ccc")), route="by_problem")

    first, again = made(), made()
    assert first.name == "pool(a, bb, ccc)"
    answers = await ask_rows(first, ledger, number_prompt, 300)
    shares = Counter(answer.value for answer in answers)
    assert all(70 <= shares[member] <= 130 for member in (1, 2, 3))
    for call in read_calls(ledger.path):
        if len(call.messages) == 4:  # the repair went to whom the reply was from
            assert call.messages[2]["content"] == {"1": "a?", "2": "bb?", "3": "ccc?"}[call.reply.text]
    assert sum(len(member.requests) for member in first.members) == 600
    for request in first.members[1].requests:
        assert again.member_of(request.messages) is again.members[1]


async def test_by_problem_no_other_member_steps_in():
    down = ScriptedTeacher(replies=lambda m, s: TeacherError("down", retryable=True), name="down")
    gone = ScriptedTeacher(replies=lambda m, s: TeacherError("no such model", fatal=True), name="gone")
    well = ScriptedTeacher(replies=lambda m, s: "well", name="well")
    pool = Pool(members=(down, gone, well), route="by_problem", attempts=3)
    for number in range(60):
        asked = chat(f"{number}")
        owner = pool.member_of(asked)
        before = len(owner.requests)
        if owner is well:
            assert (await pool.ask(asked, Sampling())).text == "well"
            continue
        with pytest.raises(
            TeacherError, match="down|the member of the pool is out: 1 \\(gone\\): no such model"
        ) as end:
            await pool.ask(asked, Sampling())
        assert not end.value.fatal
        assert len(owner.requests) - before == (3 if owner is down else int(before == 0))
    assert len(gone.requests) == 1


def test_a_name_means_one_source_of_replies():
    def at(port: int, model: str = "m", **knobs) -> OpenAITeacher:
        return OpenAITeacher(model=model, base_url=f"http://127.0.0.1:{port}/v1", **knobs)

    assert PoolTeacher(members=(at(1), at(2))).name == "pool:m"
    extra = {"reasoning_effort": "low"}
    both = PoolTeacher(members=(at(1, extra_body=extra), at(2, extra_body=extra)))
    assert both.name.startswith("pool:m #")
    for other in (at(2, "n"), at(2, extra_body=extra), ScriptedTeacher(replies=[])):
        with pytest.raises(InputError, match=r"teacher\.label must be given"):
            PoolTeacher(members=(at(1), other))
        assert PoolTeacher(members=(at(1), other), label="mixed").name == "mixed"
    assert PoolTeacher(members=(at(1), at(2, "n")), route="by_problem").name == (
        "pool(openai:m@127.0.0.1:1, openai:n@127.0.0.1:2)"
    )


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"members": ()}, "at least one teacher"),
        ({"attempts": 0}, "attempts"),
        ({"cool_down": -1.0}, "cool_down"),
        ({"cool_down": float("nan")}, "cool_down"),
    ],
)
def test_knobs_that_cannot_work_are_refused(knobs, words):
    with pytest.raises(InputError, match=words):
        PoolTeacher(**{"members": (ScriptedTeacher(replies=[]),), **knobs})


async def test_many_samples_stay_with_one_member():
    alone = ScriptedTeacher(replies=lambda m, s: f"{s.seed}", name="alone")

    @dataclass(frozen=True, kw_only=True, eq=False)
    class Many(ScriptedTeacher):
        async def offers_many(self):
            return True

        async def ask_many(self, messages, samplings):
            return [Reply(text=f"many {sampling.seed}") for sampling in samplings]

    many = Many(replies=[], name="many")
    pool = Pool(members=(alone, many), label="two")
    assert isinstance(pool, ManyTeacher)
    assert not await pool.offers_many()
    assert await Pool(members=(many, many)).offers_many()
    drawn = [Sampling(seed=seed) for seed in range(3)]
    both = [[reply.text for reply in await pool.ask_many(chat("1"), drawn)] for _ in range(2)]
    assert sorted(both) == [["0", "1", "2"], ["many 0", "many 1", "many 2"]]

    short = ScriptedTeacher(replies=["0", TeacherError("too long", status=400)], name="short")
    replies = await Pool(members=(short,)).ask_many(chat("1"), drawn)
    assert [reply.text for reply in replies] == ["0"]  # what was paid for is kept
    with pytest.raises(TeacherError, match="ends after"):
        await Pool(members=(short,)).ask_many(chat("1"), drawn)


async def test_whether_all_draw_several_samples_is_asked_of_those_who_answer(endpoint):
    async with LoopbackServer(number_after()) as dead:
        pass
    async with LoopbackServer(number_after()) as alive:
        pool = PoolTeacher(members=(endpoint(dead), endpoint(alive, features=("n",))))
        assert await pool.offers_many()
        replies = await pool.ask_many(chat("Say 4."), [Sampling(seed=seed) for seed in range(3)])
        assert replies
        assert {reply.text for reply in replies} == {"4"}
        assert len(pool.limiters) == 2
        await pool.aclose()
        alone = PoolTeacher(members=(endpoint(dead),))
        assert not await alone.offers_many()
        await alone.aclose()


def test_a_budget_sets_aside_for_the_dearest_member():
    cheap, dear = Prices(prompt=1.0, completion=9.0, cached_prompt=0.1), Prices(prompt=2.0, completion=4.0)

    def at(port: int, prices: Prices | None) -> OpenAITeacher:
        return OpenAITeacher(model="m", base_url=f"http://127.0.0.1:{port}/v1", prices=prices)

    assert PoolTeacher(members=(at(1, cheap), at(2, dear))).prices == Prices(
        prompt=2.0, completion=9.0, cached_prompt=2.0, reasoning=9.0
    )
    assert PoolTeacher(members=(at(1, cheap), at(2, None))).prices is None


async def test_closing_closes_every_member_also_where_one_cannot_be():
    closed = []

    class Closing(ScriptedTeacher):
        async def aclose(self) -> None:
            closed.append(self.name)
            if self.name == "b":
                raise TeacherError("cannot be closed")

    pool = Pool(members=tuple(Closing(replies=[], name=name) for name in "abc"), route="by_problem")
    with pytest.raises(TeacherError, match="cannot be closed"):
        await pool.aclose()
    assert closed == ["a", "b", "c"]


def test_one_event_loop_after_another_and_counts_after_a_loop_was_broken_off():
    hanging = True

    async def say(messages, sampling):
        if hanging:
            await asyncio.Event().wait()
        return "well"

    pool = Pool(members=tuple(ScriptedTeacher(replies=say, name=name) for name in "ab"), label="two")

    async def broken_off() -> tuple[int, ...]:
        tasks = [asyncio.create_task(pool.ask(chat(f"{i}"), Sampling())) for i in range(4)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pool.ask_many(chat("many"), [Sampling()])
        assert not any(task.done() for task in tasks)
        return pool.outstanding  # and the loop ends, with four requests out

    assert asyncio.run(broken_off()) == (2, 2)
    assert pool.outstanding == (0, 0)
    hanging = False
    assert asyncio.run(pool.ask(chat("9"), Sampling())).text == "well"


FATES = st.sampled_from(["text", "text", "text", "fault", "asked to wait", "refused", "fatal", "slow"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(FATES, min_size=1, max_size=8), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from(["least_busy", "by_problem"]),
    st.sets(st.integers(0, 11)),
    st.integers(1, 4),
)
def test_whatever_happens_each_call_ends_once_and_nothing_stays_counted(fates, calls, route, cancelled, attempts):
    answered: Counter[str] = Counter()
    sent: Counter[str] = Counter()

    def member(own: list[str], name: str) -> ScriptedTeacher:
        turn = iter(range(10_000))

        async def say(messages, sampling):
            fate = own[next(turn) % len(own)]
            sent[messages[0]["content"]] += 1
            await asyncio.sleep(0.001 if fate == "slow" else 0)
            if fate == "fault":
                raise TeacherError("fault", retryable=True)
            if fate == "asked to wait":
                raise TeacherError("fault", status=429, retry_after=3.0, retryable=True)
            if fate == "refused":
                raise TeacherError("refused", status=400)
            if fate == "fatal":
                raise TeacherError("fatal", fatal=True)
            answered[messages[0]["content"]] += 1
            return messages[0]["content"]

        return ScriptedTeacher(replies=say, name=name)

    members = tuple(member(own, f"{index}") for index, own in enumerate(fates))
    pool = Pool(members=members, route=route, label="pool", attempts=attempts)

    async def main() -> list:
        tasks = [asyncio.create_task(pool.ask(chat(f"call {i}"), Sampling())) for i in range(calls)]
        await asyncio.sleep(0)
        for index in cancelled:
            if index < calls:
                tasks[index].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for index, outcome in enumerate(asyncio.run(main())):
        words = f"call {index}"
        if isinstance(outcome, Reply):
            assert (outcome.text, answered[words]) == (words, 1)
        else:
            assert isinstance(outcome, TeacherError | asyncio.CancelledError)
            assert index in cancelled or isinstance(outcome, TeacherError)
            if not isinstance(outcome, asyncio.CancelledError):
                assert answered[words] == 0
                assert not outcome.fatal or len(pool.out) == len(fates)
        assert sent[words] <= attempts + len(fates)  # faults are bounded by the tries, and each is fatal once
    assert pool.outstanding == (0,) * len(fates)
