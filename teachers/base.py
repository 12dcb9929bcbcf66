"""The teacher's port: anything that answers chats. A capability beyond that is a type of its own, not a flag."""

from collections.abc import Sequence
from typing import Literal, Protocol

from lessons.records import Message, Record

Finish = Literal["stop", "length", "refused", "other"]
"""Why a reply ended: by itself, cut at max_tokens, refused by the endpoint, or anything else (never a lesson)."""


class Sampling(Record, frozen=True, kw_only=True):
    """How a reply is drawn. Part of the ledger's key."""

    max_tokens: int = 1024
    """Tokens at most, thoughts included. Always sent: some servers otherwise answer for minutes."""
    temperature: float = 0.7
    top_p: float = 1.0
    seed: int | None = None
    """Sent where given; an endpoint may ignore it."""
    stop: tuple[str, ...] = ()


class Usage(Record, frozen=True, kw_only=True):
    """Tokens by kind; None where the endpoint does not say."""

    prompt: int | None = None
    cached_prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None


class Reply(Record, frozen=True, kw_only=True):
    """One reply."""

    text: str
    """The answer alone; thoughts are kept apart."""
    finish: Finish = "stop"
    reasoning: str = ""
    """What the model thought before it answered, where the endpoint or a <think> tag says so. Never in a lesson."""
    usage: Usage = Usage()
    model: str = ""
    """The model as the endpoint names it."""
    detail: str = ""
    """The endpoint's own word for how it ended, or its words of refusal."""


class Teacher(Protocol):
    """Anything that answers chats. It owns its connections and retries, and raises only TeacherError."""

    @property
    def name(self) -> str:
        """What the ledger files its replies under: the same name must mean the same model behind the same endpoint."""
        ...

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat.

        Raises:
            TeacherError: no reply; `fatal` where no call of this run can get one.
        """
        ...

    async def aclose(self) -> None:
        """Give back connections and processes. May be called twice."""
        ...
