"""Scores of given text over a running vLLM server: how likely its model would have written it, token by token."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from lessons.errors import InputError, TeacherError
from lessons.jsonl import UNREADABLE, plain_text
from lessons.records import Message
from teachers.base import TokenScore
from teachers.connection import Connection
from teachers.key_owners import check_owner
from teachers.retry import RetryPolicy
from teachers.secrets import Secrets, check_variable
from teachers.wire import shown

Kind = TypeVar("Kind")
_TOKEN = re.compile(r"[0-9]{1,9}")
"""How a token's id is written."""

MOST_TOP = 20
"""Likeliest tokens at one place, at most: what vLLM gives without --max-logprobs."""
_NO_SCORES = "scores of given text need a vLLM server (POST /tokenize, and prompt_logprobs in /v1/completions)"


class _Tokens(msgspec.Struct):
    tokens: list[int]
    max_model_len: int | None = None


class _Logprob(msgspec.Struct):
    logprob: float
    decoded_token: str | None = None


class _Choice(msgspec.Struct):
    prompt_logprobs: list[dict[str, _Logprob] | None] | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


@dataclass(frozen=True, kw_only=True, eq=False)
class VLLMScores:
    """Scores over a vLLM server that somebody runs. May be used from one event loop after another.

    The server's own tokenizer and chat template are used: nothing is loaded here.
    """

    model: str
    """The name that the server serves the model under."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Where the server is, up to and without /completions."""
    key: str = ""
    """Name of the environment variable that holds the key, never the key itself; "" where the server wants none."""
    timeout: float = 600.0
    """Seconds for one request."""
    attempts: int = 6
    """Tries in all for one request, at least 1; see `teachers.retry`."""
    label: str = ""
    """What scores are filed under; "" is model and address."""
    link: Connection | None = field(default=None, repr=False)
    """A connection to the server that is there already, in the place of one with `key`."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, or would write a secret into a file.

        Raises:
            InputError: a value cannot be used.
        """
        check_variable("key", self.key)
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError("teacher.base_url must begin with http:// or https:// and name a host")
        if address.username or address.password or address.query:
            raise InputError("teacher.base_url must not hold a user, a password or a query: use key")
        if self.attempts < 1 or self.timeout <= 0:
            raise InputError("teacher.attempts must be at least 1, and teacher.timeout more than 0 seconds")

    @property
    def name(self) -> str:
        """Model and address, or the label."""
        address = urlsplit(self.base_url)
        place = address.netloc + address.path.rstrip("/").removesuffix("/v1")
        return self.label or f"vllm:{self.model}@{place}"

    @property
    def policy(self) -> RetryPolicy:
        """When a failed request is repeated."""
        return RetryPolicy(attempts=self.attempts)

    async def score(self, messages: Sequence[Message], completion: str, *, top: int = 0) -> list[TokenScore]:
        """Return the scores of the completion's tokens, as the answer to the chat: [completion token].

        The completion is split into tokens by itself, also where its first ones would merge with the prompt's end.

        Raises:
            InputError: `top` is not in 0 to 20.
            TeacherError: no scores; fatal where the server cannot score at all, or gives fewer than `top`.
        """
        if not 0 <= top <= MOST_TOP:
            raise InputError(f"scores: top must be 0 to {MOST_TOP}, got {top}")
        if not completion:
            return []
        chat = [{"role": turn["role"], "content": plain_text(turn["content"])} for turn in messages]
        prompt, answer = await asyncio.gather(
            self._tokens({"messages": chat, "add_generation_prompt": True}),
            self._tokens({"prompt": plain_text(completion), "add_special_tokens": False}),
        )
        ids = prompt.tokens + answer.tokens
        if prompt.max_model_len is not None and len(ids) >= prompt.max_model_len:
            raise TeacherError(
                f"the prompt's {len(prompt.tokens)} tokens and the completion's {len(answer.tokens)} leave none of the "
                f"server's {prompt.max_model_len}: shorten them, or start it with a longer --max-model-len"
            )
        completed = await self._completed(ids, top)
        told = completed.choices[0].prompt_logprobs if completed.choices else None
        if told is None or len(told) != len(ids):
            raise TeacherError(f"{self.base_url} sent no prompt_logprobs: {_NO_SCORES}", fatal=True)
        return _scores(answer.tokens, told[len(prompt.tokens) :], top)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. May be called twice; a later call opens new ones."""
        await self._connection.aclose()

    @cached_property
    def _connection(self) -> Connection:
        check_owner([self.key], self.base_url)
        return self.link or Connection(self.model, self.base_url, Secrets.read(self.key, {}), self.timeout)

    async def _tokens(self, body: dict[str, Any]) -> _Tokens:
        """Ask for tokens. The path has no /v1 before it; it is written whole, so that both share one limiter."""
        root = self.base_url.rstrip("/").removesuffix("/v1")
        try:
            told = await self._post(f"{root}/tokenize", body, _Tokens)
        except TeacherError as error:
            if error.status in (404, 405, 501) and "does not exist" not in str(error):  # so vLLM says of a model
                raise TeacherError(f"{root} has no /tokenize: {_NO_SCORES}", status=error.status, fatal=True) from None
            raise
        if not told.tokens:  # llama.cpp's path of this name reads another member, and finds it empty
            raise TeacherError(f"{root}/tokenize gave no tokens: {_NO_SCORES}", fatal=True)
        return told

    async def _completed(self, prompt: list[int], top: int) -> _Completion:
        # The server must write a token. One at a temperature of 0 and without a seed is safe on every engine.
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": top}
        try:
            return await self._post("/completions", body, _Completion)
        except TeacherError as error:
            if error.status == 400 and "max allowed" in str(error):
                more = f"ask for a smaller top, or start it with --max-logprobs {top}"
                raise TeacherError(f"{error}: {more}", status=400, fatal=True) from None
            raise

    async def _post(self, path: str, body: dict[str, Any], kind: type[Kind]) -> Kind:
        sent = msgspec.json.encode({"model": self.model, **body})
        return await self.policy.run(lambda: self._try(path, sent, kind))

    async def _try(self, path: str, sent: bytes, kind: type[Kind]) -> Kind:
        told = await self._connection.bytes("POST", path, sent)
        return _decoded(told, kind, self.base_url, self._connection.secrets.hide)


def _decoded(told: bytes, kind: type[Kind], base_url: str, hide: Callable[[str], str]) -> Kind:
    try:
        return msgspec.json.decode(told, type=kind)
    except msgspec.ValidationError as error:
        words = f"{base_url} answers otherwise than vLLM ({shown(error)}): {_NO_SCORES}"
        raise TeacherError(words, fatal=True) from None
    except UNREADABLE:  # a proxy's page, a server going down
        raise TeacherError(f"{base_url} sent no JSON: {shown(told, hide)}", retryable=True) from None


def _scores(tokens: Sequence[int], told: Sequence[dict[str, _Logprob] | None], top: int) -> list[TokenScore]:
    """Read the scores of these tokens out of what was told at their places: by id, the token's own among the likeliest.

    Raises:
        TeacherError: fatal: a token's own score is not there.
    """
    scores: list[TokenScore] = []
    open_character = False
    for token, place in zip(tokens, told, strict=True):
        own = (place or {}).get(str(token))
        if place is None or own is None:
            raise TeacherError(f"the server did not score token {token} of the completion: {_NO_SCORES}", fatal=True)
        likeliest = sorted(
            ((int(key), min(0.0, one.logprob)) for key, one in place.items() if _TOKEN.fullmatch(key)),
            key=lambda one: -one[1],
        )
        # vLLM gives a character of several tokens to the last of them, and "" to the others.
        text = own.decoded_token or ""
        scores.append(
            TokenScore(
                id=token,
                token=f"\ufffd{text[1:]}" if open_character or not text else text,
                logprob=min(0.0, own.logprob),
                top=tuple(likeliest[:top]),
            )
        )
        open_character = not text
    return scores
