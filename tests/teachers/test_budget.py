import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import BudgetError, InputError
from lessons.records import Message
from teachers.accounts import Bill, account
from teachers.base import Reply, Sampling, Usage
from teachers.budget import Budget, Caps
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prices import FREE, Prices
from teachers.scripted import ScriptedTeacher

CHAT = [Message(role="user", content="x" * 100)]
DEAR = Prices(prompt=1.0, completion=2.0)  # USD per million tokens


def about(number: int) -> dict[str, object]:
    return {"question": f"Say {number}."}


def priced(completion: int = 10, usd: float | None = 0.01):
    usage = Usage(prompt=20, completion=completion)
    return ScriptedTeacher(replies=lambda messages, sampling: Reply(text="7", usage=usage, usd=usd))


async def test_a_cap_on_requests_is_exact_and_what_was_paid_for_is_kept(ledger, number_prompt):
    teacher = priced()
    budget = Budget(Caps(requests=5), prices=DEAR)
    caller = Caller(teacher, ledger, budget=budget)
    asked = await asyncio.gather(*(caller.ask(number_prompt, about(number)) for number in range(12)))
    reasons = [answer.reason for (answer,) in asked]
    assert sorted(reasons) == [""] * 5 + ["budget"] * 7
    assert len(teacher.requests) == 5 == account(ledger.path).paid.calls
    assert budget.reached.startswith("the budget is spent: 5 of 5 requests (budget.requests)")
    assert caller.totals.lost == {"budget": 7}


async def test_raising_the_cap_goes_on_and_buys_nothing_twice(ledger, number_prompt):
    teacher = priced()
    for cap in (4, 9, 100):
        spent = account(ledger.path).paid
        caller = Caller(teacher, ledger, budget=Budget(Caps(requests=cap), spent, prices=DEAR))
        for number in range(12):
            await caller.ask(number_prompt, about(number))
        assert len(teacher.requests) == min(cap, 12) == account(ledger.path).paid.calls


async def test_replies_from_the_ledger_and_the_cache_cost_nothing(tmp_path, number_prompt):
    cache = tmp_path / "cache.sqlite"
    with Ledger.open(tmp_path / "first.sqlite", cache=cache) as ledger:
        await Caller(priced(), ledger).ask(number_prompt, about(1), n=3)
    with Ledger.open(tmp_path / "second.sqlite", cache=cache) as ledger:
        budget = Budget(Caps(requests=1), account(ledger.path).paid, prices=DEAR)
        caller = Caller(priced(), ledger, budget=budget)
        answers = [*await caller.ask(number_prompt, about(1), n=3), *await caller.ask(number_prompt, about(1), n=3)]
        assert [answer.reason for answer in answers] == [""] * 6
        assert budget.spent.requests == 0
        assert (await caller.ask(number_prompt, about(2)))[0].reason == ""
        assert (await caller.ask(number_prompt, about(3)))[0].reason == "budget"


async def test_a_call_waits_for_what_others_set_aside_and_do_not_use(ledger, number_prompt):
    """Each call sets 32 + prompt tokens aside and uses 30: one after the other, more fit than side by side."""
    budget = Budget(Caps(tokens=330))
    caller = Caller(priced(completion=10), ledger, budget=budget, in_flight=50)
    asked = await asyncio.gather(*(caller.ask(number_prompt, about(number)) for number in range(20)))
    answered = sum(answer.reason == "" for (answer,) in asked)
    assert answered * 30 == budget.spent.tokens <= 330
    assert answered > 330 // (32 + 100)  # more than fit if all of each reservation were used


@pytest.mark.parametrize("kind", ["usd", "tokens", "requests"])
@given(
    cap=st.integers(1, 400),
    uses=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20), st.booleans()), min_size=1, max_size=25),
    width=st.integers(1, 8),
)
def test_no_cap_is_ever_passed(kind, cap, uses, width):
    """Whatever calls use (up to what the request allows), fail or leave untold, in whatever order they end."""
    caps = Caps(**{kind: cap * 1e-6 if kind == "usd" else cap})
    budget = Budget(caps, prices=DEAR)
    refused = 0

    async def one(prompt: int, completion: int, told: bool, gate: asyncio.Semaphore) -> None:
        nonlocal refused
        async with gate:
            try:
                aside = await budget.reserve(CHAT, Sampling(max_tokens=20))
            except BudgetError:
                refused += 1
                return
            await asyncio.sleep(0)
            if completion:
                used = Usage(prompt=prompt, completion=completion) if told else Usage()
                aside.settle([Reply(text="", usage=used, usd=DEAR.usd(used))])
            aside.release()

    async def all_() -> None:
        gate = asyncio.Semaphore(width)
        await asyncio.gather(*(one(*use, gate) for use in uses))

    asyncio.run(all_())
    assert getattr(budget.spent, kind) <= getattr(caps, kind) + 1e-12
    assert (refused > 0) == bool(budget.reached)
    assert budget._aside.requests == 0
    assert abs(budget._aside.usd) < 1e-12


async def test_tokens_that_an_endpoint_does_not_tell_are_booked_as_all_that_was_set_aside(ledger, number_prompt):
    budget = Budget(Caps(tokens=10_000))
    caller = Caller(ScriptedTeacher(replies=lambda messages, sampling: "7"), ledger, budget=budget)
    await caller.ask(number_prompt, about(1))
    size = len("Answer with a whole number.") + len("Say 1.")
    assert budget.spent.tokens >= 32 + size


async def test_hours_count_from_what_the_run_worked_before():
    now = 0.0
    budget = Budget(Caps(hours=2.0), hours=1.5, clock=lambda: now)
    budget.check()
    (await budget.reserve(CHAT, Sampling())).release()
    now = 1801.0
    with pytest.raises(BudgetError, match=r"2\.00 of 2\.0 hours"):
        await budget.reserve(CHAT, Sampling())
    with pytest.raises(BudgetError, match="hours"):
        budget.check()


async def test_a_request_for_many_sets_all_of_them_aside():
    budget = Budget(Caps(requests=3))
    aside = await budget.reserve(CHAT, Sampling(), 3)
    aside.settle([Reply(text="1"), Reply(text="2")])  # the endpoint gave fewer: what is not told is booked whole
    assert budget.spent.requests == 3


def test_dollars_need_prices():
    with pytest.raises(InputError, match=r"budget\.usd needs to know what a token costs"):
        Budget(Caps(usd=1.0))
    with pytest.raises(InputError, match="3 calls that this run paid for have no known price"):
        Budget(Caps(usd=1.0), Bill(calls=5, unpriced=3), prices=DEAR)
    assert Budget(Caps(usd=1.0), Bill(calls=5, usd=0.25), prices=DEAR).spent.usd == 0.25
    Budget(Caps(usd=1.0), prices=FREE)


@pytest.mark.parametrize("caps", [{"usd": 0}, {"tokens": -1}, {"hours": float("inf")}, {"requests": 0}])
def test_a_cap_that_nothing_fits_under_is_refused(caps):
    with pytest.raises(InputError, match=r"budget\.\w+ must be more than 0"):
        Caps(**caps)


@pytest.mark.parametrize(
    ("used", "usd"),
    [
        (Usage(prompt=1_000_000, completion=0), 1.0),
        (Usage(prompt=1_000_000, cached_prompt=400_000, completion=0), 0.6 + 0.1),
        (Usage(prompt=0, completion=1_000_000), 4.0),
        (Usage(prompt=0, completion=1_000_000, reasoning=500_000), 2.0 + 4.0),
        (Usage(prompt=10, cached_prompt=99, completion=0), 10 * 0.25e-6),  # never more cached than there were
        (Usage(prompt=5), None),
        (Usage(), None),
    ],
)
def test_prices_by_kind_of_token(used, usd):
    prices = Prices(prompt=1.0, completion=4.0, cached_prompt=0.25, reasoning=8.0, as_of="2026-11-01")
    assert prices.usd(used) == (None if usd is None else pytest.approx(usd))


def test_prices_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"prices\.completion must be at least 0"):
        Prices(prompt=1, completion=-1)
    with pytest.raises(InputError, match=r"prices\.as_of must be a day"):
        Prices(prompt=1, completion=1, as_of="last week")
    assert Prices(prompt=0, completion=0).usd(Usage()) == 0.0  # what costs nothing costs nothing, however much it was
