"""What the parts of a round may look at: a method its Round, filters their Context, a selector its Choice."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lessons.records import Attempt
from loops.filters.base import Context, normal
from loops.history import earlier_lessons, metrics_of, profile_of
from loops.round import Round
from loops.scores import Scores
from loops.selectors.base import Choice, Selector, aim_of
from loops.stored import Ids
from loops.work import Work
from students.base import Student
from teachers.calls import Caller


def context_of(work: Work, index: int, scores: Scores) -> Context:
    """Return what filters may look at in a round."""
    earlier = earlier_lessons(work, index)
    return Context(
        grader=work.grader,
        held_out=frozenset(normal(problem.question) for _, problem in work.exams.problems),
        trained=Ids(lesson.id for lesson in earlier),
        earlier=earlier,
        problems=work.split.train,
        exams=work.exams,
        scores=scores,
    )


def round_of(work: Work, index: int, student: Student, caller: Caller, folder: Path) -> Round:
    """Return a round as its method sees it; `folder` is the method's own."""
    scores = work.scores(index, student)
    kept = [one for one in range(1, index) if metrics_of(work, one).promoted]
    return Round(
        index=index,
        task=work.task,
        caller=caller,
        student=student,
        method=work.recipe.method["id"],
        problems=work.split.train,
        pool=work.split.pool or work.split.train,
        attempts=work.read(index, "attempts.jsonl", Attempt),
        catalog=work.catalog,
        profile=profile_of(work, index),
        context=context_of(work, index, scores),
        rng=work.rng(index, "teach"),
        max_lost=work.recipe.calls.max_lost,
        aim=_aim(work, index, student),
        model=work.recipe.student.model,
        base=work.base,
        generation=work.recipe.student.answer,
        scores=scores,
        seed=work.seed(index, "teach"),
        folder=folder,
        store=work.folder.round(index) / ".written.jsonl",
        before=work.folder.round(kept[-1]) / "method" if kept else None,
        make_room=work.make_room,
        listener=work.listener,
    )


def choice_of(work: Work, index: int, student: Student) -> Choice:
    """Return what a selector and an order may look at in a round."""
    return Choice(
        profile=profile_of(work, index),
        rng=work.rng(index, "select"),
        index=index,
        rounds=work.recipe.rounds,
        profiles=[profile_of(work, one) for one in range(1, index + 1)],
        attempts=work.read(index, "attempts.jsonl", Attempt),
        earlier=earlier_lessons(work, index),
        problems=work.split.train,
        scores=work.scores(index, student),
        student=student,
        training=work.recipe.train,
        folder=work.folder.round(index) / "select",
        folders=[work.folder.round(one) / "select" for one in range(1, index)],
        task=work.task,
        seed=work.seed(index, "select"),
    )


def _aim(work: Work, index: int, student: Student) -> Callable[[int], Mapping[str, float]]:
    """Return what tells each skill's part of so many lessons, as the recipe's selector will see it."""

    def aim(count: int) -> Mapping[str, float]:
        selector: Selector = work.recipe.make("selector", work.recipe.select, "select")
        return aim_of(selector, choice_of(work, index, student), count)

    return aim
