"""A process that trains: `python -m students.apart.worker JOB`, alone or as one of several under accelerate."""

import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lessons.errors import GradeError, InputError, StudentError
from lessons.graders.base import Grade
from lessons.records import Lesson, Problem
from students.apart.job import Job, opened, read_job, training_of, write_result
from students.apart.line import Alive, Failed, Line, Logged, Phase, Ready, Stepped
from students.apart.tied import tie
from students.base import Learned
from students.shortage import OutOfMemory, is_shortage, words_of

_PULSE = 1.0
"""Seconds between two signs of life, at least."""


class AskedGrader:
    """The run's grader, asked over the line; all that an objective asks of it while it trains."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer."""
        (told,) = self.grade_many([(problem, text)])
        if isinstance(told, GradeError):
            raise told
        return told

    def grade_many(self, asked: Sequence[tuple[Problem, str]]) -> list[Grade | GradeError]:
        """Grade several answers."""
        return self._line.ask(asked)

    def read(self, text: str) -> str | None:
        """Say that this is not asked while training."""
        raise GradeError("a grader is asked for grades only while a student is trained in another process")

    def same(self, one: str, other: str) -> bool:
        """Say that this is not asked while training."""
        raise GradeError("a grader is asked for grades only while a student is trained in another process")


def main(arguments: list[str]) -> int:
    """Train as a job folder says; return the exit code."""
    tie(os.getppid())
    folder, rank = Path(arguments[0]), int(os.environ.get("RANK", "0"))
    job, lessons = read_job(folder)
    line = Line(Path(job.line))
    try:
        learned = _trained(job, lessons, line, rank)
    except KeyboardInterrupt:  # the run stops, and there is a checkpoint
        return 0
    except Exception as error:  # noqa: BLE001 - told to the run, and to the log
        traceback.print_exc()
        line.send(_failed(error))
        return 1
    if learned is not None:
        write_result(folder, learned)
    return 0


def _trained(job: Job, lessons: list[Lesson], line: Line, rank: int) -> Learned | None:
    from students.checkpoints import Keeper
    from students.hf import HFStudent
    from students.learning import Watch, learn_here
    from students.runtime import prepare

    line.send(Phase("the model is loaded"))
    prepare()
    _take_device()
    training = training_of(job)
    student = HFStudent(opened(job.base), adapter=Path(job.adapter) if job.adapter else None, threads=training.threads)
    pulse = [0.0]

    def alive() -> None:
        if time.monotonic() - pulse[0] >= _PULSE:
            pulse[0] = time.monotonic()
            line.send(Alive())

    def stepped(done: int, of: int) -> None:
        if rank == 0:
            line.send(Stepped(done=done, of=of))
        if line.stopping:
            raise KeyboardInterrupt("the run stops")

    def ready(trainer: Any) -> None:
        rows = (*trainer.bench.checked.rows, *trainer.bench.checked.others)
        trainer.add_callback(_telling(trainer, line, alive, tracked=job.tracked and rank == 0))
        if rank == 0:
            line.send(Ready(micro=trainer.bench.micro, lengths=[len(row) for row in rows]))

    every_step = {"report_to": "none", "logging_strategy": "steps", "logging_steps": 1, "logging_nan_inf_filter": False}
    silent = {"report_to": "none", "logging_strategy": "no"}
    return learn_here(
        student.desk(training, AskedGrader(line) if job.graded else None),
        lessons,
        Path(job.into),
        seed=job.seed,
        progress=stepped,
        # What is spread over processes is not kept: its parts are accelerate's own affair.
        keeper=None if training.sharded else Keeper(Path(job.checkpoints), job.id, 60 * training.checkpoint_minutes),
        watch=Watch(alive=alive, ready=ready, reporting=every_step if job.tracked else silent),
    )


def _take_device() -> None:
    """Take this process's own GPU, and join the other processes."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if "RANK" in os.environ:
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def _telling(trainer: Any, line: Line, alive: Any, *, tracked: bool) -> Any:
    """Return a callback that sends figures and signs of life."""
    from transformers import TrainerCallback

    from students.tracking import set_right

    class Telling(TrainerCallback):
        def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            alive()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if tracked and logs is not None:
                figures = dict(logs)
                set_right(figures, trainer.losses)
                if figures:
                    line.send(Logged(step=state.global_step, figures=figures))

    return Telling()


def _failed(error: Exception) -> Failed:
    if isinstance(error, OutOfMemory):
        return Failed(words=str(error), kind="memory", micro=error.micro)
    if isinstance(error, StudentError | InputError):
        return Failed(words=str(error), kind="student" if isinstance(error, StudentError) else "input")
    if is_shortage(error):
        return Failed(words=words_of(error), kind="memory unexplained")
    return Failed(words=f"{type(error).__name__}: {words_of(error)}", kind="other")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
