"""OpenAI's chat wire format, read: a completion to its Replies. No connection is made here. Errors: `wire_errors`."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from lessons.errors import TeacherError
from lessons.jsonl import UNREADABLE, plain_text
from teachers.base import Finish, Reply, Usage
from teachers.wire_errors import Hide, read_error, shown

__all__ = ["Hide", "read_completion", "read_completions", "read_error", "shown", "split_thoughts"]

_FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "refusal": "refused",
    # Google's own words, which its OpenAI endpoint passes on
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
}
"""Anything else is "other": vLLM ends a reply that it cut off while stopping with "abort", and status 200."""
_TAGS = (("<think>", "</think>"), ("<thought>", "</thought>"))
"""Where thoughts stand in the text itself: open models' templates, and Google's include_thoughts."""
_OPENINGS = tuple(opening for opening, _ in _TAGS)
_SIGN = re.compile(r"\S")
_MOST_TOKENS = 2**53
"""A larger count is no count."""


class _Message(msgspec.Struct):
    content: str | list[Any] | None = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: Any = None
    index: Any = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Completion)


def read_completion(body: bytes, hide: Hide = str) -> Reply:
    """Read the body of a successful answer of /chat/completions to a request for one reply.

    Where there are more choices than were asked for, the first is the reply and the usage is all of theirs.

    Raises:
        TeacherError: it is not JSON or not a completion (a proxy's page, a server going down: retryable), or it holds
            an error in spite of its status.
    """
    completion, choices = _whole(body, hide)
    choice = choices[0] if len(choices) == 1 else _in_order(choices)[0]
    return _reply(choice, _used(completion.usage), completion, hide)


def read_completions(body: bytes, hide: Hide = str) -> list[Reply]:
    """Read the body of a successful answer of /chat/completions; one reply for each choice, in order of their index.

    The request's usage is split so that its sums are exact: the prompt is the first reply's, and the completion is
    shared by length of text and thoughts. Where the endpoint did not say a count it stays None in all of them.

    Raises:
        TeacherError: as `read_completion`.
    """
    completion, choices = _whole(body, hide)
    used = _used(completion.usage)
    if len(choices) == 1:
        return [_reply(choices[0], used, completion, hide)]
    replies = [_reply(choice, used, completion, hide) for choice in _in_order(choices)]
    shares = _shares(used, [len(reply.text) + len(reply.reasoning) for reply in replies])
    return [msgspec.structs.replace(reply, usage=share) for reply, share in zip(replies, shares, strict=True)]


def split_thoughts(text: str) -> tuple[str, str]:
    """Return (thoughts, answer) of a text whose thoughts stand in `<think>` tags before the answer, once or repeatedly.

    Without a closing tag all that is left is thoughts: it was cut while thinking. Without an opening tag the template
    had put it at the end of the prompt. `<thought>` must be opened to count.
    """
    if "<" not in text:  # nearly always
        return "", text
    thoughts: list[str] = []
    at = _first_sign(text, 0)
    if not text.startswith(_OPENINGS, at) and (closed := text.find("</think>")) >= 0:
        thoughts.append(text[:closed].strip())
        at = _first_sign(text, closed + len("</think>"))
    while text.startswith(_OPENINGS, at):
        opening, closing = next(tags for tags in _TAGS if text.startswith(tags[0], at))
        end = text.find(closing, at)
        thoughts.append(text[at + len(opening) : end if end >= 0 else None].strip())
        at = _first_sign(text, end + len(closing)) if end >= 0 else len(text)
    if not thoughts:
        return "", text
    return "\n".join(thought for thought in thoughts if thought), text[at:]


def _first_sign(text: str, start: int) -> int:
    """Return the place of the first sign from `start` on that is no blank."""
    found = _SIGN.search(text, start)
    return found.start() if found else len(text)


def _whole(body: bytes, hide: Hide) -> tuple[_Completion, list[_Choice]]:
    completion = _decoded(body)
    if completion is None:
        words = f"the endpoint's answer is not a chat completion: {shown(body, hide)}"
        raise TeacherError(words, retryable=True)
    if completion.error:
        raise read_error(_status_in(completion.error), completion.error, {}, hide)
    if not completion.choices:
        raise TeacherError(f"the endpoint sent a completion without choices: {shown(body, hide)}", retryable=True)
    if any(choice.message is None and choice.finish_reason is None for choice in completion.choices):
        raise TeacherError(f"the endpoint sent a choice without a message: {shown(body, hide)}", retryable=True)
    return completion, completion.choices


def _decoded(body: bytes) -> _Completion | None:
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        pass
    try:  # msgspec refuses the escape of a lone surrogate, which a model may well write
        return msgspec.convert(json.loads(body), _Completion)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None


def _in_order(choices: list[_Choice]) -> list[_Choice]:
    """Return the choices by their index; one that does not tell it stands where it came."""
    places = [
        choice.index if isinstance(choice.index, int) and not isinstance(choice.index, bool) else place
        for place, choice in enumerate(choices)
    ]
    return [choices[place] for place in sorted(range(len(choices)), key=places.__getitem__)]


def _reply(choice: _Choice, used: Usage, completion: _Completion, hide: Hide) -> Reply:
    """Make the reply, with all that is kept of the endpoint's words hidden: it is decoded here, so no escape hides."""
    message = choice.message or _NO_MESSAGE
    content = message.content or ""
    if isinstance(content, list):
        content = "".join(_text_of_part(part) for part in content)
    thoughts, text = split_thoughts(hide(plain_text(content)))
    told = _text(message.reasoning_content) or _text(message.reasoning)
    refusal = _text(message.refusal)
    reason = _text(choice.finish_reason)
    return Reply(
        text=text,
        finish="refused" if refusal else _finish(reason),
        reasoning=hide(f"{told}\n{thoughts}" if told and thoughts else told or thoughts),
        usage=used,
        model=hide(_text(completion.model)),
        detail=hide(refusal or reason or "no finish_reason"),
    )


_NO_MESSAGE = _Message()


def _finish(reason: str) -> Finish:
    known = _FINISHES.get(reason)
    if known is not None:
        return known
    return "refused" if reason.startswith("content_filter") else "other"  # Google adds its own word to it


def _text_of_part(part: object) -> str:
    fields = cast(dict[str, Any], part) if isinstance(part, dict) else {}
    return _text(fields.get("text")) if fields.get("type") == "text" else ""


def _text(value: object) -> str:
    return plain_text(value) if isinstance(value, str) else ""


def _used(told: object) -> Usage:
    """Read the request's tokens; what is no count is taken for not said, and must not cost the reply.

    Google counts thoughts neither as completion nor by themselves: they show in the total only. Some gateways count
    them by themselves and not as completion. Here they are always part of the completion, as OpenAI counts.
    """
    if not isinstance(told, dict):
        return _NOT_SAID
    usage = cast(dict[str, Any], told)
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cached = _detail(usage.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _detail(usage.get("completion_tokens_details"), "reasoning_tokens")
    total = _count(usage.get("total_tokens"))
    if total is not None and prompt is not None:
        if completion is None:
            completion = max(0, total - prompt)
        elif (hidden := total - prompt - completion) > 0:
            completion, reasoning = completion + hidden, max(reasoning or 0, hidden)
    if completion is not None and reasoning is not None:
        reasoning = min(reasoning, completion)
    return Usage(prompt=prompt, cached_prompt=cached, completion=completion, reasoning=reasoning)


_NOT_SAID = Usage()


def _detail(details: object, name: str) -> int | None:
    return _count(cast(dict[str, Any], details).get(name)) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    """Return a count of tokens; some gateways write it as 12.0."""
    if type(value) is int:
        return value if 0 <= value <= _MOST_TOKENS else None
    if type(value) is float and 0 <= value <= _MOST_TOKENS and value.is_integer():
        return int(value)
    return None


def _shares(used: Usage, lengths: list[int]) -> list[Usage]:
    """Split a request's usage over its replies; reasoning never exceeds the completion that it is part of."""
    thought = _split(used.reasoning, lengths)
    if used.completion is None or used.reasoning is None:
        completion = _split(used.completion, lengths)
    else:
        said = _split(used.completion - used.reasoning, lengths)
        completion = [(one or 0) + (other or 0) for one, other in zip(said, thought, strict=True)]
    firsts = (used.prompt, used.cached_prompt)
    later = tuple(None if count is None else 0 for count in firsts)
    return [
        Usage(prompt=prompt, cached_prompt=cached, completion=completion[place], reasoning=thought[place])
        for place, (prompt, cached) in enumerate([firsts] + [later] * (len(lengths) - 1))
    ]


def _split(count: int | None, lengths: list[int]) -> list[int | None]:
    if count is None:
        return [None] * len(lengths)
    whole = sum(lengths)
    parts = [count * length // whole for length in lengths] if whole else [count // len(lengths)] * len(lengths)
    parts[0] += count - sum(parts)
    return [*parts]


def _status_in(error: object) -> int | None:
    code = cast(dict[str, Any], error).get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None
