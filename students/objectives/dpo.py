"""Direct preference optimisation: the better text of a pair is made likelier than the worse one, beside the start."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import msgspec

from lessons.errors import StudentError
from lessons.records import Lesson
from students.objectives.base import REPLAYED, Bench, Desk, refuse_spans
from students.preflight import Checked, preflight

__all__ = ["Dpo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpo:
    """Trains on pairs: the lesson's completion is better than its rejected text. TRL's DPOTrainer.

    The reference is the student as it was when training began. Replayed lessons that are no pairs are left out, so what
    was learned before is kept by the reference alone: with `start: base` earlier supervised lessons are lost, set
    `start: last` after them. Lesson weights count, weights of stretches do not.
    """

    paper: ClassVar[str] = "arXiv:2305.18290"
    trains: ClassVar[bool] = True
    beta: float = 0.1
    """How near the student stays to the reference; 0.1 is TRL's default and the paper's first choice (recalled)."""
    loss: Literal["sigmoid", "hinge", "ipo", "robust", "nca_pair", "apo_zero", "apo_down", "sigmoid_norm"] = "sigmoid"
    """TRL's `loss_type`; `sigmoid` is DPO itself, `hinge` is SLiC's."""
    label_smoothing: float = 0.0
    """Share of pairs, in [0, 0.5), whose two sides may be the wrong way round; for `sigmoid`'s conservative kin
    `robust`."""

    def __post_init__(self) -> None:
        if not self.beta > 0 or not 0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"beta must be above 0 and label_smoothing in [0, 0.5), got {self.beta:g} and {self.label_smoothing:g}"
            )

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse lessons that are no pairs, or pairs of one text."""
        pairs: list[Lesson] = []
        for lesson in lessons:
            name = f"lesson {lesson.id}"
            if lesson.rejected is None and lesson.provenance.method in REPLAYED:
                continue
            if lesson.rejected is None:
                raise StudentError(f"{name}: it has no rejected text, and dpo trains on pairs; use kto or sft")
            if lesson.rejected.strip() == lesson.completion.strip():
                raise StudentError(f"{name}: its completion and its rejected text are the same, so nothing is better")
            if not lesson.desirable:
                raise StudentError(f"{name}: it is a pair whose better text is not desirable; swap its texts")
            refuse_spans(lesson, "dpo")
            pairs.append(lesson)
        if lessons and not pairs:
            raise StudentError("all lessons are replayed ones without a rejected text; dpo has no pair to train on")
        most, context = desk.training.max_length, desk.positions
        better = preflight(desk.tokenizer, pairs, desk.stops, max_length=most, context=context)
        turned = [msgspec.structs.replace(pair, completion=pair.rejected or "") for pair in pairs]
        worse = preflight(desk.tokenizer, turned, desk.stops, max_length=most, context=context)
        return replace(better, others=worse.rows, left_out=len(lessons) - len(pairs), trains_others=True)

    def trainer(self, bench: Bench) -> Any:
        """Return TRL's DPOTrainer on our tokens, with weights."""
        from trl.trainer.dpo_config import DPOConfig

        from students.learning import micro_batch
        from students.preferences import dpo_trainer

        checked = bench.checked
        rows = [
            {"prompt_ids": row.prompt, "chosen_ids": row.completion, "rejected_ids": other.completion, "weight": weight}
            for row, other, weight in zip(checked.rows, checked.others, checked.weights, strict=True)
        ]
        # Both texts of a pair go through the model together.
        micro = micro_batch(bench.desk.training, 2 * bench.vocabulary, checked.longest_completion)
        return dpo_trainer(
            bench,
            DPOConfig(
                **bench.arguments(micro, bench.desk.training.batch_size),
                beta=self.beta,
                loss_type=[self.loss],
                label_smoothing=self.label_smoothing,
                max_length=None,
                disable_dropout=False,
            ),
            rows,
        )
