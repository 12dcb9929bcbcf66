"""Kahneman-Tversky optimisation: desirable texts are made likelier and undesirable ones less likely, without pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import msgspec

from lessons.errors import StudentError
from lessons.records import Lesson
from students.objectives.base import Bench, Desk, refuse_spans
from students.preflight import Checked, preflight

__all__ = ["Kto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kto:
    """Trains on single texts that are good or bad: TRL's KTOTrainer. A pair counts as its two sides.

    A lesson with `desirable` unset is a bad text. The paper's KL term is a mean over a micro-batch of texts put to
    other prompts, so a step must not be split; each text is put to another prompt of its own micro-batch where there is
    one, else of all lessons (TRL takes the row before it, which for the two sides of a pair has the same prompt).
    """

    paper: ClassVar[str] = "arXiv:2402.01306"
    trains: ClassVar[bool] = True
    beta: float = 0.1
    """How near the student stays to the reference, as it was when training began; 0.1 as in the paper (recalled)."""
    desirable_weight: float = 1.0
    """Weight of good texts. With unequal numbers, the paper (its equation 8) wants desirable_weight x good texts to be
    1 to 4/3 times undesirable_weight x bad ones."""
    undesirable_weight: float = 1.0
    """Weight of bad texts."""
    loss: Literal["kto", "apo_zero_unpaired"] = "kto"
    """TRL's `loss_type`; `apo_zero_unpaired` (arXiv:2408.06266) has no KL term."""

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.desirable_weight < 0 or self.undesirable_weight < 0:
            raise ValueError("beta must be above 0, desirable_weight and undesirable_weight at least 0")

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse lessons of one kind only, and what would make the KL term another thing than it is."""
        sides: list[tuple[Lesson, bool]] = []
        for lesson in lessons:
            refuse_spans(lesson, "kto")
            if lesson.rejected is None:
                sides.append((lesson, lesson.desirable))
                continue
            if not lesson.desirable:
                raise StudentError(f"lesson {lesson.id}: it is a pair whose better text is not desirable")
            sides += [(lesson, True), (msgspec.structs.replace(lesson, completion=lesson.rejected), False)]
        checked = preflight(
            desk.tokenizer, [lesson for lesson, _ in sides], desk.stops,
            max_length=desk.training.max_length, context=desk.positions,
        )  # fmt: skip
        desirable = tuple(good for _, good in sides)
        if len(set(desirable)) < 2:
            only = "desirable" if desirable[0] else "undesirable"
            raise StudentError(f"all lessons are {only}, and kto needs both kinds; use sft, or another method")
        if self.loss == "kto":
            self._check_kl(checked, desk)
        return replace(checked, desirable=desirable)

    def _check_kl(self, checked: Checked, desk: Desk) -> None:
        training = desk.training
        if training.batch_size < 2:
            raise StudentError("kto estimates its KL term over a batch: set train.batch_size to at least 2")
        if training.num_processes > 1:
            raise StudentError(
                "kto's KL term is a mean over what goes through the model at once, so several processes would train "
                "another student than one: set train.num_processes to 1, or loss: apo_zero_unpaired"
            )
        if training.micro_batch_size < training.batch_size:
            raise StudentError(
                f"kto's KL term is a mean over what goes through the model at once, so its loss depends on how a step "
                f"is split: set train.micro_batch_size to train.batch_size ({training.batch_size})"
            )
        if len({tuple(row.prompt) for row in checked.rows}) < 2:
            raise StudentError("all lessons have one prompt, and kto's KL term puts texts to other prompts")

    def trainer(self, bench: Bench) -> Any:
        """Return TRL's KTOTrainer on our tokens, with weights."""
        from trl.trainer.kto_config import KTOConfig

        from students.learning import micro_batch
        from students.preferences import elsewhere, kto_trainer

        checked, training = bench.checked, bench.desk.training
        foreign = elsewhere([row.prompt for row in checked.rows]) if self.loss == "kto" else range(len(checked.rows))
        rows = [
            {
                "prompt_ids": row.prompt, "completion_ids": row.completion, "label": good, "weight": weight,
                **({"KL_completion_ids": checked.rows[other].completion} if self.loss == "kto" else {}),
            }
            for row, good, weight, other in zip(
                checked.rows, checked.desirable, checked.weights, foreign, strict=True
            )
        ]  # fmt: skip
        micro = training.batch_size
        if self.loss != "kto":
            micro = micro_batch(training, 2 * bench.vocabulary, checked.longest_completion)
        shared: dict[str, Any] = bench.arguments(micro, training.batch_size)
        # TRL pairs rows in their order, and so asks for it; we do not, and our sampler draws the order.
        ordered: dict[str, Any] = {**shared, "train_sampling_strategy": "sequential"}
        return kto_trainer(
            bench,
            KTOConfig(
                **ordered,
                beta=self.beta,
                loss_type=self.loss,
                desirable_weight=self.desirable_weight,
                undesirable_weight=self.undesirable_weight,
                max_length=None,
                disable_dropout=False,
            ),
            rows,
        )
