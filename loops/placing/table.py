"""The state machine of the card, as a table: what may happen to whoever is on it, and what comes next. Does nothing.

The state of the card is its tenants' conditions; its owner follows from them. Every step has an outcome, every outcome
a next condition, and the next step is a function of the state and of who is wanted. `loops.placing.card` does them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Owner = Literal["idle", "teacher", "student", "scoring", "training"]
"""Who has the card: nobody, a teacher, the student that answers, the student's weights in this process that score, or
the training. Tenants of one owner may be on it together; tenants of two owners never are."""
Condition = Literal["absent", "asleep", "resident", "broken", "stuck"]
"""`absent`: holds nothing. `asleep`: holds main memory, not the card. `resident`: has the card, or may take it at any
moment. `broken`: does not work and may hold the card; it is stopped before anything else happens. `stuck`: did not end
when it was stopped, and is killed before anything else happens."""
Act = Literal["look", "start", "wake", "sleep", "stop", "kill"]
Outcome = Literal["done", "failed", "hung"]
"""`hung`: it did not come back in its time. Of a look: `done` where it lives, else `failed`."""

HOLDING: frozenset[Condition] = frozenset({"resident", "broken", "stuck"})
"""Conditions in which a tenant may hold memory of the card."""

TABLE: Mapping[tuple[Condition, Act, Outcome], Condition] = {
    ("absent", "start", "done"): "resident",
    ("absent", "start", "failed"): "broken",  # it may have left processes behind
    ("absent", "start", "hung"): "broken",
    ("asleep", "look", "done"): "asleep",
    ("asleep", "look", "failed"): "broken",
    ("asleep", "wake", "done"): "resident",
    ("asleep", "wake", "failed"): "broken",  # stopped, and started anew
    ("asleep", "wake", "hung"): "broken",
    ("asleep", "stop", "done"): "absent",
    ("asleep", "stop", "failed"): "stuck",
    ("asleep", "stop", "hung"): "stuck",
    ("resident", "look", "done"): "resident",
    ("resident", "look", "failed"): "broken",
    ("resident", "sleep", "done"): "asleep",
    ("resident", "sleep", "failed"): "resident",  # it is not asked again, but stopped
    ("resident", "sleep", "hung"): "broken",
    ("resident", "stop", "done"): "absent",
    ("resident", "stop", "failed"): "stuck",
    ("resident", "stop", "hung"): "stuck",
    ("broken", "stop", "done"): "absent",
    ("broken", "stop", "failed"): "stuck",
    ("broken", "stop", "hung"): "stuck",
    ("stuck", "kill", "done"): "absent",
    ("stuck", "kill", "failed"): "stuck",  # nothing is started as long as it is there
    ("stuck", "kill", "hung"): "stuck",
}
"""(condition, what is done, what comes of it) -> the next condition. What is not here is never done."""

SAID: Mapping[tuple[Act, Outcome], str] = {
    ("look", "failed"): "{name} has ended by itself; what is left of it is ended",
    ("start", "failed"): "{name} cannot be started; what is left of it is ended",
    ("start", "hung"): "{name} did not start in its time; what is left of it is ended",
    ("wake", "failed"): "{name} cannot be woken; it is ended and started anew",
    ("wake", "hung"): "{name} did not wake in its time; it is ended and started anew",
    ("sleep", "failed"): "{name} cannot be put to sleep; it is stopped instead, now and from now on",
    ("sleep", "hung"): "{name} did not go to sleep in its time; it is stopped",
    ("stop", "failed"): "{name} has not ended; it is killed",
    ("stop", "hung"): "{name} did not end in its time; it is killed",
    ("kill", "failed"): "{name} cannot be killed; nothing else is started on its card",
    ("kill", "hung"): "{name} cannot be killed; nothing else is started on its card",
}
"""(what was done, what came of it) -> the line that says so and what happens next. What is done is not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Somebody who may be on the card."""

    name: str
    """For people, and unlike any other tenant's."""
    owner: Owner
    condition: Condition = "absent"
    sleeps: bool = False
    """Whether it can give the card back without ending."""


class Step(NamedTuple):
    """What is done next, and to whom."""

    tenant: str
    act: Act


State = tuple[Tenant, ...]
"""All tenants of one card; no two have one name."""


def owner_of(state: State) -> Owner:
    """Return who has the card."""
    owners: list[Owner] = [tenant.owner for tenant in state if tenant.condition in HOLDING]
    return owners[0] if owners else "idle"


def after(state: State, step: Step, outcome: Outcome) -> State:
    """Return the state once a step has come to its outcome.

    Raises:
        KeyError: the step is not one that the tenant's condition allows.
    """

    def changed(tenant: Tenant) -> Tenant:
        if tenant.name != step.tenant:
            return tenant
        condition = TABLE[tenant.condition, step.act, outcome]
        restless = step.act == "sleep" and outcome != "done"
        return replace(tenant, condition=condition, sleeps=tenant.sleeps and not restless)

    return tuple(map(changed, state))


def worst(condition: Condition, act: Act) -> Outcome:
    """Return the outcome that is taken for true while a step is under way: what is called off midway ended so."""
    return "hung" if (condition, act, "hung") in TABLE else "failed"


def next_step(state: State, owner: Owner, tenant: str | None = None) -> Step | None:
    """Return what is to be done next so that the card is this owner's, and this tenant of it resident; None: nothing.

    What is broken or stuck comes first, whoever it is. Tenants of other owners leave before anybody comes: they sleep
    where they can, and end where they cannot. With the owner `idle` everybody leaves.
    """
    for condition, act in _REPAIRS:
        for one in state:
            if one.condition == condition:
                return Step(one.name, act)
    for one in state:
        if one.condition == "resident" and one.owner != owner:
            return Step(one.name, "sleep" if one.sleeps else "stop")
    for one in state:
        if one.name == tenant and one.condition in _COMING:
            return Step(one.name, _COMING[one.condition])
    return None


def closing_step(state: State) -> Step | None:
    """Return what is to be done next so that nobody holds anything, asleep or not; None: nothing is left."""
    for one in state:
        if one.condition != "absent":
            return Step(one.name, "kill" if one.condition == "stuck" else "stop")
    return None


_REPAIRS: tuple[tuple[Condition, Act], ...] = (("stuck", "kill"), ("broken", "stop"))
_COMING: Mapping[Condition, Act] = {"absent": "start", "asleep": "wake"}
