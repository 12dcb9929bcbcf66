"""What trainers share that let the student write while it is trained: full steps, seeded answers."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

from lessons.ids import seed_of
from students.decode import batches, decode
from students.objectives.base import Bench

BATCH_TOKENS = 16384
"""Positions that one batch of answers may hold, as `Generation.batch_tokens` has it."""


@cache
def sampler_class() -> type[Any]:
    """Return the sampler. Made on first use, since importing torch takes seconds."""
    from torch.utils.data import Sampler

    class FullSteps(Sampler[int]):
        """Every lesson once an epoch in steps of one size; the last step is filled up from the epoch's first lessons.

        TRL's own sampler leaves the last lessons of an epoch out, and trains on none where there are fewer than a step
        takes. each: how often a lesson stands in its step, side by side. again: how often a step comes in a row. epoch:
        tells which epoch begins, from 0.
        """

        def __init__(
            self, count: int, step: int, *, each: int, again: int, shuffled: bool, seed: int, epoch: Callable[[], int]
        ) -> None:
            self.count, self.step, self.each, self.again, self.shuffled = count, step, each, again, shuffled
            self.seed, self.epoch = seed, epoch

        @property
        def steps(self) -> int:
            """Steps of one epoch."""
            return -(-self.count // self.step)

        def __len__(self) -> int:
            return self.steps * self.step * self.each * self.again

        def __iter__(self) -> Iterator[int]:
            order = list(range(self.count))
            if self.shuffled:
                draws = Random(self.seed)
                for _ in range(self.epoch() + 1):  # each epoch's order is drawn after those of the epochs before
                    order = list(range(self.count))
                    draws.shuffle(order)
            filled = [order[place % self.count] for place in range(self.steps * self.step)]
            for begin in range(0, len(filled), self.step):
                for _ in range(self.again):
                    for place in filled[begin : begin + self.step]:
                        yield from [place] * self.each

    return FullSteps


def write(
    bench: Bench,
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    step: int,
    first: int,
    max_tokens: int,
    temperature: float,
) -> list[list[int]]:
    """Let the student write after each prompt; returns new tokens, the one that ended it included.

    Each answer is drawn by the training's seed, the step and its place among the step's prompts: not by how they are
    batched, nor by which process writes it. first: place of the first of these prompts.
    """
    was = model.training
    model.eval()
    written: list[list[int]] = [[] for _ in prompts]
    try:
        for places in batches([len(prompt) for prompt in prompts], max_tokens, BATCH_TOKENS):
            answers = decode(
                model,
                [prompts[place] for place in places],
                stops=bench.desk.stops,
                padding=int(bench.desk.tokenizer.pad_token_id),
                max_tokens=max_tokens,
                temperature=temperature,
                seeds=[seed_of("written", bench.seed, step, first + place) for place in places],
            )
            bench.alive()
            for place, answer in zip(places, answers, strict=True):
                written[place] = answer
    finally:
        model.train(was)
    bench.drawn += sum(map(len, written))
    return written
