"""A rehearsal: what would be asked is counted, and each prompt's own example is the reply. Nothing is sent or paid.

With sample calls, the first few of each prompt go to the teacher, so that its real lengths are known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lessons.errors import ParseError
from teachers.base import Sampling, Usage
from teachers.calls import Asker
from teachers.ledger import Ledger, call_key
from teachers.prompts.base import Prompt
from teachers.totals import Answered, CallTotals

T = TypeVar("T")


@dataclass(slots=True)
class Need:
    """What one kind of prompt would ask for."""

    requests: int = 0
    prompt_bytes: int = 0
    turns: int = 0
    max_tokens: int = 0
    """Added over the requests: the replies cannot be longer."""
    example_bytes: int = 0
    """Added over the requests that have an example."""
    sampled: list[Usage] = field(default_factory=list[Usage])
    """Of the sample calls."""
    sampled_bytes: int = 0
    """Of the sample calls' prompts."""
    unread: int = 0
    """Requests without a reply to go on with: what would follow them is not counted."""


class Rehearsal:
    """Takes a Caller's place. A request that was counted is not counted again: the ledger would have its reply."""

    def __init__(self, real: Asker | None = None, ledger: Ledger | None = None, calls: int = 0) -> None:
        """Count only; or send the first `calls` requests of each prompt by `real`, whose ledger tells their tokens."""
        self.totals = CallTotals()
        self.needs: dict[str, Need] = {}
        self._counted: set[str] = set()
        self._real, self._ledger, self._calls = real, ledger, calls

    async def ask(
        self, prompt: Prompt[T], fields: Mapping[str, object], *, n: int = 1, sampling: Sampling | None = None
    ) -> list[Answered[T]]:  # [sample]
        """Count `n` requests, and return the prompt's example for each.

        Raises:
            InputError: the prompt lacks a field.
            TeacherError: a sample call failed for good.
        """
        need = self.needs.setdefault(prompt.name, Need())
        messages = prompt.messages(fields)
        size = sum(len(turn["content"].encode()) for turn in messages)
        answers: list[Answered[T]] = []
        for sample in range(n):
            key = call_key(prompt.name, messages, sampling or prompt.sampling, sample)
            answer = await self._sampled(need, prompt, fields, sampling, size)
            answers.append(self._rehearsed(need, prompt, fields) if answer is None else answer)
            if key in self._counted:
                continue
            self._counted.add(key)
            need.requests += 1
            need.prompt_bytes += size
            need.turns += len(messages)
            need.max_tokens += (sampling or prompt.sampling).max_tokens
        self.totals.asked += n
        self.totals.parsed += n
        return answers

    def _rehearsed(self, need: Need, prompt: Prompt[T], fields: Mapping[str, object]) -> Answered[T]:
        if prompt.example is None:
            need.unread += 1
            return Answered(reason="empty")
        text = prompt.example(fields, need.requests)
        need.example_bytes += len(text.encode())
        try:
            return Answered(value=prompt.parse(text), text=text, call=f"rehearsal-{prompt.name}-{need.requests}")
        except ParseError as error:
            need.unread += 1
            return Answered(reason="invalid", text=text, detail=str(error))

    async def _sampled(
        self, need: Need, prompt: Prompt[T], fields: Mapping[str, object], sampling: Sampling | None, size: int
    ) -> Answered[T] | None:
        if self._real is None or self._ledger is None or len(need.sampled) >= self._calls:
            return None
        need.sampled.append(Usage())  # its place, before others come here while this one waits
        place = len(need.sampled) - 1
        (answer,) = await self._real.ask(prompt, fields, sampling=sampling)
        call = self._ledger.get(answer.call) if answer.call else None
        if call is not None and answer.repaired is None:
            need.sampled[place] = call.reply.usage
            need.sampled_bytes += size
        return None if answer.reason else answer

    def per_byte(self) -> float | None:
        """Return the prompt tokens that the sample calls took for each byte, or None."""
        told = [
            (need.sampled_bytes, sum(used.prompt or 0 for used in need.sampled))
            for need in self.needs.values()
            if need.sampled_bytes and all(used.prompt is not None for used in need.sampled if used != Usage())
        ]
        size, tokens = sum(size for size, _ in told), sum(tokens for _, tokens in told)
        return tokens / size if size and tokens else None


def mean_completion(need: Need) -> tuple[float, float] | None:  # (mean, standard error), tokens
    """Return how long the sample replies were, or None where fewer than two told it."""
    told = [used.completion for used in need.sampled if used.completion is not None]
    if len(told) < 2:  # one says nothing about how much they differ
        return None
    mean = sum(told) / len(told)
    return mean, math.sqrt(sum((one - mean) ** 2 for one in told) / (len(told) - 1) / len(told))
