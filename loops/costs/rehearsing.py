"""One round of a recipe, rehearsed: attempts that a student might make, and the method's own code over them."""

from collections import Counter
from random import Random
from typing import NamedTuple, cast

from lessons.ids import seed_of
from lessons.records import Attempt
from lessons.skills import SkillCatalog, SkillProfile
from loops.diagnosis import attempts as diagnosing
from loops.examining import of_round
from loops.filters.base import Context
from loops.methods.base import Method
from loops.recipe import Recipe
from loops.round import Round
from loops.tasks.base import Split, Task
from students.base import Student
from teachers.rehearsal import Rehearsal

STUDENT_SAYS = "First I add the two numbers, then I take the half of them. Answer: 7"
"""Stands for a student's answer where the problem has no worked solution."""


class Setting(NamedTuple):
    """What is the same for every rehearsed round."""

    recipe: Recipe
    task: Task
    split: Split
    catalog: SkillCatalog


async def rehearse_round(setting: Setting, asker: Rehearsal, index: int, *, size: int, failed: int, stage: str) -> None:
    """Let a stage (`diagnose` or `teach`) ask what it would ask in round `index`.

    Args:
        setting: of the recipe.
        asker: counts what is asked.
        index: the round, from 1.
        size: attempts of the round.
        failed: how many of them, the first ones, are failures.
        stage: which stage.

    Raises:
        TeacherError: a sample call failed for good.
    """
    problems = of_round(setting.split.train, index, setting.recipe.examine.per_round, setting.recipe.seed)
    examined = [(problem, sample) for problem in problems for sample in range(setting.recipe.examine.samples)][:size]
    attempts = [
        Attempt(
            problem=problem,
            student="rehearsal",
            text=f"{problem.solution or STUDENT_SAYS} (attempt {sample} of round {index})",  # a student changes
            score=float(place >= failed),
            answer="7",
        )
        for place, (problem, sample) in enumerate(examined)
    ]
    if stage == "diagnose":
        way = diagnosing.Way(privileged=setting.recipe.diagnose.privileged, form="skill")
        await diagnosing.by_teacher(attempts, asker, setting.catalog, Counter(), way)
        return
    diagnosed = [diagnosing.by_needed(attempt) for attempt in attempts]
    method: Method = setting.recipe.make("method", setting.recipe.method, "method")
    await method.teach(
        Round(
            index=index,
            task=setting.task,
            caller=asker,
            student=cast(Student, None),  # a method that needs one cannot be rehearsed, and that is said
            method=setting.recipe.method["id"],
            problems=setting.split.train,
            pool=setting.split.pool or setting.split.train,
            attempts=diagnosed,
            catalog=setting.catalog,
            profile=SkillProfile.of(diagnosed, setting.catalog.names),
            context=Context(grader=setting.task.grader, held_out=frozenset(), trained=frozenset()),
            rng=Random(seed_of(setting.recipe.seed, index, "estimate")),
        )
    )
