"""Who owns the card: every transition of the table, every failure, and no order of them that breaks a promise."""

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lessons.errors import InputError, TutelageError
from loops.placing.card import Card
from loops.placing.table import (
    HOLDING,
    SAID,
    TABLE,
    Act,
    Condition,
    Outcome,
    Owner,
    Step,
    Tenant,
    after,
    closing_step,
    next_step,
    owner_of,
    worst,
)

CONDITIONS: tuple[Condition, ...] = get_args(Condition)
LIMITS = {"start": None, "wake": 0.01, "sleep": 0.01, "stop": 0.01, "kill": 0.01}


class Engine:
    """What stands in for a server: holds the card or main memory, and misbehaves on demand."""

    def __init__(self, owner: Owner, *, sleeps: bool = False, others: Sequence["Engine"] = ()) -> None:
        self.owner, self.sleeps, self.others = owner, sleeps, others
        self.on_card = self.asleep = False
        self.alive = True
        self.faults: dict[str, str] = {}
        """Act -> "failed" or "hung"."""
        self.broken_rule = ""

    async def start(self) -> None:
        self.sees_nobody()
        self.on_card, self.alive = True, True  # also where it fails: half of it is loaded
        await self.maybe("start")

    async def wake(self) -> None:
        self.sees_nobody()
        assert self.asleep
        self.on_card = True
        await self.maybe("wake")
        self.asleep = False

    async def sleep(self) -> None:
        assert self.on_card
        await self.maybe("sleep")
        self.on_card, self.asleep = False, True

    async def stop(self) -> None:
        await self.maybe("stop")
        self.on_card = self.asleep = False

    async def kill(self) -> None:
        await self.maybe("kill")
        self.on_card = self.asleep = False

    async def maybe(self, act: str) -> None:
        fault = self.faults.get(act)
        if fault == "failed":
            raise RuntimeError(f"{act} was refused")
        if fault == "hung":
            await asyncio.sleep(60)

    def sees_nobody(self) -> None:
        there = [other.owner for other in self.others if other.on_card and other.owner != self.owner]
        if there:
            self.broken_rule = f"{self.owner} came while {there} was on the card"


def seated(**owners: Engine) -> tuple[Card, list[str]]:
    said: list[str] = []
    card = Card(said.append, limits=LIMITS)
    for name, engine in owners.items():
        engine.others = list(owners.values())
        card.add(name, engine.owner, engine)
    return card, said


def acts(card: Card) -> list[tuple[str, str, str]]:
    return [move[:3] for move in card.moves]


# -------------------------------------------------------------------------------------------- the table


def test_every_step_that_can_be_next_has_every_outcome_in_the_table_and_every_failure_its_line():
    steps: set[tuple[Condition, Act]] = set()
    for one, other, sleeps in product(CONDITIONS, CONDITIONS, (False, True)):
        state = (
            Tenant(name="a", owner="teacher", condition=one, sleeps=sleeps),
            Tenant(name="b", owner="student", condition=other),
        )
        chosen = [closing_step(state)]
        chosen += [
            next_step(state, owner, name) for owner, name in (("teacher", "a"), ("student", "b"), ("idle", None))
        ]
        for step in filter(None, chosen):
            steps.add((next(t.condition for t in state if t.name == step.tenant), step.act))
    outcomes: dict[Act, set[Outcome]] = {"look": {"done", "failed"}}
    outcomes |= {act: {"done", "failed", "hung"} for act in ("start", "wake", "sleep", "stop", "kill")}
    steps |= {("resident", "look"), ("asleep", "look")}
    assert set(TABLE) == {(c, act, outcome) for c, act in steps for outcome in outcomes[act]}
    assert set(SAID) == {(act, outcome) for _, act, outcome in TABLE if outcome != "done"}
    for condition, act in steps - {("resident", "look"), ("asleep", "look")}:
        assert worst(condition, act) == "hung"


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("sleeps", [False, True])
def test_nobody_comes_while_another_owner_may_hold_the_card(condition: Condition, sleeps: bool):
    """From every condition of the one who is there, step by step with good outcomes, until the other is resident."""
    state = (
        Tenant(name="a", owner="teacher", condition=condition, sleeps=sleeps),
        Tenant(name="b", owner="student"),
    )
    done: list[Step] = []
    while (step := next_step(state, "student", "b")) is not None:
        if step.act in ("start", "wake"):
            assert owner_of(state) in ("idle", "student")
        state = after(state, step, "done")
        done.append(step)
        assert len(done) < 4
    assert owner_of(state) == "student"
    assert [tenant.condition in HOLDING for tenant in state] == [False, True]
    left = {
        "absent": [],
        "asleep": [],
        "resident": ["sleep" if sleeps else "stop"],
        "broken": ["stop"],
        "stuck": ["kill"],
    }
    assert [step.act for step in done] == [*left[condition], "start"]


def test_a_step_that_a_condition_does_not_allow_is_refused():
    with pytest.raises(KeyError):
        after((Tenant(name="a", owner="teacher"),), Step("a", "sleep"), "done")


# ------------------------------------------------------------------------------------------- the driver


async def test_a_round_of_teacher_and_student():
    teacher, student, here = Engine("teacher"), Engine("student"), Engine("training")
    card, said = seated(teacher=teacher, student=student, here=here)
    owners = []
    for name in ("student", "teacher", "here", "student"):
        await card.take(name)
        owners.append(card.owner)
    assert owners == ["student", "teacher", "training", "student"]
    assert acts(card) == [
        ("student", "start", "done"),
        ("student", "stop", "done"),
        ("teacher", "start", "done"),
        ("teacher", "stop", "done"),
        ("here", "start", "done"),
        ("here", "stop", "done"),
        ("student", "start", "done"),
    ]
    assert said == []


async def test_who_can_sleep_sleeps_and_is_woken():
    teacher, student = Engine("teacher", sleeps=True), Engine("student")
    card, _ = seated(teacher=teacher, student=student)
    for name in ("teacher", "student", "teacher"):
        await card.take(name)
    assert [act for _, act, _ in acts(card)] == ["start", "sleep", "start", "stop", "wake"]


async def test_a_refused_sleep_is_a_stop_now_and_from_then_on():
    teacher, student = Engine("teacher", sleeps=True), Engine("student")
    teacher.faults["sleep"] = "failed"
    card, said = seated(teacher=teacher, student=student)
    for name in ("teacher", "student", "teacher", "student"):
        await card.take(name)
    assert [move[1:] for move in acts(card) if move[0] == "teacher"] == [
        ("start", "done"), ("sleep", "failed"), ("stop", "done"), ("start", "done"), ("stop", "done"),
    ]  # fmt: skip
    assert said == ["teacher cannot be put to sleep; it is stopped instead, now and from now on (sleep was refused)"]


@pytest.mark.parametrize("fault", ["failed", "hung"])
async def test_who_cannot_be_woken_is_started_anew(fault: str):
    teacher, student = Engine("teacher", sleeps=True), Engine("student")
    card, said = seated(teacher=teacher, student=student)
    await card.take("teacher")
    await card.take("student")
    teacher.faults["wake"] = fault
    await card.take("teacher")
    assert [move[1:] for move in acts(card)[-3:]] == [("wake", fault), ("stop", "done"), ("start", "done")]
    assert card.owner == "teacher"
    assert len(said) == 1


async def test_a_start_that_fails_leaves_nothing_and_says_the_engine_s_own_words():
    teacher, student = Engine("teacher"), Engine("student")
    teacher.faults["start"] = "failed"
    card, said = seated(teacher=teacher, student=student)
    with pytest.raises(RuntimeError, match="start was refused"):
        await card.take("teacher")
    assert (card.owner, teacher.on_card, said) == ("idle", False, [])
    assert acts(card) == [("teacher", "start", "failed"), ("teacher", "stop", "done")]
    await card.take("student")
    assert card.owner == "student"


@pytest.mark.parametrize("fault", ["failed", "hung"])
async def test_who_does_not_end_is_killed(fault: str):
    teacher, student = Engine("teacher"), Engine("student")
    card, said = seated(teacher=teacher, student=student)
    await card.take("teacher")
    teacher.faults["stop"] = fault
    await card.take("student")
    assert acts(card)[1:] == [("teacher", "stop", fault), ("teacher", "kill", "done"), ("student", "start", "done")]
    assert len(said) == 1
    assert "it is killed" in said[0]


async def test_nothing_is_started_beside_what_cannot_be_killed():
    teacher, student = Engine("teacher"), Engine("student")
    card, said = seated(teacher=teacher, student=student)
    await card.take("teacher")
    teacher.faults |= {"stop": "hung", "kill": "failed"}
    for _ in range(2):
        with pytest.raises(TutelageError, match="teacher cannot be killed; nothing else is started on its card"):
            await card.take("student")
        assert card.condition("teacher") == "stuck"
    assert not student.on_card
    del teacher.faults["kill"]
    await card.take("student")  # it has gone at last
    assert card.owner == "student"
    assert "teacher did not end in its time; it is killed (TimeoutError)" in said


@pytest.mark.parametrize("asleep", [False, True])
async def test_who_died_is_cleared_away_before_anybody_comes(asleep: bool):
    teacher, student = Engine("teacher", sleeps=True), Engine("student")
    card, said = seated(teacher=teacher, student=student)
    await card.take("teacher")
    if asleep:
        await card.take("student")
    teacher.alive = False
    await card.take("teacher")
    assert [move[1:] for move in acts(card) if move[0] == "teacher"][-3:] == [
        ("look", "failed"), ("stop", "done"), ("start", "done"),
    ]  # fmt: skip
    assert said == ["teacher has ended by itself; what is left of it is ended"]


async def test_a_step_that_is_called_off_leaves_its_worst_outcome():
    teacher, student = Engine("teacher"), Engine("student")
    teacher.faults["start"] = "hung"
    card, _ = seated(teacher=teacher, student=student)
    starting = asyncio.create_task(card.take("teacher"))
    await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (card.condition("teacher"), teacher.on_card) == ("broken", True)
    await card.take("student")
    assert not teacher.on_card


async def test_many_callers_share_one_start():
    teacher = Engine("teacher")
    card, _ = seated(teacher=teacher)

    async def call() -> None:
        async with card.working("teacher"):
            await asyncio.sleep(0)

    await asyncio.gather(*(call() for _ in range(20)))
    assert acts(card) == [("teacher", "start", "done")]


async def test_nobody_is_sent_away_at_work():
    teacher, student = Engine("teacher"), Engine("student")
    card, _ = seated(teacher=teacher, student=student)
    async with card.working("teacher"):
        for leave in (lambda: card.make_room("student"), lambda: asyncio.run(card.take("student"))):
            with pytest.raises(InputError, match=r"teacher is at work.*placement: separate"):
                await asyncio.to_thread(leave)
        with pytest.raises(InputError, match="at work"):
            card.make_room("student")
        card.make_room("teacher")
    card.make_room("student")
    assert (card.owner, teacher.on_card) == ("idle", False)


async def test_two_of_one_owner_are_on_the_card_together():
    teacher, judge, student = Engine("teacher"), Engine("teacher"), Engine("student")
    card, _ = seated(teacher=teacher, judge=judge, student=student)
    async with card.working("teacher", "judge"):
        assert teacher.on_card
        assert judge.on_card
    await card.take("student")
    assert not (teacher.on_card or judge.on_card)


def test_who_always_comes_with_its_owner_comes_without_being_called():
    here, teacher = Engine("student"), Engine("teacher")
    card = Card()
    card.add("here", "student", here, always=True)
    card.add("teacher", "teacher", teacher)
    card.make_room("student")
    assert card.owner == "student"
    asyncio.run(card.take("teacher"))
    assert not here.on_card


def test_what_dead_runs_left_is_ended_once_before_anybody_comes():
    called: list[bool] = []
    teacher = Engine("teacher")
    card = Card(first=lambda: called.append(teacher.on_card))
    card.add("teacher", "teacher", teacher)
    assert called == []
    for _ in range(2):
        asyncio.run(card.take("teacher"))
        card.make_room("student")
    assert called == [False]


def test_closing_ends_who_is_asleep_too_and_goes_on_past_what_cannot_be_ended():
    teacher, judge, student = Engine("teacher", sleeps=True), Engine("teacher"), Engine("student")
    card, said = seated(teacher=teacher, judge=judge, student=student)
    asyncio.run(card.take("teacher"))
    asyncio.run(card.take("judge"))
    judge.faults |= {"stop": "failed", "kill": "failed"}
    card.close()
    assert [teacher.on_card, teacher.asleep, judge.on_card] == [False, False, True]
    assert [card.condition(name) for name in ("teacher", "judge", "student")] == ["absent", "stuck", "absent"]
    assert said[-1] == "judge cannot be killed; nothing else is started on its card (kill was refused)"
    judge.faults.clear()
    card.close()
    assert (card.owner, judge.on_card) == ("idle", False)


def test_two_tenants_of_one_name_are_refused():
    card, _ = seated(teacher=Engine("teacher"))
    with pytest.raises(ValueError, match="'teacher' already"):
        card.add("teacher", "teacher", Engine("teacher"))


# ---------------------------------------------------------------------------------------- any order of it

OWNERS: dict[str, Owner] = {"teacher": "teacher", "judge": "teacher", "student": "student", "here": "training"}
FAULTS = st.sampled_from(["start", "wake", "sleep", "stop", "kill"])


class AnyOrder(RuleBasedStateMachine):
    """Whatever is asked for and whatever goes wrong, in any order."""

    @initialize(sleepers=st.sets(st.sampled_from(sorted(OWNERS))))
    def begin(self, sleepers: set[str]) -> None:
        self.engines = {name: Engine(owner, sleeps=name in sleepers) for name, owner in OWNERS.items()}
        self.card, self.said = seated(**self.engines)

    @rule(name=st.sampled_from(sorted(OWNERS)))
    def take(self, name: str) -> None:
        asked = self.engines[name]
        try:
            asyncio.run(self.card.take(name))
        except (RuntimeError, TutelageError) as error:
            assert "start was refused" in str(error) or "cannot be killed" in str(error)
            assert "start" in asked.faults or any("kill" in engine.faults for engine in self.engines.values())
        else:
            assert self.card.condition(name) == "resident"
            assert asked.on_card
            assert not asked.asleep

    @rule(owner=st.sampled_from(["idle", *OWNERS.values()]))
    def make_room(self, owner: Owner) -> None:
        try:
            self.card.make_room(owner)
        except TutelageError as error:
            assert "cannot be killed" in str(error)
        else:
            assert self.card.owner in ("idle", owner)

    @rule(name=st.sampled_from(sorted(OWNERS)))
    def called_off(self, name: str) -> None:
        """A start that nobody waits for any more."""

        async def start() -> None:
            taking = asyncio.create_task(self.card.take(name))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

        asyncio.run(start())

    @rule(name=st.sampled_from(sorted(OWNERS)))
    def dies(self, name: str) -> None:
        engine = self.engines[name]
        if engine.on_card or engine.asleep:
            engine.alive = False  # a part of it may stay, and hold the card

    @rule(name=st.sampled_from(sorted(OWNERS)), act=FAULTS, fault=st.sampled_from(["failed", "hung"]))
    def goes_wrong(self, name: str, act: str, fault: str) -> None:
        self.engines[name].faults[act] = "failed" if act == "start" else fault

    @rule(name=st.sampled_from(sorted(OWNERS)))
    def is_well_again(self, name: str) -> None:
        self.engines[name].faults.clear()

    @rule()
    def close(self) -> None:
        self.card.close()
        for name, engine in self.engines.items():
            if "kill" not in engine.faults:
                assert self.card.condition(name) == "absent"
                assert not (engine.on_card or engine.asleep)

    @precondition(lambda self: hasattr(self, "engines"))
    @invariant()
    def never_two_owners_on_the_card(self) -> None:
        on_card = {engine.owner for engine in self.engines.values() if engine.on_card}
        assert len(on_card) <= 1
        assert [engine.broken_rule for engine in self.engines.values() if engine.broken_rule] == []
        known = {name for name in OWNERS if self.card.condition(name) in HOLDING}
        assert {name for name, engine in self.engines.items() if engine.on_card} <= known

    def teardown(self) -> None:
        if not hasattr(self, "engines"):
            return
        for engine in self.engines.values():
            engine.faults.clear()
        self.card.close()
        assert self.card.owner == "idle"
        assert not any(engine.on_card or engine.asleep for engine in self.engines.values())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
