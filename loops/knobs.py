"""The knobs of settings classes and plug-ins: their names, types, defaults and help, and how plain data fits them."""

import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from lessons.errors import InputError
from lessons.knobs import Nested, is_operational


class Knob(NamedTuple):
    """One field of a plug-in."""

    name: str
    type: str
    default: str
    """As Python would write it; "" where the knob must be given."""
    help: str


REQUIRED: Any = object()
"""Stands for the default of a knob that must be given."""


def fields_of(cls: type[Any]) -> dict[str, Any]:
    """Return the knobs of a settings class with their defaults."""
    if dataclasses.is_dataclass(cls):
        found: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if not field.init:
                continue
            if field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
            else:
                found[field.name] = REQUIRED if field.default is dataclasses.MISSING else field.default
        return found
    if issubclass(cls, msgspec.Struct):
        return {
            field.name: REQUIRED
            if field.required
            else (field.default_factory() if field.default is msgspec.NODEFAULT else field.default)
            for field in msgspec.structs.fields(cls)
        }
    return {}


def hints_of(cls: type[Any]) -> dict[str, Any]:
    """Return the types of a settings class's knobs, with the marks that stand on them."""
    return typing.get_type_hints(cls, include_extras=True) if fields_of(cls) else {}


def knobs_of(cls: type[Any]) -> list[Knob]:
    """Return a plug-in's knobs with their help texts, in order."""
    helps = _field_docs(cls)
    hints = typing.get_type_hints(cls, include_extras=False) if fields_of(cls) else {}
    return [
        Knob(name, _type_name(hints.get(name)), "" if default is REQUIRED else repr(default), helps.get(name, ""))
        for name, default in fields_of(cls).items()
    ]


def operational_keys(settings: Any, prefix: str) -> list[str]:
    """Return the dotted keys of a settings object that results do not depend on; `prefix` ends with a dot."""
    if not dataclasses.is_dataclass(settings):
        return []
    found: list[str] = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if is_operational(field):
            found.append(f"{prefix}{field.name}")
        elif isinstance(value, list | tuple):
            for place, one in enumerate(typing.cast(list[Any], value)):
                found += operational_keys(one, f"{prefix}{field.name}.{place}.")
        else:
            found += operational_keys(value, f"{prefix}{field.name}.")
    return found


def without(data: Any, keys: Iterable[str]) -> Any:
    """Return plain data without the members under these dotted keys; a number is a place in a list."""
    by_first: dict[str, list[str]] = {}
    for key in keys:
        first, _, rest = key.partition(".")
        by_first.setdefault(first, []).append(rest)
    if isinstance(data, Mapping):
        members = typing.cast(Mapping[str, Any], data).items()
        return {key: without(value, by_first.get(key, ())) for key, value in members if "" not in by_first.get(key, ())}
    if isinstance(data, list):
        rows = enumerate(typing.cast(list[Any], data))
        return [without(value, by_first.get(str(place), ())) for place, value in rows]
    return data


def nested_of(kind: Any) -> Nested | None:
    """Return the mark of a knob that holds plug-ins."""
    return next((mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Nested)), None)


def settings_of(kind: Any) -> type[Any] | None:
    """Return the settings class that a knob holds, also where it may be null."""
    if is_settings(kind):
        return kind
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = [one for one in typing.get_args(kind) if one is not type(None)]
        if len(inner) == 1 and is_settings(inner[0]):
            return inner[0]
    return None


def is_settings(kind: Any) -> bool:
    """Whether a type is a settings class."""
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct))


def mapping_at(value: Any, where: str) -> Mapping[str, Any]:
    """Return a value that must be a mapping.

    Raises:
        InputError: it is none; names the key.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected a mapping of keys, got {shown(value)}")
    return typing.cast(Mapping[str, Any], value)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of an error: the nearest known names, or all of them."""
    every = sorted(names)
    near = difflib.get_close_matches(name, every, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(every) or 'none'}"


def shown(value: Any) -> str:
    """Return a value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _field_docs(cls: type[Any]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]).body
        except (OSError, TypeError, AttributeError, SyntaxError):
            continue
        for field, after in itertools.pairwise(body):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = inspect.cleandoc(text).replace("\n", " ")
                case _:
                    continue
    return docs


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
