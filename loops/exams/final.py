"""The exam on problems that nothing was learned, chosen or tuned on: taken when the run is over."""

from collections import Counter
from pathlib import Path

import msgspec

from lessons.jsonl import write_jsonl
from lessons.records import Attempt
from loops.examining import sit
from loops.exams import gate
from loops.records import FinalExam
from loops.store import read_record, write_record
from loops.work import Work
from students.base import Student


def final_exam(work: Work, base: Student, best: int, student: Student) -> None:
    """Let the student of round 0 and the one that the run ends with sit the final exam -> final.json.

    base: the student of round 0. best, student: the round whose student the run ends with, and that student. Each
    round's student sits it once, whatever happens: `rounds/NN/final.jsonl`. A run that ended, was given more budget and
    ended with another student has had a second look, which `looks` says.
    """
    if not work.split.final:
        return
    for index, who in {0: base, best: student}.items():
        _sit(work, index, who)
    path = work.folder.path / "final.json"
    done = read_record(path, FinalExam)
    if done is None or done.round != best:
        write_record(path, _summed(work, base.digest, best, student.digest))


def _sit(work: Work, index: int, student: Student) -> None:
    def do(folder: Path, counts: Counter[str]) -> None:
        problems = work.split.final
        attempts = sit(work, "final exam", student, problems, counts, seed=work.seed(0, "final"))
        write_jsonl(folder / "final.jsonl", attempts)
        counts["final/right"] = sum(attempt.right for attempt in attempts)
        counts["final/graded"] = sum(attempt.graded for attempt in attempts)

    work.once(index, "final", ("final.jsonl",), do)


def _summed(work: Work, base: str, best: int, student: str) -> FinalExam:
    skills = work.catalog.names
    before, after = work.read(0, "final.jsonl", Attempt), work.read(best, "final.jsonl", Attempt)
    start = gate.sum_up(0, base, before, skills=skills)
    metrics = start
    if best:
        metrics = gate.sum_up(best, student, after, skills=skills, before=before, start=before)
        metrics = msgspec.structs.replace(metrics, change=None)  # it would be against round 0, as `since_start` is
    looks = sum(1 for folder in (work.folder.path / "rounds").glob("*/final.jsonl") if int(folder.parent.name))
    return FinalExam(round=best, metrics=metrics, base=start, looks=max(1, looks))
