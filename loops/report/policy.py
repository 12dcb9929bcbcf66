"""What keeps a page harmless: a policy that names its scripts by their content, and data that no browser runs."""

import json
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Any


def policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Return a content security policy: only these very scripts and styles, and nothing is fetched from anywhere.

    Style attributes are allowed, since Plotly sets them; the page has none, and a style cannot call out under it.
    """
    ours = " ".join(_hash(script) for script in scripts) or "'none'"
    looks = " ".join(_hash(style) for style in styles) or "'none'"
    return (
        f"default-src 'none'; script-src {ours}; style-src {looks}; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode('utf-8')).digest()).decode()}'"


def script_json(data: Any) -> str:
    """Return JSON that stays JSON inside a script element: no sign that HTML or an old JavaScript reads."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
