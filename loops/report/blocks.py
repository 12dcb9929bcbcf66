"""Data that a page carries compressed and reads when it is needed: gzip in base64, in elements that no browser runs."""

from base64 import b64encode
from gzip import compress
from typing import Any

import msgspec

from loops.views.text import visible

LONGEST = 1600
"""Characters of one text in the page; `tutelage why` shows the whole."""
LEVEL = 6
"""Of gzip: 9 takes twice the time for 3 % less."""


def packed(data: Any) -> str:
    """Return plain data as base64 of its gzipped JSON: letters, digits, +, / and = alone; the same every time."""
    return _packed(msgspec.json.encode(data))


def packed_text(text: str) -> str:
    """Return a text as base64 of its gzipped UTF-8."""
    return _packed(text.encode("utf-8"))


def _packed(data: bytes) -> str:
    return b64encode(compress(data, LEVEL, mtime=0)).decode("ascii")


def short(text: str, longest: int = LONGEST) -> str:
    """Return a text as the page shows it: hidden characters written out, and what is too long cut, which it says."""
    if len(text) <= longest:
        return visible(text)
    return f"{visible(text[:longest])}\n… {len(text) - longest:,} more characters"
