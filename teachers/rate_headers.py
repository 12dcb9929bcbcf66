"""Rate-limit headers: how long to wait until a quota that is used up is filled again."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime

_PARTS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|d|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUOTAS = (
    # OpenAI and those who took its names; the reset is a duration such as 6m0s or 20ms
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    # Anthropic; the reset is a time, RFC 3339
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    # IETF draft-ietf-httpapi-ratelimit-headers up to 07; the reset is in seconds
    ("ratelimit-remaining", "ratelimit-reset"),
)


def quota_wait(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float:
    """Return the seconds until every quota of which nothing is left is filled again; 0 where something is left of all.

    Header names must be lower case or the mapping must not tell case apart. What cannot be read counts as not said.
    """
    if not any("ratelimit" in name for name in headers):  # nearly always, and this is on the path of every reply
        return 0.0
    longest = 0.0
    for remaining, reset in _QUOTAS:
        left = headers.get(remaining)
        if left is not None and left.strip() == "0":
            longest = max(longest, reset_seconds(headers.get(reset, ""), now))
    return longest


def reset_seconds(text: str, now: Callable[[], float] = time.time) -> float:
    """Return the seconds that a reset header means: `6m0s`, `20ms`, `1.5`, or a time such as 2026-11-01T12:00:00Z."""
    text = text.strip()
    if len(text) > 64:
        return 0.0
    parts = _PARTS.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
            seconds = when.timestamp() - now() if when.tzinfo else 0.0
        except (ValueError, OverflowError, OSError):
            return 0.0
    return max(0.0, seconds) if seconds - seconds == 0 else 0.0  # neither inf nor nan
