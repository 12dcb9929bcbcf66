"""Anchored supervised fine-tuning: dynamic fine-tuning that is held near the student as it was."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.objectives.tokens import Lens, TokenObjective

if TYPE_CHECKING:
    import torch

__all__ = ["Asft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asft(TokenObjective):
    """sg(p) x (-log p) plus an anchor: the divergence from the student as it was when training began, at each token.

    The reference is the student with its fresh adapter switched off; where all weights are trained, or an adapter is
    gone on with, a frozen copy.
    """

    paper: ClassVar[str] = "arXiv:2509.23753"
    dense: ClassVar[int] = 3
    anchor: float = 0.05
    """Weight of KL(reference || student) over the vocabulary; 0.05 as in its authors' README, 0.1 in their code."""

    def __post_init__(self) -> None:
        if self.anchor < 0:
            raise ValueError(f"anchor must be at least 0, got {self.anchor:g}")

    def token_losses(self, lens: Lens) -> "torch.Tensor":
        """Return sg(p) x (-log p) + anchor x KL(reference || student) [asked]."""
        import torch

        from students.divergence import forward_kl

        reference = lens.logits_before()
        logs = torch.log_softmax(lens.logits, -1)
        own = logs.gather(-1, lens.targets[:, None])[:, 0]
        return -own.detach().exp() * own + self.anchor * forward_kl(torch.log_softmax(reference, -1), logs)
