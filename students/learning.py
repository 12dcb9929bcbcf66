"""One training run: checked lessons and a model in, tensors and figures out."""

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lessons.errors import StudentError
from lessons.records import Lesson
from lessons.timing import inside
from students.adapters import AdapterNote, lora_settings, save_adapter
from students.base import Learned, Progress, Training
from students.checkpoints import Keeper
from students.models import Base, peft_model, whole_model
from students.objectives.base import Bench, Desk
from students.preflight import Checked
from students.runtime import (
    computes_in_bfloat16,
    device,
    dtype_of,
    give_back,
    quiet,
    random_state_kept,
    settle,
    threads_set,
)
from students.scoring import LOGITS
from students.shortage import is_shortage, shortage, words_of
from students.steps import step_end
from students.tracking import Tracking, follow, reporting
from students.trainer import optimizer_class


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a training in a process of its own tells beside its steps."""

    alive: Callable[[], object] = lambda: None
    """Called by what takes long without a step."""
    ready: Callable[[Any], object] = lambda trainer: None
    """Called with the trainer, before its first step."""
    reporting: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The trainer's settings of its reports, in place of those that tracking asks for."""


NOBODY = Watch()
"""Watches nothing."""


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
    first: bool = True
    """Whether this is the first of the processes that trained together, which saves the weights."""


def learn_here(
    desk: Desk,
    lessons: Sequence[Lesson],
    into: Path,
    *,
    seed: int,
    progress: Progress | None = None,
    tracking: Tracking | None = None,
    keeper: Keeper | None = None,
    watch: Watch = NOBODY,
) -> Learned | None:
    """Train in this process, which may be one of several, and save the weights in `into/adapter-<content id>`.

    Returns None from any but the first of several processes.

    Raises:
        StudentError: as the objective's `check`, and `train`.
    """
    training = desk.training
    checked = training.objective.check(lessons, desk)
    outcome = train(desk, checked, seed=seed, progress=progress, tracking=tracking, keeper=keeper, watch=watch)
    if not outcome.first:
        return None
    folder = save_adapter(
        into,
        outcome.tensors,
        outcome.settings,
        kind="lora" if training.rank else "whole",
        base=desk.base.fingerprint,
        base_name=desk.base.name,
        rank=training.rank,
    )
    give_back()
    tenth = max(1, len(outcome.losses) // 10)
    return Learned(
        lessons=len(lessons) - checked.left_out,
        steps=len(outcome.losses),
        trained_tokens=checked.trained_tokens or round(outcome.drawn / max(training.epochs, 1e-9)),
        loss_first=sum(outcome.losses[:tenth]) / tenth,
        loss_last=sum(outcome.losses[-tenth:]) / tenth,
        seconds=outcome.seconds,
        adapter=folder.name,
        losses=outcome.losses,
        notes=outcome.notes | ({"replayed lessons left out": checked.left_out} if checked.left_out else {}),
    )


def train(
    desk: Desk,
    checked: Checked,
    *,
    seed: int,
    progress: Progress | None = None,
    tracking: Tracking | None = None,
    keeper: Keeper | None = None,
    watch: Watch = NOBODY,
) -> Outcome:
    """Train an adapter (or all weights, rank 0) on checked lessons, by the objective that the desk's training names.

    keeper: keeps checkpoints, and has the one to go on from. watch: what else is to be told. Where several processes
    train together, each calls this; the first of them is left with the outcome.

    Raises:
        OutOfMemory: the memory did not suffice; says which settings take less.
        StudentError: `start: last` asks to go on with an adapter of another shape, the loss depends on how a step is
            split, or it stopped being a number.
    """
    with inside("load"):
        settle()
        from transformers import PrinterCallback, set_seed

    begun = time.monotonic()
    training = desk.training
    bench, trainer = None, None
    try:
        with quiet(), random_state_kept(), threads_set(training.threads), tempfile.TemporaryDirectory() as work:
            set_seed(seed)
            with inside("load"):
                model = prepared(desk.base, desk.last, training)
            weights = [weight for weight in model.parameters() if weight.requires_grad]
            optimizer = optimizer_class()(weights, learning_rate=training.learning_rate, decay=training.weight_decay)
            bench = Bench(
                desk=desk, checked=checked, model=model, optimizer=optimizer, seed=seed, work=work,
                steps=steps_of(len(checked.rows), training), reporting=watch.reporting or reporting(tracking),
                alive=watch.alive,
            )  # fmt: skip
            trainer = training.objective.trainer(bench)
            if training.sharded != is_sharded(trainer):
                raise StudentError("train.accelerate: accelerate did not spread the weights over the processes")
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(step_end(trainer, progress, keeper))
            follow(trainer, tracking)
            watch.ready(trainer)
            if hasattr(trainer, "refuse_uneven"):
                trainer.refuse_uneven()
            kept = keeper.newest() if keeper else None
            trainer.train(resume_from_checkpoint=str(kept) if kept else None)
            losses = tuple(trainer.losses)
            if not all(math.isfinite(loss) for loss in losses):
                step = next(step for step, loss in enumerate(losses, start=1) if not math.isfinite(loss))
                raise StudentError(
                    f"the loss is no number from step {step} on; lower train.learning_rate or set precision: float32"
                )
            optimizer.round_nothing()
            tensors, settings = _learned(trainer, desk.base, training)
            sums, drawn = _over_processes(trainer)
            notes = bench.notes | (trainer.closing(sums) if hasattr(trainer, "closing") else {})
    except Exception as error:
        if not is_shortage(error):
            raise
        short = shortage(
            training,
            micro=bench.micro if bench else 0,
            step=int(trainer.state.global_step) if trainer else 0,
            lengths=[len(row) for row in (*checked.rows, *checked.others)],
            how=words_of(error),
        )
    else:
        return Outcome(
            tensors=tensors, settings=settings, losses=losses, notes=notes, drawn=drawn,
            first=trainer.args.process_index == 0,
            seconds=keeper.seconds if keeper else time.monotonic() - begun,
        )  # fmt: skip
    raise short  # outside of the handler: what failed holds the model in its frames


def _over_processes(trainer: Any) -> tuple[dict[str, float], int]:
    """Return what all processes have added up and written together."""
    import torch

    names = sorted(trainer.bench.sums)
    if trainer.args.world_size == 1:
        return trainer.bench.sums, trainer.bench.drawn
    own = torch.tensor([*(trainer.bench.sums[name] for name in names), trainer.bench.drawn], dtype=torch.float64)
    told: list[float] = trainer.accelerator.gather(own[None].to(trainer.args.device)).sum(0).tolist()
    return dict(zip(names, told[:-1], strict=True)), round(told[-1])


def prepared(base: Base, last: tuple[Path, AdapterNote] | None, training: Training) -> Any:
    """Return the model to train, on its device: a fresh adapter, the last one to go on with, or all weights."""
    from peft import LoraConfig, get_peft_model

    where = device()
    # All weights are trained in float32: rounded copies of each would cost more memory than they save. Those that are
    # spread over processes too: accelerate rounds what computes, and keeps what is trained.
    whole = training.sharded or (training.rank == 0 and training.precision == "auto")
    dtype = dtype_of("float32" if whole else training.precision, where)
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
    return model if training.sharded else model.to(where)


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
    """Return how many lessons go through a process's model at once: a divisor of its part of a batch, at most what was
    asked for.

    Fewer where their logits would fill the memory; the loss does not depend on it.
    """
    fits = max(1, LOGITS // (vocabulary * longest_completion))
    share = training.batch_size // training.num_processes
    return divisor(share, min(training.micro_batch_size, fits))


def divisor(of: int, most: int) -> int:
    """Return the largest divisor of a number that is at most `most`; 1 at least."""
    return next(size for size in range(max(1, min(most, of)), 0, -1) if of % size == 0)


def _learned(trainer: Any, base: Base, training: Training) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is saved of a trained model: tensors on the CPU under their names, and the configuration."""
    from peft import get_peft_model_state_dict

    model: Any = trainer.bench.model
    # Weights that are spread over processes are brought together by all of them.
    whole: dict[str, Any] | None = (
        trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_sharded(trainer) else None
    )
    if training.rank == 0:
        tied: set[str] = set(getattr(model, "_tied_weights_keys", None) or ())
        weights: dict[str, Any] = model.state_dict() if whole is None else whole
        found: dict[str, Any] = {name: tensor for name, tensor in weights.items() if name not in tied}
        settings: dict[str, Any] = json.loads(model.config.to_json_string()) | {"_name_or_path": base.name}
    else:
        found = get_peft_model_state_dict(model, state_dict=whole)
        settings = lora_settings(model.peft_config["default"]) | {"base_model_name_or_path": base.name}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}, settings


def is_sharded(trainer: Any) -> bool:
    """Whether the weights are spread over the processes (FSDP, DeepSpeed)."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
