"""TRL's SFTTrainer with what it lacks: weights of lessons and tokens, any token loss, the head only where needed."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lessons.errors import StudentError
from students.chats import Row
from students.objectives.base import Bench
from students.objectives.tokens import Lens, TokenObjective
from students.scoring import IGNORED, padded
from students.steps import Once, over_processes, with_filling

if TYPE_CHECKING:
    import torch

SPLIT_TOLERANCE = 0.02
"""Relative difference that padding may make in bfloat16 between a step's loss and the sum over its parts."""


@cache
def trainer_class() -> type[Any]:
    """Return the trainer. Made on first use, since importing TRL takes seconds."""
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    class LessonTrainer(Once, SFTTrainer):
        """Minimises, over each step's lessons, sum(factor x token loss) / sum(share of a lesson).

        Both sums run over the whole step, so the loss is the same however it is split into micro-batches, and equal
        to TRL's where all weights are equal.
        """

        loss_is_scaled_for_ga = True
        objective: TokenObjective

        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            # TRL's head scores every position on a CPU; on a GPU it scores what is asked for, in chunks.
            self.own_head = self.args.device.type == "cpu"

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: "torch.device") -> Any:
            if not batch_samples:
                return None
            total = torch.cat([batch["shares"] for batch in batch_samples]).sum().to(device)
            return over_processes(self, total) if self.args.average_tokens_across_devices else total

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            summed, shares = self.summed(model, inputs, self.state.global_step, self.state.max_steps)
            loss = summed / (shares if num_items_in_batch is None else num_items_in_batch)
            self.note(loss)
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                loss = loss * self.accelerator.num_processes  # the gradients of all processes are averaged afterwards
            return (loss, {}) if return_outputs else loss

        def summed(self, model: Any, inputs: Mapping[str, Any], step: int, steps: int) -> tuple[Any, Any]:
            """Return the weighed sum of the token losses of some lessons, and the sum of their shares."""
            labels, factors = inputs["labels"], inputs["factors"]
            lens = Lens(
                model=model,
                inputs={name: inputs[name] for name in ("input_ids", "attention_mask")},
                labels=labels,
                places=inputs["places"].tolist(),
                step=step,
                steps=steps,
                bench=self.bench,
                fused=not self.own_head,
            )
            losses = self.objective.token_losses(lens)
            return (losses * factors[:, 1:][labels[:, 1:] != IGNORED]).sum(), inputs["shares"].sum()

        def refuse_uneven(self) -> None:
            """Refuse a loss that is another one when a step is split, where steps are split: two lessons are tried.

            Raises:
                StudentError: the loss of both together is not that of one plus that of the other.
            """
            parts = self.args.gradient_accumulation_steps * self.args.world_size
            if parts == 1 or len(self.bench.checked.rows) < 2 or self.bench.desk.training.sharded:
                return
            dataset: Any = self.train_dataset
            model: Any = self.model
            sizes = [len(row.completion) for row in self.bench.checked.rows[:64]]
            two = [sizes.index(min(sizes)), len(sizes) - 1 - sizes[::-1].index(max(sizes))]
            if two[0] == two[1]:
                two = [0, 1]
            rows = [dataset[place] for place in two]
            was = model.training
            model.eval()
            with torch.no_grad():
                whole, *parts = [
                    float(self.summed(model, self._on_device(self.data_collator(some)), 0, 1)[0])
                    for some in (rows, rows[:1], rows[1:])
                ]
            model.train(was)
            if abs(whole - sum(parts)) > SPLIT_TOLERANCE * max(abs(whole), *map(abs, parts)) + 1e-4:
                raise StudentError(
                    f"the loss depends on how a step is split: {whole:.5g} for two lessons together and "
                    f"{sum(parts):.5g} for one after the other; set train.micro_batch_size to train.batch_size"
                )

        def _on_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value.to(self.args.device) for name, value in batch.items()}

    return LessonTrainer


def lesson_trainer(objective: TokenObjective, bench: Bench, micro: int) -> Any:
    """Return the trainer of a token loss, `micro` lessons at once."""
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig

    checked = bench.checked
    rows: list[dict[str, Any]] = []
    for place, row in enumerate(checked.rows):
        factors, share = objective.coefficients(checked.lessons[place], checked.token_weights[place])
        rows.append(
            {
                "prompt_ids": row.prompt, "completion_ids": row.completion, "factors": factors, "share": share,
                "place": place,
            }
        )  # fmt: skip
    filling = {"factors": [0.0] * len(checked.rows[0].completion), "share": 0.0}
    trainer = trainer_class()(
        model=bench.model,
        args=SFTConfig(
            **bench.arguments(micro, bench.desk.training.batch_size),
            max_length=None,  # preflight has refused what is too long; nothing is cut here
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list(with_filling(rows, bench, **filling)),
        data_collator=collator(bench.desk.tokenizer.pad_token_id),
        processing_class=bench.desk.tokenizer,
    )
    trainer.objective = objective
    trainer.begin_notes(bench)
    return trainer


def collator(padding: int) -> Any:
    """Return what makes a micro-batch of lessons: `input_ids`, `attention_mask`, `labels`, `factors` [rows, positions],
    `shares` and `places` [rows]. A token with the factor 0 has no label; where a row has no other token, its labels
    stay, since no process may be left without any."""

    def collate(examples: Sequence[Mapping[str, Any]]) -> "dict[str, torch.Tensor]":
        import torch

        rows = [Row(list(example["prompt_ids"]), list(example["completion_ids"])) for example in examples]
        inputs, labels = padded(rows, padding)
        factors = torch.zeros(labels.shape)
        for number, (row, example) in enumerate(zip(rows, examples, strict=True)):
            factors[number, len(row.prompt) : len(row)] = torch.tensor(list(example["factors"]))
        labels[(factors == 0) & (factors != 0).any(1, keepdim=True)] = IGNORED
        return inputs | {
            "labels": labels,
            "factors": factors,
            "shares": torch.tensor([float(example["share"]) for example in examples]),
            "places": torch.tensor([int(example["place"]) for example in examples]),
        }

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
