"""The teacher's exam: it solves problems of the task itself before it teaches any, and is refused where it cannot."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from lessons.errors import InputError
from lessons.jsonl import write_jsonl
from lessons.records import Attempt, Problem
from lessons.statistics import wilson
from loops.asking import run_async
from loops.costs.rehearsing import Setting, asks_the_teacher
from loops.environments.base import EpisodicTask
from loops.exams.records import TeacherExam, TeacherSkill
from loops.graders.base import ScoringGrader
from loops.grading import verdicts_of, with_verdict
from loops.history import metrics_of
from loops.records import ExamMetrics
from loops.store import read_record, write_record
from loops.tasks.base import Task
from loops.together import together
from loops.views.text import interval
from loops.work import Work
from teachers.base import Teacher
from teachers.calls import Caller
from teachers.prompts.preflight import PREFLIGHT
from teachers.totals import Answered


def examine_teacher(work: Work) -> str:
    """Let the teacher solve train problems -> teacher.jsonl, teacher.json; return why it need not, or "".

    The stage `preflight` of round 0: after the student's first exam, before anything is taught. The answer is not in
    sight, and the task's grader grades. Not in a run that has taught without it.

    Raises:
        BudgetError: a cap was reached; what was replied is kept.
        TeacherError: fatal: no call of this run can succeed.
    """
    count = work.recipe.preflight.problems
    taught = work.folder.marker(1, "teach") is not None
    if not count or (taught and work.folder.marker(0, "preflight") is None):
        return ""
    if why := exempt(work.teacher, work.task) or _idle(work):
        return why

    def do(folder: Path, counts: Counter[str]) -> None:
        problems = drawn(work.split.train, count, work.rng(0, "preflight"))

        async def ask(caller: Caller) -> list[Answered[str]]:
            instruction = work.task.instruction
            replies = await together(
                caller.ask(PREFLIGHT, {"question": problem.question, "instruction": instruction})
                for problem in problems
            )
            return [answer for (answer,) in replies]

        told = work.asking("preflight", counts, ask, prefix="preflight")
        attempts = _graded(work, problems, told, counts)
        lost = Counter(answer.reason for answer in told if not _readable(answer))
        exam = _summed(work.teacher.name, attempts, lost, metrics_of(work, 0))
        counts["preflight/right"], counts["preflight/graded"] = exam.right, exam.graded
        write_jsonl(folder / "teacher.jsonl", attempts)
        write_record(folder / "teacher.json", exam)

    work.once(0, "preflight", ("teacher.jsonl", "teacher.json"), do)
    return ""


def check_teacher(work: Work) -> None:
    """Refuse a teacher that cannot solve what it is to teach; one that sat no exam is not judged.

    Raises:
        InputError: the upper end of its share's interval is below `preflight.at_least`.
    """
    exam = read_record(work.folder.round(0) / "teacher.json", TeacherExam)
    least = work.recipe.preflight.at_least
    if exam is None or not work.recipe.preflight.problems or not exam.graded or exam.high >= least:
        return
    raise InputError(
        f"teacher: {exam.teacher} solves {exam.right} of {exam.graded} train problems itself, "
        f"{interval(exam.low, exam.high, 0)} %, and preflight.at_least is {100 * least:g} %: its lessons would teach "
        "errors. Its solutions are in "
        f"{work.folder.path / 'rounds' / '00' / 'teacher.jsonl'}; name another teacher, or, where the method shows it "
        f"the answer or a rubric, go on with tutelage resume {work.folder.path} --set preflight.at_least=0"
    )


def exempt(teacher: Teacher, task: Task) -> str:
    """Return why such a teacher or task has no teacher's exam, or ""."""
    if not getattr(teacher, "examined", True):
        return "its replies are fixed"
    if isinstance(task, EpisodicTask):
        return "the problems are acted out, and it only writes"
    if isinstance(task.grader, ScoringGrader):
        return "the grader goes by the student's probabilities, and reads no answer"
    return ""


def drawn(problems: Sequence[Problem], count: int, rng: Random) -> list[Problem]:
    """Return `count` problems (all, where there are fewer), as many of each skill as can be; by their first skill."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_skill(problem), []).append(problem)
    dealt = [rng.sample(group, len(group)) for group in rng.sample(list(groups.values()), len(groups))]
    most = max(map(len, dealt), default=0)
    in_turn = [group[place] for place in range(most) for group in dealt if place < len(group)]
    return in_turn[:count]


def _idle(work: Work) -> str:
    setting = Setting(work.recipe, work.task, work.split, work.catalog)
    return "" if run_async(asks_the_teacher(setting)) else "the method asks it nothing"


def _readable(answer: Answered[str]) -> bool:
    """Whether there is a text to grade: one whose form is not a rationale's may still be right."""
    return not answer.reason or (answer.reason == "invalid" and bool(answer.text.strip()))


def _graded(
    work: Work, problems: Sequence[Problem], told: Sequence[Answered[str]], counts: Counter[str]
) -> list[Attempt]:
    attempts = [
        Attempt(
            problem=problem,
            student=work.teacher.name,
            text=answer.value or answer.text,
            cut=answer.reason == "truncated",
            note="" if _readable(answer) else f"not graded: {answer.reason} {answer.detail[:200]}".strip(),
        )
        for problem, answer in zip(problems, told, strict=True)
    ]
    asked = [(attempt.problem, attempt.text) for attempt in attempts if not attempt.note]
    verdicts = iter(verdicts_of(work.grader, asked, work.judging("judge preflight", counts)))
    return [attempt if attempt.note else with_verdict(attempt, next(verdicts)) for attempt in attempts]


def _summed(name: str, attempts: Sequence[Attempt], lost: Counter[str], student: ExamMetrics) -> TeacherExam:
    graded = [attempt for attempt in attempts if attempt.graded]
    by_skill: dict[str, list[bool]] = {}
    for attempt in graded:
        by_skill.setdefault(_skill(attempt.problem), []).append(attempt.right)
    skills: dict[str, TeacherSkill] = {}
    for skill, rights in sorted(by_skill.items()):
        low, high = wilson(sum(rights), len(rights))
        skills[skill] = TeacherSkill(graded=len(rights), right=sum(rights), low=low, high=high)
    right = sum(attempt.right for attempt in graded)
    low, high = wilson(right, len(graded))
    expected = [_of_student(student, skill) for skill, rights in by_skill.items() for _ in rights]
    return TeacherExam(
        teacher=name,
        asked=len(attempts),
        graded=len(graded),
        right=right,
        low=low,
        high=high,
        skills=skills,
        lost=dict(sorted(lost.items())),
        student=sum(expected) / len(expected) if expected else student.accuracy,
    )


def _of_student(student: ExamMetrics, skill: str) -> float:
    """Return the student's accuracy in the exam on a skill; of the whole exam where it had none of it."""
    known = student.skills.get(skill)
    accuracy = known.row.accuracy if known else None
    return student.accuracy if accuracy is None else accuracy


def _skill(problem: Problem) -> str:
    return problem.skills[0] if problem.skills else ""
