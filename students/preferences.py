"""TRL's preference trainers on our own tokens: weights of lessons, losses that no split of a step changes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from students.objectives.base import Bench
from students.steps import Once, by_itself, over_processes, with_filling

if TYPE_CHECKING:
    import torch


def by_weight(
    inputs: "Mapping[str, torch.Tensor]", weights: "torch.Tensor"
) -> "Iterator[tuple[float, int, dict[str, Any]]]":
    """Yield the rows of a micro-batch that share a weight: the weight, how many they are, and their inputs.

    weights: [rows]. Inputs with several rows for each weight are taken as blocks one behind the other, as TRL lays
    chosen and rejected texts; inputs without rows are handed on.
    """
    import torch

    count = len(weights)
    values: list[float] = sorted(set(weights.tolist()))
    for value in values:
        if len(values) == 1:
            yield value, count, dict(inputs)
            return
        places = (weights == value).nonzero()[:, 0]
        part: dict[str, Any] = {}
        for name, tensor in inputs.items():
            blocks = tensor.shape[0] // count if tensor.ndim else 0
            chosen = torch.cat([places + block * count for block in range(blocks)]) if blocks else None
            part[name] = tensor if chosen is None else tensor[chosen]
        yield value, len(places), part


def elsewhere(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Return for each row the place of the next one, round the end, with another prompt; its own where none has one."""
    keys = [tuple(prompt) for prompt in prompts]
    count = len(keys)
    return [
        next((other % count for other in range(place + 1, place + count) if keys[other % count] != key), place)
        for place, key in enumerate(keys)
    ]


def reference_model(bench: Bench) -> Any:
    """Return the frozen model that TRL is to compare with; None where it takes the adapter's own start."""
    return bench.frozen() if bench.desk.training.rank == 0 else None


class Weighed(Once):
    """What both trainers take of their rows: tokens as they are, and the sum of a step's weights as its size."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # our tokens are those that the student answers after

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: "torch.device") -> Any:
        import torch

        if not batch_samples:
            return None
        return over_processes(self, torch.cat([batch["weights"] for batch in batch_samples]).sum().to(device))


@cache
def dpo_trainer_class() -> type[Any]:
    """Return the trainer. Made on first use, since importing TRL takes seconds."""
    from trl.trainer.dpo_trainer import DPOTrainer

    class PairTrainer(Weighed, DPOTrainer):
        """The loss of a step is sum(weight x pair's loss) / sum(weight), however the step is split."""

        loss_is_scaled_for_ga = True

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights = inputs.pop("weights")
            whole = weights.sum() if num_items_in_batch is None else num_items_in_batch
            loss: Any = 0.0
            for weight, count, part in by_weight(inputs, weights):
                with by_itself(self.accelerator):
                    loss = loss + weight * count * super().compute_loss(model, part) / whole
            self.note(loss)
            loss = loss * self.accelerator.num_processes  # the gradients of all processes are averaged afterwards
            return (loss, {}) if return_outputs else loss

    return PairTrainer


def dpo_trainer(bench: Bench, settings: Any, rows: list[dict[str, Any]]) -> Any:
    """Return TRL's DPOTrainer. rows: `prompt_ids`, `chosen_ids`, `rejected_ids`, `weight`."""
    from datasets import Dataset
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    trainer = dpo_trainer_class()(
        model=bench.model,
        ref_model=reference_model(bench),
        args=settings,
        train_dataset=Dataset.from_list(with_filling(rows, bench, weight=0.0)),
        data_collator=_weighed(DataCollatorForPreference(pad_token_id=int(bench.desk.tokenizer.pad_token_id))),
        processing_class=bench.desk.tokenizer,
    )
    trainer.begin_notes(bench)
    return trainer


@cache
def kto_trainer_class() -> type[Any]:
    """Return the trainer. Made on first use, since importing TRL takes seconds."""
    from trl.trainer.kto_trainer import KTOTrainer

    class SidesTrainer(Weighed, KTOTrainer):
        """The loss of a step is sum(weight x text's loss) / sum(weight); the KL term is of its micro-batch."""

        loss_is_scaled_for_ga = True
        knobs: tuple[float, float]

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights, good = inputs.pop("weights"), inputs["label"].bool()
            whole = weights.sum() if num_items_in_batch is None else num_items_in_batch
            # TRL multiplies each kind's losses by these before it takes their mean: one for each text does it as well.
            self.desirable_weight = self.knobs[0] * weights[good]
            self.undesirable_weight = self.knobs[1] * weights[~good]
            loss = super().compute_loss(model, inputs) * len(weights) / whole
            self.note(loss)
            loss = loss * self.accelerator.num_processes
            return (loss, {}) if return_outputs else loss

    return SidesTrainer


def kto_trainer(bench: Bench, settings: Any, rows: list[dict[str, Any]]) -> Any:
    """Return TRL's KTOTrainer. rows: `prompt_ids`, `completion_ids`, `KL_completion_ids`, `label`, `weight`."""
    from datasets import Dataset
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    collate = _weighed(DataCollatorForUnpairedPreference(pad_token_id=int(bench.desk.tokenizer.pad_token_id)))

    def put_elsewhere(examples: Sequence[Mapping[str, Any]]) -> "dict[str, torch.Tensor]":
        if "KL_completion_ids" not in examples[0]:
            return collate(examples)
        others = elsewhere([example["prompt_ids"] for example in examples])
        return collate(
            [
                dict(example) | ({"KL_completion_ids": examples[other]["completion_ids"]} if other != place else {})
                for place, (example, other) in enumerate(zip(examples, others, strict=True))
            ]
        )

    trainer = kto_trainer_class()(
        model=bench.model,
        ref_model=reference_model(bench),
        args=settings,
        train_dataset=Dataset.from_list(with_filling(rows, bench, weight=0.0)),
        data_collator=put_elsewhere,
        processing_class=bench.desk.tokenizer,
    )
    trainer.knobs = settings.desirable_weight, settings.undesirable_weight
    trainer.begin_notes(bench)
    return trainer


def _weighed(collate: Any) -> Any:
    """Return a collator that hands on the lessons' weights as `weights` [rows]."""

    def weigh(examples: Sequence[Mapping[str, Any]]) -> "dict[str, torch.Tensor]":
        import torch

        batch: dict[str, Any] = collate(list(examples))
        return batch | {"weights": torch.tensor([float(example["weight"]) for example in examples])}

    return weigh
