"""The objective's port: what a student is trained with. An objective is a module of this folder, or `module:Name`.

Most objectives are `TokenObjective`s (`students.objectives.tokens`): a loss for each supervised token. The others bring
a trainer of TRL's.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lessons.errors import StudentError
from lessons.graders.base import Grader
from lessons.records import Lesson

if TYPE_CHECKING:
    from students.adapters import AdapterNote
    from students.base import Training
    from students.models import Base
    from students.preflight import Checked

REPLAYED = ("replay", "warm_up")
"""Methods of the lessons that the loop adds by itself: rows of what the student masters, and what it was warmed up
with. They may lack what an objective asks of a method's own lessons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What an objective may look at while it checks lessons."""

    base: "Base"
    tokenizer: Any
    stops: frozenset[int]
    """Ids of the tokens that end a turn."""
    positions: int | None
    """Positions that the model has; None where it does not say."""
    training: "Training"
    last: "tuple[Path, AdapterNote] | None" = None
    """What the student has learned so far."""
    grader: Grader | None = None
    """Grades an answer by rule, for objectives that go by rewards of what the student writes."""

    @property
    def going_on(self) -> "tuple[Path, AdapterNote] | None":
        """What training goes on from; None where it begins anew."""
        return self.last if self.training.start == "last" else None


@dataclass(slots=True, kw_only=True)
class Bench:
    """What an objective trains with: the model on its device, checked lessons, the optimizer."""

    desk: Desk
    checked: "Checked"
    model: Any
    optimizer: Any
    seed: int
    steps: int
    work: str
    """A folder for what is thrown away afterwards."""
    reporting: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: dict[str, float] = field(default_factory=dict[str, float])
    """What the objective measured beside the loss; it becomes `Learned.notes`."""
    sums: dict[str, float] = field(default_factory=dict[str, float])
    """What the objective adds up while it trains, by the same names in every process; `trainer.closing` makes notes of
    the sums over all processes."""
    drawn: int = 0
    """Tokens that the student wrote while it was trained, where the objective lets it write; in this process."""
    micro: int = 0
    """Lessons, or answers, that go through the model at once in this process; 0 before the trainer is made."""
    alive: Callable[[], object] = lambda: None
    """Called between steps by what takes long without one, so that it is known to go on."""
    kept: Any = None
    """What an objective made before the first step, such as stored distributions."""
    _frozen: Any = None

    @property
    def vocabulary(self) -> int:
        """Width of the model's head."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    def arguments(self, micro: int, step: int) -> dict[str, Any]:
        """Return what all of TRL's configurations share: `step` rows in a step, `micro` at once in each process."""
        import math

        from students.runtime import device, dtype_of

        training, on_cpu = self.desk.training, device().type == "cpu"
        self.micro = micro
        return {
            "output_dir": self.work,
            "num_train_epochs": training.epochs,
            "per_device_train_batch_size": micro,
            "gradient_accumulation_steps": step // (micro * training.num_processes),
            "learning_rate": training.learning_rate,
            "lr_scheduler_type": training.schedule,
            "warmup_steps": math.ceil(training.warmup * self.steps),
            "weight_decay": training.weight_decay,
            "max_grad_norm": training.clip,
            "train_sampling_strategy": "sequential" if training.order == "sequential" else "random",
            "seed": self.seed,
            "data_seed": self.seed,
            "use_cpu": on_cpu,
            # The weights themselves are in the dtype that computes, unless accelerate spreads them.
            "bf16": training.sharded and dtype_of(training.precision, device()).itemsize == 2,
            "activation_checkpointing": False,
            "remove_unused_columns": False,
            "save_strategy": "no",
            "eval_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": not on_cpu,
            "ddp_broadcast_buffers": False,  # they never change, and processes may go through the model unequally often
            **self.reporting,
        }

    @property
    def begins_at_base(self) -> bool:
        """Whether training begins with a fresh adapter, so that switching it off gives back the model before."""
        return self.desk.training.rank > 0 and self.desk.going_on is None

    def frozen(self) -> Any:
        """Return a second model that stays as the student was when training began."""
        if self._frozen is None:
            from students.models import with_weights

            dtype = next(self.model.parameters()).dtype
            self._frozen = with_weights(self.desk.base, self.desk.going_on, dtype).to(self.model.device)
        return self._frozen

    @contextmanager
    def before(self) -> Generator[Any]:
        """Yield the student as it was when training began: the adapter switched off, or a frozen model."""
        import torch

        with torch.no_grad():
            if not self.begins_at_base:
                yield self.frozen()
                return
            was = self.model.training
            self.model.eval()
            try:
                with self.model.disable_adapter():
                    yield self.model
            finally:
                self.model.train(was)


class Objective(Protocol):
    """The loss that a student is trained with. Its fields are its knobs."""

    paper: ClassVar[str]
    trains: ClassVar[bool]
    """Whether weights are trained at all."""

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> "Checked":
        """Render lessons as tokens, and refuse what would train silently wrong.

        Raises:
            StudentError: a lesson, or all of them together, cannot be trained on with this objective.
        """
        ...

    def trainer(self, bench: Bench) -> Any:
        """Return a trainer of TRL's kind that notes the loss of each step in its list `losses`."""
        ...


def refuse_spans(lesson: Lesson, objective: str) -> None:
    """Refuse weights of single tokens where an objective would ignore them.

    Raises:
        StudentError: the lesson has some.
    """
    if lesson.spans:
        raise StudentError(f"lesson {lesson.id}: its spans weigh tokens, and {objective} has no weights of tokens")
