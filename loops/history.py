"""What the rounds that are done have left behind: profiles, exams, students, lessons."""

from collections.abc import Iterator, Sequence

from lessons.records import Lesson
from lessons.skills import SkillProfile
from loops.records import ExamMetrics, RoundLearned
from loops.remembering import held
from loops.store import read_record
from loops.stored import joined
from loops.work import Work
from students.base import Student
from students.memory import remembering


def profile_of(work: Work, index: int) -> SkillProfile:
    """Return the profile of a round whose diagnosis is done."""
    profile = read_record(work.folder.round(index) / "profile.json", SkillProfile)
    assert profile is not None
    return profile


def metrics_of(work: Work, index: int) -> ExamMetrics:
    """Return the exam of a round that is done."""
    metrics = read_record(work.folder.round(index) / "metrics.json", ExamMetrics)
    assert metrics is not None
    return metrics


def learned_student(work: Work, index: int) -> Student:
    """Return the student that a round made, from its saved weights and memory."""
    folder = work.folder.round(index)
    record = read_record(folder / "learned.json", RoundLearned)
    assert record is not None
    adapter = record.learned.adapter  # "" where nothing was trained, in no round so far
    weights = work.base.with_adapter(folder / "student" / adapter) if adapter else work.base
    return remembering(weights, held(folder, record))


def student_after(work: Work, index: int) -> Student:
    """Return the student that the run went on with after round `index`; the base before any lesson was learned."""
    for earlier in range(index, 0, -1):
        if metrics_of(work, earlier).promoted:
            return learned_student(work, earlier)
    return learned_student(work, 0) if work.split.warm_up else work.base


def earlier_lessons(work: Work, index: int) -> Sequence[Lesson]:
    """Return the warm-up and the new lessons of earlier rounds whose student was kept, oldest first, each once."""
    taught = [
        work.records(earlier, "lessons.jsonl", Lesson)
        for earlier in range(index)
        if metrics_of(work, earlier).promoted and (work.folder.round(earlier) / "lessons.jsonl").exists()
    ]

    def new() -> Iterator[tuple[int, int]]:
        known: set[int] = set()
        for which, lessons in enumerate(taught):
            for place, lesson in enumerate(lessons):
                if lesson.provenance.method != "replay" and (key := int(lesson.id, 16)) not in known:
                    known.add(key)
                    yield which, place

    return joined(taught, new())
