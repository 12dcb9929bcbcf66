"""What methods that learn from the student's own answers share: whom to ask again, and how many at once."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Literal, TypeVar

from lessons.records import Attempt, Message, Problem
from loops.round import Round

T = TypeVar("T")

AT_ONCE = 2048
"""Answers that are drawn together: enough for full batches, and a bound on memory however many samples there are."""

Of = Literal["all", "missed"]
"""Which problems: every one that was examined in this round, or only those that call for lessons."""


def one_each(round_: Round, of: Of) -> list[Attempt]:
    """Return an attempt for each problem, in the order of the problems: the first one, or the first missed one."""
    chosen: dict[str, Attempt] = {}
    for attempt in round_.missed if of == "missed" else round_.attempts:
        chosen.setdefault(attempt.problem.id, attempt)
    return list(chosen.values())


def aimed(attempt: Attempt) -> str | None:
    """Return the skill that a lesson from this attempt aims at; None where nothing was missing."""
    return attempt.missing[0] if attempt.missing else None


def gold(round_: Round, problem: Problem) -> str | None:
    """Return the reference in the form in which the student is to answer, or None where the problem has none."""
    return None if problem.answer is None and problem.solution is None else round_.task.reference(problem).strip()


def noted(prompt: Sequence[Message], note: str) -> tuple[Message, ...]:
    """Return a chat with a note under its last turn; the same chat where there is nothing to note."""
    last = prompt[-1]
    return (
        *prompt[:-1],
        Message(role=last["role"], content=f"{last['content']}\n\n{note}" if note else last["content"]),
    )


def parts(items: Sequence[T], samples: int) -> Iterator[Sequence[T]]:
    """Yield stretches of the items, so that `samples` answers to each make `AT_ONCE` at most (one item at least)."""
    size = max(1, AT_ONCE // max(1, samples))
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def rolled(
    round_: Round, attempts: Sequence[Attempt], samples: int, *, temperature: float, max_tokens: int | None, draw: str
) -> AsyncIterator[tuple[Attempt, list[Attempt]]]:
    """Draw answers to the problems of attempts, a stretch at a time; yield each attempt with the answers, graded.

    What is drawn does not depend on the stretches: an answer is drawn by its chat and its number.

    Args:
        round_: the round; its student answers.
        attempts: one for each problem.
        samples: answers to each.
        temperature: of the answers.
        max_tokens: of an answer; None: as in examinations.
        draw: a name for these answers; other names draw other ones.
    """
    for part in parts(attempts, samples):
        answers = await round_.roll_out(
            [attempt.problem for attempt in part], samples, temperature=temperature, max_tokens=max_tokens, draw=draw
        )
        for pair in zip(part, answers, strict=True):
            yield pair
