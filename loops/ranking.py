"""Two answers, ranked by the teacher in both orders: what stands first sways whoever compares."""

from typing import NamedTuple

from lessons.records import Problem
from loops.methods.base import together
from loops.round import Round
from teachers.prompts.preference import PREFERENCE


class Ranked(NamedTuple):
    """What the teacher made of two answers."""

    better: int | None
    """0 or 1; None where it finds neither better, contradicts itself, or did not answer."""
    calls: tuple[str, ...]


async def ranked(round_: Round, problem: Problem, one: str, other: str, *, both_orders: bool) -> Ranked:
    """Ask which answer is better, in both orders or in one; why there is no verdict is counted."""
    orders = ((one, other), (other, one))[: 2 if both_orders else 1]
    told = await together(
        round_.ask(PREFERENCE, question=problem.question, first=first, second=second) for first, second in orders
    )
    if not all(told):
        round_.counts["pairs that the teacher did not rank"] += 1
        return Ranked(None, ())
    said = [replies[0] for replies in told]
    calls = tuple(reply.call for reply in said if reply.call)
    places = {"first": (0, 1), "second": (1, 0)}
    found = {
        places[reply.value.better][turned] if reply.value.better in places else None
        for turned, reply in enumerate(said)
    }
    if len(found) > 1:
        round_.counts["pairs whose ranking changes with their order"] += 1
        return Ranked(None, calls)
    (better,) = found
    if better is None:
        round_.counts["pairs of which neither is better"] += 1
    return Ranked(better, calls)
