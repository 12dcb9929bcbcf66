"""A small world in text: a house of rooms, a goal behind a door that may be locked, and a key in a closed container."""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from lessons.records import Record

ROOMS = (
    "attic", "bedroom", "cellar", "garage", "hall", "kitchen", "library", "nursery", "pantry", "parlour", "study",
    "workshop",
)  # fmt: skip
CONTAINERS = ("basket", "box", "chest", "crate", "drawer", "jar", "pot", "sack", "tin", "trunk")
NOTHING = "Nothing happens."
"""What is told of an action that is not among the candidates."""


class House(Record, frozen=True, kw_only=True):
    """A house, and what is asked in it: to get from one room to another."""

    rooms: tuple[str, ...]
    doors: tuple[tuple[str, str], ...]
    """Pairs of rooms; every room can be reached through them."""
    locked: tuple[str, str] | None = None
    """The door of `doors` that is locked at first; None where none is."""
    containers: tuple[tuple[str, str], ...] = ()
    """(container, the room that it stands in); all are closed at first."""
    key: str = ""
    """The container that holds the key; "" where there is none."""
    start: str
    goal: str

    def plain(self) -> dict[str, Any]:
        """Return the house as plain JSON data."""
        return msgspec.json.decode(msgspec.json.encode(self))

    @classmethod
    def of(cls, data: object) -> "House":
        """Read what `plain` wrote. msgspec.ValidationError where it is none."""
        return msgspec.convert(data, cls)


class State(NamedTuple):
    """How things stand."""

    room: str
    opened: frozenset[str] = frozenset()
    carried: bool = False
    """Whether the key is carried."""
    unlocked: bool = False


def built(rng: Random, *, rooms: int, containers: int, locked: bool) -> House:
    """Return a house drawn by chance. The goal is the last room, which has one door; where it is locked, the key lies
    in a container of another room.

    rooms: 2 to 12. containers: 0 to 10, at least 1 where a door is locked.
    """
    names = rng.sample(ROOMS, rooms)
    doors = [(names[rng.randrange(number)], name) for number, name in enumerate(names) if number]
    held = [(name, rng.choice(names[:-1])) for name in rng.sample(CONTAINERS, containers)]
    return House(
        rooms=tuple(names),
        doors=tuple(doors),
        locked=doors[-1] if locked else None,
        containers=tuple(held),
        key=rng.choice(held)[0] if locked else "",
        start=names[0],
        goal=names[-1],
    )


def beginning(house: House) -> State:
    """Return how things stand before any action."""
    return State(house.start)


def neighbours(house: House, room: str) -> tuple[str, ...]:
    """Return the rooms behind a room's doors, in the order of the doors."""
    return tuple(two if one == room else one for one, two in house.doors if room in (one, two))


def is_locked(house: House, state: State, other: str) -> bool:
    """Whether the door from where one is to another room is locked now."""
    return house.locked is not None and not state.unlocked and {state.room, other} == set(house.locked)


def actions(house: House, state: State) -> tuple[str, ...]:
    """Return what can be done, in a fixed order."""
    found: list[str] = []
    for other in neighbours(house, state.room):
        if not is_locked(house, state, other):
            found.append(f"go {other}")
        elif state.carried:
            found.append(f"unlock {other}")
    for name, room in house.containers:
        if room == state.room and name not in state.opened:
            found.append(f"open {name}")
    return (*found, "take key") if _key_in_sight(house, state) else tuple(found)


def _key_in_sight(house: House, state: State) -> bool:
    return not state.carried and house.key in state.opened and (house.key, state.room) in house.containers


def after(house: House, state: State, action: str) -> State:
    """Return how things stand after an action; one that is no candidate changes nothing."""
    if action not in actions(house, state):
        return state
    verb, _, what = action.partition(" ")
    match verb:
        case "go":
            return state._replace(room=what)
        case "open":
            return state._replace(opened=state.opened | {what})
        case "take":
            return state._replace(carried=True)
        case _:
            return state._replace(unlocked=True)


def after_all(house: House, taken: Sequence[str]) -> State:
    """Return how things stand after actions, from the beginning; once at the goal nothing changes any more."""
    state = beginning(house)
    for action in taken:
        if state.room != house.goal:
            state = after(house, state, action)
    return state


def seen(house: House, state: State) -> str:
    """Return what one sees: the goal, the room, its doors, its containers, whether the key is carried."""
    doors = [f"{room} (locked)" if is_locked(house, state, room) else room for room in neighbours(house, state.room)]
    here = [name for name, room in house.containers if room == state.room]
    closed = [name for name in here if name not in state.opened]
    opened = [
        f"{name} (key)" if name == house.key and not state.carried else name for name in here if name in state.opened
    ]
    parts = [f"Goal: {house.goal}.", f"You are in the {state.room}.", f"Doors: {', '.join(doors)}."]
    parts += [f"Closed: {', '.join(closed)}."] if closed else []
    parts += [f"Open: {', '.join(opened)}."] if opened else []
    parts += ["You carry the key."] if state.carried else []
    return " ".join(parts)


def way(house: House, state: State) -> tuple[str, ...] | None:
    """Return a shortest sequence of actions to the goal, the first in the order of the candidates; None where there is
    none. Breadth-first search."""
    came: dict[State, tuple[State, str]] = {}
    known, queue = {state}, deque([state])
    while queue:
        now = queue.popleft()
        if now.room == house.goal:
            steps: list[str] = []
            while now != state:
                now, action = came[now]
                steps.append(action)
            return tuple(reversed(steps))
        for action in actions(house, now):
            then = after(house, now, action)
            if then not in known:
                known.add(then)
                came[then] = (now, action)
                queue.append(then)
    return None


def facts(house: House) -> tuple[str, ...]:
    """Return all that is so in the house, one line each, from what anybody may know to what gives it away."""
    where = ", ".join(f"{name} ({room})" for name, room in house.containers)
    of_key = dict(house.containers).get(house.key, "")
    steps = way(house, beginning(house)) or ()
    return (
        f"Start: {house.start}. Goal: {house.goal}.",
        f"Rooms: {', '.join(house.rooms)}.",
        f"Doors: {', '.join(f'{one} - {two}' for one, two in house.doors)}.",
        f"Locked: {' - '.join(house.locked)}." if house.locked else "Locked: none.",
        f"Containers: {where or 'none'}.",
        f"Key: in the {house.key}, {of_key}." if house.key else "Key: none.",
        f"Shortest way: {'; '.join(steps)}.",
    )


_FACT = re.compile(r"^(Start|Rooms|Doors|Locked|Containers|Key): (.*)\.$", re.MULTILINE)
_START = re.compile(r"(\w+)\. Goal: (\w+)")
_HELD = re.compile(r"\b(\w+) \((\w+)\)")
_KEY = re.compile(r"in the (\w+), \w+")


def read_facts(text: str) -> House | None:
    """Return the house that `facts` describe; None where one of them but the last is left out."""
    told: Mapping[str, str] = {found[1]: found[2] for found in _FACT.finditer(text[:20_000])}
    ends = _START.fullmatch(told.get("Start", ""))
    if ends is None or len(told) < 6:
        return None
    doors = [_pair(door) for door in told["Doors"].split(", ")]
    locked = None if told["Locked"] == "none" else _pair(told["Locked"])
    key = _KEY.fullmatch(told["Key"])
    return House(
        rooms=tuple(told["Rooms"].split(", ")),
        doors=tuple(doors),
        locked=locked,
        containers=tuple((found[1], found[2]) for found in _HELD.finditer(told["Containers"])),
        key=key[1] if key else "",
        start=ends[1],
        goal=ends[2],
    )


def _pair(text: str) -> tuple[str, str]:
    one, _, two = text.partition(" - ")
    return one, two
