"""Answers in several turns: the chat that a turn is answered in, and which turns are worth learning."""

from collections.abc import Sequence
from typing import Literal

from lessons.records import Message

Criterion = Literal["all", "better", "best", "success"]
"""Which turns become examples: every one; one whose reward is above the turn's before; above every earlier turn's; a
right one."""


def chat(prompt: Sequence[Message], answers: Sequence[str], feedback: str) -> tuple[Message, ...]:
    """Return the chat in which the turn after these answers is given: each answer, and what was said to it."""
    turns = list(prompt)
    for answer in answers:
        turns += (Message(role="assistant", content=answer), Message(role="user", content=feedback))
    return tuple(turns)


def worth(rewards: Sequence[float], criterion: Criterion) -> list[bool]:
    """Return for each turn whether it becomes an example; before the first turn the reward counts as 0.

    Args:
        rewards: in [0, 1], first turn to last.
        criterion: see `Criterion`.
    """
    chosen: list[bool] = []
    before, best = 0.0, 0.0
    for reward in rewards:
        chosen.append(
            {"all": True, "better": reward > before, "best": reward > best, "success": reward >= 1.0}[criterion]
        )
        before, best = reward, max(best, reward)
    return chosen
