"""One training run: checked lessons and a model in, tensors and figures out."""

import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.errors import StudentError
from lessons.timing import inside
from students.adapters import AdapterNote, lora_settings
from students.base import Progress, Training
from students.models import Base, peft_model, whole_model
from students.objectives.base import Bench, Desk
from students.preflight import Checked
from students.runtime import computes_in_bfloat16, device, dtype_of, quiet, random_state_kept, settle, threads_set
from students.scoring import LOGITS
from students.tracking import Tracking, follow, reporting
from students.trainer import optimizer_class, step_end


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training run leaves behind."""

    tensors: dict[str, Any]
    """Name -> CPU tensor, float32."""
    settings: dict[str, Any]
    """The configuration that goes with them."""
    losses: tuple[float, ...]
    """Loss of every step."""
    seconds: float
    notes: dict[str, float]
    """What the objective measured beside the loss."""
    drawn: int
    """Tokens that the student wrote while it was trained."""


def train(
    desk: Desk, checked: Checked, *, seed: int, progress: Progress | None, tracking: Tracking | None = None
) -> Outcome:
    """Train an adapter (or all weights, rank 0) on checked lessons, by the objective that the desk's training names.

    Raises:
        StudentError: `start: last` asks to go on with an adapter of another shape, the loss depends on how a step is
            split, or it stopped being a number.
    """
    with inside("load"):
        settle()
    from transformers import PrinterCallback, set_seed

    begun = time.monotonic()
    training = desk.training
    with quiet(), random_state_kept(), threads_set(training.threads), tempfile.TemporaryDirectory() as work:
        set_seed(seed)
        with inside("load"):
            model = prepared(desk.base, desk.last, training)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = optimizer_class()(weights, learning_rate=training.learning_rate, decay=training.weight_decay)
        bench = Bench(
            desk=desk, checked=checked, model=model, optimizer=optimizer, seed=seed, work=work,
            steps=steps_of(len(checked.rows), training), reporting=reporting(tracking),
        )  # fmt: skip
        trainer = training.objective.trainer(bench)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(step_end(trainer, progress))
        follow(trainer, tracking)
        if hasattr(trainer, "refuse_uneven"):
            trainer.refuse_uneven()
        trainer.train()
        losses = tuple(trainer.losses)
        if not all(math.isfinite(loss) for loss in losses):
            step = next(step for step, loss in enumerate(losses, start=1) if not math.isfinite(loss))
            raise StudentError(
                f"the loss is no number from step {step} on; lower train.learning_rate or set precision: float32"
            )
        optimizer.round_nothing()
        tensors, settings = _learned(model, desk.base, training)
    return Outcome(
        tensors=tensors, settings=settings, losses=losses, seconds=time.monotonic() - begun, notes=bench.notes,
        drawn=bench.drawn,
    )  # fmt: skip


def prepared(base: Base, last: tuple[Path, AdapterNote] | None, training: Training) -> Any:
    """Return the model to train, on its device: a fresh adapter, the last one to go on with, or all weights."""
    from peft import LoraConfig, get_peft_model

    where = device()
    # All weights are trained in float32: rounded copies of each would cost more memory than they save.
    dtype = dtype_of("float32" if training.rank == 0 and training.precision == "auto" else training.precision, where)
    # Measured on two cores, 8 lessons of about 100 tokens: 1.6 s a step, sdpa 1.8 s; float32 3.3 s with both.
    attention = "eager" if where.type == "cpu" and computes_in_bfloat16(where) else None
    going_on = last if training.start == "last" else None
    if going_on is not None:
        _same_shape(going_on, training)
    if training.rank == 0:
        model = base.model(dtype, attention) if going_on is None else whole_model(base, going_on[0], dtype, attention)
    elif going_on is not None:
        model = peft_model(base.model(dtype, attention), going_on[0], dropout=training.dropout)
    else:
        config = LoraConfig(
            r=training.rank,
            lora_alpha=training.alpha,
            lora_dropout=training.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(base.model(dtype, attention), config, autocast_adapter_dtype=False)
    return model.to(where)


def _same_shape(last: tuple[Path, AdapterNote], training: Training) -> None:
    if last[1].rank != training.rank:
        raise StudentError(
            f"{last[0].name} has rank {last[1].rank} and training asks for rank {training.rank}: "
            "go on with the same rank, or set start: base"
        )


def steps_of(lessons: int, training: Training) -> int:
    """Return how many steps a training run has."""
    return math.ceil(training.epochs * math.ceil(lessons / training.batch_size))


def micro_batch(training: Training, vocabulary: int, longest_completion: int) -> int:
    """Return how many lessons go through the model at once: a divisor of the batch size, at most what was asked for.

    Fewer where their logits would fill the memory; the loss does not depend on it.
    """
    fits = max(1, LOGITS // (vocabulary * longest_completion))
    most = max(1, min(training.micro_batch_size, training.batch_size, fits))
    return next(size for size in range(most, 0, -1) if training.batch_size % size == 0)


def _learned(model: Any, base: Base, training: Training) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is saved of a trained model: tensors on the CPU under their names, and the configuration."""
    from peft import get_peft_model_state_dict

    if training.rank == 0:
        tied: set[str] = set(getattr(model, "_tied_weights_keys", None) or ())
        found: dict[str, Any] = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
        settings: dict[str, Any] = json.loads(model.config.to_json_string()) | {"_name_or_path": base.name}
    else:
        found = get_peft_model_state_dict(model)
        settings = lora_settings(model.peft_config["default"]) | {"base_model_name_or_path": base.name}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}, settings
