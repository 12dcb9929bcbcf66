"""What a reader must know of an exam's figure, in one phrase each: the same words in a run's lines and in its views."""

from loops.exams.records import Contamination, TeacherExam
from loops.records import ChosenOn, FinalExam
from loops.views.text import interval, p_value, percent, points


def final_told(exam: FinalExam) -> str:
    """Return how the final exam went: the figure to report."""
    base, now = exam.base, exam.metrics
    told = f"{now.n:,} problems   accuracy {percent(now.accuracy)}  {interval(now.low, now.high)}"
    if now.ungraded:
        told += f"   {now.ungraded:,} not graded"
    if now.since_start is not None:
        change = now.since_start
        told += (
            f"   before any lesson {percent(base.accuracy)}   {points(change.difference)} "
            f"{interval(change.low, change.high)} ({p_value(change.p)})"
        )
    again = f"   sat by {exam.looks} students so far" if exam.looks > 1 else ""
    return f"{told}   nothing was chosen on it{again}"


def teacher_told(exam: TeacherExam) -> str:
    """Return how many train problems the teacher solves itself."""
    told = "none of the teacher's own solutions could be graded"
    if exam.graded:
        told = f"the teacher itself solves {exam.right:,} of {exam.graded:,}  {interval(exam.low, exam.high)}"
    unsure = exam.asked - exam.graded - sum(exam.lost.values())
    lost = [f"{count:,} {reason}" for reason, count in sorted(exam.lost.items(), key=lambda row: (-row[1], row[0]))]
    lost += [f"{unsure:,} could not be graded"] if unsure else []
    return told + (f"   not counted: {', '.join(lost)}" if lost else "")


def teacher_warned(exam: TeacherExam) -> str:
    """Return what a reader must know of a teacher's exam, a sentence; "" where there is nothing."""
    if not exam.graded:
        return "nobody knows whether the teacher can solve what it is to teach"
    if exam.behind:
        return (
            f"the teacher is not better than the student, which has {percent(exam.student)} right in the exam on such "
            "problems: it may have nothing to teach"
        )
    return ""


def chosen_told(by: ChosenOn, *, final: bool) -> str:
    """Return what the figures of the rounds' exam were used for. `final`: whether there is a final exam."""
    if by == "nothing":
        return "every round's student is kept: nothing was chosen on the rounds' exam"
    if by == "gate":
        return "problems of its own decide which student is kept: nothing was chosen on the rounds' exam"
    if final:
        return "the rounds' exam decides which student is kept, so its figures may flatter; the final exam's do not"
    return "the rounds' exam also decides which student is kept, so its figures may flatter"


def alike(found: Contamination) -> str:
    """Return how many rows are like an exam problem, and what the task's wording does by itself; "" where none is."""
    rows = ", ".join(f"{kind} {count:,}" for kind, count in found.rows.items() if count)
    if not rows:
        return ""
    beside = "" if found.baseline is None else f" (train problems {percent(found.baseline)})"
    own = f", {found.own:,} beyond the task's wording" if found.own else ""
    return f"like the exams: {rows}{own}{beside}"
