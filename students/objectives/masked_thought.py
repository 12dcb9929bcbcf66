"""Masked-thought fine-tuning: some of the completion's tokens are hidden from the student, all are still to be said."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from lessons.errors import InputError
from lessons.ids import seed_of
from students.objectives.base import Bench
from students.objectives.tokens import Lens, TokenObjective
from students.scoring import IGNORED

if TYPE_CHECKING:
    import torch

__all__ = ["MaskedThought"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedThought(TokenObjective):
    """Each completion token that the student reads is replaced by a mask with some probability; targets stay.

    So it cannot lean on its last words alone and goes back to the question and to earlier steps. Which tokens are
    hidden is drawn for each lesson and step, and does not depend on how a step is split.
    """

    paper: ClassVar[str] = "arXiv:2403.02178"
    rate: float = 0.4
    """Probability, in [0, 1), that a token is hidden, once the rate has risen; 0.4 as in the authors' GSM8K script."""
    warmup: float = 0.66
    """Share of the steps, in [0, 1], in which the rate rises from 0; 0.66 as in that script."""
    token: str = ""
    """The token that stands for what is hidden; empty: the tokenizer's mask, else its unknown, else its padding token
    (the authors use an added [mask] or [pad], whichever is preferred)."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1 or not 0 <= self.warmup <= 1:
            raise ValueError(f"rate must lie in [0, 1) and warmup in [0, 1], got {self.rate:g} and {self.warmup:g}")

    def prepare(self, bench: Bench) -> None:
        """Find the id of the token that hides."""
        tokenizer = bench.desk.tokenizer
        if not self.token:
            named = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
            bench.kept = next(one for one in named if one is not None)
            return
        ids = tokenizer(self.token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise InputError(f"train.objective.token: {self.token!r} is {len(ids)} tokens for this student, not one")
        bench.kept = int(ids[0])

    def rate_at(self, step: int, steps: int) -> float:
        """Return the probability of hiding a token after `step` of `steps` steps: it rises in a straight line."""
        rising = self.warmup * steps
        return self.rate if step >= rising else self.rate * step / rising

    def token_losses(self, lens: Lens) -> "torch.Tensor":
        """Return -log p of every token [asked], read after tokens of which some are hidden."""
        rate = self.rate_at(lens.step, lens.steps)
        tokens = lens.inputs["input_ids"].clone()
        for row, place in enumerate(lens.places):
            draws = Random(seed_of("mask", lens.bench.seed, place, lens.step))
            for position in (lens.labels[row] != IGNORED).nonzero()[:, 0].tolist():
                if draws.random() < rate:
                    tokens[row, position] = lens.bench.kept
        lens.inputs = {**lens.inputs, "input_ids": tokens}
        return -lens.log_probs
