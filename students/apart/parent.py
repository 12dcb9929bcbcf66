"""The run's side of a training in processes of its own: what is handed over, followed, and read back."""

import shutil
import socket
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lessons.errors import GradeError, InputError, StudentError
from lessons.graders.base import Grader
from lessons.records import Lesson, Problem
from students.adapters import NOTE
from students.apart.job import Job, base_note, objective_note, plain, read_result, write_job
from students.apart.launching import Started, command
from students.apart.line import Alive, Asked, Failed, FromWorker, Graded, Logged, Phase, Ready, Stepped, Switchboard
from students.base import Learned, Progress, Training
from students.models import Base
from students.reinforcing import graded
from students.runtime import device
from students.shortage import OutOfMemory, shortage
from students.tracking import Relay, Tracking

LOG = "training.log"
_LOOK = 0.2
"""Seconds between two looks whether the processes still run."""
_HALT = 120.0
"""Seconds that a training which is asked to stop may take to end its step and keep a checkpoint."""
_UNWIND = 15.0
"""Seconds that the other processes may take to end once one has failed."""
_KILLED = "exitcode  : -9"
"""How torch's launcher says that the system killed a process."""


def is_apart(training: Training, base: Base) -> bool:
    """Return whether a training takes place in processes of its own.

    Raises:
        StudentError: it must, and no other process could make its objective or open its model.
    """
    asked = training.process == "own" or training.num_processes > 1 or bool(training.accelerate)
    if training.process == "here" or not (asked or device().type != "cpu"):
        return False
    objective, model = objective_note(training.objective), base_note(base)
    if objective is not None and model is not None:
        return True
    if not asked:
        return False
    what = f"the model {base.name}" if model is None else f"the objective {type(training.objective).__name__}"
    raise StudentError(
        f"{what} cannot be handed to another process: it is no model folder or no dataclass of a module that can be "
        "imported; set train.process: here"
    )


@contextmanager
def work_folder(keep: Path | None) -> Generator[Path]:
    """Yield the folder for what a training that is cut goes on from, and for its log; it goes when all is well.

    keep: where it is to be; None for a temporary folder, of which only a log outlives a failure.
    """
    folder = keep or Path(tempfile.mkdtemp(prefix="tutelage-training-"))
    try:
        yield folder
    except BaseException:
        if keep is None and not (folder / LOG).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def learn_apart(
    base: Base,
    adapter: Path | None,
    lessons: Sequence[Lesson],
    into: Path,
    training: Training,
    *,
    seed: int,
    progress: Progress | None,
    tracking: Tracking | None,
    grader: Grader | None,
    keep: Path,
    training_id: str,
) -> Learned:
    """Train in processes of its own; its weights lie in `into` when it comes back, and all memory is given back.

    keep: a folder for the job, the checkpoints and the log.

    Raises:
        StudentError, InputError: what the training itself would raise; or it was killed, or said nothing for long.
    """
    if training.sharded and device().type == "cpu":
        raise InputError("train.accelerate: FSDP and DeepSpeed spread weights over GPUs, and there is none here")
    model, objective = base_note(base), objective_note(training.objective)
    assert model is not None
    assert objective is not None
    tracked = tracking if tracking and tracking.report_to else None
    into.mkdir(parents=True, exist_ok=True)
    folder = keep / "job"
    with Switchboard() as lines:
        job = Job(
            base=model,
            adapter=str(adapter.absolute()) if adapter else None,
            into=str(into.absolute()),
            training=plain(training),
            objective=objective,
            seed=seed,
            line=str(lines.path),
            tracked=tracked is not None,
            graded=grader is not None,
            checkpoints=str((keep / "checkpoints").absolute()),
            id=training_id,
        )
        write_job(folder, job, lessons)
        relay = Relay(tracked) if tracked else None
        following = _Following(lines, training, keep / LOG, progress, relay, grader)
        started = Started(command(training, folder.absolute()), keep / LOG)
        try:
            following.follow(started)
        finally:
            started.end()
            if relay is not None:
                relay.close()
    learned = read_result(folder)
    if learned is None or not (into / learned.adapter / NOTE).is_file():
        raise StudentError(f"the training process ended without a result; see {keep / LOG}")
    shutil.rmtree(folder, ignore_errors=True)
    return learned


class _Following:
    """Hears what workers say, until they have ended."""

    def __init__(
        self,
        lines: Switchboard,
        training: Training,
        log: Path,
        progress: Progress | None,
        relay: Relay | None,
        grader: Grader | None,
    ) -> None:
        self._lines, self._training, self._log = lines, training, log
        self._progress, self._relay, self._grader = progress, relay, grader
        self._phase, self._step = "the process starts", 0
        self._ready = Ready(micro=0, lengths=[])
        self._failed: Failed | None = None
        self._heard = time.monotonic()

    def follow(self, started: Started) -> None:
        """Follow until the processes have ended well.

        Raises:
            StudentError, InputError: they have not. Or whatever `progress` raises: training is then stopped first.
        """
        while started.code is None and self._failed is None:
            try:
                self._hear()
            except BaseException:
                self._halt(started)
                raise
            self._check_silence()
        started.wait(_UNWIND)
        self._hear()
        if self._failed is not None:
            raise self._error(self._failed)
        if started.code != 0:
            raise self._died(started.code)

    def _hear(self) -> None:
        for line, message in self._lines.read(_LOOK):
            self._heard = time.monotonic()
            self._take(line, message)

    def _take(self, line: socket.socket, message: FromWorker) -> None:
        match message:
            case Phase():
                self._phase = message.name
            case Ready():
                self._ready, self._phase = message, "the first step"
            case Stepped():
                self._phase, self._step = f"step {message.done + 1}", message.done
                if self._progress is not None:
                    self._progress(message.done, message.of)
            case Logged():
                if self._relay is not None:
                    self._relay.log(message.figures, message.step)
            case Asked():
                self._lines.send(line, Graded(grades=self._grades(message.answers)))
                self._heard = time.monotonic()
            case Failed():  # where one process has failed, the others fail for want of it
                if self._failed is None or self._failed.kind == "other":
                    self._failed = message
            case Alive():
                pass

    def _grades(self, asked: Sequence[tuple[Problem, str]]) -> list[tuple[float, str | None, str] | str]:
        assert self._grader is not None
        told = graded(self._grader, list(asked))
        return [str(one) if isinstance(one, GradeError) else (one.score, one.answer, one.note) for one in told]

    def _check_silence(self) -> None:
        minutes = (time.monotonic() - self._heard) / 60
        if minutes > self._training.silent_minutes:
            raise StudentError(
                f"the training process has said nothing for {minutes:.3g} minutes ({self._phase}) and was ended; see "
                f"{self._log}, or raise train.silent_minutes where a step may take that long"
            )

    def _halt(self, started: Started) -> None:
        """Have training stop after its step, and wait for that; another Ctrl-C ends the wait."""
        self._lines.stop()
        until = time.monotonic() + _HALT
        while started.code is None and time.monotonic() < until and self._step:
            for line, message in self._lines.read(_LOOK):
                if isinstance(message, Asked):
                    self._lines.send(line, Graded(grades=self._grades(message.answers)))

    def _error(self, failed: Failed) -> StudentError | InputError:
        if failed.kind == "memory":
            return OutOfMemory(failed.words, micro=failed.micro)
        if failed.kind == "memory unexplained":
            return self._shortage(failed.words)
        if failed.kind == "input":
            return InputError(failed.words)
        if failed.kind == "student":
            return StudentError(failed.words)
        return StudentError(f"training failed: {failed.words}; where, stands in {self._log}")

    def _died(self, code: int | None) -> StudentError:
        if code == -9 or _KILLED in self._log.read_text(encoding="utf-8", errors="replace"):
            return self._shortage("the system killed the process, which it does where no memory is left")
        told = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        return StudentError(f"the training process ended {told} ({self._phase}); see {self._log}")

    def _shortage(self, how: str) -> OutOfMemory:
        return shortage(self._training, micro=self._ready.micro, step=self._step, lengths=self._ready.lengths, how=how)
