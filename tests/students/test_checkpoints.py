"""A training that is cut goes on from its checkpoint and ends with the same weights, bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lessons.graders.base import Grade
from lessons.records import Lesson, Problem
from students.base import Learned, Training
from students.checkpoints import Keeper, read_note, training_id
from students.hf import HFStudent
from students.objectives.dpo import Dpo
from students.objectives.grpo import Grpo
from students.objectives.on_policy import OnPolicy

WORDS = ("red", "green", "blue", "cyan", "white", "black", "brown")
BASE = Training(
    epochs=3, learning_rate=1e-3, batch_size=3, micro_batch_size=2, rank=4, dropout=0.2, precision="float32",
    checkpoint_minutes=1e-9,
)  # fmt: skip
"""Seven lessons in steps of three: the third step of each epoch has one. A checkpoint after each step."""


class Cut(KeyboardInterrupt):
    """Stands for whatever ends a run."""


class Vowels:
    """A grader: the share of vowels."""

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(sum(letter in "aeiou" for letter in text) / max(1, len(text)), text)

    def read(self, text: str) -> str | None:
        return text

    def same(self, one: str, other: str) -> bool:
        return one == other


@pytest.fixture
def rows(lesson: Callable[..., Lesson]) -> list[Lesson]:
    return [lesson(f"say {word}", word, rejected=f"z{word}", weight=1 + place / 4) for place, word in enumerate(WORDS)]


def cut_at(step: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if done == step:
            raise Cut

    return progress


def cut_and_on(
    student: HFStudent, rows: list[Lesson], training: Training, step: int, folder: Path, **more: Any
) -> tuple[Learned, list[int]]:
    """Cut a training after a step, go on with it; return what it came to and the steps that were done again."""
    keep, seen = folder / "keep", list[int]()
    with pytest.raises(Cut):
        student.learn(rows, folder / "cut", training, seed=3, progress=cut_at(step), keep=keep, **more)
    assert [path.name for path in (keep / "checkpoints").iterdir()] == [f"checkpoint-{step:08d}"]
    _, learned = student.learn(
        rows, folder / "on", training, seed=3, progress=lambda done, of: seen.append(done), keep=keep, **more
    )
    assert not keep.exists()
    return learned, seen


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"order": "sequential", "rank": 0},
        {"precision": "bfloat16"},
        {"objective": Dpo()},
        {"objective": OnPolicy(teacher="tiny", max_tokens=4)},
        {"objective": Grpo(max_tokens=4, rollouts=2)},
    ],
    ids=["lora, dropout", "whole, in order", "bfloat16", "dpo", "on_policy", "grpo"],
)
def test_a_cut_training_ends_with_the_same_weights_and_losses(
    student: HFStudent, rows: list[Lesson], more: dict[str, Any], tmp_path: Path
) -> None:
    training = msgspec.structs.replace(BASE, **more)
    lessons = rows if "objective" in more and more["objective"] == Dpo() else [_plain(row) for row in rows]
    _, whole = student.learn(lessons, tmp_path / "whole", training, seed=3, grader=Vowels())
    for step in (1, 3):  # within an epoch, and at its end
        learned, seen = cut_and_on(student, lessons, training, step, tmp_path / str(step), grader=Vowels())
        assert seen == list(range(step + 1, 10))
        assert learned.adapter == whole.adapter
        assert learned.losses == whole.losses
        assert learned.notes == whole.notes


def test_a_checkpoint_of_another_training_is_not_gone_on_from(
    student: HFStudent, rows: list[Lesson], tmp_path: Path
) -> None:
    lessons = [_plain(row) for row in rows]
    with pytest.raises(Cut):
        student.learn(lessons, tmp_path / "cut", BASE, seed=3, progress=cut_at(4), keep=tmp_path / "keep")
    seen: list[int] = []
    student.learn(
        lessons, tmp_path / "other", BASE, seed=4, progress=lambda done, of: seen.append(done), keep=tmp_path / "keep"
    )
    assert seen[0] == 1


@pytest.mark.parametrize("name", ["state.safetensors", "process-0.json", "trainer_state.json", "checkpoint.json"])
def test_a_damaged_checkpoint_is_passed_over(student: HFStudent, rows: list[Lesson], name: str, tmp_path: Path) -> None:
    lessons = [_plain(row) for row in rows]
    _, whole = student.learn(lessons, tmp_path / "whole", BASE, seed=3)
    with pytest.raises(Cut):
        student.learn(lessons, tmp_path / "cut", BASE, seed=3, progress=cut_at(4), keep=tmp_path / "keep")
    path = tmp_path / "keep" / "checkpoints" / "checkpoint-00000004"
    assert read_note(path) is not None
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[: len(data) // 2])
    assert read_note(path) is None
    seen: list[int] = []
    _, learned = student.learn(
        lessons, tmp_path / "on", BASE, seed=3, progress=lambda done, of: seen.append(done), keep=tmp_path / "keep"
    )
    assert seen[0] == 1
    assert learned.adapter == whole.adapter


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_training(
    student: HFStudent, rows: list[Lesson], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons = [_plain(row) for row in rows]
    _, whole = student.learn(lessons, tmp_path / "whole", BASE, seed=3)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("students.checkpoints.sync_files", full)
    _, learned = student.learn(lessons, tmp_path / "on", BASE, seed=3, keep=tmp_path / "keep")
    assert learned.notes == {"checkpoints that could not be written": 9}
    assert learned.adapter == whole.adapter


def test_nothing_is_pickled(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    with pytest.raises(Cut):
        student.learn(
            [_plain(row) for row in rows], tmp_path / "cut", BASE, seed=3, progress=cut_at(2), keep=tmp_path / "keep"
        )
    (path,) = (tmp_path / "keep" / "checkpoints").iterdir()
    found = sorted(entry.name for entry in path.iterdir())
    assert found == ["checkpoint.json", "process-0.json", "state.safetensors", "trainer_state.json"]
    for name in found:
        if name.endswith(".json"):
            json.loads((path / name).read_bytes())


def test_checkpoints_are_kept_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("students.checkpoints.time.monotonic", lambda: now[0])
    keeper, off = Keeper(tmp_path, "a", every=60), Keeper(tmp_path, "a", every=0)
    now[0] += 59
    assert not keeper.due()
    now[0] += 1
    assert keeper.due()
    now[0] += 1e6
    assert not off.due()


def test_the_id_of_a_training_is_of_all_that_decides(rows: list[Lesson]) -> None:
    def of(lessons: list[Lesson] = rows, seed: int = 0, last: str | None = None, **more: Any) -> str:
        return training_id(lessons, msgspec.structs.replace(BASE, **more), base="b", last=last, seed=seed)

    same = [of(), of(micro_batch_size=1), of(process="own"), of(checkpoint_minutes=5.0), of(retry_smaller=True)]
    others = [
        of(rows[1:]), of(rows[::-1]), of(seed=1), of(last="x"), of(learning_rate=1e-4), of(objective=Dpo()),
        of(objective=Dpo(beta=0.2)), of(num_processes=3), of(order="sequential"),
    ]  # fmt: skip
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)


def _plain(lesson: Lesson) -> Lesson:
    return msgspec.structs.replace(lesson, rejected=None)
