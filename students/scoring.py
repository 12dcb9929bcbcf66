"""Log-probabilities of given tokens. The language model's head is applied only where a token is asked about."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from students.chats import Row
from students.decode import batches

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The label of a token that is not asked about; PyTorch's and TRL's own."""
LOGITS = 1 << 27
"""Logits that may be held at once on a CPU: 0.5 GB in float32, and as much again for each copy of a backward pass."""


@contextmanager
def head_sees(model: Any, places: "torch.Tensor") -> Generator[None]:
    """Have the model's head compute these places alone; its logits are then [1, places, vocabulary], row by row.

    places: booleans [rows, positions]. The model's own forward runs around the head, so what it does to logits
    afterwards (a soft cap, a scale) stays as it is.
    """

    import torch

    def choose(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0][places][None], *given[1:])

    inner: Any = getattr(model, "module", None)  # of a model that is wrapped to be trained by several processes
    bare: Any = inner if isinstance(inner, torch.nn.Module) else model
    hook = bare.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()


def label_log_probs(model: Any, inputs: "dict[str, torch.Tensor]", labels: "torch.Tensor") -> "torch.Tensor":
    """Return the natural-log probability of each label [asked], row by row, in float32.

    inputs: `input_ids` and `attention_mask`, [rows, positions]. labels: [rows, positions], `IGNORED` where a token is
    not asked about; the label of the first position is never predicted.
    """
    import torch

    logits = label_logits(model, inputs, labels)
    after = labels[:, 1:]
    return -torch.nn.functional.cross_entropy(logits, after[after != IGNORED], reduction="none")


def label_logits(model: Any, inputs: "dict[str, torch.Tensor]", labels: "torch.Tensor") -> "torch.Tensor":
    """Return the logits that each label is predicted by [asked, vocabulary], row by row, in float32.

    inputs, labels: as in `label_log_probs`.
    """
    import torch

    places = torch.nn.functional.pad(labels[:, 1:] != IGNORED, (0, 1), value=False)
    with head_sees(model, places):
        return model(**inputs, use_cache=False).logits[0].float()


def score_rows(
    model: Any, rows: Sequence[Row], *, padding: int, batch_tokens: int, scored: Callable[[int], None]
) -> list[list[float]]:
    """Return the log-probability of each completion token of each row, in the rows' order.

    batch_tokens: positions that one batch may hold. scored: called with the number of rows of each finished batch.
    """
    import torch

    results: list[list[float]] = [[] for _ in rows]
    vocabulary = int(model.get_output_embeddings().weight.shape[0])
    for places in batches([len(row) for row in rows], 0, min(batch_tokens, max(1, LOGITS // vocabulary))):
        inputs, labels = padded([rows[place] for place in places], padding)
        inputs = {name: value.to(model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            flat: list[float] = label_log_probs(model, inputs, labels.to(model.device)).tolist()
        start = 0
        for place in places:
            end = start + len(rows[place].completion)
            results[place] = flat[start:end]
            start = end
        scored(len(places))
    return results


def padded(rows: Sequence[Row], padding: int) -> "tuple[dict[str, torch.Tensor], torch.Tensor]":
    """Return `input_ids` and `attention_mask`, padded on the right, and labels that ask about completions only."""
    import torch

    width = max(len(row) for row in rows)
    shape = (len(rows), width)
    tokens = torch.full(shape, padding, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor([*row.prompt, *row.completion])
        mask[place, : len(row)] = 1
        labels[place, len(row.prompt) : len(row)] = torch.tensor(row.completion)
    return {"input_ids": tokens, "attention_mask": mask}, labels
