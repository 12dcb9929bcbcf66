"""A student for tests and first looks: two layers, bytes for tokens, random weights. It trains in a second."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessons.ids import content_id
from students.hf import HFStudent
from students.runtime import Precision

if TYPE_CHECKING:
    import torch

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTROL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
POSITIONS = 1024
SHAPE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": POSITIONS,
}  # fmt: skip


class TinyBase:
    """A Llama with two layers of width 64, and a tokenizer with one token for each byte.

    seed: of its random weights. Same seed, same weights, on every machine of one torch version.
    """

    name = "tiny"

    def __init__(self, seed: int = 0, template: str = TEMPLATE) -> None:
        self.seed, self.template = seed, template

    @property
    def fingerprint(self) -> str:
        """Content id of everything that the model is made from."""
        return content_id("tiny", seed=self.seed, template=self.template, shape=SHAPE)

    def tokenizer(self, *, chat: bool = True) -> Any:
        """Make the tokenizer; it always has a chat template."""
        return byte_tokenizer(self.template)

    def stop_ids(self) -> frozenset[int]:
        """It stops at the tokenizer's own end."""
        return frozenset({CONTROL.index("<|end|>")})

    def positions(self) -> int | None:
        """Return how many positions it has."""
        return POSITIONS

    def model(self, dtype: "torch.dtype", attention: str | None = None) -> Any:
        """Make the weights."""
        from copy import deepcopy

        return deepcopy(_made(self.seed, attention)).to(dtype)


def byte_tokenizer(template: str = TEMPLATE, *, positions: int = POSITIONS, vocabulary: int = 0) -> Any:
    """Return a tokenizer with one token for each byte and a chat template.

    vocabulary: tokens in all, at least; those beyond the bytes are words that no text is read as.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words += [f"w{place}" for place in range(len(words), vocabulary)]
    made = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate(words)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|end|>",  # noqa: S106 - a token of text, no secret
        pad_token="<|pad|>",  # noqa: S106
        additional_special_tokens=list(CONTROL[2:]),
        model_max_length=positions,
    )
    tokenizer.chat_template = template
    return tokenizer


@cache
def _made(seed: int, attention: str | None) -> Any:
    """The model in float32. The global random state is left as it was."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **SHAPE, vocab_size=len(CONTROL) + 256, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.set_attn_implementation(attention or "sdpa")
    return model


def tiny(
    seed: int = 0, *, adapter: Path | None = None, precision: Precision = "float32", threads: int = 0
) -> HFStudent:
    """Return the tiny student; so small a model is no faster in bfloat16, so it computes in float32 by itself."""
    return HFStudent(TinyBase(seed), adapter=adapter, precision=precision, threads=threads)
