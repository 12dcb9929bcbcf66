"""How an attempt went wrong, and which skills it lacked: by a program, by the skills it needs, by the teacher."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import msgspec

from lessons.records import Attempt, Diagnosis, ErrorKind
from lessons.skills import SkillCatalog
from lessons.tally import of_form_alone
from loops.diagnosis.error_kinds import is_of_form, told_by_program
from loops.methods.base import together
from teachers.calls import Answered, Asker
from teachers.prompts.missing_skills import MissingSkills, missing_skills

NEARLY_ALL = 0.9
"""Share of what was missed that may be of form alone. Beyond it the skills that the problems need are taken, since no
method that aims by missing skills would have anything left to do. Our own bound."""

_LABELS = "the skills that the problem is labelled with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the teacher is asked."""

    privileged: bool = False
    """Whether it sees the reference."""
    form: Literal["apart", "skill"] = "apart"
    """Whether failures of form are kept apart, and ask nobody, or are looked at like any other."""
    check: Collection[int] = ()
    """Places of right attempts that the teacher judges too."""


def plain(attempt: Attempt) -> Attempt:
    """Return an attempt without any diagnosis."""
    return msgspec.structs.replace(attempt, missing=(), diagnosis=None)


def by_needed(attempt: Attempt, reason: str = _LABELS, **more: object) -> Attempt:
    """Diagnose a missed attempt by the skills that its problem needs; another one is left as it is.

    more: further fields of the diagnosis.
    """
    if not attempt.missed:
        return attempt
    fields: dict[str, object] = {"error": told_by_program(attempt), **more}
    diagnosis = msgspec.structs.replace(Diagnosis(by="needed", reason=reason), **fields)
    return msgspec.structs.replace(attempt, missing=attempt.problem.skills, diagnosis=diagnosis)


def with_confused(attempt: Attempt, names: Collection[str]) -> Attempt:
    """Add to what a missed attempt lacks the skill that it answered, where its answer is the name of one."""
    answered = attempt.answer
    if not attempt.missing or answered is None or answered not in names or answered in attempt.missing:
        return attempt
    told = f"{_LABELS}, and it answered {answered}"
    diagnosis = msgspec.structs.replace(attempt.diagnosis, reason=told) if attempt.diagnosis else None
    return msgspec.structs.replace(attempt, missing=(*attempt.missing, answered), diagnosis=diagnosis)


def without_asking(attempt: Attempt, form: Literal["apart", "skill"] = "apart") -> Attempt | None:
    """Return the attempt with the diagnosis that needs no reader, or as it is where none is due; None for all others.

    A failure of form alone lacks no skill; where the student gave up there is nothing to read, and what the problem
    needs is missing.
    """
    if not attempt.missed:
        return attempt
    kind = told_by_program(attempt)
    if kind is not None and is_of_form(kind) and form == "apart":
        return _of_form(attempt, Diagnosis(by="program", error=kind))
    return by_needed(attempt, f"there is no attempt to look at; {_LABELS}") if kind == "gave up" else None


def right_ones(attempts: Sequence[Attempt], most: int, rng: Random) -> frozenset[int]:
    """Return the places of at most `most` right attempts, drawn by chance, that call for no lesson."""
    right = [place for place, attempt in enumerate(attempts) if attempt.right and not attempt.missed]
    return frozenset(rng.sample(right, min(most, len(right))))


async def by_teacher(
    attempts: Sequence[Attempt], caller: Asker, catalog: SkillCatalog, counts: Counter[str], way: Way | None = None
) -> list[Attempt]:
    """Ask the teacher how each missed attempt went wrong and what it lacked (STAT, arXiv 2510.10023, step 2).

    The teacher sees the question, the list of skills and the student's own steps, the reference only where `way` says
    so. Where its verdict contradicts the grader, or it names no skill, the problem's own skills are taken, and that is
    counted. What it says of a right attempt is noted and makes no gap.
    """
    how = way or Way()

    async def one(place: int, attempt: Attempt) -> Attempt:
        known = without_asking(attempt, how.form)
        if known is not None and place not in how.check:
            return known
        listed = SkillCatalog(skills=catalog.of_subject(attempt.problem.subject))
        reference = (attempt.problem.solution or attempt.problem.answer) if how.privileged else None
        prompt = missing_skills(listed, privileged=reference is not None)
        fields = {"question": attempt.problem.question, "attempt": attempt.text or "(no answer)"}
        (answer,) = await caller.ask(prompt, {**fields, "reference": reference} if reference else fields)
        seen = Diagnosis(by="teacher", call=answer.call, privileged=reference is not None)
        return _diagnosed(attempt, answer, seen, how.form, counts)

    return await together(one(place, attempt) for place, attempt in enumerate(attempts))


def _diagnosed(
    attempt: Attempt, answer: Answered[MissingSkills], seen: Diagnosis, form: str, counts: Counter[str]
) -> Attempt:
    said = answer.value
    if said is None or answer.reason:
        counts[f"no diagnosis: {answer.reason}"] += 1
        return by_needed(attempt, f"the teacher's reply was lost ({answer.reason}); {_LABELS}")
    seen = msgspec.structs.replace(seen, verdict=said.verdict, reason=said.reason, error=_error(attempt, said))
    if not attempt.missed:
        return msgspec.structs.replace(attempt, diagnosis=msgspec.structs.replace(seen, error=None))
    if is_of_form(seen.error) and not said.skills and form == "apart":
        return _of_form(attempt, seen)
    if not said.skills:
        why = "the teacher takes the attempt for right" if said.verdict == "right" else "the teacher names no skill"
        if said.verdict == "wrong":
            counts["teacher names no skill"] += 1
        told = f"{why}; {_LABELS}" + (f": {said.reason}" if said.verdict == "right" and said.reason else "")
        more = {name: getattr(seen, name) for name in ("verdict", "call", "privileged", "error")}
        return by_needed(attempt, told, **more)
    return msgspec.structs.replace(attempt, missing=tuple(said.skills), diagnosis=seen)


def _error(attempt: Attempt, said: MissingSkills) -> ErrorKind | None:
    """Return the kind of error: a program's word goes before the teacher's, and skills before its "format"."""
    told = told_by_program(attempt)
    if told is None and said.error == "format" and said.skills:
        return None  # an answer that only lacks its form lacks no skill: the reply contradicts itself
    return told or said.error


def _of_form(attempt: Attempt, diagnosis: Diagnosis) -> Attempt:
    return msgspec.structs.replace(attempt, missing=(), diagnosis=diagnosis)


def with_form_as_skills(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts as they are; or, where over `NEARLY_ALL` of the missed ones are of form alone, those with
    the skills that their problems need."""
    missed = sum(attempt.missed for attempt in attempts)
    of_form = sum(map(of_form_alone, attempts))
    if of_form <= NEARLY_ALL * missed:
        return list(attempts)
    reason = f"nearly all failures are of form alone; {_LABELS}"
    return [_taken_for_skill(attempt, reason) if of_form_alone(attempt) else attempt for attempt in attempts]


def _taken_for_skill(attempt: Attempt, reason: str) -> Attempt:
    assert attempt.diagnosis is not None
    diagnosis = msgspec.structs.replace(attempt.diagnosis, by="needed", reason=reason)
    return msgspec.structs.replace(attempt, missing=attempt.problem.skills, diagnosis=diagnosis)
