"""Objectives that are a loss for each supervised token, weighed and summed over a step's lessons."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lessons.errors import StudentError
from lessons.records import Lesson
from students.objectives.base import Bench, Desk
from students.preflight import Checked, preflight

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class Lens:
    """What the student makes of a micro-batch of lessons, computed when it is first asked for.

    "Asked" are the supervised tokens, row by row: all that a loss is computed for.
    """

    model: Any
    inputs: dict[str, Any]
    """`input_ids` and `attention_mask`, [rows, positions]. An objective may change them before it asks."""
    labels: "torch.Tensor"
    """[rows, positions], `IGNORED` where a token carries no loss."""
    places: Sequence[int]
    """Which of the checked lessons each row is."""
    step: int
    """Steps done before this one."""
    steps: int
    """Steps of the whole training."""
    bench: Bench
    fused: bool = False
    """Whether the trainer's own head, which works in chunks on a GPU, gives the log-probabilities."""

    @property
    def targets(self) -> "torch.Tensor":
        """The supervised tokens' ids [asked]."""
        from students.scoring import IGNORED

        after = self.labels[:, 1:]
        return after[after != IGNORED]

    @cached_property
    def log_probs(self) -> "torch.Tensor":
        """The natural-log probability of each supervised token [asked], float32."""
        from students.scoring import IGNORED, label_log_probs

        if not self.fused:
            return label_log_probs(self.model, self.inputs, self.labels)
        told = self.model(**self.inputs, labels=self.labels, use_cache=False, fused_lm_head=True).log_probs
        return told[self.labels[:, 1:] != IGNORED]

    @cached_property
    def logits(self) -> "torch.Tensor":
        """The logits over the vocabulary where each supervised token is predicted [asked, vocabulary], float32."""
        from students.scoring import label_logits

        return label_logits(self.model, self.inputs, self.labels)

    def logits_before(
        self, inputs: "dict[str, torch.Tensor] | None" = None, labels: "torch.Tensor | None" = None
    ) -> "torch.Tensor":
        """Return the same of the student as it was when training began, without a gradient.

        inputs, labels: other rows with as many supervised tokens; None: the same rows.
        """
        from students.scoring import label_logits

        with self.bench.before() as model:
            return label_logits(
                model, self.inputs if inputs is None else inputs, self.labels if labels is None else labels
            )


class TokenObjective:
    """The loss of a step is sum(weight x token loss) / sum(share of a lesson), over all lessons of the step.

    So it is the same however the step is split into micro-batches, as long as `token_losses` looks at each row alone.
    """

    trains: ClassVar[bool] = True
    dense: ClassVar[int] = 0
    """How many tables over the vocabulary the loss holds beside the student's own."""

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse what `preflight` refuses, and lessons that are examples of what not to say."""
        bad = next((lesson for lesson in lessons if not lesson.desirable), None)
        if bad is not None:
            raise StudentError(
                f"lesson {bad.id}: it is not desirable, and this objective would make it more likely; use kto"
            )
        return preflight(
            desk.tokenizer, lessons, desk.stops, max_length=desk.training.max_length, context=desk.positions
        )

    def trainer(self, bench: Bench) -> Any:
        """Return TRL's SFTTrainer with this loss."""
        from students.learning import micro_batch
        from students.trainer import lesson_trainer

        self.prepare(bench)
        micro = micro_batch(bench.desk.training, bench.vocabulary * (1 + self.dense), bench.checked.longest_completion)
        return lesson_trainer(self, bench, micro)

    def prepare(self, bench: Bench) -> None:
        """Make what the loss needs before the first step."""

    def token_losses(self, lens: Lens) -> "torch.Tensor":
        """Return the loss of each supervised token [asked]."""
        return -lens.log_probs

    def coefficients(self, lesson: Lesson, weights: Sequence[float]) -> tuple[list[float], float]:
        """Return the factor of each token's loss, and the lesson's share of what the sum is divided by.

        weights: of its tokens, by its spans. Here: lesson weight x token weight, and their sum.
        """
        factors = [lesson.weight * weight for weight in weights]
        return factors, sum(factors)
