"""What every trainer here shares: losses of whole steps, over all processes; which lessons a step takes; going on."""

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from students.base import Progress
from students.checkpoints import Keeper, restore, restore_random
from students.objectives.base import Bench

if TYPE_CHECKING:
    import torch


class Noting:
    """What every trainer here shares: the losses of its steps, each the sum over its micro-batches and processes."""

    args: Any
    state: Any
    accelerator: Any
    bench: Bench

    def begin_notes(self, bench: Bench) -> None:
        """Start with none."""
        self.bench = bench
        self.pending: Any = 0.0
        self.losses: list[float] = []

    def note(self, loss: Any) -> None:
        """Add the loss of a micro-batch, as its part of the step's."""
        self.pending = self.pending + loss.detach()

    def end_step(self) -> None:
        """Take the sum as a step's loss."""
        self.losses.append(float(over_processes(self, self.pending)))
        self.pending = 0.0

    def epoch_begun(self, lessons_a_step: int) -> int:
        """Return which pass over the lessons begins at this step, from 0; also where training goes on from a step."""
        return self.state.global_step // math.ceil(len(self.bench.checked.rows) / lessons_a_step)

    def create_optimizer(self, model: Any = None) -> Any:
        """Take the bench's own. It is not handed to the trainer, which takes none where FSDP spreads the weights."""
        self.optimizer: Any = self.bench.optimizer
        return self.optimizer

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Leave the weights to `_load_optimizer_and_scheduler`: they are kept with what the optimizer knows of them."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore(self, checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_random(checkpoint, self.args.process_index)


class Once(Noting):
    """A trainer whose steps go through the lessons once an epoch; the last step of an epoch may be smaller."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        micro, world = int(self.args.per_device_train_batch_size), int(self.args.world_size)
        return once_class()(
            len(self.bench.checked.rows),
            shuffled=self.bench.desk.training.order == "shuffled",
            seed=self.bench.seed,
            filled=micro * world if world > 1 else 1,
            epoch=lambda: self.epoch_begun(micro * world * int(self.args.gradient_accumulation_steps)),
        )


def step_end(trainer: Any, progress: Progress | None, keeper: Keeper | None) -> Any:
    """Return a callback that notes each step's loss, tells how far training is, and keeps checkpoints.

    Where `progress` raises, training stops after that step in all processes, with a checkpoint.
    """
    from transformers import TrainerCallback

    class StepEnd(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.end_step()
            stopped: BaseException | None = None
            try:
                if progress is not None:
                    progress(state.global_step, state.max_steps)
            except BaseException as error:  # noqa: BLE001 - raised below
                stopped = error
            keep, stop = _in_any(trainer, keeper is not None and keeper.due(), stopped is not None)
            if keeper is not None and (keep or stop) and keeper.every:
                keeper.save(trainer)
            if stop:
                raise stopped or KeyboardInterrupt("another process of this training was stopped")

    return StepEnd()


def _in_any(trainer: Any, *flags: bool) -> list[bool]:
    """Return whether each of these is so in any process."""
    import torch

    if trainer.args.world_size == 1:
        return list(flags)
    own = torch.tensor([flags], dtype=torch.int32, device=trainer.args.device)
    return [bool(total) for total in trainer.accelerator.gather(own).sum(0).tolist()]


@cache
def once_class() -> type[Any]:
    """Return the sampler. Made on first use, since importing torch takes seconds."""
    import torch
    from torch.utils.data import Sampler

    class OnceAnEpoch(Sampler[int]):
        """Every lesson once an epoch, in an order of that epoch's own, or in theirs.

        The order does not depend on the number of processes, nor on where training goes on: it is that of accelerate's
        own sampler. filled: several processes take equally many lessons, so an epoch is filled up to a multiple of
        this with the number after the last lesson's, which stands for a row without any weight.
        """

        def __init__(self, count: int, *, shuffled: bool, seed: int, filled: int, epoch: Callable[[], int]) -> None:
            self.count, self.shuffled, self.seed, self.filled, self.epoch = count, shuffled, seed, filled, epoch

        def __len__(self) -> int:
            return math.ceil(self.count / self.filled) * self.filled

        def __iter__(self) -> Iterator[int]:
            if self.shuffled:
                draws = torch.Generator().manual_seed(self.seed + self.epoch())
                yield from torch.randperm(self.count, generator=draws).tolist()
            else:
                yield from range(self.count)
            yield from [self.count] * (len(self) - self.count)

    return OnceAnEpoch


def with_filling(rows: list[dict[str, Any]], bench: Bench, **weightless: Any) -> list[dict[str, Any]]:
    """Return the rows of a dataset, and behind them the row that fills steps up where several processes train.

    weightless: the columns that make a copy of the first row count for nothing.
    """
    return rows if bench.desk.training.num_processes == 1 else [*rows, {**rows[0], **weightless}]


@contextmanager
def by_itself(accelerator: Any) -> Generator[None]:
    """Keep a trainer from gathering its figures over processes in the block, which each may enter another number of
    times: they would wait for each other without end, or take one figure for another."""
    names = ("gather", "gather_for_metrics") if accelerator.num_processes > 1 else ()
    for name in names:
        setattr(accelerator, name, _as_it_is)
    try:
        yield
    finally:
        for name in names:
            delattr(accelerator, name)


def _as_it_is(told: Any, **_: Any) -> Any:
    return told


def over_processes(trainer: Any, total: "torch.Tensor") -> "torch.Tensor":
    """Return a sum over all processes that train together."""
    return trainer.accelerator.gather(total).sum() if trainer.args.world_size > 1 else total
