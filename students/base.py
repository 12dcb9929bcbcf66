"""The student's port: one fixed set of weights. Learning returns the next student and leaves this one as it was."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec

from lessons.graders.base import Grader
from lessons.knobs import Nested
from lessons.records import FolderName, Lesson, Message, Record
from students.objectives.base import Objective
from students.objectives.sft import Sft
from students.tracking import Tracking

Progress = Callable[[int, int], None]
"""Called with (done, of how many) while something long goes on."""


class Generation(Record, frozen=True, kw_only=True):
    """How a student answers."""

    max_tokens: int = 256
    temperature: float = 0.0
    """0 is greedy."""
    batch_tokens: int = 16384
    """Positions that one batch may hold: rows x (longest prompt + max_tokens). The 135M student's cache takes 23 kB for
    each in bfloat16; a step costs nearly as much for 8 rows as for 32, so wide batches are fast."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer: the first of them, and what would follow, is no part of it. For students that are
    trained to write more than the answer, such as RefAug's `Reflection:` (arXiv 2406.12050)."""

    def __post_init__(self) -> None:
        if not all(self.stop):
            raise ValueError("stop: a text that ends an answer must not be empty")


class Training(Record, frozen=True, kw_only=True):
    """How a student learns. The defaults suit a LoRA of a model of 100M to 1B parameters and some hundred lessons."""

    objective: Annotated[Objective, Nested("objective", key="id")] = Sft()
    """The loss that the student is trained with: an id, or a mapping with its id and knobs; see `tutelage methods
    objective`."""
    epochs: float = 3.0
    """Passes over the lessons; 3 as in STAT (arXiv 2510.10023, appendix)."""
    learning_rate: float = 1e-3
    """Peak rate. 1e-3 suits rank-16 LoRA on the 135M student; larger models want 1e-4 to 5e-4."""
    batch_size: int = 8
    """Lessons in one step; 8 as in STAT."""
    micro_batch_size: int = 8
    """Lessons that go through the model at once; the loss does not depend on it."""
    max_length: int = 1024
    """Tokens of prompt and completion; a longer lesson is refused before the first step, never cut silently."""
    rank: int = 16
    """LoRA rank; 0 trains all weights."""
    alpha: int = 32
    dropout: float = 0.0
    warmup: float = 0.03
    """Share of the steps in which the rate rises; 0.03 as in STAT."""
    schedule: str = "cosine"
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest norm of the gradient."""
    start: Literal["base", "last"] = "base"
    """`base` trains a fresh adapter on the lessons of all kept rounds, as LLM2LLM does (arXiv 2403.15042); `last` goes
    on from the last round with its new lessons alone, which is quicker and was measured to forget (LOG.md)."""
    order: Literal["shuffled", "sequential"] = "shuffled"
    """Sequential keeps the selector's order."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the weights while training; auto is bfloat16 where the processor or GPU computes in it."""
    threads: int = 0
    """CPU threads for training and answering; 0 leaves it to torch. Of each process, where several train."""
    process: Literal["auto", "own", "here"] = "auto"
    """Where training takes place: `own` is a process of its own, which gives all its memory back when it ends; `here`
    is the run's own. auto: own on a GPU or with several processes, else here. What is learned does not depend on it."""
    num_processes: int = 1
    """Processes that train together, one for each GPU; each takes an equal part of every batch, so `batch_size` is a
    multiple of it."""
    accelerate: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """Settings of `accelerate launch` for these processes, as its configuration file has them: `fsdp_config` (FSDP2),
    `deepspeed_config`, ...; or `config_file`, the path of one."""
    checkpoint_minutes: float = 10.0
    """Minutes between two checkpoints, from which a training that was killed goes on; 0 keeps none."""
    silent_minutes: float = 60.0
    """Minutes without a step after which a process of its own is taken for stuck and ended."""
    retry_smaller: bool = False
    """Whether a training that runs out of memory is tried again at half the micro-batch, down to 1; the loss is the
    same."""

    OPERATIONAL: ClassVar[tuple[str, ...]] = (
        "micro_batch_size", "process", "num_processes", "accelerate", "checkpoint_minutes", "silent_minutes",
        "retry_smaller",
    )  # fmt: skip
    """Fields that what is learned does not depend on, but for the rounding of sums: a run goes on under others."""

    @property
    def sharded(self) -> bool:
        """Whether accelerate spreads the weights over the processes: FSDP, DeepSpeed."""
        kind = str(self.accelerate.get("distributed_type", ""))
        return kind in ("FSDP", "DEEPSPEED") or not {"fsdp_config", "deepspeed_config"}.isdisjoint(self.accelerate)

    def __post_init__(self) -> None:
        if self.num_processes < 1 or self.batch_size % self.num_processes:
            raise ValueError(
                f"batch_size must be a multiple of num_processes, got {self.batch_size} and {self.num_processes}"
            )
        if self.process == "here" and (self.num_processes > 1 or self.accelerate):
            raise ValueError("process: here trains in this process alone; num_processes and accelerate ask for own")
        if not (self.checkpoint_minutes >= 0 and self.silent_minutes > 0):
            raise ValueError("checkpoint_minutes must be at least 0, silent_minutes above 0")


class Learned(Record, frozen=True, kw_only=True):
    """What a training run measured."""

    lessons: int
    steps: int
    trained_tokens: int
    """Completion tokens that carried loss, over one epoch."""
    loss_first: float
    """Mean loss over the first tenth of the steps (at least one)."""
    loss_last: float
    """Mean loss over the last tenth."""
    seconds: float
    adapter: FolderName
    """Folder name of the saved weights, in the folder that learn was given; it holds their content hash. Empty where
    nothing was trained and the student has no weights of its own."""
    losses: tuple[float, ...] = ()
    """Loss of every step."""
    notes: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    """What the objective measured beside the loss, by a plain name: bytes stored for a token, tokens drawn, replayed
    lessons that it cannot train on."""


class Answer(NamedTuple):
    """One answer of a student."""

    text: str
    cut: bool = False
    """Whether it ended because it had `max_tokens` tokens, not by itself."""


class Student(Protocol):
    """One fixed set of weights (base and adapter)."""

    @property
    def name(self) -> str:
        """For people: the model's short name."""
        ...

    @property
    def digest(self) -> str:
        """Content id of base and adapter: two students with one digest answer alike."""
        ...

    def answer(
        self,
        prompts: Sequence[Sequence[Message]],
        generation: Generation,
        *,
        samples: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:  # [prompt][sample]
        """Answer chats. Greedy (temperature 0) answers do not depend on the batch or the order of the prompts."""
        ...

    def score(
        self,
        rows: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Progress | None = None,
    ) -> list[list[float]]:  # [row][completion token]
        """Return the natural-log probability of each token of each completion, its end-of-turn token included."""
        ...

    def learn(
        self,
        lessons: Sequence[Lesson],
        into: Path,
        training: Training,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        tracking: Tracking | None = None,
        grader: Grader | None = None,
        keep: Path | None = None,
    ) -> tuple["Student", Learned]:
        """Train on lessons and save the next student's weights (safetensors) in the folder `into`.

        tracking: where the curves are sent, step by step; None for nowhere. grader: grades an answer by rule, for
        objectives that go by rewards of what the student writes. keep: a folder for what a training that was cut goes
        on from, and for its log; it is gone when the training has come to its end. None: nothing is kept.

        Raises:
            StudentError: the lessons would train silently wrong with this objective; names the lesson and why.
        """
        ...

    def with_adapter(self, folder: Path) -> "Student":
        """Return the student that `learn` saved in this folder."""
        ...
