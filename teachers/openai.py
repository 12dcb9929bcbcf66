"""A teacher behind any endpoint that speaks OpenAI's chat API: OpenAI's own, vLLM, and most others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from lessons.errors import InputError, TeacherError
from lessons.ids import content_id
from lessons.jsonl import plain_text
from lessons.knobs import operational
from lessons.records import Message
from teachers.base import Reply, Sampling
from teachers.capabilities import Abilities, Feature, read_models
from teachers.connection import Connection
from teachers.key_owners import check_owner, variables_of
from teachers.limits import Limiter
from teachers.prices import Prices
from teachers.retry import RetryPolicy
from teachers.secrets import Secrets, check_headers, check_no_key, check_variable
from teachers.wire import read_completion, read_completions

__all__ = ["OpenAITeacher"]

_OWN = frozenset({"model", "messages", "stream", "n"})
"""Members of a request that `extra_body` may not set: replies are filed and read by them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenAITeacher:
    """Asks an endpoint over HTTP. May be used from one event loop after another, from one at a time."""

    model: str
    """The model's name, as the endpoint knows it."""
    base_url: str = "https://api.openai.com/v1"
    """Where the endpoint is, up to and without /chat/completions."""
    key: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, never the key itself; "" where the endpoint wants none."""
    timeout: float = operational(600.0)
    """Seconds for one try, from connecting to the last byte."""
    attempts: int = operational(6)
    """Tries in all for one call, at least 1; see `teachers.retry` for which failures are tried again, and when."""
    send_seed: bool = True
    """Whether the seed is sent; some endpoints refuse it."""
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - tokens, not a token
    """What the endpoint calls the largest number of tokens; OpenAI's reasoning models want max_completion_tokens."""
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members added to each request, such as {"reasoning_effort": "low"}; null drops a member that would be sent."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTTP headers added to each request; a value "$NAME" is read from the environment variable NAME."""
    prices: Prices | None = operational(None)
    """USD per million tokens, by kind, and the day they were looked up; null: unknown, and shown as unknown."""
    features: Literal["auto"] | tuple[Feature, ...] = operational("auto")
    """What the endpoint can: `n` (several samples in one request), `json_schema` (replies held to a schema). `auto`
    finds out with two short calls, when it first matters, and remembers it."""
    label: str = ""
    """What the ledger files replies under; "" is model and address. Give one where the address changes from run to run
    (a server on a free port) and the model behind it does not."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, or would write a secret into a file.

        Raises:
            InputError: a knob's value cannot be used.
        """
        check_variable("key", self.key)
        check_headers(self.headers)
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError("teacher.base_url must begin with http:// or https:// and name a host")
        if address.username or address.password or address.query:
            raise InputError("teacher.base_url must not hold a user, a password or a query: use key or headers")
        variables = variables_of(self.key, self.headers)
        for knob in ("model", "base_url", "label", "extra_body"):
            check_no_key(knob, getattr(self, knob), variables)
        plain = {name: "" if value.startswith("$") else value for name, value in self.headers.items()}
        check_no_key("headers", plain, variables)
        if self.attempts < 1 or self.timeout <= 0:
            raise InputError("teacher.attempts must be at least 1, and teacher.timeout more than 0 seconds")
        if taken := sorted(_OWN & self.extra_body.keys()):
            raise InputError(f"teacher.extra_body must not set {', '.join(taken)}")

    @property
    def name(self) -> str:
        """Model and address (and a digest of `extra_body`, which changes what is answered), or the label."""
        return self._name

    @cached_property
    def _name(self) -> str:
        if self.label:
            return self.label
        address = urlsplit(self.base_url)
        place = address.netloc + address.path.rstrip("/").removesuffix("/v1")
        extra = f" #{content_id('extra_body', members=dict(self.extra_body))}" if self.extra_body else ""
        return f"openai:{self.model}@{place}{extra}"

    @property
    def policy(self) -> RetryPolicy:
        """When a failed try is repeated."""
        return RetryPolicy(attempts=self.attempts)

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat.

        Raises:
            TeacherError: no reply after all tries; fatal for a wrong key, an unknown model, an empty account. No
                message holds the key.
        """
        held = await self._held(sampling)
        body = msgspec.json.encode(self.body(messages, sampling, held=held))
        return self._priced(await self.policy.run(lambda: self._completion(body)))

    async def offers_many(self) -> bool:
        """Whether the endpoint draws several samples in one request.

        Raises:
            TeacherError: it cannot be found out.
        """
        return await self._can("n")

    async def ask_many(self, messages: Sequence[Message], samplings: Sequence[Sampling]) -> list[Reply]:
        """Answer one chat several times, in one request; the endpoint may give fewer replies.

        Raises:
            TeacherError: as `ask`.
        """
        first = samplings[0]
        held = await self._held(first)
        body = msgspec.json.encode({**self.body(messages, first, held=held), "n": len(samplings)})
        replies = await self.policy.run(lambda: self._completions(body))
        return [self._priced(reply) for reply in replies[: len(samplings)]]

    def body(self, messages: Sequence[Message], sampling: Sampling, *, held: bool = False) -> dict[str, Any]:
        """Return the request as it is sent: max_tokens always, top_p and stop only where they say something.

        `held`: whether the endpoint is asked to hold the reply to the sampling's schema.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": turn["role"], "content": plain_text(turn["content"])} for turn in messages],
            self.token_parameter: sampling.max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.send_seed and sampling.seed is not None:
            body["seed"] = sampling.seed
        if held and sampling.json_schema is not None:
            schema = msgspec.Raw(sampling.json_schema.encode())
            form = {"name": "reply", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        body.update(self.extra_body)
        return {name: value for name, value in body.items() if value is not None}

    async def models(self) -> list[str] | None:
        """Return the names of the endpoint's models; None where it has no such list.

        Raises:
            TeacherError: no answer, or a wrong key.
        """
        try:
            names = read_models(await self.policy.run(lambda: self._connection.bytes("GET", "/models")))
            return None if names is None else [self._connection.secrets.hide(name) for name in names]
        except TeacherError as error:
            if error.status in (404, 405, 501):
                return None
            raise

    async def post(self, body: Mapping[str, Any]) -> bytes:
        """Return the body of the answer to one request to /chat/completions, tried again as calls are.

        Raises:
            TeacherError: no answer, or an error answer.
        """
        encoded = msgspec.json.encode(body)
        return await self.policy.run(lambda: self._connection.bytes("POST", "/chat/completions", encoded))

    @property
    def limiter(self) -> Limiter:
        """How many requests are out at once; shared by all teachers of this process with the same endpoint and key."""
        return self._connection.limiter

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """Its limiter, for whoever shows how wide it is; empty before the first request."""
        return (self.limiter,) if "_connection" in self.__dict__ else ()

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice; a later call opens new ones."""
        if "_connection" in self.__dict__:  # else nothing was ever opened
            await self._connection.aclose()

    @cached_property
    def _connection(self) -> Connection:
        check_owner(variables_of(self.key, self.headers), self.base_url)
        return Connection(self.model, self.base_url, Secrets.read(self.key, self.headers), self.timeout)

    async def _completion(self, body: bytes) -> Reply:
        link = self._connection
        return read_completion(await link.bytes("POST", "/chat/completions", body), link.secrets.hide)

    async def _completions(self, body: bytes) -> list[Reply]:
        link = self._connection
        return read_completions(await link.bytes("POST", "/chat/completions", body), link.secrets.hide)

    async def _can(self, feature: Feature) -> bool:
        if self.features != "auto":
            return feature in self.features
        return feature in (await self._abilities.get(self)).features

    async def _held(self, sampling: Sampling) -> bool:
        """Whether the endpoint is asked to hold the reply to the sampling's schema."""
        if sampling.json_schema is None:
            return False
        try:
            return await self._can("json_schema")
        except TeacherError as error:
            if error.fatal:
                raise
            return False  # not found out now, so not made use of now; the next call asks again

    @cached_property
    def _abilities(self) -> Abilities:
        return Abilities()

    def _priced(self, reply: Reply) -> Reply:
        if self.prices is None:
            return reply
        return msgspec.structs.replace(reply, usd=self.prices.usd(reply.usage))
