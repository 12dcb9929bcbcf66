"""Training in a process of its own: the same student, errors in one line, nothing left running, memory given back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from lessons.errors import GradeError, StudentError
from lessons.graders.base import Grade
from lessons.records import Lesson, Problem
from students.apart.launching import MARK
from students.apart.parent import is_apart
from students.base import Training
from students.checkpoints import read_note
from students.hf import HFStudent
from students.objectives.grpo import Grpo
from students.shortage import OutOfMemory
from students.tiny import TinyBase
from students.tracking import Tracking

ROOT = Path(__file__).parents[2]
BASE = Training(
    epochs=2, learning_rate=1e-3, batch_size=3, micro_batch_size=2, rank=4, dropout=0.2, precision="float32",
    process="own", checkpoint_minutes=1e-9,
)  # fmt: skip
OBJECTIVES = """
import os, signal
from dataclasses import dataclass
from typing import ClassVar
from students.objectives.tokens import TokenObjective

@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty(TokenObjective):
    paper: ClassVar[str] = "our own: for a test"
    at: int = 2
    how: str = "kill"

    def token_losses(self, lens):
        import torch
        if lens.step >= self.at and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if lens.step >= self.at and self.how == "hang":
            signal.pause()
        if lens.step >= self.at and self.how == "bug":
            raise ValueError("an error\\nof two lines")
        if self.how == "hungry":  # a gigabyte of addresses for each lesson
            torch.empty(len(lens.places) << 30, dtype=torch.uint8)
        return TokenObjective.token_losses(self, lens)
"""


@pytest.fixture
def rows(lesson: Callable[..., Lesson]) -> list[Lesson]:
    return [
        lesson(f"say {word}", word, weight=1 + place / 4) for place, word in enumerate(("red", "green", "blue", "teal"))
    ]


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """An objective of the user's own, in a module of a folder that this process finds modules in."""
    (tmp_path / "of_the_user.py").write_text(OBJECTIVES)
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(**knobs: Any) -> Any:
        import importlib

        return importlib.import_module("of_the_user").Faulty(**knobs)

    yield make
    sys.modules.pop("of_the_user", None)


def marked() -> list[psutil.Process]:
    """Processes of trainings."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and MARK in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def sockets() -> set[str]:
    import tempfile

    return {path.name for path in Path(tempfile.gettempdir()).glob("tutelage-*") if (path / "s").exists()}


def test_the_same_student_comes_of_it(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    before = sockets()
    seen: list[tuple[int, int]] = []
    here = msgspec.structs.replace(BASE, process="here")
    _, whole = student.learn(rows, tmp_path / "here", here, seed=3)
    curves = tmp_path / "curves"
    tracking = Tracking(report_to=("tensorboard",), folder=str(curves), project="p", name="n", steps_before=7)
    taught, learned = student.learn(
        rows, tmp_path / "own", BASE, seed=3, keep=tmp_path / "keep",
        progress=lambda done, of: seen.append((done, of)), tracking=tracking,
    )  # fmt: skip
    assert learned.adapter == whole.adapter
    assert learned.losses == whole.losses
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert taught.adapter == tmp_path / "own" / learned.adapter
    assert curve(curves, "train/loss") == pytest.approx(dict(enumerate(whole.losses, start=8)))
    assert not (tmp_path / "keep").exists()
    assert sockets() <= before


def curve(folder: Path, name: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {point.step: point.value for point in read.Scalars(name)}


def test_when_training_is_apart(student: HFStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(**more: Any) -> bool:
        return is_apart(msgspec.structs.replace(Training(batch_size=8), **more), student.base)

    assert [apart(), apart(process="here"), apart(process="own"), apart(num_processes=2)] == [False, False, True, True]
    import torch

    monkeypatch.setattr("students.apart.parent.device", lambda: torch.device("cuda"))
    assert [apart(), apart(process="here"), apart(process="own")] == [True, False, True]


def test_what_no_other_process_could_make_stays_here_or_is_refused(
    student: HFStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    class Odd:
        trains = True

    odd = msgspec.structs.replace(BASE, objective=Odd())
    with pytest.raises(StudentError, match="objective Odd cannot be handed to another process.*train.process: here"):
        is_apart(odd, student.base)
    monkeypatch.setattr("students.apart.parent.device", lambda: torch.device("cuda"))
    assert not is_apart(msgspec.structs.replace(odd, process="auto"), student.base)


@pytest.mark.slow
def test_an_error_of_the_training_is_the_same_line(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    short = msgspec.structs.replace(BASE, max_length=16)
    said: list[str] = []
    for process in ("here", "own"):
        with pytest.raises(StudentError) as told:
            student.learn(
                rows, tmp_path / "out", msgspec.structs.replace(short, process=process), keep=tmp_path / "keep"
            )
        said.append(str(told.value))
    assert said[0] == said[1]
    assert "train.max_length is 16" in said[0]
    log = tmp_path / "keep" / "training.log"
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keep" / "job").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_an_error_that_nobody_foresaw_names_the_log(
    student: HFStudent, rows: list[Lesson], faulty: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(StudentError) as told:
        student.learn(
            rows, tmp_path / "out", msgspec.structs.replace(BASE, objective=faulty(how="bug")), keep=tmp_path / "keep"
        )
    assert str(told.value) == f"training failed: ValueError: an error; where, stands in {tmp_path}/keep/training.log"
    assert "of two lines" in (tmp_path / "keep" / "training.log").read_text()


@pytest.mark.slow
def test_a_killed_process_is_taken_for_one_without_memory_and_goes_on(
    student: HFStudent, rows: list[Lesson], faulty: Callable[..., Any], tmp_path: Path
) -> None:
    """SIGKILL that we have not sent is what the kernel does when memory runs out."""
    deadly = msgspec.structs.replace(BASE, objective=faulty(at=2), batch_size=2, epochs=4)
    with pytest.raises(
        OutOfMemory, match=r"2 lessons at once, step 3; the system killed the process.*micro_batch_size: 1"
    ):
        student.learn(rows, tmp_path / "out", deadly, seed=3, keep=tmp_path / "keep")
    assert [path.name for path in (tmp_path / "keep" / "checkpoints").iterdir()] == ["checkpoint-00000002"]


@pytest.mark.slow
def test_a_process_that_hangs_is_ended(
    student: HFStudent,
    rows: list[Lesson],
    faulty: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the first step an hour passes on the run's clock, while the process hangs in the second."""
    passed = [0.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + passed[0]

    def progress(done: int, of: int) -> None:
        passed[0] += 3601

    monkeypatch.setattr("students.apart.parent.time", Clock)
    hanging = msgspec.structs.replace(BASE, objective=faulty(how="hang", at=1))
    with pytest.raises(StudentError, match=r"has said nothing for 60 minutes \(step 2\) and was.*silent_minutes"):
        student.learn(rows, tmp_path / "out", hanging, keep=tmp_path / "keep", progress=progress)
    assert [process for process in marked() if str(tmp_path) in " ".join(process.cmdline())] == []


@pytest.mark.slow
def test_memory_that_really_runs_out_and_half_as_much_that_suffices(tmp_path: Path) -> None:
    """Addresses are limited for the process and what it starts: the allocator's own refusal, not one of ours."""
    (tmp_path / "of_the_user.py").write_text(OBJECTIVES)
    program = f"""
import resource, sys
sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from pathlib import Path
import msgspec
from lessons.records import Lesson, Message, Problem, Provenance
from of_the_user import Faulty
from students.base import Training
from students.checkpoints import read_note
from students.shortage import OutOfMemory
from students.tiny import tiny
rows = [
    Lesson(prompt=(Message(role="user", content=f"say {{n}}"),), completion=str(n), problem=Problem(question=str(n)),
           provenance=Provenance(method="test", round=1))
    for n in range(8)
]
training = Training(epochs=1, batch_size=8, micro_batch_size=8, rank=4, precision="float32", process="own",
                    objective=Faulty(how="hungry", at=99))
try:
    tiny().learn(rows, Path({str(tmp_path)!r}) / "a", training)
except OutOfMemory as error:
    print(error)
_, learned = tiny().learn(rows, Path({str(tmp_path)!r}) / "b", msgspec.structs.replace(training, retry_smaller=True))
print(learned.notes)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=False, env=os.environ
    )
    told, notes = done.stdout.splitlines() or [done.stderr, ""]
    assert "ran out of memory (8 lessons at once, step 1; " in told
    assert "DefaultCPUAllocator" in told
    assert "train.micro_batch_size: 4" in told
    assert notes in ("{'micro-batch after memory ran out': 4}", "{'micro-batch after memory ran out': 2}")


class Vowels:
    """A grader that only this process has: it counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def grade(self, problem: Problem, text: str) -> Grade:
        self.asked += 1
        if "x" in text:
            raise GradeError("it has an x")
        return Grade(sum(letter in "aeiou" for letter in text) / max(1, len(text)), text)

    def read(self, text: str) -> str | None:
        return text

    def same(self, one: str, other: str) -> bool:
        return one == other


@pytest.mark.slow
def test_answers_are_graded_by_the_run(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    training = msgspec.structs.replace(BASE, objective=Grpo(max_tokens=6, rollouts=2, temperature=2.0))
    graders = Vowels(), Vowels()
    _, whole = student.learn(
        rows, tmp_path / "a", msgspec.structs.replace(training, process="here"), seed=3, grader=graders[0]
    )
    _, learned = student.learn(rows, tmp_path / "b", training, seed=3, grader=graders[1])
    assert learned.adapter == whole.adapter
    assert learned.notes == whole.notes
    assert learned.notes["answers that could not be judged"] > 0
    assert graders[0].asked == graders[1].asked > 10


class Cut(KeyboardInterrupt):
    """Stands for what a run is stopped with."""


@pytest.mark.slow
def test_a_run_that_stops_has_the_training_keep_what_it_has(
    student: HFStudent, rows: list[Lesson], tmp_path: Path
) -> None:
    def progress(done: int, of: int) -> None:
        if done == 2:
            raise Cut

    quiet = msgspec.structs.replace(BASE, checkpoint_minutes=60.0, epochs=50)
    with pytest.raises(Cut):
        student.learn(rows, tmp_path / "cut", quiet, seed=3, progress=progress, keep=tmp_path / "keep")
    assert [process for process in marked() if str(tmp_path) in " ".join(process.cmdline())] == []
    (kept,) = (tmp_path / "keep" / "checkpoints").iterdir()
    step, seen = int(kept.name[-8:]), list[int]()
    assert 2 <= step < 100
    here = msgspec.structs.replace(quiet, process="here")
    _, whole = student.learn(rows, tmp_path / "whole", here, seed=3)
    _, learned = student.learn(
        rows, tmp_path / "on", here, seed=3, progress=lambda done, of: seen.append(done), keep=tmp_path / "keep"
    )
    assert seen[0] == step + 1
    assert learned.adapter == whole.adapter


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_left_of_a_run_that_is_killed_and_what_was_kept_is_gone_on_from(
    student: HFStudent, rows: list[Lesson], processes: int, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    job.mkdir()
    training = msgspec.structs.replace(
        BASE, epochs=2000, batch_size=4, num_processes=processes, schedule="constant", warmup=0.0,
        dropout=0.2 if processes == 1 else 0.0,  # each process draws its own
    )  # fmt: skip
    (job / "training.json").write_bytes(msgspec.json.encode(_plain(training)))
    (job / "rows.json").write_bytes(msgspec.json.encode(rows))
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
import msgspec
from lessons.records import Lesson
from students.base import Training
from students.tiny import tiny
job = Path({str(job)!r})
training = Training(**msgspec.json.decode((job / "training.json").read_bytes()))
rows = msgspec.json.decode((job / "rows.json").read_bytes(), type=list[Lesson])
tiny().learn(rows, job / "out", training, seed=3, keep=job / "keep", progress=lambda done, of: print(done, flush=True))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for line in parent.stdout:
        if int(line) >= 3:
            break
    ours = [process for process in marked() if str(job) in " ".join(process.cmdline())]
    assert len(ours) == (1 if processes == 1 else 1 + processes)  # the launcher, where there are several
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(ours, timeout=20)
    assert alive == []
    kept = max((job / "keep" / "checkpoints").glob("checkpoint-*"))  # the one before it may not be deleted yet
    step, seen = int(kept.name[-8:]), list[int]()

    def progress(done: int, of: int) -> None:
        seen.append(done)
        if done == step + 3:
            raise Cut

    with pytest.raises(Cut):
        student.learn(rows, job / "out", training, seed=3, progress=progress, keep=job / "keep")
    assert seen[:3] == [step + 1, step + 2, step + 3]
    (kept,) = (job / "keep" / "checkpoints").iterdir()
    note = read_note(kept)
    assert note is not None
    undisturbed = msgspec.structs.replace(training, process="here", num_processes=1, checkpoint_minutes=60.0)
    with pytest.raises(Cut):
        student.learn(rows, job / "whole", undisturbed, seed=3, progress=_until(note.step), keep=tmp_path / "whole")
    (other,) = (tmp_path / "whole" / "checkpoints").iterdir()
    whole = read_note(other)
    assert whole is not None
    if processes == 1:
        assert note.losses == whole.losses
        assert note.files["state.safetensors"] == whole.files["state.safetensors"]
    else:
        assert note.losses == pytest.approx(whole.losses, abs=1e-4)


def _until(step: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if done == step:
            raise Cut

    return progress


def _plain(training: Training) -> dict[str, Any]:
    told = msgspec.structs.asdict(training)
    del told["objective"]
    return told


@pytest.mark.gpu
def test_all_memory_of_the_gpu_is_given_back(rows: list[Lesson], tmp_path: Path) -> None:
    """Run on a machine with a GPU: after a training in a process of its own, the card has what it had before."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    student = HFStudent(TinyBase())
    torch.zeros(1, device="cuda")  # this process's own context
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    least = free

    def progress(done: int, of: int) -> None:
        nonlocal least
        least = min(least, torch.cuda.mem_get_info()[0])

    taught, learned = student.learn(
        rows, tmp_path, msgspec.structs.replace(BASE, process="auto", precision="auto"), progress=progress
    )
    assert learned.steps == 4
    assert least < free - (64 << 20)  # it was trained on the card
    until = time.monotonic() + 10
    while torch.cuda.mem_get_info()[0] < free and time.monotonic() < until:
        time.sleep(0.1)
    assert torch.cuda.mem_get_info()[0] >= free
    assert taught.adapter is not None
