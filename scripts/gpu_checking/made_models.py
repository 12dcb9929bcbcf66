"""Models made from a configuration with random weights, for machines where none can be had. They say nothing sensible,
and compute, train and are served as real ones are."""

from pathlib import Path
from typing import Any, NamedTuple

from students.runtime import Precision


class Size(NamedTuple):
    """The shape of a Llama."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    inner: int
    vocabulary: int


SIZES = {
    "tiny": Size(128, 2, 2, 1, 256, 512),
    "500m": Size(1024, 24, 16, 4, 4096, 32768),
    "3b": Size(3072, 28, 24, 8, 8192, 32768),
}
"""Name -> shape; heads of 64 and 128, which every attention kernel has."""
POSITIONS = 4096


def made(into: Path, name: str, *, precision: Precision, device: str, seed: int) -> Path:
    """Write a model of random weights with a byte-level tokenizer into a folder, and return it.

    device: where the weights are drawn; a few billion of them take minutes on a CPU.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from students.tiny import byte_tokenizer

    size = SIZES[name]
    settings: dict[str, Any] = {
        "hidden_size": size.hidden, "num_hidden_layers": size.layers, "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads, "intermediate_size": size.inner, "vocab_size": size.vocabulary,
        "max_position_embeddings": POSITIONS, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
        "tie_word_embeddings": True,
    }  # fmt: skip
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**settings, dtype=dtype))
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(into)
    byte_tokenizer(positions=POSITIONS, vocabulary=size.vocabulary).save_pretrained(into)
    return into
