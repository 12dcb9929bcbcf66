"""What a batch's files say: one line for each request, in any order, some of them missing or unreadable."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from lessons.errors import TeacherError
from lessons.jsonl import UNREADABLE
from teachers.wire import read_completion, read_error, shown


class _Problem(msgspec.Struct):
    message: str | None = None
    code: Any = None


class _Response(msgspec.Struct):
    status_code: int = 200
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Problem | None = None


class Outcome(NamedTuple):
    """What came back for one request: a completion, or why there is none."""

    body: bytes
    """The completion's JSON; empty where there is an error."""
    error: TeacherError | None


def read_results(lines: Iterable[bytes], keys: frozenset[str], hide: Callable[[str], str]) -> dict[str, Outcome]:
    """Return what came back, by custom_id, whatever the order.

    A line that cannot be read and one that nobody asked for are passed over. Of several lines for one request the first
    completion counts, else the first error. A completion that cannot be read is an error that may pass.
    """
    found: dict[str, Outcome] = {}
    for text in lines:
        line = _line(text)
        if line is None or line.custom_id not in keys:
            continue
        outcome = _outcome(line, hide)
        known = found.get(line.custom_id)
        if known is None or (known.error is not None and outcome.error is None):
            found[line.custom_id] = outcome
    return found


def _line(text: bytes) -> _Line | None:
    try:
        return _decoder.decode(text)
    except UNREADABLE:
        pass
    try:  # msgspec refuses the escape of a lone surrogate, which a model may well write
        return _decoder.decode(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _outcome(line: _Line, hide: Callable[[str], str]) -> Outcome:
    if line.response is None:
        words = shown((line.error and line.error.message) or "no response and no error", hide)
        return Outcome(b"", TeacherError(f"the batch has no reply to this request: {words}", retryable=True))
    body = bytes(line.response.body)
    if line.response.status_code >= 400:
        return Outcome(b"", read_error(line.response.status_code, decoded(body), {}, hide))
    try:
        read_completion(body, hide)
    except TeacherError as error:
        return Outcome(b"", error)
    return Outcome(body, None)


def decoded(body: bytes) -> object:
    """Return the JSON of an answer's body, or the body where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


_decoder = msgspec.json.Decoder(_Line)
