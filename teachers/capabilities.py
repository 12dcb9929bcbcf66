"""What an endpoint can: asked once, by short calls whose outcome cannot be a matter of luck, and remembered."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from lessons.errors import TeacherError
from lessons.ids import ID_LENGTH, digest
from lessons.jsonl import UNREADABLE, write_whole
from lessons.places import cache_folder
from lessons.records import Record

Feature = Literal["n", "json_schema"]
"""What a request can ask for that not every endpoint heeds."""
KEPT = 30 * 24 * 3600.0
"""Seconds for which an answer is remembered: servers are updated. Our own choice."""
_WORD = "lapis-7f"
"""What no model says unless a schema makes it."""
_ROOM = 256
"""Tokens for the schema's probe: models that think first need some."""


class Capabilities(Record, frozen=True, kw_only=True):
    """What one model behind one endpoint can."""

    models: tuple[str, ...] | None
    """Names of the endpoint's models; None where it has no list."""
    n: bool
    """Several samples in one request; an endpoint that ignores `n` cannot."""
    json_schema: bool
    """Replies held to a schema; an endpoint that ignores `response_format` cannot."""
    logprobs: bool
    """Log-probabilities of the tokens that it wrote."""
    asked: float
    """When, in seconds since 1970."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """What the path of a call makes use of."""
        return tuple(feature for feature in ("n", "json_schema") if getattr(self, feature))


class Endpoint(Protocol):
    """What a probe needs of a client."""

    @property
    def model(self) -> str:
        """As requests name it."""
        ...

    @property
    def base_url(self) -> str:
        """Where it is."""
        ...

    @property
    def token_parameter(self) -> str:
        """What it calls the largest number of tokens."""
        ...

    @property
    def extra_body(self) -> Mapping[str, Any]:
        """Members of each request."""
        ...

    @property
    def name(self) -> str:
        """What the ledger files its replies under."""
        ...

    async def models(self) -> list[str] | None:
        """The endpoint's models."""
        ...

    async def post(self, body: Mapping[str, Any]) -> bytes:
        """The answer to one request."""
        ...


class Abilities:
    """One client's knowledge of its endpoint: from memory, else from the user's cache, else by asking."""

    def __init__(self) -> None:
        self._known: Capabilities | None = None
        self._asking: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    async def get(self, endpoint: Endpoint) -> Capabilities:
        """Return what the endpoint can; many may ask at once, and one of them finds out.

        Raises:
            TeacherError: it did not answer, or its key or model is wrong.
        """
        if self._known is None:
            async with self._asking.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                if self._known is None:
                    self._known = remembered(endpoint) or remember(endpoint, await probe(endpoint))
        return self._known


async def probe(endpoint: Endpoint) -> Capabilities:
    """Ask an endpoint what it can: its list of models, and two short calls.

    Raises:
        TeacherError: it did not answer, or its key or model is wrong.
    """
    models = await endpoint.models()
    base = {"model": endpoint.model, "temperature": 0.0, **endpoint.extra_body}
    greeting = [{"role": "user", "content": "Say hello."}]
    told = await _asked(
        endpoint, {**base, "messages": greeting, endpoint.token_parameter: 16, "n": 2, "logprobs": True}
    )
    if told is None:  # one of the two was refused: which?
        several = await _asked(endpoint, {**base, "messages": greeting, endpoint.token_parameter: 16, "n": 2})
        scored = await _asked(endpoint, {**base, "messages": greeting, endpoint.token_parameter: 16, "logprobs": True})
    else:
        several = scored = told
    schema = {
        "type": "object",
        "properties": {"stone": {"type": "string", "enum": [_WORD]}},
        "required": ["stone"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
    held = await _asked(
        endpoint, {**base, "messages": greeting, endpoint.token_parameter: _ROOM, "response_format": form}
    )
    return Capabilities(
        models=None if models is None else tuple(models),
        n=len(_choices(several)) == 2,
        logprobs=any(choice.get("logprobs") for choice in _choices(scored)),
        json_schema=any(_is_held(choice) for choice in _choices(held)),
        asked=time.time(),
    )


def remembered(endpoint: Endpoint) -> Capabilities | None:
    """Return what was found out before, where it is not too old."""
    try:
        known = msgspec.json.decode(_note(endpoint).read_bytes(), type=Capabilities)
    except (OSError, *UNREADABLE):
        return None
    return known if 0 <= time.time() - known.asked < KEPT else None


def remember(endpoint: Endpoint, known: Capabilities) -> Capabilities:
    """Keep what was found out. Not of a server on this machine: tomorrow another one may have its address."""
    if urlsplit(endpoint.base_url).hostname not in ("127.0.0.1", "localhost", "::1"):
        note = _note(endpoint)
        with suppress(OSError):  # a cache that cannot be written costs two calls, nothing else
            note.parent.mkdir(parents=True, exist_ok=True)
            write_whole(note, msgspec.json.encode(known))
    return known


def read_models(body: bytes) -> list[str] | None:
    """Return the names in an answer of /models; None where it is no such list."""
    try:
        told = msgspec.json.decode(body, type=_Models)
    except UNREADABLE:
        return None
    return [model.id for model in told.data]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def _note(endpoint: Endpoint) -> Any:
    name = digest({"name": endpoint.name, "base_url": endpoint.base_url})[:ID_LENGTH]
    return cache_folder() / "capabilities" / f"{name}.json"


async def _asked(endpoint: Endpoint, body: Mapping[str, Any]) -> Any:
    """Return the decoded answer, or None where the endpoint refuses such a request."""
    try:
        return msgspec.json.decode(await endpoint.post({k: v for k, v in body.items() if v is not None}))
    except TeacherError as error:
        if error.status in (400, 422, 501) and not error.retryable:  # not 404: that is the model, or the address
            return None
        raise
    except UNREADABLE:
        return None


def _choices(told: Any) -> list[dict[str, Any]]:
    choices = told.get("choices") if isinstance(told, dict) else None
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _is_held(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    try:
        return isinstance(content, str) and msgspec.json.decode(content) == {"stone": _WORD}
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # UnicodeError: half a surrogate pair
        return False
