"""What a student prefers to be shown: how many problems it gets right with one worked example before them."""

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from random import Random
from statistics import fmean
from typing import Any

import msgspec

from lessons.ids import seed_of
from lessons.records import Message, Problem, Record
from loops.irt import telling
from loops.rolling import AT_ONCE
from loops.round import Round
from students.base import Student

SHOTS = (0, 1, 2, 3)
"""Worked examples before a problem, one row of the score matrix for each number: as in ARTE (arXiv 2406.19227)."""


class Draft(Record, frozen=True, kw_only=True):
    """A worked example that a teacher wrote, and what it was worth to the student."""

    task: str
    """The skill that it was written for."""
    question: str
    rationale: str
    style: str = ""
    score: float | None = None
    """Share of the preference set that the student gets right behind it; None where nobody could tell."""
    calls: tuple[str, ...] = ()
    """Ids of the teacher's calls: the question's, then the rationale's."""


def behind(round_: Round, examples: Sequence[tuple[str, str]], problem: Problem) -> tuple[Message, ...]:
    """Return the chat of the exam with worked examples (question, solution) as its earlier turns."""
    *before, last = round_.prompt(problem)
    turns: list[Message] = []
    for question, solution in examples:
        turns += [Message(role="user", content=question), Message(role="assistant", content=solution)]
    return (*before, *turns, last)


async def shares(
    round_: Round, drafts: Sequence[Draft], items: Mapping[str, Sequence[Problem]], draw: str
) -> list[Draft]:
    """Return the drafts with their scores: the share of their task's items that the student, answering greedily, gets
    right with the draft as the one example. Items that cannot be graded do not count.

    items: task -> its preference set.
    """
    scored: list[Draft] = []
    widest = max((len(rows) for rows in items.values()), default=1)
    size = max(1, AT_ONCE // max(1, widest))
    for start in range(0, len(drafts), size):
        part = drafts[start : start + size]
        asked = [(draft, item) for draft in part for item in items[draft.task]]
        chats = [behind(round_, [(draft.question, draft.rationale)], item) for draft, item in asked]
        answers = await round_.roll_out([item for _, item in asked], temperature=0.0, prompts=chats, draw=draw)
        told = iter([attempt for (attempt,) in answers])
        for draft in part:
            marks = [float(one.right) for one in (next(told) for _ in items[draft.task]) if one.graded]
            score = fmean(marks) if marks else None
            scored.append(msgspec.structs.replace(draft, score=score))
    return scored


def extremes(drafts: Sequence[Draft], *, best: bool) -> dict[tuple[str, str], Draft]:
    """Return (task, question) -> its draft with the best (or worst) score, of equals the first."""
    found: dict[tuple[str, str], Draft] = {}
    for draft in drafts:
        if draft.score is not None:
            was = found.get((draft.task, draft.question))
            if was is None or was.score is None or (draft.score > was.score if best else draft.score < was.score):
                found[draft.task, draft.question] = draft
    return found


def means(drafts: Sequence[Draft]) -> dict[tuple[str, str], float]:
    """Return (task, question) -> the mean score of its rationales: the paper's score of a question."""
    told: dict[tuple[str, str], list[float]] = {}
    for draft in drafts:
        if draft.score is not None:
            told.setdefault((draft.task, draft.question), []).append(draft.score)
    return {question: sum(scores) / len(scores) for question, scores in told.items()}


async def preference_set(
    round_: Round, task: str, pool: Sequence[Problem], most: int, *, validation: int, models: Sequence[str]
) -> list[Problem]:
    """Return the train problems of a task that tell students best apart, `most` of them, in their order.

    At most `validation` of them, drawn by chance, are answered by the student, the student before any lesson and the
    `models`, each behind 0 to 3 worked examples from the pool; a two-parameter logistic model of who got what right
    gives each problem's discrimination. Where there are no more than `most`, all are taken and nobody is asked.
    """
    rng = Random(seed_of(round_.seed, "preference set", task))
    every = [problem for problem in round_.problems if task in problem.skills]
    chosen = [every[at] for at in sorted(rng.sample(range(len(every)), min(validation, len(every))))]
    if len(chosen) <= most:
        return chosen
    examples = [
        [(one.question, round_.task.reference(one)) for one in _others(rng, pool, problem, max(SHOTS))]
        for problem in chosen
    ]
    matrix: list[list[float | None]] = []
    seen: set[str] = set()
    for student in (round_.student, round_.base, *models):
        held: Any = _opened(student) if isinstance(student, str) else nullcontext(student)
        with held as who:
            if who is None or who.digest in seen:
                continue
            seen.add(who.digest)
            for shots in SHOTS:
                chats = [behind(round_, found[:shots], one) for one, found in zip(chosen, examples, strict=True)]
                answers = await round_.roll_out(chosen, temperature=0.0, prompts=chats, student=who, draw="matrix")
                matrix.append([float(one.right) if one.graded else None for (one,) in answers])
    told = [at for at in range(len(chosen)) if all(row[at] is not None for row in matrix)]
    if not told:
        return chosen[:most]
    places = telling([[row[at] or 0.0 for at in told] for row in matrix], most)
    return [chosen[told[place]] for place in places]


def _others(rng: Random, pool: Sequence[Problem], problem: Problem, count: int) -> list[Problem]:
    others = [one for one in pool if one.id != problem.id and (one.solution or one.answer)]
    return rng.sample(others, min(count, len(others)))


def _opened(model: str) -> Any:
    from students.open import open_student

    student: Student = open_student(model)
    return closing(student) if hasattr(student, "close") else nullcontext(student)  # type: ignore[type-var]
