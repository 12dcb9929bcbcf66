"""Error answers of the endpoints that speak OpenAI's chat API, each in its own form, read to a TeacherError."""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from lessons.errors import TeacherError
from lessons.jsonl import plain_text
from teachers.rate_headers import reset_seconds
from teachers.retry import retry_after_seconds, retryable_status

Hide = Callable[[str], str]
"""Takes secrets out of an endpoint's words before they are shown, and before they are cut, which might halve one."""

_SHOWN = 300
"""Characters of an endpoint's words in an error message."""
_READ = 4000
"""Characters of an endpoint's words that are searched for what they mean."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

_UNPAID = frozenset(
    {
        "insufficient_quota",  # OpenAI, status 429
        "billing_hard_limit_reached",  # OpenAI, status 400
        "billing_not_active",  # OpenAI, status 429
        "credit_balance_exhausted",  # OpenAI, status 429, as the next three
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_error",  # Anthropic, status 402
        "enforced_spend_limit_reached",  # Anthropic, status 429, in error.details.error_code
    }
)
"""Codes of failures that waiting does not cure, although the status of some says so."""
_UNPAID_WORDS = re.compile(r"credit balance is too low")  # Anthropic, status 400, invalid_request_error
_NO_KEY = frozenset({"API_KEY_INVALID", "UNAUTHENTICATED", "PERMISSION_DENIED", "API_KEY_SERVICE_BLOCKED"})
"""Google's words for a key that it does not take; it says the first of them with status 400."""
_NO_KEY_WORDS = re.compile(r"Multiple authentication credentials received")  # Google, status 400
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})
_UNSUPPORTED_WORDS = re.compile(
    r"Unknown name \"[^\"]{1,99}\": Cannot find field"  # Google
    r"|cannot both be specified for this model"  # Anthropic: temperature and top_p
    r"|is deprecated for this model"  # Anthropic: temperature
)
_NO_MODEL = frozenset({"model_not_found"})
"""LM Studio says it with status 400."""
_NO_MODEL_WORDS = re.compile(r"No models loaded|Unexpected endpoint or method")  # LM Studio, status 400 or even 200
_TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_TOO_LONG_WORDS = re.compile(
    r"context (?:length|size|window)|maximum context|prompt is too long|prompt too long|input token count",
    re.IGNORECASE,
)
"""OpenAI and vLLM, llama.cpp and LM Studio, Anthropic, Ollama, Google."""
_PASSING_WORDS = re.compile(r"model (?:is |was )?(?:unloaded|unloading)|model has crashed", re.IGNORECASE)
"""LM Studio, status 400: it loads the model again with the next request."""
_WAIT_WORDS = re.compile(r"(?:try again|retry) in ((?:\d{1,6}(?:\.\d{1,9})?(?:ms|[smhd])){1,4})")
"""OpenAI and Google say the wait in words too."""


def read_error(status: int | None, body: object, headers: Mapping[str, str], hide: Hide = str) -> TeacherError:
    """Return what an error answer means. `body` is its decoded JSON (or only the "error" member of it) or its text.

    `status` is None where the error came with status 200, or in place of a reply.
    """
    told = _Told(body, hide)
    line = f"the endpoint answered {status if status is not None else 'an error'}: {told.shown}"
    fatal = _fatal(status, told)
    if fatal:
        return TeacherError(f"{line}: {fatal}", status=status, fatal=True)
    if (status is None or status in (400, 413, 422, 500)) and told.means(_TOO_LONG, _TOO_LONG_WORDS):
        hint = "prompt and max_tokens do not fit the model's context"
        return TeacherError(f"{line}: {hint}", status=status)
    if status is not None and 300 <= status < 400:  # perhaps for a while only, such as a proxy's own page
        hint = "the address leads elsewhere, and keys are not taken there: give the final address as base_url"
        return TeacherError(f"{line}: {hint}", status=status, retryable=True)
    passing = status == 400 and _PASSING_WORDS.search(told.words) is not None
    return TeacherError(
        line,
        status=status,
        retry_after=_wait(status, told, headers),
        retryable=status is None or passing or retryable_status(status),
    )


def shown(words: object, hide: Hide = str) -> str:
    """Return foreign words on one short line without control characters, fit for an error message."""
    line = _CONTROL.sub(" ", plain_text(hide(_text(words))[: 2 * _SHOWN])).strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


class _Told:
    """What an error answer says, whatever its form.

    OpenAI, vLLM, Ollama, LM Studio, llama.cpp: {"error": {"message", "type", "code"}}; LM Studio, Ollama, vLLM's check
    of the key: {"error": "words"}; older vLLM: the members without "error" around them; Anthropic: {"type": "error",
    "error": {"type", "message", "details"}}; Google: [{"error": {"code", "message", "status", "details": [...]}}].
    """

    def __init__(self, body: object, hide: Hide) -> None:
        first = cast(list[object], body)[0] if isinstance(body, list) and body else body
        fields = _fields(first)
        inner = fields.get("error", fields)
        if isinstance(inner, dict):
            fields = _fields(cast(object, inner))
            said = fields.get("message") or fields.get("detail") or first
        else:
            said = inner or first
        self.shown = shown(said or "no message", hide)
        self.words = _text(said)[:_READ]
        details = fields.get("details")
        items = cast(list[object], details) if isinstance(details, list) else [details]
        self.details = [_fields(item) for item in items[:100]]
        """Google's list of typed details, or Anthropic's one."""
        codes = [fields.get("code"), fields.get("type"), fields.get("status")]
        codes += [detail.get(name) for detail in self.details for name in ("reason", "error_code")]
        self.codes = frozenset(code for code in codes if isinstance(code, str))

    def means(self, codes: frozenset[str], words: re.Pattern[str]) -> bool:
        return not codes.isdisjoint(self.codes) or words.search(self.words) is not None


def _fatal(status: int | None, told: _Told) -> str:
    """Return why no call of this run can succeed; "" where one may."""
    if status in (401, 403) or (status == 400 and told.means(_NO_KEY, _NO_KEY_WORDS)):
        return "check the key and its rights"
    if status == 404 or (status in (None, 400) and told.means(_NO_MODEL, _NO_MODEL_WORDS)):
        return "check the model's name and base_url"
    if status == 402 or not _UNPAID.isdisjoint(told.codes) or (status == 400 and _UNPAID_WORDS.search(told.words)):
        return "the account cannot pay for more calls"
    if status == 429 and _is_spent_for_today(told):
        return "the quota of this day is used up; go on with the run when it is refilled"
    if status == 400 and told.means(_UNSUPPORTED, _UNSUPPORTED_WORDS):
        return "set token_parameter or send_seed, or drop a parameter with a null in extra_body"
    return ""


def _is_spent_for_today(told: _Told) -> bool:
    """Whether Google's QuotaFailure names a quota by the day: its RetryInfo asks for seconds all the same."""
    for detail in told.details:
        violations = detail.get("violations")
        for violation in cast(list[object], violations)[:100] if isinstance(violations, list) else []:
            if "PerDay" in _text(_fields(violation).get("quotaId") or ""):
                return True
    return False


def _wait(status: int | None, told: _Told, headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait: from the headers, else from Google's RetryInfo, else from the words."""
    seconds = retry_after_seconds(headers)
    if seconds is not None or status not in (429, 503):
        return seconds
    for detail in told.details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            return reset_seconds(delay)
    said = _WAIT_WORDS.search(told.words)
    return reset_seconds(said[1]) if said else None


def _fields(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _text(words: object) -> str:
    if isinstance(words, bytes):
        return words.decode("utf-8", "replace")
    try:
        return str(words)
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        return "words that cannot be shown"
