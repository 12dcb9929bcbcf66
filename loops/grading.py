"""What grades attempts and lessons: by rule, many at once, by asking a teacher, or by the student's probabilities."""

from collections.abc import Mapping, Sequence

import msgspec

from lessons.errors import GradeError, InputError
from lessons.graders.base import CheckedGrader, Grade, Grader, ManyGrader
from lessons.records import Attempt, Lesson, Message, Problem
from loops.filters.base import Filter
from loops.graders.base import Ask, AskingGrader, ScoringGrader, Verdict
from loops.tasks.base import student_prompt
from students.base import Progress, Student


def verdicts_of(grader: Grader, asked: Sequence[tuple[Problem, str]], ask: Ask | None) -> list[Verdict]:  # [asked]
    """Return what the grader says of each answer text, in order; the error where it cannot tell.

    Raises:
        InputError: the grader asks a teacher, and there is none to be asked.
        TutelageError: the teacher cannot go on.
    """
    if isinstance(grader, AskingGrader):
        if ask is None:
            raise InputError("this grader asks a teacher, and there is none to be asked here")
        return ask(lambda asker: grader.grade_by_asking(asked, asker)) if asked else []
    if isinstance(grader, ManyGrader):
        return grader.grade_many(asked)
    return [_verdict(grader, problem, text) for problem, text in asked]


def _verdict(grader: Grader, problem: Problem, text: str) -> Verdict:
    try:
        return grader.grade(problem, text)
    except GradeError as error:
        return error


def with_verdict(attempt: Attempt, verdict: Verdict) -> Attempt:
    """Return the attempt with its score; where the grader cannot tell, without one and with its reason."""
    if isinstance(verdict, GradeError):
        return msgspec.structs.replace(attempt, score=None, note=f"not graded: {verdict}")
    return msgspec.structs.replace(attempt, score=verdict.score, answer=verdict.answer, note=verdict.note)


def by_scores(
    grader: ScoringGrader,
    student: Student,
    problems: Sequence[Problem],
    instruction: str,
    progress: Progress | None = None,
) -> list[Attempt]:
    """Return one attempt for each problem: the text that the student finds most probable of those that there are."""
    rows: list[tuple[Sequence[Message], str]] = []
    places: list[GradeError | tuple[list[int], list[int]]] = []  # [problem] rows of its texts, and of them alone
    neutral: dict[str, int] = {}  # text -> its row after the neutral question
    for problem in problems:
        try:
            texts = grader.texts(problem)
        except GradeError as error:
            places.append(error)
            continue
        own = list(range(len(rows), len(rows) + len(texts)))
        rows += [(student_prompt(instruction, problem), text) for text in texts]
        if grader.neutral is not None:
            bare = student_prompt(instruction, Problem(question=grader.neutral))
            for text in texts:
                if text not in neutral:
                    neutral[text] = len(rows)
                    rows.append((bare, text))
        places.append((own, [neutral[text] for text in texts] if grader.neutral is not None else []))
    scores = student.score(rows, progress=progress) if rows else []
    return [
        _chosen(grader, Attempt(problem=problem, student=student.digest, text=""), place, scores)
        for problem, place in zip(problems, places, strict=True)
    ]


def _chosen(
    grader: ScoringGrader,
    attempt: Attempt,
    place: GradeError | tuple[list[int], list[int]],
    scores: Sequence[Sequence[float]],
) -> Attempt:
    if isinstance(place, GradeError):
        return with_verdict(attempt, place)
    own, neutral = place
    try:
        text, grade = grader.choose(attempt.problem, [scores[row] for row in own], [scores[row] for row in neutral])
    except GradeError as error:
        return with_verdict(attempt, error)
    return with_verdict(msgspec.structs.replace(attempt, text=text), grade)


def grades_for(
    judge: Filter, grader: Grader, lessons: Sequence[Lesson], ask: Ask | None
) -> Mapping[str, Grade | GradeError]:
    """Return what a filter needs to be told beforehand: id of a lesson -> what the grader says of its completion.

    Critiques are left out: they are checked by the grade of the attempt that they criticise.
    """
    if not getattr(judge, "needs_grades", False) or not isinstance(grader, AskingGrader | ManyGrader):
        return {}
    asked = {lesson.id: lesson for lesson in lessons if lesson.verdict is None}
    pairs = [(lesson.problem, lesson.completion) for lesson in asked.values()]
    return dict(zip(asked, verdicts_of(grader, pairs, ask), strict=True))


def check_machine(grader: Grader) -> None:
    """Refuse to begin where a grader lacks what it needs of this machine.

    Raises:
        InputError: says what is lacking.
    """
    if isinstance(grader, CheckedGrader):
        grader.check()
