"""Plain data on its way between two processes that do not trust each other: JSON, in which an array has a kind.

Only values cross, never code: numbers, texts, containers, and a few value types of the standard library. What is none
of these stays where it is, and a number that stands for it crosses.
"""

import json
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, cast

DEEPEST = 100
"""Containers within containers, at most."""
_EXACT = 2**53
"""Whole numbers beyond it are no JSON numbers everywhere, and cross as hexadecimal text of any length."""


class BadValueError(Exception):
    """What came is no value that the other side could have sent."""


def encode(value: object, stay: Callable[[object], list[Any]], depth: int = DEEPEST) -> Any:
    """Return a value as JSON data; what is no plain data is given to `stay`, which returns what crosses in its place.

    Raises:
        BadValueError: containers are nested too deep, or hold themselves.
    """
    if depth < 0:
        raise BadValueError(f"containers are nested deeper than {DEEPEST}")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int.__int__(value)
        return number if -_EXACT < number < _EXACT else ["int", hex(number)]
    if isinstance(value, float):
        number = float.__float__(value)
        return number if number - number == 0 else ["float", repr(number)]
    if isinstance(value, str):
        return str.__str__(value)
    for kind, name in _MANY.items():
        if isinstance(value, kind):
            members = cast("list[object]", list(kind.__iter__(value)))
            return [name, *(encode(member, stay, depth - 1) for member in members)]
    if isinstance(value, dict):
        pairs = cast("list[tuple[object, object]]", list(dict.items(cast("dict[object, object]", value))))
        return ["dict", *(encode(side, stay, depth - 1) for pair in pairs for side in pair)]
    told = _told(value)
    return stay(value) if told is None else told


_MANY: dict[type[Any], str] = {
    list: "list", tuple: "tuple", set: "set", frozenset: "frozenset", deque: "deque"
}  # fmt: skip


def _told(value: object) -> list[Any] | None:
    match value:
        case bytes():
            return ["bytes", bytes.hex(value)]
        case bytearray():
            return ["bytearray", bytearray.hex(value)]
        case complex():
            return ["complex", repr(value.real), repr(value.imag)]
        case range():
            return ["range", *(hex(part) for part in (value.start, value.stop, value.step))]
        case Fraction():
            return ["fraction", hex(value.numerator), hex(value.denominator)]
        case Decimal():
            return ["decimal", Decimal.__str__(value)]
        case datetime():
            return ["datetime", datetime.isoformat(value)]
        case date():
            return ["date", date.isoformat(value)]
        case time():
            return ["time", time.isoformat(value)]
        case timedelta():
            return ["timedelta", hex(value.days), hex(value.seconds), hex(value.microseconds)]
        case _:
            return None


def _whole(text: str) -> int:
    return int(text, 16)


def _read_complex(real: str, imaginary: str) -> complex:
    return complex(float(real), float(imaginary))


def _read_range(start: str, stop: str, step: str) -> range:
    return range(_whole(start), _whole(stop), _whole(step))


def _read_fraction(over: str, under: str) -> Fraction:
    return Fraction(_whole(over), _whole(under))


def _read_timedelta(days: str, seconds: str, rest: str) -> timedelta:
    return timedelta(_whole(days), _whole(seconds), _whole(rest))


_READ: dict[str, Callable[..., object]] = {
    "int": _whole, "float": float, "bytes": bytes.fromhex, "bytearray": bytearray.fromhex, "complex": _read_complex,
    "range": _read_range, "fraction": _read_fraction, "decimal": Decimal, "datetime": datetime.fromisoformat,
    "date": date.fromisoformat, "time": time.fromisoformat, "timedelta": _read_timedelta,
}  # fmt: skip


def decode(data: Any, stayed: Callable[[list[Any]], object], depth: int = DEEPEST) -> Any:
    """Return the value of JSON data; `stayed` gets what stands for an object that did not cross.

    Raises:
        BadValueError: it is nothing that `encode` writes.
    """
    if not isinstance(data, list):
        if data is None or isinstance(data, bool | int | float | str):
            return data
        raise BadValueError(f"no value: {type(data).__name__}")
    parts = cast("list[Any]", data)
    if depth < 0 or not parts or not isinstance(parts[0], str):
        raise BadValueError("no value: nested too deep, or without a kind")
    kind, rest = parts[0], parts[1:]
    try:
        if kind in _READ:
            if not all(isinstance(part, str) for part in rest):
                raise BadValueError(f"no {kind}")
            return _READ[kind](*rest)
        if kind == "object":
            return stayed(rest)
        members = [decode(part, stayed, depth - 1) for part in rest]
        if kind == "dict":
            return dict(zip(members[::2], members[1::2], strict=True))
        made = next((make for make, name in _MANY.items() if name == kind), None)
        if made is None:
            raise BadValueError(f"no kind of value: {kind[:20]!r}")
        return made(members)
    except (TypeError, ValueError, ArithmeticError, InvalidOperation, OverflowError) as error:
        raise BadValueError(f"no {kind[:20]}: {error}") from error


def dumps(data: Any) -> bytes:
    """Return JSON data as bytes; texts may hold lone surrogates."""
    return json.dumps(data, separators=(",", ":")).encode("ascii")


def loads(raw: bytes) -> Any:
    """Return the JSON data of bytes.

    Raises:
        BadValueError: they are none, or nested too deep for the reader.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadValueError(f"no JSON: {type(error).__name__}") from error
