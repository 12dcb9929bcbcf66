"""One round of a recipe, rehearsed: attempts that a student might make, and the method's own code over them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import NamedTuple, TypeVar

import msgspec

from lessons.errors import InputError, TutelageError
from lessons.ids import seed_of
from lessons.records import Attempt, Lesson, Problem
from lessons.skills import SkillCatalog, SkillProfile
from loops.costs.stand_in import NO_MODEL, STUDENT_SAYS, StandIn, StandInScores
from loops.diagnosis import attempts as diagnosing
from loops.environments.base import EpisodicTask
from loops.episodes import play
from loops.examining import of_round
from loops.filters.base import AskingFilter, Context, Filter
from loops.graders.base import AskingGrader
from loops.methods.base import Method
from loops.recipe import Recipe
from loops.round import Round
from loops.tasks.base import Split, Task
from students.base import Generation
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.rehearsal import Rehearsal
from teachers.totals import Answered

T = TypeVar("T")

CANNOT = (AttributeError, TypeError, ValueError, LookupError, TutelageError)
"""What shows that a method needs more than a rehearsal has."""
LOOKED_AT = 8
"""Attempts that are rehearsed to see whether a method asks its teacher at all."""


class Setting(NamedTuple):
    """What is the same for every rehearsed round."""

    recipe: Recipe
    task: Task
    split: Split
    catalog: SkillCatalog


async def rehearse_diagnosis(setting: Setting, asker: Rehearsal, index: int, *, size: int, failed: int) -> None:
    """Let the diagnosis ask what it would ask in round `index`; see `rehearse_teaching`."""
    attempts, _ = _examined(setting, index, size, failed)
    way = diagnosing.Way(privileged=setting.recipe.diagnose.privileged, form="skill")
    await diagnosing.by_teacher(attempts, asker, setting.catalog, Counter(), way)


async def rehearse_teaching(setting: Setting, asker: Rehearsal, index: int, *, size: int, failed: int) -> list[Lesson]:
    """Let the method ask what it would ask in round `index`; return what it made, what it dropped itself included.

    Args:
        setting: of the recipe.
        asker: counts what is asked.
        index: the round, from 1.
        size: attempts of the round.
        failed: how many of them, the first ones, are failures. Where the method lets the student answer again, it fails
            the same problems.

    Raises:
        TeacherError: a sample call failed for good.
        InputError: the method needs what a rehearsal has not: a student that learns.
    """
    attempts, student = _examined(setting, index, size, failed)
    diagnosed = [diagnosing.by_needed(attempt) for attempt in attempts]
    scores, recipe = StandInScores(student), setting.recipe
    method: Method = recipe.make("method", recipe.method, "method")
    round_ = Round(
        index=index,
        task=setting.task,
        caller=asker,
        student=student,
        method=recipe.method["id"],
        problems=setting.split.train,
        pool=setting.split.pool or setting.split.train,
        attempts=diagnosed,
        catalog=setting.catalog,
        profile=SkillProfile.of(diagnosed, setting.catalog.names),
        context=Context(grader=setting.task.grader, problems=setting.split.train, scores=scores),
        rng=Random(seed_of(recipe.seed, index, "estimate")),
        model=NO_MODEL,
        base=student,
        generation=recipe.student.answer,
        scores=scores,
        seed=seed_of(recipe.seed, index, "estimate"),
    )
    try:
        made = await method.teach(round_)
    finally:
        scores.close()
    return [*made, *(drop.lesson for drop in round_.dropped)]


async def rehearse_filters(
    filters: Sequence[Filter], setting: Setting, asker: Rehearsal, made: Sequence[Lesson]
) -> None:
    """Let filters that ask a teacher, or a grader that does, ask about candidates; each is taken to reach them all."""
    grader = setting.task.grader
    for judge in filters:
        if isinstance(judge, AskingFilter):
            await judge.ratings(made, asker)
        if grades(judge) and isinstance(grader, AskingGrader):
            asked = {lesson.id: lesson for lesson in made if lesson.verdict is None}
            await grader.grade_by_asking([(one.problem, one.completion) for one in asked.values()], asker)


def grades(judge: Filter) -> bool:
    """Whether a filter has the candidates graded beforehand."""
    return bool(getattr(judge, "needs_grades", False))


async def asks_the_teacher(setting: Setting) -> bool:
    """Whether the recipe's method asks its teacher, beside what a grader asks; one that cannot be rehearsed may."""
    recipe = setting.recipe
    method = recipe.make("method", recipe.method, "method")
    if getattr(type(method), "teacher", None) == "nothing":
        return False
    examined = len(setting.split.train) * recipe.examine.samples
    size, grader, judge = min(LOOKED_AT, examined), setting.task.grader, Rehearsal()
    if isinstance(grader, AskingGrader):
        await grader.grade_by_asking([(problem, STUDENT_SAYS) for problem in setting.split.train[:1]], judge)
    asker = _Listening(judge.needs)
    try:
        await rehearse_teaching(setting, asker, 1, size=size, failed=(size + 1) // 2)
    except Exception:  # noqa: BLE001 - it has asked, or needs what a rehearsal has not: the run's own teaching will tell
        return True
    return False


class _AskedError(Exception):
    """The teacher was asked: no more of the method need be gone through."""


class _Listening(Rehearsal):
    """Ends a rehearsal at the first request that is not a grader's. judging: the names of the grader's prompts."""

    def __init__(self, judging: Collection[str]) -> None:
        super().__init__()
        self._judging = frozenset(judging)

    async def ask(
        self, prompt: Prompt[T], fields: Mapping[str, object], *, n: int = 1, sampling: Sampling | None = None
    ) -> list[Answered[T]]:  # [sample]
        """Answer a grader.

        Raises:
            _AskedError: it is no grader that asks.
        """
        if prompt.name not in self._judging:
            raise _AskedError
        return await super().ask(prompt, fields, n=n, sampling=sampling)


def _examined(setting: Setting, index: int, size: int, failed: int) -> tuple[list[Attempt], StandIn]:
    """Return the attempts of an examination, the first `failed` of them wrong, and the student that made them."""
    recipe, task, samples = setting.recipe, setting.task, setting.recipe.examine.samples
    problems = of_round(setting.split.train, index, recipe.examine.per_round, recipe.seed)
    asked = [(problem, sample) for problem in problems for sample in range(samples)][:size]
    right = {problem.question for problem, _ in asked[failed:]}
    answers = {p.question: _solved(task, p) if p.question in right else STUDENT_SAYS for p, _ in asked}
    student = StandIn(answers=answers)
    if isinstance(task, EpisodicTask):
        own = list({problem.id: problem for problem, _ in asked}.values())
        played = play(task.environment, student, own, Generation(), instruction=task.instruction, samples=samples)
        attempts = [attempt for of_problem in played for attempt in of_problem][:size]
    else:
        attempts = [
            Attempt(
                problem=problem,
                student=student.digest,
                text=f"{problem.solution or STUDENT_SAYS} (attempt {sample} of round {index})",  # a student changes
                answer="7",
                sample=sample,
            )
            for problem, sample in asked
        ]
    return [
        msgspec.structs.replace(attempt, score=float(place >= failed)) for place, attempt in enumerate(attempts)
    ], student


def _solved(task: Task, problem: Problem) -> str:
    """Return a right answer, or what stands for one where the problem has none."""
    try:
        return task.reference(problem)
    except InputError:
        return STUDENT_SAYS
