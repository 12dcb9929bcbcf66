"""What a served student and its server tell each other: what is to be served, one answer's request and its reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from lessons.errors import StudentError

if TYPE_CHECKING:
    import aiohttp

BASE = "student"
"""The name under which a model without an adapter is served."""
TRIES = 3
"""Tries for one answer at a server that lives; what a server took with it when it broke down counts as none."""
_WORDS = 500
"""Characters of a server's words that an error repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server is to serve."""

    model: Path
    """A model's folder."""
    rank: int = 0
    """LoRA rank of the adapter; 0: the server takes no adapters."""
    adapter: Path | None = None
    """Its folder, named by its content: no name is ever another adapter's."""
    write: Callable[[Path], None] | None = None
    """Makes the model's folder where it is not there; None: it is always there."""

    @property
    def name(self) -> str:
        """The name under which it is asked."""
        return self.adapter.name if self.adapter is not None else BASE


class Address(NamedTuple):
    """A server that is ready."""

    base_url: str
    """With /v1."""
    key: str
    start: int
    """Which start of the server this is."""
    seeds: bool
    """Whether it may be sent seeds."""


class Desk(Protocol):
    """Where a served student finds its server, and says what it is about to do."""

    @property
    def folder(self) -> Path:
        """Where models may be written that are served and then gone."""
        ...

    async def up(self, serving: Serving) -> Address:
        """Return the address of a server that serves this, and nothing else, starting it where it does not run.

        Raises:
            StudentError: it cannot be started, or does not take the adapter.
        """
        ...

    async def fell(self, start: int) -> bool:
        """Whether the server of this start is gone, asked after an answer failed; `up` starts it again.

        Raises:
            StudentError: it broke down more often than is tried again.
        """
        ...

    def make_room(self, owner: Literal["scoring", "training"]) -> None:
        """Have the server leave the memory: the student is about to score ("scoring") or to learn ("training") here."""
        ...


async def ask(session: "aiohttp.ClientSession", address: Address, body: Mapping[str, Any]) -> list[int] | str:
    """Return the tokens of an answer, or why there are none though the server may have them another time.

    Raises:
        StudentError: the server refuses, or answers something else than what it was asked.
    """
    import aiohttp

    headers = {"Authorization": f"Bearer {address.key}"}
    try:
        async with session.post(f"{address.base_url}/completions", json=body, headers=headers) as response:
            status = response.status
            if status == 200:
                return read_reply(await response.json(content_type=None), body)
            words = " ".join((await response.text(errors="replace"))[:_WORDS].replace(address.key, "[key]").split())
    except (aiohttp.ClientError, OSError, ValueError) as error:  # no answer, or none that is JSON
        return f"{type(error).__name__} {error}".strip()
    if 400 <= status < 500:
        raise StudentError(f"the student's vLLM server refuses ({status}): {words}")
    return f"status {status}: {words}"


def read_reply(told: Any, body: Mapping[str, Any]) -> list[int] | str:
    """Return the tokens of a reply, or why it is no whole answer.

    Raises:
        StudentError: another model answered, another prompt was read, or the server gives no tokens.
    """
    try:
        (choice,) = told["choices"]
        model, finish = told["model"], choice["finish_reason"]
    except (KeyError, TypeError, ValueError):
        return "a reply without an answer"
    if model != body["model"]:
        raise StudentError(f"the student's vLLM server answered as {model!r}, and was asked as {body['model']!r}")
    if finish not in ("stop", "length"):
        return f"the answer was broken off ({finish})"  # a server that is being ended cuts what it has
    tokens, prompt = choice.get("token_ids"), choice.get("prompt_token_ids")
    if not isinstance(tokens, list) or prompt != body["prompt"]:
        raise StudentError("the student's vLLM server gives no tokens, or read another prompt; vLLM 0.11 or later does")
    return [int(token) for token in tokens]
