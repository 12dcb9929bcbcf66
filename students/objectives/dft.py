"""Dynamic fine-tuning: each token's loss is weighed by how likely the student finds the token already."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.objectives.tokens import Lens, TokenObjective

if TYPE_CHECKING:
    import torch

__all__ = ["Dft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dft(TokenObjective):
    """The token loss is sg(p) x (-log p): what the student finds improbable pulls less (`sg`: no gradient through it).

    Its authors name its limit: it is weak where there is a single short answer. They used a learning rate of 5e-5 and a
    batch of 256 on a 1.5B model.
    """

    paper: ClassVar[str] = "arXiv:2508.05629"

    def token_losses(self, lens: Lens) -> "torch.Tensor":
        """Return sg(p) x (-log p) [asked]."""
        return -lens.log_probs.detach().exp() * lens.log_probs
