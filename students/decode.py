"""Token by token: batched generation that drops rows as they end.

`model.generate` keeps computing rows that have ended until the last one ends. A step on two cores costs nearly in
proportion to its rows, and one rambling answer is five times as long as the others, so this loop takes ended rows out.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

COMPACT_AT = 0.125
"""Share of a batch's rows that must have ended before they are taken out: each time copies the cache once."""


def batches(lengths: Sequence[int], new_tokens: int, batch_tokens: int) -> Iterator[list[int]]:
    """Yield the places of rows that go together, longest first, so that padding is least.

    lengths: prompt tokens of each row. A batch holds rows x (its longest prompt + new_tokens) <= batch_tokens, and
    always at least one row.
    """
    batch: list[int] = []
    width = 0
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batch and (len(batch) + 1) * (width + new_tokens) > batch_tokens:
            yield batch
            batch = []
        if not batch:
            width = lengths[place]
        batch.append(place)
    if batch:
        yield batch


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stops: frozenset[int],
    padding: int,
    max_tokens: int,
    temperature: float = 0.0,
    seeds: Sequence[int] = (),
    ended: Callable[[], None] | None = None,
    is_over: Callable[[Sequence[int]], bool] | None = None,
) -> list[list[int]]:
    """Return the new tokens of each prompt of one batch, the token that stopped it included where one did.

    temperature: 0 is greedy. seeds: one for each row; a row's draws depend on its own seed only, not on the batch.
    ended: called once for each row, when it ends. is_over: told a row's new tokens after each of them; True ends it.
    """
    import torch
    from transformers import DynamicCache

    width = max(len(prompt) for prompt in prompts)
    count, capacity = len(prompts), width + max_tokens
    where = model.device
    tokens = torch.tensor([[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=where)
    mask = torch.ones(
        (count, capacity), dtype=torch.long, device=where
    )  # only its first `width + step` columns are shown
    for row, prompt in enumerate(prompts):
        mask[row, : width - len(prompt)] = 0
    positions = (mask[:, :width].cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    draws = [Random(seed) for seed in seeds] if temperature > 0 else []
    written: list[list[int]] = [[] for _ in prompts]
    alive = list(range(count))  # rows of the batch -> places in `written`
    done: set[int] = set()
    with torch.inference_mode(), head_takes_rows(model):
        for step in range(max_tokens):
            shown = mask[:, : width + step]
            logits = model(
                input_ids=tokens, attention_mask=shown, position_ids=positions, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]  # fmt: skip
            chosen = pick(logits, temperature, [draws[place] for place in alive] if draws else [])
            for place, token in zip(alive, chosen.tolist(), strict=True):
                if place not in done:
                    written[place].append(token)
                    full = len(written[place]) == max_tokens
                    if token in stops or full or (is_over is not None and is_over(written[place])):
                        done.add(place)
                        if ended is not None:
                            ended()
            left = [row for row, place in enumerate(alive) if place not in done]
            if not left:
                break
            positions = positions[:, -1:] + 1
            tokens = chosen[:, None]
            if len(alive) - len(left) >= max(1, COMPACT_AT * len(alive)):
                kept = torch.tensor(left, device=where)
                cache.batch_select_indices(kept)
                tokens, positions, mask = tokens[kept], positions[kept], mask[kept]
                alive = [alive[row] for row in left]
    return written


@contextmanager
def head_takes_rows(model: Any) -> Generator[None]:
    """Have the model's head compute the last position of all rows as one matrix product.

    The last positions are cut out of all positions, and with weights that need no gradient torch then copies the whole
    head once for each row: 3.4 GB for 64 rows of the 135M student, and most of the prompt's time.
    """

    def pack(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0].contiguous(), *given[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(pack)
    try:
        yield
    finally:
        hook.remove()


def pick(logits: "torch.Tensor", temperature: float, draws: Sequence[Random]) -> "torch.Tensor":
    """Return a token for each row of logits [rows, vocabulary]: the likeliest, or one by the row's own draws."""
    import torch

    if temperature <= 0:
        return logits.max(-1).indices  # argmax takes five times as long in bfloat16
    chances = torch.softmax(logits.float() / temperature, -1).cumsum(-1)
    heights = torch.tensor([[draw.random()] for draw in draws], dtype=chances.dtype, device=chances.device)
    # The sum may end a rounding error below or above 1: scaled, so that every draw falls on a token.
    return torch.searchsorted(chances, heights * chances[:, -1:]).squeeze(-1).clamp(max=logits.shape[-1] - 1)
