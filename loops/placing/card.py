"""The card of a run: does the steps of the table one after the other; nothing else decides who is on it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from lessons.errors import InputError, TutelageError
from lessons.timing import inside
from loops.asking import run_async
from loops.placing.table import (
    SAID,
    Act,
    Condition,
    Outcome,
    Owner,
    State,
    Step,
    Tenant,
    after,
    closing_step,
    next_step,
    owner_of,
    worst,
)

LIMITS: Mapping[Act, float | None] = {"start": None, "wake": 150.0, "sleep": 150.0, "stop": 60.0, "kill": 30.0}
"""Seconds that a step may take. A start has no limit here: how long a model loads is a knob of its engine, which holds
to it. To sleep and to wake copies gigabytes; a server that is stopped has a time of grace of its own."""


_NONE: Mapping[Owner, Owner] = {}


class Engine(Protocol):
    """What can be put on the card. Every method may fail with any error: the table says what happens then."""

    @property
    def sleeps(self) -> bool:
        """Whether it can give the card back without ending."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it is still as it was left: False where its process has ended by itself."""
        ...

    async def start(self) -> None:
        """Make it ready to work."""
        ...

    async def wake(self) -> None:
        """Bring it back from sleep."""
        ...

    async def sleep(self) -> None:
        """Have it give the card back without ending."""
        ...

    async def stop(self) -> None:
        """End it and all that it started; fails where something of it is left. Also where it never started."""
        ...

    async def kill(self) -> None:
        """Kill all that is left of it; fails where something stays."""
        ...


class Move(NamedTuple):
    """One step that was done."""

    tenant: str
    act: Act
    outcome: Outcome
    seconds: float


class Card:
    """Tenants, their engines, and what is done to them. For one thread; from one event loop after another.

    say: told a line when something went wrong, with what is done about it. first: called once, before anybody comes on
    the card; ends what dead runs have left there. same: owners that are another one by its other name. limits: seconds
    that each step may take.
    """

    def __init__(
        self,
        say: Callable[[str], object] = lambda line: None,
        first: Callable[[], object] = lambda: None,
        *,
        same: Mapping[Owner, Owner] = _NONE,
        limits: Mapping[Act, float | None] = LIMITS,
    ) -> None:
        self.state: State = ()
        self.moves: list[Move] = []
        """What was done, oldest first."""
        self._say, self._first, self._same, self._limits = say, first, same, limits
        self._begun = False
        self.engines: dict[str, Engine] = {}
        """Name of a tenant -> its engine."""
        self._always: dict[Owner, str] = {}
        self._users: Counter[str] = Counter()
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._changing = False

    def add(self, name: str, owner: Owner, engine: Engine, *, always: bool = False) -> None:
        """Let somebody be on the card. always: it comes whenever its owner has the card, without being called.

        Raises:
            ValueError: there is a tenant of this name.
        """
        if name in self.engines:
            raise ValueError(f"the card has a tenant {name!r} already")
        self.engines[name] = engine
        self.state = (*self.state, Tenant(name=name, owner=owner, sleeps=engine.sleeps))
        if always:
            self._always[owner] = name

    @property
    def owner(self) -> Owner:
        """Who has the card."""
        return owner_of(self.state)

    def condition(self, name: str) -> Condition:
        """Return a tenant's condition.

        Raises:
            KeyError: there is no such tenant.
        """
        return self._tenant(name).condition

    async def take(self, name: str) -> None:
        """Have this tenant be on the card, and nobody of another owner.

        Raises:
            TutelageError: it cannot be started, as its engine says it; or somebody cannot be ended.
            InputError: somebody who would have to leave is at work.
        """
        async with self._turn():
            await self._go(self._tenant(name).owner, name)

    async def leave(self, name: str) -> None:
        """Have this tenant, and everybody of its owner, leave the card.

        Raises:
            TutelageError: somebody cannot be ended.
            InputError: somebody who would have to leave is at work.
        """
        if self.condition(name) != "absent":
            async with self._turn():
                await self._go("idle", None)

    def make_room(self, owner: Owner) -> None:
        """Have nobody of another owner be on the card.

        Raises:
            TutelageError: somebody cannot be ended.
            InputError: somebody who would have to leave is at work.
        """
        owner = self._same.get(owner, owner)
        name = self._always.get(owner)
        self._look()
        if next_step(self.state, owner, name) is None:
            return
        if self._changing or self._users.total():  # whoever works goes on on an event loop that is held up by this call
            raise self._at_work(owner, "")

        async def go() -> None:
            async with self._turn():
                await self._go(owner, name)

        with inside("load"):
            run_async(go())

    @asynccontextmanager
    async def working(self, *names: str) -> AsyncGenerator[None]:
        """Have these tenants be on the card, and none of them leave, in the block.

        Raises:
            TutelageError: as `take`.
        """
        while not all(self.condition(name) == "resident" for name in names):
            for name in names:
                await self.take(name)
        self._users.update(names)
        try:
            yield
        finally:
            self._users.subtract(names)

    def close(self) -> None:
        """End whoever is on the card or asleep; what cannot be ended is said, and does not keep the others."""
        if closing_step(self.state) is not None:
            run_async(self._close())

    async def _close(self) -> None:
        self._look()
        stuck: list[Tenant] = []
        while (step := closing_step(self.state)) is not None:
            if await self._do(step) is not None and step.act == "kill":
                stuck.append(self._tenant(step.tenant))
                self.state = tuple(tenant for tenant in self.state if tenant.name != step.tenant)
        self.state = (*self.state, *stuck)

    async def _go(self, owner: Owner, name: str | None) -> None:
        self._look()
        failure: Exception | None = None
        while (step := next_step(self.state, owner, name)) is not None:
            if step.act == "start" and failure is not None:
                raise failure
            if step.act in ("sleep", "stop") and self._users[step.tenant] > 0:
                raise self._at_work(owner, step.tenant)
            error = await self._do(step)
            if error is not None and step.act == "start":
                failure = error
            elif error is not None and step.act == "kill":
                raise TutelageError(f"{SAID['kill', 'failed'].format(name=step.tenant)} ({_words(error)})") from error

    async def _do(self, step: Step) -> Exception | None:
        """Do one step; return the error that it failed with. One that is called off leaves its worst outcome."""
        if step.act == "start" and not self._begun:
            self._begun = True
            self._first()
        before, began = self.state, time.monotonic()
        self.state = after(before, step, worst(self.condition(step.tenant), step.act))
        error: Exception | None = None
        outcome: Outcome = "done"
        try:
            async with asyncio.timeout(self._limits.get(step.act)):
                await _act(self.engines[step.tenant], step.act)
        except TimeoutError as hung:
            outcome, error = "hung", hung
        except Exception as failed:  # noqa: BLE001 - every failure of an engine has its next state
            outcome, error = "failed", failed
        self.state = after(before, step, outcome)
        self.moves.append(Move(step.tenant, step.act, outcome, time.monotonic() - began))
        if error is not None and step.act != "start":  # a start's error goes on, and says it better
            self._say(f"{SAID[step.act, outcome].format(name=step.tenant)} ({_words(error)})")
        return error

    def _look(self) -> None:
        """See who has ended by itself since it was last seen."""
        for tenant in self.state:
            if tenant.condition in ("resident", "asleep") and not self.engines[tenant.name].alive:
                self.state = after(self.state, Step(tenant.name, "look"), "failed")
                self.moves.append(Move(tenant.name, "look", "failed", 0.0))
                self._say(SAID["look", "failed"].format(name=tenant.name))

    def _tenant(self, name: str) -> Tenant:
        return {tenant.name: tenant for tenant in self.state}[name]

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """One change after the other; a lock belongs to its event loop."""
        lock = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            self._changing = True
            try:
                yield
            finally:
                self._changing = False

    def _at_work(self, owner: Owner, name: str) -> InputError:
        who = name or ", ".join(user for user, count in self._users.items() if count > 0) or "somebody"
        return InputError(
            f"{who} is at work, and would have to leave the card for {owner}: await its calls first, or give the two "
            "a card each (teacher.placement: separate)"
        )


async def _act(engine: Engine, act: Act) -> None:
    acts: Mapping[Act, Callable[[], Awaitable[None]]] = {
        "start": engine.start,
        "wake": engine.wake,
        "sleep": engine.sleep,
        "stop": engine.stop,
        "kill": engine.kill,
    }
    await acts[act]()


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
