"""Supervised fine-tuning: the loss of every completion token, with weights of lessons and of stretches of them."""

from dataclasses import dataclass
from typing import ClassVar

from students.objectives.tokens import TokenObjective

__all__ = ["Sft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sft(TokenObjective):
    """Makes each completion more likely: the mean negative log-likelihood of its tokens, by lesson and token weights.

    With all weights equal it is TRL's own loss (`loss_type="nll"`), and a test holds it to that.
    """

    paper: ClassVar[str] = "our own: the plain loss, with weights"
