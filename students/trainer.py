"""TRL's SFTTrainer with what it lacks: a weight for each lesson, and the head only where there is a loss."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from students.base import Progress
from students.chats import Row
from students.scoring import IGNORED, label_log_probs, padded

if TYPE_CHECKING:
    import torch


@cache
def trainer_class() -> type[Any]:
    """Return the trainer. Made on first use, since importing TRL takes seconds."""
    import torch
    from transformers import TrainerCallback
    from trl.trainer.sft_trainer import SFTTrainer

    class LessonTrainer(SFTTrainer):
        """Minimises, over each step's lessons, sum(weight x token loss) / sum(weight x tokens).

        Both sums run over the whole step, so the loss is the same however it is split into micro-batches, and equal
        to TRL's where all weights are equal.
        """

        loss_is_scaled_for_ga = True

        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.pending = 0.0
            self.losses: list[float] = []
            # TRL's head scores every position on a CPU; on a GPU it scores what is asked for, in chunks.
            self.own_head = self.args.device.type == "cpu"

        def _set_signature_columns_if_needed(self) -> None:
            self._signature_columns = ["prompt_ids", "completion_ids", "weight"]

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: "torch.device") -> Any:
            weighed: list[torch.Tensor] = []
            for batch in batch_samples:
                asked: torch.Tensor = batch["labels"][:, 1:] != IGNORED
                weighed.append((asked.sum(1) * batch["weights"]).sum())
            total = torch.stack(weighed).sum().to(device) if weighed else None
            if total is not None and self.args.average_tokens_across_devices and self.args.world_size > 1:
                gathered: Any = self.accelerator.gather(total)
                total = gathered.sum()
            return total

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights, labels = inputs.pop("weights"), inputs.pop("labels")
            asked = labels[:, 1:] != IGNORED
            weight = weights[:, None].expand_as(asked)
            if self.own_head:
                weighed = label_log_probs(model, inputs, labels) * weight[asked]
            else:
                weighed = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True).log_probs * weight
            total = (asked * weight).sum() if num_items_in_batch is None else num_items_in_batch
            loss = -weighed.sum() / total
            self.pending = self.pending + loss.detach()
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                loss = loss * self.accelerator.num_processes  # the gradients of all processes are averaged afterwards
            return (loss, {}) if return_outputs else loss

    class StepEnd(TrainerCallback):
        """Notes each step's loss and tells how far training is."""

        def __init__(self, trainer: Any, progress: Progress | None) -> None:
            self.trainer, self.progress = trainer, progress

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.trainer.losses.append(float(self.trainer.pending))
            self.trainer.pending = 0.0
            if self.progress is not None:
                self.progress(state.global_step, state.max_steps)

    LessonTrainer.StepEnd = StepEnd  # type: ignore[attr-defined]
    return LessonTrainer


def collator(padding: int) -> Any:
    """Return what makes a micro-batch of lessons: `input_ids`, `attention_mask`, `labels`, and `weights` [rows]."""

    def collate(examples: Sequence[Mapping[str, Any]]) -> "dict[str, torch.Tensor]":
        import torch

        rows = [Row(list(example["prompt_ids"]), list(example["completion_ids"])) for example in examples]
        inputs, labels = padded(rows, padding)
        weights = torch.tensor([float(example["weight"]) for example in examples])
        return inputs | {"labels": labels, "weights": weights}

    return collate


@cache
def optimizer_class() -> type[Any]:
    """Return AdamW that keeps bfloat16 weights in float32 too.

    A bfloat16 number has 8 significant bits: a step below 1/256 of a weight would change nothing, and training with
    small rates would silently stop. The steps are summed in float32, and each sum rounded to the weight that computes.
    """
    import torch

    class MasterAdamW(torch.optim.AdamW):
        """AdamW over float32 copies; a weight that is float32 already is its own."""

        def __init__(self, weights: "Iterable[torch.nn.Parameter]", *, learning_rate: float, decay: float) -> None:
            self.pairs = [
                (weight, weight if weight.dtype == torch.float32 else torch.nn.Parameter(weight.detach().float()))
                for weight in weights
            ]
            # Scales and biases are not pulled to zero, as everywhere.
            groups: list[dict[str, Any]] = [
                {"params": [copy for weight, copy in self.pairs if weight.ndim > 1], "weight_decay": decay},
                {"params": [copy for weight, copy in self.pairs if weight.ndim <= 1], "weight_decay": 0.0},
            ]
            super().__init__([group for group in groups if group["params"]], lr=learning_rate)

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            """Take one step."""
            lower = [(weight, copy) for weight, copy in self.pairs if weight is not copy]
            for weight, copy in lower:
                copy.grad = None if weight.grad is None else weight.grad.float()
            result = super().step(closure)
            for weight, copy in lower:
                weight.copy_(copy)
            return result

        def zero_grad(self, set_to_none: bool = True) -> None:
            """Forget the gradients of weights and copies."""
            super().zero_grad(set_to_none)
            for weight, _ in self.pairs:
                weight.grad = None

        def round_nothing(self) -> None:
            """Give the model its weights in float32, as they were summed."""
            for weight, copy in self.pairs:
                weight.data = copy.data

    return MasterAdamW
