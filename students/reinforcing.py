"""TRL's GRPOTrainer with what it lacks: our tokens and seeded answers, rewards of a grader, weights, full steps."""

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from lessons.errors import GradeError
from lessons.graders.base import Grade, Grader, ManyGrader
from lessons.records import Problem
from students.chats import text_of
from students.objectives.base import Bench
from students.rollouts import sampler_class, write
from students.steps import Noting

if TYPE_CHECKING:
    from students.objectives.grpo import Grpo


@cache
def trainer_class() -> type[Any]:
    """Return the trainer. Made on first use, since importing TRL takes seconds."""
    import torch
    from trl.trainer.grpo_trainer import GRPOTrainer

    class RewardedTrainer(Noting, GRPOTrainer):
        """Rows of the dataset are places of checked lessons; each stands `rollouts` times side by side in its step."""

        objective: "Grpo"

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            settings: Any = self.args
            return sampler_class()(
                len(self.bench.checked.rows),
                settings.generation_batch_size // self.num_generations,
                each=self.num_generations,
                again=self.num_iterations * settings.steps_per_generation,
                shuffled=self.shuffle_dataset,
                seed=self.args.seed,
                epoch=lambda: self.epoch_begun(self.bench.desk.training.batch_size),
            )

        def _tokenize_prompts(self, prompts: list[Any]) -> Any:
            return [self.bench.checked.rows[int(place)].prompt for place in prompts], None, {}

        def _generate_single_turn(self, prompt_ids: list[Any], *_: Any, **__: Any) -> Any:
            knobs, model = self.objective, self.accelerator.unwrap_model(self.model)
            written = write(
                self.bench, model, prompt_ids, step=self.state.global_step,
                first=self.args.process_index * len(prompt_ids), max_tokens=knobs.max_tokens,
                temperature=knobs.temperature,
            )  # fmt: skip
            return written, None

        def _generate_and_score_completions(self, inputs: list[Any]) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            weights = torch.tensor([self.bench.checked.weights[int(row["prompt"])] for row in inputs])
            batch["advantages"] = batch["advantages"] * weights.to(batch["advantages"].device)
            return batch

        def closing(self, sums: dict[str, float]) -> dict[str, float]:
            """Return what is to be noted of a training whose sums these are."""
            judged = sums["judged"]
            means = {"mean reward": sums["reward"], "share of right answers": sums["right"]} if judged else {}
            return {
                "answers that could not be judged": sums["unjudged"],
                **{name: total / judged for name, total in means.items()},
            }

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            loss = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
            self.note(loss / self.accelerator.num_processes)  # TRL's is a mean over the answers of this process
            return (loss, {}) if return_outputs else loss

    return RewardedTrainer


def graded(grader: Grader, asked: list[tuple[Problem, str]]) -> list[Grade | GradeError]:
    """Return the grade of each answer, or why there is none."""
    if isinstance(grader, ManyGrader):
        return grader.grade_many(asked)
    told: list[Grade | GradeError] = []
    for problem, text in asked:
        try:
            told.append(grader.grade(problem, text))
        except GradeError as error:
            told.append(error)
    return told


def grpo_trainer(objective: "Grpo", bench: Bench) -> Any:
    """Return the trainer of `grpo`."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.utils import add_fused_lm_head

    from students.learning import divisor

    training, checked, desk = bench.desk.training, bench.checked, bench.desk
    assert desk.grader is not None
    grader, sums = desk.grader, bench.sums
    sums.update(dict.fromkeys(("reward", "right", "judged", "unjudged"), 0.0))

    def reward(prompts: list[Any], completion_ids: list[Any], **_: Any) -> list[float | None]:
        asked = [
            (checked.lessons[int(place)].problem, text_of(desk.tokenizer, ids, desk.stops))
            for place, ids in zip(prompts, completion_ids, strict=True)
        ]
        told = graded(grader, asked)
        rewards = [objective.reward(one) for one in told]
        sums["reward"] += math.fsum(one for one in rewards if one is not None)
        sums["right"] += sum(isinstance(one, Grade) and one.score >= 1 for one in told)
        sums["judged"] += sum(one is not None for one in rewards)
        sums["unjudged"] += sum(one is None for one in rewards)
        return rewards

    answers = training.batch_size * objective.rollouts
    micro = divisor(answers // training.num_processes, training.micro_batch_size)
    trainer = trainer_class()(
        model=bench.model,
        reward_funcs=reward,
        args=GRPOConfig(
            **bench.arguments(micro, answers),
            num_generations=objective.rollouts,
            max_completion_length=objective.max_tokens,
            temperature=objective.temperature,
            epsilon=objective.clip,
            loss_type=objective.loss,
            beta=0.0,  # set below: TRL would load a reference of its own by the model's name
            shuffle_dataset=training.order != "sequential",
        ),
        train_dataset=Dataset.from_list([{"prompt": str(place)} for place in range(len(checked.rows))]),
        processing_class=desk.tokenizer,
    )
    if objective.kl:
        trainer.beta = objective.kl
        if not bench.begins_at_base:
            trainer.ref_model = bench.frozen()
            add_fused_lm_head(trainer.ref_model)
    trainer.objective = objective
    trainer.begin_notes(bench)
    return trainer
