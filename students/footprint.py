"""What a student takes of memory and disk, reckoned from its shape before anything is loaded.

Held to what processes were measured to take (peak resident memory, one thread, TRL 1.16): SmolLM2-135M and the tiny
student, trained with LoRA and whole, and answering. Every estimate there was within `WITHIN` of the measured peak, up
or down; a test measures them anew. Kernels of other processors and GPUs may differ more.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from students.base import Training
from students.files import weight_files
from students.models import Base, FolderBase

WITHIN = 1.5
"""Factor by which a measured peak and its estimate differ at most, where that was measured."""
IMPORTS = 500_000_000
"""Bytes of a process that has imported torch, transformers, TRL and PEFT; measured: 501 MB."""
CUDA_CONTEXT = 600_000_000
"""Bytes of a GPU that a process takes before it holds anything; recalled, 0.3 to 0.6 GB by card and driver."""
TRAINER = 60_000_000
"""Bytes that the trainer, its data set and the allocator take beside what is reckoned; measured on the tiny student."""
_FLOAT32, _BFLOAT16 = 4, 2
_COPIES_OF_LOGITS = 3
"""In float32: as they are, what the loss keeps of them, and their gradient."""
_ATTENTION = 6
"""Bytes kept for each pair of positions and head without a fused kernel: float32 before and bfloat16 after softmax."""
_CACHE = 1.3
"""What the cache of keys and values takes beyond its entries: one layer is copied whenever it grows."""

_WIDTHS, _INNERS = 5, 3
"""Tensors that a prompt has at once within a layer: what came in, normalised, queries, what attention gives, their sum;
the feed-forward block's gate, its other half, and their product."""


class Shape(NamedTuple):
    """What of a model decides on its memory."""

    parameters: int
    layers: int
    width: int
    inner: int
    """Width within the feed-forward block."""
    heads: int
    cache_width: int
    """Of the keys (and of the values) of one position in one layer."""
    vocabulary: int
    sides: int
    """Inputs and outputs of all linear layers but the head, added up: LoRA has rank times as many parameters."""

    def trained(self, rank: int) -> int:
        """Return how many parameters training changes; rank 0 trains all."""
        return self.sides * rank if rank else self.parameters


class Part(NamedTuple):
    """One reason why memory is taken."""

    name: str
    bytes: int


def shape_of(base: Base | None) -> Shape | None:
    """Return a base model's shape; None where its files do not tell it, and for None."""
    from safetensors import SafetensorError

    from students.tiny import CONTROL, SHAPE, TinyBase

    if isinstance(base, TinyBase):
        return _by_settings({**SHAPE, "vocab_size": len(CONTROL) + 256}, None)
    if not isinstance(base, FolderBase):
        return None
    try:
        settings = json.loads((base.folder / "config.json").read_bytes())
        return _by_settings(settings.get("text_config", settings), _matrices(base.folder))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, SafetensorError):
        return None  # an estimate that cannot be made is left out: nothing else depends on it


def answering(shape: Shape, *, batch_tokens: int, bfloat16: bool, adapted: bool) -> list[Part]:
    """Return what answering takes of the memory that the model computes in.

    batch_tokens: positions that one batch holds. bfloat16: whether it answers in bfloat16, else in float32. adapted:
    whether it has an adapter, which is merged in float32 before anything is answered.
    """
    size = _BFLOAT16 if bfloat16 else _FLOAT32
    weights, cache = shape.parameters * size, batch_tokens * shape.layers * 2 * shape.cache_width * size * _CACHE
    layer = batch_tokens * size * (_WIDTHS * shape.width + _INNERS * shape.inner)  # of one layer: each takes the last's
    merging = shape.parameters * _FLOAT32 if adapted and bfloat16 else 0
    if merging > cache + layer:  # it is over before anything is answered
        return [Part("weights", weights), Part("merging", merging)]
    return [Part("weights", weights), Part("cache", round(cache)), Part("activations", layer)]


def learning(shape: Shape, training: Training, *, longest: int, bfloat16: bool, gpu: bool = False) -> list[Part]:
    """Return what training takes of the memory that the model computes in.

    longest: tokens of the longest lesson, prompt and completion. bfloat16: whether the weights compute in it. gpu:
    whether attention and the loss have fused kernels.
    """
    size = _BFLOAT16 if bfloat16 and training.rank else _FLOAT32
    trained = shape.trained(training.rank)
    adam = 2 * _FLOAT32
    copies = 2 * _FLOAT32 if size == _BFLOAT16 else 0  # MasterAdamW's weights and gradients in float32
    tokens = training.micro_batch_size * longest
    each = size * (8 * shape.width + 4 * shape.cache_width + 4 * shape.inner) + _FLOAT32 * 4 * shape.width
    attention = 0 if gpu else tokens * longest * shape.heads * shape.layers * _ATTENTION
    logits = tokens * shape.vocabulary * _FLOAT32 * _COPIES_OF_LOGITS
    if not gpu:
        from students.scoring import LOGITS

        logits = min(logits, max(LOGITS, longest * shape.vocabulary) * _FLOAT32 * _COPIES_OF_LOGITS)
    return [
        Part("weights", shape.parameters * size + (trained * size if training.rank else 0)),
        Part("gradients and optimizer", trained * (size + adam + copies)),
        Part("activations", tokens * shape.layers * each + attention),
        Part("logits", logits),
        Part("trainer", TRAINER),
    ]


def saved(shape: Shape, rank: int) -> int:
    """Return the bytes on disk of what a round's training saves: an adapter, or all weights, in float32."""
    return shape.trained(rank) * _FLOAT32 + 100_000


def total(parts: list[Part]) -> int:
    """Return the bytes of all parts."""
    return sum(part.bytes for part in parts)


def _by_settings(settings: Mapping[str, Any], matrices: Mapping[str, tuple[int, ...]] | None) -> Shape:
    """Return the shape of a decoder from its configuration and, where there are some, its matrices by name."""
    width, layers, heads = (int(settings[name]) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
    head = int(settings.get("head_dim") or width // heads)
    inner = int(settings.get("intermediate_size") or 4 * width)
    cache = int(settings.get("num_key_value_heads") or heads) * head
    vocabulary = int(settings["vocab_size"])
    if matrices is None:
        queries = heads * head
        of_layer = [(width, queries), (width, cache), (width, cache), (queries, width)]
        of_layer += [(width, inner), (width, inner), (inner, width)]
        matrices = {f"{layer}.{place}": sizes for layer in range(layers) for place, sizes in enumerate(of_layer)}
        matrices["embed"] = (vocabulary, width)
    linear = [
        sizes
        for name, sizes in matrices.items()
        if len(sizes) == 2 and not any(part in name for part in ("embed", "lm_head", "wte", "wpe"))
    ]
    return Shape(
        parameters=sum(math.prod(sizes) for sizes in matrices.values()),
        layers=layers, width=width, inner=inner, heads=heads, cache_width=cache, vocabulary=vocabulary,
        sides=sum(sum(sizes) for sizes in linear),
    )  # fmt: skip


def _matrices(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and sizes of a folder's tensors from the headers of its safetensors files."""
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        opened: Any = safe_open(path, framework="np")
        with opened as tensors:
            found |= {str(name): tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return found
