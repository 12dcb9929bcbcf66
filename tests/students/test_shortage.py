"""Out of memory while training: known, explained with settings that help, tried again with fewer lessons at once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from lessons.errors import StudentError
from lessons.records import Lesson
from students.base import Learned, Training
from students.hf import HFStudent
from students.objectives.kto import Kto
from students.objectives.tokens import Lens, TokenObjective
from students.shortage import OutOfMemory, advice, is_shortage, with_smaller

WORDS = ("red", "green", "blue", "cyan", "white", "black", "brown", "orange")
BASE = Training(
    epochs=2, learning_rate=1e-3, batch_size=8, micro_batch_size=8, rank=4, precision="float32", order="sequential"
)
FAULTS: dict[str, Callable[[], Exception]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scarce(TokenObjective):
    """Runs out of memory where more than `room` lessons go through the model at once, from a step on."""

    paper: ClassVar[str] = "our own: for a test"
    room: int
    fault: str = "cuda"
    after: int = 1

    def token_losses(self, lens: Lens) -> Any:
        if len(lens.places) > self.room and lens.step >= self.after:
            raise faults()[self.fault]
        return TokenObjective.token_losses(self, lens)


def faults() -> dict[str, Exception]:
    import torch

    return {
        "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        "cpu": RuntimeError(
            "[enforce fail at alloc_cpu.cpp:115] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 16 bytes. Error code 12 (Cannot allocate memory)"
        ),
        "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "python": MemoryError(),
        "system": OSError(12, "Cannot allocate memory"),
    }


def test_what_says_that_there_is_no_memory() -> None:
    assert all(is_shortage(fault) for fault in faults().values())
    others = [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of range"), KeyError("memory")]
    assert not any(is_shortage(error) for error in others)


@pytest.fixture
def rows(lesson: Callable[..., Lesson]) -> list[Lesson]:
    return [lesson(f"say {word}", word * (1 + place)) for place, word in enumerate(WORDS)]


@pytest.mark.parametrize("fault", ["cuda", "cpu", "cublas", "python", "system"])
def test_it_is_told_with_three_settings(student: HFStudent, rows: list[Lesson], fault: str, tmp_path: Path) -> None:
    training = msgspec.structs.replace(BASE, objective=Scarce(room=4, fault=fault))
    with pytest.raises(OutOfMemory) as told:
        student.learn(rows, tmp_path, training)
    assert isinstance(told.value, StudentError)
    said = str(told.value)
    assert "\n" not in said
    assert "8 lessons at once, step 2" in said
    assert "train.micro_batch_size: 4 (the loss is the same)" in said
    assert "train.max_length: " in said
    assert "student.adapter.rank" in said or "train.precision: bfloat16" in said
    assert told.value.micro == 8


def test_the_settings_are_smaller_than_what_was_there() -> None:
    lengths = [100, 200, 600]
    whole = msgspec.structs.replace(BASE, rank=0)
    assert advice(whole, micro=8, lengths=lengths) == (
        "train.micro_batch_size: 4 (the loss is the same); or train.max_length: 300 (1 of 3 lessons are longer, up to "
        "600: drop them with the filter length); or student.adapter.rank: 16 (all weights are trained now, with two "
        "moments of each)"
    )
    bfloat16 = msgspec.structs.replace(BASE, precision="bfloat16")
    assert advice(bfloat16, micro=1, lengths=[]) == "train.max_length: 512; or student.adapter.rank: 2"


def test_tried_again_at_half_with_the_same_losses(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    roomy = msgspec.structs.replace(BASE, objective=Scarce(room=8))
    scarce = msgspec.structs.replace(BASE, objective=Scarce(room=2), retry_smaller=True)
    _, whole = student.learn(rows, tmp_path / "a", roomy, seed=1)
    _, learned = student.learn(rows, tmp_path / "b", scarce, seed=1, keep=tmp_path / "keep")
    assert learned.notes == {"micro-batch after memory ran out": 2}
    assert learned.losses == pytest.approx(whole.losses, abs=2e-6)


def test_a_checkpoint_is_gone_on_from_with_fewer(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    """The first step is not trained twice."""
    scarce = msgspec.structs.replace(
        BASE, objective=Scarce(room=4), retry_smaller=True, checkpoint_minutes=1e-9, epochs=3
    )
    seen: list[int] = []
    student.learn(rows, tmp_path, scarce, seed=1, progress=lambda done, of: seen.append(done), keep=tmp_path / "keep")
    assert seen == [1, 2, 3]


def test_with_one_lesson_at_once_there_is_nothing_left_to_try(
    student: HFStudent, rows: list[Lesson], tmp_path: Path
) -> None:
    scarce = msgspec.structs.replace(BASE, objective=Scarce(room=0), retry_smaller=True)
    with pytest.raises(OutOfMemory, match="1 lessons at once") as told:
        student.learn(rows, tmp_path, scarce)
    assert "micro_batch_size" not in str(told.value)


def test_an_objective_that_cannot_split_a_step_says_that_memory_ran_out() -> None:
    """Kto refuses a smaller micro-batch; that is no answer to somebody whose memory does not suffice."""
    tried: list[int] = []

    def once(training: Training) -> Learned:
        tried.append(training.micro_batch_size)
        if training.micro_batch_size == 8:
            raise OutOfMemory("none is left", micro=8)
        raise StudentError("kto's KL term is a mean")

    with pytest.raises(OutOfMemory, match="none is left"):
        with_smaller(once, msgspec.structs.replace(BASE, objective=Kto(), retry_smaller=True))
    assert tried == [8, 4]
