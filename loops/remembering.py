"""The student's memory in the run folder: what the teach stage has the next student remember, and what that one holds.

`rounds/NN/memory.json` is what the method told; `rounds/NN/student/memory.json` lies beside the weights of the student
that remembers it. Neither is there where there is nothing to remember.
"""

from pathlib import Path

import msgspec

from lessons.errors import InputError
from lessons.memory import Memory
from lessons.records import Problem
from loops.filters.base import apply
from loops.filters.overlap import Overlap
from loops.records import RoundLearned
from loops.round import Round
from loops.store import read_record, write_record
from students.base import Student
from students.memory import memory_of

NAME = "memory.json"


def write_told(folder: Path, round_: Round) -> list[str]:
    """Write what the method told the next student to remember; return the names of the files written.

    A demonstration that asks a question of an exam is left out, and stands among the dropped.
    """
    (folder / NAME).unlink(missing_ok=True)  # of a try that was killed
    if not round_.remembered:
        return []
    memory = round_.remembered[-1]
    shown = [
        round_.lesson(Problem(question=one.question, skills=one.skills), one.completion)
        for one in memory.demonstrations
    ]
    kept, dropped = apply("overlap", Overlap(), shown, round_.context)
    round_.dropped.extend(dropped)
    questions = {lesson.problem.question for lesson in kept}
    held = tuple(one for one in memory.demonstrations if one.question in questions)
    write_record(folder / NAME, msgspec.structs.replace(memory, demonstrations=held))
    return [NAME]


def told(folder: Path) -> Memory | None:
    """Return what a round's method told the next student to remember; None where it said nothing of it.

    Raises:
        InputError: the file is damaged.
    """
    return read_record(folder / NAME, Memory)


def write_held(folder: Path, before: Student) -> tuple[Memory, list[str]]:
    """Write the memory of a round's next student beside its weights: what was told, else that of the student before.

    Returns it, and the names of the files written.
    """
    new = told(folder)
    memory = memory_of(before) if new is None else new
    if memory.empty:
        return memory, []
    (folder / "student").mkdir(exist_ok=True)
    write_record(folder / "student" / NAME, memory)
    return memory, [f"student/{NAME}"]


def held(folder: Path, learned: RoundLearned) -> Memory:
    """Return the memory of the student that a round made.

    Raises:
        InputError: the file is damaged, or is not the one that the student was examined with.
    """
    path = folder / "student" / NAME
    memory = read_record(path, Memory) or Memory()
    if (None if memory.empty else memory.id) != learned.memory:
        raise InputError(f"{path}: is not the memory that the round's student was made with; it was changed or is gone")
    return memory
