"""TRL's DistillationTrainer with what it lacks: the lessons' own completions beside drawn ones, weights, full steps."""

from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from lessons.errors import StudentError
from lessons.ids import seed_of
from students.objectives.base import Bench
from students.preferences import by_weight
from students.rollouts import sampler_class, write
from students.steps import Noting, by_itself, over_processes

if TYPE_CHECKING:
    from students.objectives.on_policy import OnPolicy


OWN_STEPS = "steps on what the student wrote"


@cache
def trainer_class() -> type[Any]:
    """Return the trainer. Made on first use, since importing TRL takes seconds."""
    import torch
    from trl.trainer.distillation_trainer import DistillationTrainer

    class MixedTrainer(Noting, DistillationTrainer):
        """The loss of a step is sum(weight x token's divergence) / sum(weight x tokens), however the step is split."""

        objective: "OnPolicy"

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return sampler_class()(
                len(self.bench.checked.rows),
                self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
                each=1, again=self.args.gradient_accumulation_steps, shuffled=self.shuffle_dataset, seed=self.args.seed,
                epoch=lambda: self.epoch_begun(self.bench.desk.training.batch_size),
            )  # fmt: skip

        def _generate(self, prompts: list[Any]) -> Any:
            rows = [self.bench.checked.rows[place] for place in prompts]
            step, knobs = self.state.global_step, self.objective
            begun = [row.prompt for row in rows]
            if Random(seed_of("on policy", self.bench.seed, step)).random() >= knobs.lmbda:
                return begun, [row.completion for row in rows], None, None, []
            model = self.accelerator.unwrap_model(self.model)
            self.bench.notes[OWN_STEPS] = self.bench.notes.get(OWN_STEPS, 0) + 1
            written = write(
                self.bench, model, begun, step=step, first=self.args.process_index * len(begun),
                max_tokens=knobs.max_tokens, temperature=knobs.temperature,
            )  # fmt: skip
            return begun, written, None, None, []

        def _generate_and_score_completions(self, inputs: list[Any]) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            weights = torch.tensor([self.bench.checked.weights[row["prompt"]] for row in inputs])
            batch["weights"] = weights.to(batch["completion_ids"].device)
            total = (batch["completion_mask"].sum(1) * batch["weights"]).sum()
            batch["num_items_in_batch"] = over_processes(self, total)
            return batch

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights = inputs["weights"]
            total = inputs["num_items_in_batch"]
            rest = {name: value for name, value in inputs.items() if name not in ("weights", "num_items_in_batch")}
            loss: Any = 0.0
            for weight, _, part in by_weight(rest, weights):
                # TRL takes a sum of at least 1 to divide by: weights below 1 may sum to less, so they are put outside.
                tokens = part["completion_mask"].sum()
                part["num_items_in_batch"] = tokens
                with by_itself(self.accelerator):
                    loss = loss + super().compute_loss(model, part) * weight * tokens / total
            # TRL has multiplied it by the number of processes, whose gradients are averaged afterwards.
            self.note(loss / self.accelerator.num_processes)
            return (loss, None) if return_outputs else loss

    return MixedTrainer


def distillation_trainer(objective: "OnPolicy", bench: Bench) -> Any:
    """Return the trainer of `on_policy`.

    Raises:
        StudentError: the teacher's head has another width than the student's, which TRL cannot compare.
    """
    from datasets import Dataset
    from trl.trainer.distillation_config import DistillationConfig

    from students.learning import micro_batch
    from students.local_teacher import open_teacher, teacher_model

    training = bench.desk.training
    teacher = open_teacher(objective.teacher, bench.checked, bench.desk)
    model = teacher_model(teacher, bench)
    width = int(model.get_output_embeddings().weight.shape[0])
    if width != bench.vocabulary:
        raise StudentError(
            f"the teacher {teacher.name} has a head of {width} tokens and the student one of {bench.vocabulary}: TRL's "
            "distillation needs equal widths; take objective sparse_logits, or a teacher of the same width"
        )
    longest = max(bench.checked.longest_completion, objective.max_tokens)
    micro = micro_batch(training, 4 * bench.vocabulary, longest)
    trainer = trainer_class()(
        model=bench.model,
        teacher_model=model.to(next(bench.model.parameters()).dtype),
        args=DistillationConfig(
            **bench.arguments(micro, training.batch_size),
            beta=objective.beta,
            temperature=1.0,
            max_completion_length=objective.max_tokens,
            shuffle_dataset=training.order != "sequential",
        ),
        train_dataset=Dataset.from_list([{"prompt": place} for place in range(len(bench.checked.rows))]),
        processing_class=bench.desk.tokenizer,
    )
    trainer.objective = objective
    trainer.begin_notes(bench)
    return trainer
