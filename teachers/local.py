"""A teacher that is a transformers model in this process: for machines without a server, and to look at its scores."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from lessons.errors import InputError
from lessons.ids import content_id
from lessons.knobs import operational
from lessons.records import Message
from teachers.base import Reply, Sampling, TokenScore, Usage
from teachers.local_queue import AskCall, BatchQueue, LocalCall, ScoreCall
from teachers.local_weights import Weights, load
from teachers.prices import Prices
from teachers.wire import split_thoughts

__all__ = ["LocalTeacher"]

T = TypeVar("T")

MOST_TOP = 20
"""Likeliest tokens at one place, at most: what vLLM's servers give by default."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalTeacher:
    """Answers and scores in batches, in one thread beside the event loop. May be used from several event loops.

    Loads at the first call. A reply depends on its messages, its sampling and its seed, not on what shares its batch,
    up to the rounding of the model's arithmetic: two tokens within a rounding error of each other may change places.
    """

    model: str
    """A folder with config.json and *.safetensors, or the hub's id, such as Qwen/Qwen3-4B-Instruct-2507."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the weights while they compute; auto is bfloat16 where the processor or GPU computes in it."""
    device: Literal["auto", "cpu", "cuda"] = operational("auto")
    """auto is the first GPU where there is one."""
    batch: int = operational(8)
    """Calls that are computed together, at most; where they do not fit into memory, the batch is halved."""
    gather: float = operational(0.02)
    """Seconds that a batch which is not full waits for more calls."""
    threads: int = operational(0)
    """CPU threads while a batch is computed; 0 leaves the number to torch."""
    max_input_tokens: int = 0
    """A longer prompt fails, alone; 0 allows whatever the model has positions for."""
    adapter: str = ""
    """A folder with a LoRA adapter as PEFT saves it (adapter_config.json, adapter_model.safetensors), trained on this
    model; "" for the model as it is."""
    prices: Prices | None = operational(None)
    """USD per million tokens, where the machine's time is to be counted; null: the cost is not known."""
    label: str = ""
    """What the ledger files replies under; "" is the model's name and a digest of its weights."""

    placement: ClassVar[Literal["separate", "shared"]] = "shared"
    """Its weights lie in this process, where the student trains."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InputError: a knob's value cannot be used.
        """
        if not self.model.strip():
            raise InputError("teacher.model must be a folder or the hub's id of a model")
        if self.batch < 1:
            raise InputError(f"teacher.batch must be at least 1, got {self.batch}")
        if self.gather < 0 or self.threads < 0 or self.max_input_tokens < 0:
            raise InputError("teacher.gather, teacher.threads and teacher.max_input_tokens must be at least 0")

    @property
    def name(self) -> str:
        """The model and a digest of its weights, settings, tokenizer and precision; or the label.

        Raises:
            InputError: there is no such model.
        """
        return self._name

    @property
    def in_flight(self) -> int:
        """Four batches: one is computed, and of the others the next is chosen by length."""
        return 4 * self.batch

    def with_adapter(self, folder: Path) -> "LocalTeacher":
        """Return the teacher with a LoRA adapter on its weights. It has a name of its own, and loads a copy of its own.

        Raises:
            InputError: this one has an adapter already.
        """
        if self.adapter:
            raise InputError("teacher.adapter: a teacher with an adapter cannot take another one; leave it out")
        return replace(self, adapter=str(folder), label="")

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat.

        Without a seed one is drawn. A JSON schema is not enforced.

        Raises:
            TeacherError: the chat is too long, does not fit into memory, or its batch failed; fatal where the model
                cannot be loaded.
        """
        seed = random.getrandbits(63) if sampling.seed is None else sampling.seed
        call = AskCall(messages=messages, sampling=sampling, seed=seed)
        written = await self._done(call, call.result)
        used = Usage(prompt=len(call.prompt), completion=written.tokens)
        thoughts, text = split_thoughts(written.text)
        return Reply(
            text=text,
            finish=written.finish,
            reasoning=thoughts,
            usage=used,
            model=self.model,
            detail=written.finish,
            usd=self.prices.usd(used) if self.prices else None,
        )

    async def score(self, messages: Sequence[Message], completion: str, *, top: int = 0) -> list[TokenScore]:
        """Return the scores of the completion's tokens, as the answer to the chat: [completion token].

        The completion is split into tokens by itself, also where its first ones would merge with the prompt's end.

        Raises:
            InputError: `top` is not in 0 to 20.
            TeacherError: as of `ask`.
        """
        if not 0 <= top <= MOST_TOP:
            raise InputError(f"scores: top must be 0 to {MOST_TOP}, got {top}")
        if not completion:
            return []
        call = ScoreCall(messages=messages, completion=completion, top=top)
        return await self._done(call, call.result)

    async def aclose(self) -> None:
        """End the thread, where no call is under way. The weights are kept for a later call; `close` frees them."""
        self._queue.rest()

    def close(self) -> None:
        """Wait for the calls under way, end the thread and free the weights; a later call loads them again."""
        self._queue.close()

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self.model, self.adapter)

    @cached_property
    def _name(self) -> str:
        if self.label:
            return self.label
        made = content_id("local", weights=self._weights.fingerprint, precision=self.precision)
        return f"local:{self._weights.place}#{made}"

    @cached_property
    def _queue(self) -> BatchQueue:
        return BatchQueue(
            lambda: load(self._weights, self.precision, self.device),
            batch=self.batch,
            gather=self.gather,
            threads=self.threads,
            max_input_tokens=self.max_input_tokens,
        )

    async def _done(self, call: LocalCall, result: "Future[T]") -> T:
        self._queue.put(call)
        try:
            return await asyncio.wrap_future(result)
        except asyncio.CancelledError:
            call.dropped = True  # its batch goes on without it
            raise
