"""Several processes that train together: the same steps as one, whatever their number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import StudentError
from lessons.graders.base import Grade
from lessons.records import Lesson, Problem
from students.adapters import LORA_WEIGHTS, WHOLE_WEIGHTS
from students.base import Training
from students.hf import HFStudent
from students.objectives.asft import Asft
from students.objectives.dpo import Dpo
from students.objectives.grpo import Grpo
from students.objectives.kto import Kto
from students.objectives.on_policy import OnPolicy
from students.objectives.reward_weighted import RewardWeighted
from students.steps import once_class
from students.whole import save_whole

WORDS = ("red", "green", "blue", "cyan", "white", "black", "brown", "orange", "grey", "pink", "teal")
BASE = Training(
    epochs=4, learning_rate=1e-3, batch_size=8, micro_batch_size=2, rank=4, precision="float32", process="here"
)
"""Eleven lessons: the last step of an epoch has three, which two processes cannot share evenly."""
LOSSES = 2e-6
"""Greatest difference of a step's loss between one process and two, both in float32: they add in another order."""
WEIGHTS = 2e-4
"""Greatest difference of a weight after the last step: AdamW's first steps make small differences larger."""


class Vowels:
    """A grader: the share of vowels."""

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(sum(letter in "aeiou" for letter in text) / max(1, len(text)), text)

    def read(self, text: str) -> str | None:
        return text

    def same(self, one: str, other: str) -> bool:
        return one == other


@pytest.fixture(scope="module")
def rows(lesson: Callable[..., Lesson]) -> list[Lesson]:
    return [
        lesson(f"say {word}", word * (1 + place % 3), weight=1 + place % 4, reward=place / 10)
        for place, word in enumerate(WORDS)
    ]


def differences(
    student: HFStudent, rows: list[Lesson], training: Training, folder: Path, processes: int = 2, **more: Any
) -> tuple[float, float]:
    """Train in one process and in several; return the greatest differences of losses and of weights."""
    from safetensors.torch import load_file

    together = msgspec.structs.replace(training, process="own", num_processes=processes, **more)
    tensors: list[dict[str, Any]] = []
    losses: list[tuple[float, ...]] = []
    for how in (training, together):
        taught, learned = student.learn(rows, folder / str(how.num_processes), how, seed=3, grader=Vowels())
        assert taught.adapter is not None
        tensors.append(load_file(taught.adapter / (LORA_WEIGHTS if training.rank else WHOLE_WEIGHTS)))
        losses.append(learned.losses)
        assert learned.losses[-1] != learned.losses[0]
    assert len(losses[0]) == len(losses[1])
    assert tensors[0].keys() == tensors[1].keys()
    apart = max(abs(one - other) for one, other in zip(*losses, strict=True))
    return apart, max(float((tensors[0][name] - tensors[1][name]).abs().max()) for name in tensors[0])


@pytest.mark.slow
def test_two_processes_train_what_one_does(student: HFStudent, rows: list[Lesson], tmp_path: Path) -> None:
    """Over gloo, started by accelerate; shuffled, weighed, with an uneven last step."""
    losses, weights = differences(student, rows, BASE, tmp_path)
    assert losses < LOSSES
    assert 0 < weights < WEIGHTS  # they did add in another order: there were two


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"order": "sequential"},
        {"rank": 0, "learning_rate": 1e-4},
        {"objective": RewardWeighted(), "learning_rate": 1e-4},
        {"objective": Asft()},
        {"objective": Dpo()},
        {"objective": Kto(loss="apo_zero_unpaired")},
        {"objective": Grpo(max_tokens=6, rollouts=3)},
    ],
    ids=["in order", "whole", "reward_weighted", "asft", "dpo", "kto", "grpo"],
)
def test_so_they_do_with_every_kind_of_objective(
    student: HFStudent, rows: list[Lesson], more: dict[str, Any], tmp_path: Path
) -> None:
    kind = more.get("objective")
    if isinstance(kind, Dpo):
        rows = [msgspec.structs.replace(row, rejected=f"z{row.completion}") for row in rows]
    if isinstance(kind, Kto):
        rows = [msgspec.structs.replace(row, desirable=bool(place % 2)) for place, row in enumerate(rows)]
    losses, weights = differences(student, rows, msgspec.structs.replace(BASE, **more), tmp_path)
    assert losses < 10 * LOSSES
    assert weights < WEIGHTS


@pytest.mark.slow
def test_so_they_do_where_the_student_writes(
    student: HFStudent, rows: list[Lesson], lessons: list[Lesson], training: Training, tmp_path: Path
) -> None:
    """Which process writes an answer is all the same."""
    knowing, _ = student.learn(lessons, tmp_path / "knowing", training)
    save_whole(knowing, tmp_path / "teacher")
    on_policy = OnPolicy(teacher=str(tmp_path / "teacher"), lmbda=0.5, max_tokens=6)
    losses, weights = differences(student, rows, msgspec.structs.replace(BASE, objective=on_policy), tmp_path)
    assert losses < 10 * LOSSES
    assert weights < WEIGHTS


SPREADING = '''
"""A worker that tells accelerate of GPUs where there are none: it spreads weights (FSDP2) over the CPU's processes."""
import sys

from accelerate.state import PartialState
from accelerate.utils import DistributedType

made = PartialState.__init__

def made_up(self, *args, **more):
    made(self, *args, **more)
    if self.__dict__.get("distributed_type") == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU

PartialState.__init__ = made_up
from students.apart.worker import main
sys.exit(main(sys.argv[1:]))
'''


@pytest.mark.slow
@pytest.mark.parametrize("rank", [4, 0])
def test_weights_that_are_spread_over_processes_come_together_again(
    student: HFStudent, rows: list[Lesson], rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP2 as accelerate makes it. By itself it does so on GPUs alone, so the worker makes it think of them."""
    import torch

    from students.apart import parent

    (tmp_path / "spreading.py").write_text(SPREADING)
    monkeypatch.syspath_prepend(str(tmp_path))
    command = parent.command
    monkeypatch.setattr(
        parent,
        "command",
        lambda training, job: [
            "spreading" if word == "students.apart.worker" else word for word in command(training, job)
        ],
    )
    monkeypatch.setattr(parent, "device", lambda: torch.device("cuda"))
    training = msgspec.structs.replace(BASE, rank=rank, learning_rate=1e-4)
    losses, weights = differences(student, rows, training, tmp_path, accelerate={"fsdp_config": {}})
    assert losses < 10 * LOSSES
    assert weights < WEIGHTS


def test_a_kl_term_over_a_micro_batch_is_refused(student: HFStudent, rows: list[Lesson]) -> None:
    both = [msgspec.structs.replace(row, desirable=bool(place % 2)) for place, row in enumerate(rows)]
    training = msgspec.structs.replace(BASE, objective=Kto(), micro_batch_size=8, process="auto", num_processes=2)
    with pytest.raises(StudentError, match="set train.num_processes to 1, or loss: apo_zero_unpaired"):
        training.objective.check(both, student.desk(training))


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 5))
def test_processes_take_the_same_lessons_in_each_step(
    count: int, processes: int, micro: int, parts: int, shuffled: bool, epoch: int
) -> None:
    """As accelerate deals batches out: each process takes the next whole one in turn."""

    def order(filled: int) -> list[int]:
        return list(once_class()(count, shuffled=shuffled, seed=5, filled=filled, epoch=lambda: epoch))

    one, several = order(1), order(micro * processes)
    assert sorted(one) == list(range(count))
    assert several[:count] == one
    assert set(several[count:]) <= {count}
    assert len(several) % (micro * processes) == 0
    step = micro * processes * parts
    assert -(-len(several) // step) == -(-count // step)


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_order_is_that_of_accelerate(epoch: int) -> None:
    """So that nothing changes for those who train in one process."""
    from accelerate.data_loader import SeedableRandomSampler

    theirs = SeedableRandomSampler(range(17), data_seed=5)
    theirs.set_epoch(epoch)
    assert list(once_class()(17, shuffled=True, seed=5, filled=1, epoch=lambda: epoch)) == list(theirs)


@pytest.mark.gpu
@pytest.mark.parametrize("more", [{}, {"accelerate": {"fsdp_config": {}}}], ids=["ddp", "fsdp2"])
def test_gpus_train_together_what_one_does(
    student: HFStudent, rows: list[Lesson], more: dict[str, Any], tmp_path: Path
) -> None:
    """Run on a machine with GPUs: one in the run's process beside one in its own, or two where there are two."""
    import torch

    count = min(2, torch.cuda.device_count())
    if count == 0 or (more and count < 2):
        pytest.skip("needs a CUDA device, and two of them to spread weights")
    losses, weights = differences(student, rows, BASE, tmp_path, processes=count, **more)
    assert losses < 1e-3
    assert weights < 1e-2
