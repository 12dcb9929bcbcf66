"""How somebody gets through the house: who knows it all by the shortest way, who has seen only a part by searching.

Pure text in, a reason and an action out: what a teacher's program and the task's own reference solutions share.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lessons.demo.house import House, after_all, way


class Step(NamedTuple):
    """What is done next, and why."""

    reason: str
    """One short sentence that names nothing which was not seen yet."""
    action: str


class Sight(NamedTuple):
    """An observation, read."""

    goal: str
    room: str
    doors: Mapping[str, bool]
    """Room behind it -> whether it is locked."""
    closed: tuple[str, ...]
    key: bool
    """Whether the key lies in sight."""
    carried: bool


_SIGHT = re.compile(
    r"Goal: (?P<goal>\w+)\. You are in the (?P<room>\w+)\. Doors: (?P<doors>[\w ,()]+)\."
    r"(?: Closed: (?P<closed>[\w ,]+)\.)?(?: Open: (?P<open>[\w ,()]+)\.)?(?P<carried> You carry the key\.)?"
)


def sight(observation: str) -> Sight | None:
    """Return what an observation of the house says; None where it is none."""
    found = _SIGHT.search(observation[:2000])
    if found is None:
        return None
    doors = {door.partition(" ")[0]: door.endswith("(locked)") for door in found["doors"].split(", ")}
    closed = tuple(found["closed"].split(", ")) if found["closed"] else ()
    key = "(key)" in (found["open"] or "")
    return Sight(found["goal"], found["room"], doors, closed, key, found["carried"] is not None)


def knowing(house: House, taken: Sequence[str]) -> Step | None:
    """Return the next step of a shortest way after these actions; None at the goal."""
    state = after_all(house, taken)
    steps = way(house, state)
    return Step(_reason(steps[0], house.goal, state.carried), steps[0]) if steps else None


def searching(sights: Sequence[Sight]) -> Step | None:
    """Return the next step of who knows no more than these observations, first to last; None where none is left.

    What is in sight is used; containers are opened once a locked door was seen; else the nearest room that was not
    looked at is gone to.
    """
    now = sights[-1]
    doors: dict[str, dict[str, bool]] = {}
    closed: dict[str, tuple[str, ...]] = {}
    for one in sights:
        doors[one.room] = dict(one.doors)
        closed[one.room] = one.closed
    barred = {room for room, behind in doors.items() if any(behind.values())}
    if now.goal in now.doors and not now.doors[now.goal]:
        return _step(f"go {now.goal}", now)
    if now.key:
        return _step("take key", now)
    if now.carried and now.room in barred:
        return _step(f"unlock {next(room for room, locked in now.doors.items() if locked)}", now)
    if now.carried:
        return _towards(now, doors, lambda room: room in barred or room not in doors)
    if barred and now.closed:
        return _step(f"open {now.closed[0]}", now)
    return _towards(now, doors, lambda room: room not in doors or bool(barred and closed[room]))


def _towards(now: Sight, doors: Mapping[str, Mapping[str, bool]], wanted: Callable[[str], bool]) -> Step | None:
    """Return the first step to the nearest room that is wanted, through doors that are known to be open."""
    queue: deque[tuple[str, str]] = deque((room, room) for room, locked in now.doors.items() if not locked)
    known = {now.room, *(room for room, _ in queue)}
    while queue:
        room, first = queue.popleft()
        if wanted(room):
            return _step(f"go {first}", now)
        for other, locked in doors.get(room, {}).items():
            if not locked and other not in known:
                known.add(other)
                queue.append((other, first))
    return None


def _step(action: str, now: Sight) -> Step:
    return Step(_reason(action, now.goal, now.carried), action)


def _reason(action: str, goal: str, carried: bool) -> str:
    verb, _, what = action.partition(" ")
    match verb:
        case "take":
            return "The key is in sight."
        case "unlock":
            return "I carry the key."
        case "open":
            return f"The {what} is closed."
        case _ if what == goal:
            return "The goal is next door."
        case _:
            return "I go to the locked door." if carried else "I look further."
