"""One reply that a whole round hangs on: asked for again where it cannot be read."""

from typing import Any, TypeVar

import msgspec

from lessons.ids import seed_of
from loops.round import Round, Said
from teachers.prompts.base import Prompt

T = TypeVar("T")

TRIES = 3
"""Requests for one reply, each with its repair turn. Our own bound."""
RETRY_TEMPERATURE = 0.7
"""Of the second and third try: at 0 the same unreadable reply would come again. Our own choice."""


async def insist(round_: Round, prompt: Prompt[T], **fields: Any) -> Said[T] | None:
    """Ask for one reply until it can be read; None where it cannot in `TRIES` tries. Each lost reply is counted."""
    for turn in range(TRIES):
        sampling = prompt.sampling
        if turn:
            seed = seed_of(prompt.name, turn)
            sampling = msgspec.structs.replace(sampling, temperature=RETRY_TEMPERATURE, seed=seed)
        for said in await round_.ask(prompt, sampling=sampling, **fields):
            return said
    return None
