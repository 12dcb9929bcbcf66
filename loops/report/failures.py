"""The failures behind every cell of the heat maps: of a skill and a round, what was asked, said and found lacking."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from lessons.records import Attempt, Record
from loops.reading import RoundView, RunView
from loops.report.blocks import packed, short
from loops.report.chains import attempt_data

MOST = 40
"""Failures of one cell in the page; the page says how many more there are."""

KINDS = ("exam", "train", "lost", "gained")
"""Wrong in the round's exam; train attempts that lacked the skill when the round began; exam questions that the student
before had right, and that it had wrong while this one has them right."""

UNTOLD = "not told"

Asked = tuple[str, int]
"""Id of a problem, and which sample of it."""
Chosen = dict[str, dict[str, list[Attempt]]]  # kind -> skill -> attempts
Counts = dict[str, dict[str, int]]


class Failures(Record, frozen=True, kw_only=True):
    """The failures of a page."""

    rounds: dict[int, str]
    """Round -> compressed block (see `loops.report.blocks`)."""
    counts: dict[int, Counts]
    """Round -> kind -> skill -> how many there are in the run."""
    errors: dict[int, dict[str, int]]
    """Round -> kind of error -> failed train attempts; UNTOLD where nobody said which."""


def failures(run: RunView) -> Failures:
    """Gather the failures of every cell. Memory holds two exams, and otherwise what is chosen.

    Raises:
        InputError: a file of the run is damaged.
    """
    blocks: dict[int, str] = {}
    counts: dict[int, Counts] = {}
    errors: dict[int, dict[str, int]] = {}
    before: dict[Asked, Attempt] = {}
    for turn in run.rounds:
        missed, kinds = _train(turn)
        if kinds:
            errors[turn.index] = dict(kinds)
        exam = [(_asked(attempt), attempt) for attempt in turn.exam()]
        found: Chosen = {
            "exam": by_skill(attempt for _, attempt in exam if attempt.failed),
            "train": missed,
            "lost": by_skill(a for key, a in exam if a.failed and key in before and before[key].right),
            "gained": by_skill(a for key, a in exam if a.right and key in before and before[key].failed),
        }
        found = {kind: rows for kind, rows in found.items() if rows}
        if found:
            counts[turn.index] = {
                kind: {short(skill, 200): len(rows) for skill, rows in cells.items()} for kind, cells in found.items()
            }
            blocks[turn.index] = packed(_block(found, before))
        if exam and (turn.metrics is None or turn.metrics.promoted):
            before = dict(exam)
    return Failures(rounds=blocks, counts=counts, errors=errors)


def by_skill(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Return the attempts under every skill that their problem needs, in the order given."""
    cells: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        for skill in attempt.problem.skills:
            cells.setdefault(skill, []).append(attempt)
    return cells


def _asked(attempt: Attempt) -> Asked:
    return attempt.problem.id, attempt.sample


def _train(turn: RoundView) -> tuple[dict[str, list[Attempt]], Counter[str]]:
    """Return the diagnosed failures under every skill that they lacked, and how many went wrong in which way."""
    cells: dict[str, list[Attempt]] = {}
    kinds: Counter[str] = Counter()
    for attempt in turn.attempts():
        if attempt.failed and attempt.diagnosis is not None:
            kinds[attempt.diagnosis.error or UNTOLD] += 1
        for skill in attempt.missing:
            cells.setdefault(skill, []).append(attempt)
    return cells, kinds


def _block(found: Chosen, before: dict[Asked, Attempt]) -> dict[str, Any]:
    """Return the chosen attempts once each, and the cells as numbers into them."""
    attempts: list[dict[str, Any]] = []
    places: dict[tuple[str, bool], int] = {}
    cells: dict[str, dict[str, list[int]]] = {}
    for kind, rows in found.items():
        compared = kind in ("lost", "gained")
        for skill, some in rows.items():
            chosen = some if len(some) <= MOST else [some[n * len(some) // MOST] for n in range(MOST)]
            numbers = cells.setdefault(kind, {}).setdefault(short(skill, 200), [])
            for attempt in chosen:
                key = (attempt.id, compared)
                if key not in places:
                    places[key] = len(attempts)
                    was = before.get(_asked(attempt)) if compared else None
                    attempts.append(
                        attempt_data(key[0], attempt) | {"before": None if was is None else short(was.text)}
                    )
                numbers.append(places[key])
    return {"attempts": attempts, "cells": cells}
