"""What each stage of a recipe would ask of a teacher, found by rehearsing it."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from lessons.errors import TeacherError
from lessons.skills import SkillCatalog
from loops.catalog.stages import given_catalog
from loops.catalog.writing import joined, label, planned, with_labels, write_catalog
from loops.costs.rehearsing import (
    CANNOT,
    Setting,
    asks_the_teacher,
    grades,
    rehearse_diagnosis,
    rehearse_filters,
    rehearse_teaching,
)
from loops.costs.stand_in import NO_MODEL, STUDENT_SAYS
from loops.exams.teacher import drawn, exempt
from loops.filters.base import AskingFilter, Filter
from loops.graders.base import AskingGrader
from loops.recipe import Recipe
from loops.tasks.base import Split, Task
from loops.work import PARTS
from teachers.base import Teacher
from teachers.prompts.preflight import PREFLIGHT
from teachers.rehearsal import Need, Rehearsal

REHEARSED = 200
"""Attempts that a round is rehearsed on, at most; what it asks of more is taken to grow with their number."""
ROUNDS = 3
"""Rounds that are rehearsed, at most; what comes after is taken to be as the average of them."""


class Range(NamedTuple):
    """At least and at most."""

    low: float
    high: float

    def plus(self, other: "Range") -> "Range":
        """Return both added up."""
        return Range(self.low + other.low, self.high + other.high)


class Part(NamedTuple):
    """What one kind of prompt took in the rehearsal, and how often the run does as much."""

    stage: str
    prompt: str
    need: Need
    times: Range


async def labelled(recipe: Recipe, task: Task, split: Split, asker: Rehearsal) -> tuple[Split, SkillCatalog]:
    """Rehearse the catalogue and the labels, where neither the recipe nor the task brings them."""
    given = given_catalog(recipe, task, (*split.train, *split.pool))
    catalog = given.catalog if given else None
    if catalog is None:
        catalog = (await write_catalog(split.train, asker, recipe.diagnose.skill_sample, Random(recipe.seed))).catalog
    parts = {name: getattr(split, name) for name in PARTS}
    known = given.labels if given else {}
    every = [problem for part in parts.values() for problem in part]
    plan = planned(every, catalog, known, recipe.diagnose.agreement_sample, recipe.seed)
    labels = joined(known, await label(plan, asker, catalog, Counter()))
    skills = {key: one.skills for key, one in labels.items()}
    return Split(**{name: tuple(with_labels(part, skills)) for name, part in parts.items()}), catalog


async def examined_teacher(setting: Setting, teacher: Teacher, asker: Rehearsal, how: list[str]) -> int:
    """Rehearse the teacher's exam before round 1; return how many problems it solves, 0 where it sits none."""
    count = setting.recipe.preflight.problems
    if not count:
        return 0
    why = exempt(teacher, setting.task)
    if not why and not await asks_the_teacher(setting):
        why = "the method asks it nothing"
    if why:
        how.append(f"the teacher sits no exam before round 1: {why}")
        return 0
    problems = drawn(setting.split.train, count, Random(setting.recipe.seed))
    for problem in problems:
        await asker.ask(PREFLIGHT, {"question": problem.question, "instruction": setting.task.instruction})
    return len(problems)


async def judged(setting: Setting, of_teacher: int, how: list[str]) -> list[Part]:
    """Rehearse a grader that asks a teacher: on each attempt at a train problem, each exam's, and the teacher's own."""
    recipe, split, grader, asker = setting.recipe, setting.split, setting.task.grader, Rehearsal()
    if not isinstance(grader, AskingGrader):
        return []
    sample = split.train[:REHEARSED]
    await grader.grade_by_asking([(problem, problem.solution or STUDENT_SAYS) for problem in sample], asker)
    exams = (recipe.rounds + 1) * (len(split.held_out) + len(split.gate)) + 2 * len(split.final)
    exams += len(split.held_out) if recipe.examine.noise else 0
    times = (recipe.rounds * _a_round(setting) + exams + of_teacher) / len(sample)
    how.append("the grader's judging of attempts and exams is in it")
    return [Part("judge", name, need, Range(times, times)) for name, need in asker.needs.items()]


async def rounds(setting: Setting, askers: Mapping[str, Rehearsal], failing: Range, how: list[str]) -> list[Part]:
    """Rehearse a round with all attempts failed, and with half of them, and draw the line through both."""
    recipe, examined = setting.recipe, _a_round(setting)
    size, turns = min(REHEARSED, examined), range(1, min(ROUNDS, recipe.rounds) + 1)
    found: list[Part] = []
    if recipe.diagnose.by == "teacher":
        whole, half = askers["diagnose"], Rehearsal()
        try:
            for index in turns:
                await rehearse_diagnosis(setting, whole, index, size=size, failed=size)
                await rehearse_diagnosis(setting, half, index, size=size, failed=size // 2)
            checked = [len(turns) * min(recipe.diagnose.check_right, examined * (1 - share)) for share in failing]
            found += _grown("diagnose", setting, whole, half, failing, checked)
        except CANNOT as error:
            how.append(_not_reckoned("diagnose", error))
    try:
        found += await _teaching(setting, askers, turns, failing, how)
    except CANNOT as error:
        how.append(_not_reckoned("teach", error))
    how.extend(
        f"{part.prompt}: it has no example, so what follows its replies is not counted"
        for part in found
        if part.need.unread
    )
    if recipe.diagnose.form == "apart":
        how.append("no failure is taken to be of form alone (cut off, no answer that can be read): those ask for less")
    if recipe.diagnose.difficult is not None:
        how.append("what fails is what its rewards call difficult; the scorer's own work is not in it")
    how.append(
        f"rehearsed on {size:,} attempts of {examined:,} a round and {len(turns)} of {recipe.rounds} rounds; what is "
        "asked is taken to grow with them"
    )
    return found


async def _teaching(
    setting: Setting, askers: Mapping[str, Rehearsal], turns: range, failing: Range, how: list[str]
) -> list[Part]:
    recipe, size = setting.recipe, min(REHEARSED, _a_round(setting))
    filters: list[Filter] = [
        recipe.make("filter", spec, f"filters[{place}]") for place, spec in enumerate(recipe.filters)
    ]
    whole, half, judging, judging_half = askers["teach"], Rehearsal(), Rehearsal(), Rehearsal()
    for index in turns:
        for asker, judge, failed in ((whole, judging, size), (half, judging_half, size // 2)):
            made = await rehearse_teaching(setting, asker, index, size=size, failed=failed)
            await rehearse_filters(filters, setting, judge, made)
    found = _grown("teach", setting, whole, half, failing)
    if not judging.needs:
        return found
    asking = [
        isinstance(one, AskingFilter) or (grades(one) and isinstance(setting.task.grader, AskingGrader))
        for one in filters
    ]
    of_lessons = _grown("filter", setting, judging, judging_half, failing)
    if not asking[0]:
        of_lessons = [part._replace(times=Range(0, part.times.high)) for part in of_lessons]
        how.append("judging of lessons: from none to every candidate, since filters that ask nobody come before it")
    return found + of_lessons


def _grown(
    stage: str, setting: Setting, whole: Rehearsal, half: Rehearsal, failing: Range, more: list[float] | None = None
) -> list[Part]:
    """Return what the run's rounds ask, by the line through a rehearsal of all failures and one of half of them.

    more: requests of each prompt beside, in the rehearsed rounds, at the least and the largest share of failures.
    """
    recipe, examined = setting.recipe, _a_round(setting)
    size, turns = min(REHEARSED, examined), min(ROUNDS, recipe.rounds)
    found: list[Part] = []
    for name, need in whole.needs.items():
        other = half.needs.get(name, Need()).requests
        by_failure = (need.requests - other) / (size - size // 2)
        by_attempt = need.requests / size - by_failure
        asked = [examined * max(0.0, by_attempt + by_failure * share) for share in failing]
        if more is not None:
            asked = [count + beside for count, beside in zip(asked, more, strict=True)]
        times = [recipe.rounds / turns * count / max(1, need.requests) for count in asked]
        found.append(Part(stage, name, need, Range(min(times), max(times))))
    return found


def _a_round(setting: Setting) -> int:
    """Return how many attempts a round examines."""
    train, examine = len(setting.split.train), setting.recipe.examine
    return min(examine.per_round or train, train) * examine.samples


def _not_reckoned(stage: str, error: Exception) -> str:
    """Return that a stage is not in the estimate, and why.

    Raises:
        TeacherError: the error is a sample call's, and fatal: a wrong key, an unknown model.
    """
    if isinstance(error, TeacherError):
        raise error
    if NO_MODEL in str(error):
        return f"{stage} is not reckoned: it cannot be rehearsed without a model of its own, and an estimate loads none"
    return f"{stage} is not reckoned: it cannot be rehearsed ({type(error).__name__}: {error})"
