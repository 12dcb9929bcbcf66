"""The teacher's port: anything that answers chats. A capability beyond that is a type of its own, not a flag."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

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
    json_schema: str | None = None
    """A JSON schema, as JSON text, that the answer is to follow; sent to endpoints that can hold a model to one."""


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
    usd: float | None = None
    """What it cost; None where the prices or the tokens are not known. A program of ours costs 0."""


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


@runtime_checkable
class ManyTeacher(Teacher, Protocol):
    """A teacher that can draw several samples in one request, which pays for the prompt once."""

    async def offers_many(self) -> bool:
        """Whether the endpoint behind it can; where not, samples are asked for one by one."""
        ...

    async def ask_many(self, messages: Sequence[Message], samplings: Sequence[Sampling]) -> list[Reply]:
        """Answer one chat once for each sampling; they differ in their seeds only, and the first one's is sent.

        Returns at most as many replies as were asked for, in the endpoint's order, each whole; fewer where the
        endpoint gave fewer. Their usages add up to the request's.

        Raises:
            TeacherError: no reply; `fatal` where no call of this run can get one.
        """
        ...


@runtime_checkable
class TrainableTeacher(Teacher, Protocol):
    """A teacher whose weights lie on this machine, and can be trained."""

    @property
    def model(self) -> str:
        """The folder or the hub's id of its weights."""
        ...

    def with_adapter(self, folder: Path) -> Teacher:
        """Return the teacher with a LoRA adapter on its weights, under another name.

        Raises:
            InputError: it has one already.
        """
        ...


Door = Callable[[Teacher], AbstractAsyncContextManager[object]]
"""What each call to a teacher goes through: within it, the teacher has what it needs of this machine."""


def open_door(teacher: Teacher) -> AbstractAsyncContextManager[object]:
    """Return the door of a teacher that needs nothing of this machine."""
    return nullcontext()


class TokenScore(Record, frozen=True, kw_only=True):
    """How likely one token was, given all before it."""

    id: int
    """In the teacher's own vocabulary."""
    token: str
    """The token's text; bytes that are no whole character stand as U+FFFD."""
    logprob: float
    """Natural logarithm, at most 0."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens at this place, (id, logprob), likeliest first, as many as were asked for."""


class ScoringTeacher(Protocol):
    """A teacher that can tell how likely it would have written a given text."""

    @property
    def name(self) -> str:
        """As a Teacher's."""
        ...

    async def score(self, messages: Sequence[Message], completion: str, *, top: int = 0) -> list[TokenScore]:
        """Return the scores of the completion's tokens, as the answer to the chat: [completion token].

        The end-of-turn token is not scored. `top` likeliest tokens are added at each place, at most 20.

        Raises:
            TeacherError: no scores; `fatal` where the endpoint cannot score at all.
        """
        ...

    async def aclose(self) -> None:
        """As a Teacher's."""
        ...


@runtime_checkable
class HoldingTeacher(Protocol):
    """A teacher that holds memory or processes of this machine between calls."""

    @property
    def placement(self) -> Literal["remote", "separate", "shared"]:
        """`shared`: it and the student need the same memory, so it gives it back before the student works. `separate`:
        its memory is its own. `remote`: it holds none here."""
        ...

    def close(self) -> None:
        """Give back weights, servers, processes; may be called twice. The next call brings them back."""
        ...


@runtime_checkable
class ServingTeacher(HoldingTeacher, Protocol):
    """A holding teacher on a server that is started here."""

    @property
    def sleeps(self) -> bool:
        """Whether it can give back the card's memory without ending."""
        ...

    @property
    def running(self) -> bool:
        """Whether the server's main process is there."""
        ...

    async def ready(self) -> None:
        """Start the server where it does not run, and return when it answers.

        Raises:
            TeacherError: fatal: it cannot be started.
        """
        ...

    async def sleep(self) -> None:
        """Have it give back the card's memory.

        Raises:
            TeacherError: it cannot, or refuses.
        """
        ...

    async def wake(self) -> None:
        """Bring it back from sleep.

        Raises:
            TeacherError: it cannot be woken.
        """
        ...

    def left(self) -> int:
        """Return how many processes `close` has left behind; 0 where all is well."""
        ...

    def kill(self) -> int:
        """Kill what `close` has left behind; return how many processes there still are."""
        ...


@runtime_checkable
class GatheringTeacher(Protocol):
    """A teacher that needs many calls at once, because it sends them off together (a batch API, a batched model)."""

    @property
    def in_flight(self) -> int:
        """Calls that should be with it at once; stands in the place of `calls.in_flight`."""
        ...
