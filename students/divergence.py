"""Divergences between distributions over a vocabulary. Pure functions on tensors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def forward_kl(teacher: "torch.Tensor", student: "torch.Tensor") -> "torch.Tensor":
    """Return KL(teacher || student) of each row [rows], in nats.

    teacher, student: natural-log probabilities [rows, vocabulary].
    """
    import torch

    return torch.nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)


def sparse_kl(targets: "torch.Tensor", tokens: "torch.Tensor", student: "torch.Tensor") -> "torch.Tensor":
    """Return KL(target || student) of each row [rows], where the target has mass on a few tokens only.

    targets: their probabilities [rows, most], 0 where a row has fewer. tokens: their ids [rows, most]. student:
    natural-log probabilities [rows, vocabulary].
    """
    import torch

    return (torch.special.xlogy(targets, targets) - targets * student.gather(-1, tokens)).sum(-1)
