"""Which skills a failed attempt lacked; and, where the task brings no skills, the catalogue that they come from."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import msgspec

from lessons.errors import RoundError
from lessons.records import Attempt, Diagnosis, Problem
from lessons.skills import Skill, SkillCatalog
from loops.methods.base import together
from teachers.calls import Answered, Asker
from teachers.prompts.missing_skills import MissingSkills, missing_skills
from teachers.prompts.skill_clusters import SKILL_CLUSTERS
from teachers.prompts.skill_labels import skill_labels
from teachers.prompts.skill_names import SKILL_NAMES


def plain(attempt: Attempt) -> Attempt:
    """Return an attempt without any diagnosis."""
    return msgspec.structs.replace(attempt, missing=(), diagnosis=None)


def by_needed(attempt: Attempt, reason: str = "the skills that the problem is labelled with") -> Attempt:
    """Diagnose a failed attempt by the skills that its problem needs; a right one is left as it is."""
    if not attempt.failed:
        return attempt
    diagnosis = Diagnosis(by="needed", reason=reason)
    return msgspec.structs.replace(attempt, missing=attempt.problem.skills, diagnosis=diagnosis)


async def by_teacher(
    attempts: Sequence[Attempt], caller: Asker, catalog: SkillCatalog, counts: Counter[str]
) -> list[Attempt]:
    """Ask the teacher which skills each failed attempt lacked (STAT, arXiv 2510.10023, step 2).

    The teacher sees the question, the list of skills and the student's own steps, never the reference answer. Where
    its verdict contradicts the grader, or it names no skill, the problem's own skills are taken, and that is counted.
    """

    async def one(attempt: Attempt) -> Attempt:
        if not attempt.failed:
            return attempt
        listed = SkillCatalog(skills=catalog.of_subject(attempt.problem.subject))
        prompt = missing_skills(listed)
        fields = {"question": attempt.problem.question, "attempt": attempt.text or "(no answer)"}
        (answer,) = await caller.ask(prompt, fields)
        return _diagnosed(attempt, answer, counts)

    return await together(one(attempt) for attempt in attempts)


def _diagnosed(attempt: Attempt, answer: Answered[MissingSkills], counts: Counter[str]) -> Attempt:
    said = answer.value
    if said is None or answer.reason:
        counts[f"no diagnosis: {answer.reason}"] += 1
        return by_needed(attempt, f"the teacher's reply was lost ({answer.reason}); {_LABELS}")
    if said.verdict == "right":
        counts["teacher says right, grader wrong"] += 1
        found = by_needed(attempt, f"the teacher takes the attempt for right; {_LABELS}")
        return _with_call(found, answer.call, "right", said.reason)
    if not said.skills:
        counts["teacher names no skill"] += 1
        return _with_call(by_needed(attempt, f"the teacher names no skill; {_LABELS}"), answer.call, said.verdict, "")
    diagnosis = Diagnosis(by="teacher", verdict=said.verdict, reason=said.reason, call=answer.call)
    return msgspec.structs.replace(attempt, missing=tuple(said.skills), diagnosis=diagnosis)


_LABELS = "the skills that the problem is labelled with"


def _with_call(attempt: Attempt, call: str | None, verdict: str, reason: str) -> Attempt:
    assert attempt.diagnosis is not None
    told = f"{attempt.diagnosis.reason}: {reason}" if reason else attempt.diagnosis.reason
    diagnosis = msgspec.structs.replace(attempt.diagnosis, call=call, verdict=verdict, reason=told)
    return msgspec.structs.replace(attempt, diagnosis=diagnosis)


async def write_catalog(problems: Sequence[Problem], caller: Asker, sample: int, rng: Random) -> SkillCatalog:
    """Let the teacher write the closed list: name the skills of a sample, then merge the names (arXiv 2405.12205).

    Raises:
        RoundError: no reply could be read.
    """
    some = rng.sample(list(problems), min(sample, len(problems)))
    named = await together(caller.ask(SKILL_NAMES, {"question": problem.question}) for problem in some)
    names = Counter(name for replies in named for reply in replies for name in reply.value or ())
    if not names:
        raise RoundError("the teacher named no skill that could be read; give the task's skills, or another teacher")
    ordered = [name for name, _ in sorted(names.items(), key=lambda item: (-item[1], item[0]))]
    (merged,) = await caller.ask(SKILL_CLUSTERS, {"names": "\n".join(ordered)})
    if merged.value is None:
        raise RoundError(f"the teacher's list of skills could not be read ({merged.reason}: {merged.detail})")
    return merged.value


async def label(
    problems: Sequence[Problem], caller: Asker, catalog: SkillCatalog, counts: Counter[str]
) -> dict[str, list[str]]:
    """Return problem id -> skills from the closed list, at most five as in STAT; asks for each unlabelled problem."""

    async def one(problem: Problem) -> tuple[str, list[str]]:
        listed = SkillCatalog(skills=catalog.of_subject(problem.subject))
        (answer,) = await caller.ask(skill_labels(listed), {"question": problem.question})
        counts["labelled" if answer.value and answer.value.skills else f"no label: {answer.reason or 'none fits'}"] += 1
        return problem.id, list(answer.value.skills) if answer.value else []

    return dict(await together(one(problem) for problem in problems if not problem.skills))


def with_labels(problems: Sequence[Problem], labels: dict[str, list[str]]) -> list[Problem]:
    """Return the problems with their labels filled in where they had none."""
    return [
        problem if problem.skills else msgspec.structs.replace(problem, skills=tuple(labels.get(problem.id, ())))
        for problem in problems
    ]


def catalog_yaml(catalog: SkillCatalog) -> dict[str, list[dict[str, str]]]:
    """Return the catalogue as the plain data of its reviewable file."""
    return {"skills": [_plain(skill) for skill in catalog.skills]}


def _plain(skill: Skill) -> dict[str, str]:
    every = {"name": skill.name, "description": skill.description, "subject": skill.subject}
    return {key: value for key, value in every.items() if value}
