"""OpenAI's chat wire format, read: a completion to a Reply, a failure to a TeacherError. No connection is made here."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from lessons.errors import TeacherError
from lessons.jsonl import plain_text
from teachers.base import Finish, Reply, Usage
from teachers.retry import retry_after_seconds, retryable_status

_FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "refusal": "refused",
}
"""Anything else is "other": vLLM ends a reply that it cut off while stopping with "abort", and status 200."""
_SHOWN = 300
"""Characters of an endpoint's words in an error message."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_UNPAID = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Error codes of OpenAI that waiting does not cure, although their status is 429."""
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _ReasoningTokens(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CachedTokens | None = None
    completion_tokens_details: _ReasoningTokens | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Completion)


Hide = Callable[[str], str]
"""Takes secrets out of an endpoint's words before they are shown, and before they are cut, which might halve one."""


def read_completion(body: bytes, hide: Hide = str) -> Reply:
    """Read the body of a successful answer of /chat/completions; its first choice is the reply.

    Raises:
        TeacherError: it is not JSON or not a completion (a proxy's page, a server going down: retryable), or it holds
            an error in spite of its status.
    """
    completion = _completion(body, hide)
    if completion.error:
        raise read_error(_status_in(completion.error), completion.error, {}, hide)
    if not completion.choices:
        raise TeacherError(f"the endpoint sent a completion without choices: {shown(body, hide)}", retryable=True)
    choice = completion.choices[0]
    content = choice.message.content
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    thoughts, text = split_thoughts(plain_text(content or ""))
    told = _text(choice.message.reasoning_content) or _text(choice.message.reasoning)
    refusal = _text(choice.message.refusal)
    reason = choice.finish_reason or ""
    return Reply(
        text=text,
        finish="refused" if refusal else _FINISHES.get(reason, "other"),
        reasoning="\n".join(part for part in (told, thoughts) if part),
        usage=_used(completion.usage),
        model=_text(completion.model),
        detail=refusal or plain_text(reason or "no finish_reason"),
    )


def split_thoughts(text: str) -> tuple[str, str]:
    """Return (thoughts, answer) of a text whose thoughts stand in `<think>` tags before the answer.

    Without a closing tag all of it is thoughts: it was cut while thinking. Without an opening tag the template had
    put it at the end of the prompt.
    """
    opened = text.lstrip().startswith("<think>")
    head, closed, tail = text.partition("</think>")
    if not opened and not closed:
        return "", text
    thoughts = head.lstrip().removeprefix("<think>").strip()
    return thoughts, tail.lstrip() if closed else ""


def read_error(status: int | None, body: object, headers: Mapping[str, str], hide: Hide = str) -> TeacherError:
    """Return what an error answer means. `body` is its decoded JSON (or only the "error" member of it) or its text."""
    fields = cast(dict[str, Any], body) if isinstance(body, dict) else {}
    inner = fields.get("error", fields)
    fields = cast(dict[str, Any], inner) if isinstance(inner, dict) else fields
    words = shown(fields.get("message") or fields.get("detail") or body or "no message", hide)
    code = str(fields.get("code") or fields.get("type") or "")
    line = f"the endpoint answered {status if status is not None else 'an error'}: {words}"
    if status in (401, 403):
        return TeacherError(f"{line}: check the key and its rights", status=status, fatal=True)
    if status == 404:
        return TeacherError(f"{line}: check the model's name and base_url", status=status, fatal=True)
    if status == 402 or code in _UNPAID:
        return TeacherError(f"{line}: the account cannot pay for more calls", status=status, fatal=True)
    if status == 400 and code in _UNSUPPORTED:
        hint = "set token_parameter, or drop a parameter with a null in extra_body"
        return TeacherError(f"{line}: {hint}", status=status, fatal=True)
    return TeacherError(
        line,
        status=status,
        retry_after=retry_after_seconds(headers),
        retryable=status is None or retryable_status(status),
    )


def shown(words: object, hide: Hide = str) -> str:
    """Return foreign words on one short line without control characters, fit for an error message."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    line = _CONTROL.sub(" ", plain_text(hide(text)[: 2 * _SHOWN])).strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _completion(body: bytes, hide: Hide) -> _Completion:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:  # msgspec refuses the escape of a lone surrogate, which a model may well write
        return msgspec.convert(json.loads(body), _Completion)
    except (ValueError, RecursionError, msgspec.ValidationError):
        raise TeacherError(
            f"the endpoint's answer is not a chat completion: {shown(body, hide)}", retryable=True
        ) from None


def _text(value: object) -> str:
    return plain_text(value) if isinstance(value, str) else ""


def _used(told: object) -> Usage:
    try:
        usage = msgspec.convert(told or {}, _Usage)
    except msgspec.ValidationError:  # an odd count must not cost the reply
        return Usage()
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        prompt=usage.prompt_tokens,
        cached_prompt=prompt.cached_tokens if prompt else None,
        completion=usage.completion_tokens,
        reasoning=completion.reasoning_tokens if completion else None,
    )


def _status_in(error: object) -> int | None:
    code = cast(dict[str, Any], error).get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None
