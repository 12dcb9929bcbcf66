"""Changing keys of a recipe as plain data, and telling two of them apart."""

from collections.abc import Mapping
from typing import Any, cast

from lessons.errors import InputError
from lessons.plain_yaml import load_yaml

MOST_DOTS = 20
"""Dots in a key that is set: no recipe is nested as deep. Our own bound."""
DEFAULTS = {"select": "profile", "order": "shuffled"}
"""Plug-ins that a recipe need not name."""


def changed(data: Any, change: str) -> dict[str, Any]:
    """Return a copy of a recipe with one dotted key set; the value is read as YAML."""
    key, equals, text = change.partition("=")
    if not equals or not key or key.count(".") > MOST_DOTS or not isinstance(data, Mapping):
        raise InputError(f"--set {change}: expected KEY=VALUE, such as rounds=3")
    copied = dict(cast(Mapping[str, Any], data))
    first, dot, rest = key.partition(".")
    if dot:
        inner = copied.get(first, DEFAULTS.get(first, {}))
        if isinstance(inner, str):
            inner = {"kind" if first == "teacher" else "model" if first == "student" else "id": inner}
        copied[first] = changed(inner, f"{rest}={text}")
    else:
        try:
            copied[first] = load_yaml(text)
        except InputError as error:
            raise InputError(f"--set {change}: {error}") from error
    return copied


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted keys under which two plain recipes differ."""
    found: list[str] = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differing_keys(cast(Mapping[str, Any], left), cast(Mapping[str, Any], right), f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}")
    return found
