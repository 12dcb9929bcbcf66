"""Plug-ins: an id is a module's name in its family's folder, or `package.module:Name` for one of the user's.

There is no registry to edit. A module is a plug-in when its `__all__` holds one name: the class, a keyword-only
dataclass whose fields are its knobs. The docstring under each field is its help text.
"""

import ast
import dataclasses
import importlib
import inspect
import math
import pkgutil
import sys
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lessons.errors import InputError
from lessons.knobs import Nested
from loops.knobs import REQUIRED, fields_of, hints_of, is_settings, mapping_at, nearest, nested_of, settings_of, shown

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "task": ("loops.tasks",),
    "method": ("loops.methods",),
    "filter": ("loops.filters",),
    "selector": ("loops.selectors",),
    "order": ("loops.orders",),
    "objective": ("students.objectives",),
    "grader": ("lessons.graders", "loops.graders"),
    "scorer": ("loops.scorers",),
    "engine": ("loops.engines",),
    "teacher": ("teachers",),
}
"""Family -> the packages whose modules are its plug-ins; no two share a module's name."""

MARKS: Mapping[str, tuple[str, ...]] = {
    "task": ("split",), "method": ("teach",), "filter": ("judge",), "selector": ("select",), "order": ("order",),
    "objective": ("trainer",), "grader": ("grade",), "scorer": ("score",), "engine": ("student",),
    "teacher": ("ask", "score"),
}  # fmt: skip
"""Family -> methods, one of which a class of the user's must have: a recipe may name the user's own code, and is not to
call whatever else is installed (`os:system`, `psutil:Popen`)."""

Spec = str | Mapping[str, Any]
"""How a recipe names a plug-in: an id, or a mapping of `id` and knobs."""


def known(family: str) -> list[str]:
    """Return the ids of a family's own plug-ins, sorted; imports none of them."""
    return sorted(_modules(family))


def find(family: str, plugin: str, *, where: str, folder: Path | None = None) -> type[Any]:
    """Return the class behind an id.

    `where` is the recipe's key, for the error; `folder` is where modules of the user's own may lie (the recipe's).

    Raises:
        InputError: there is no such plug-in; lists the nearest ids.
    """
    modules = _modules(family)
    if plugin in modules:
        package, name = modules[plugin]
        return getattr(importlib.import_module(f"{package}.{plugin}"), name)
    if ":" in plugin:
        return _of_the_user(family, plugin, where, folder)
    raise InputError(f"{where}: there is no {family} {plugin!r}; {nearest(plugin, modules)}")


def _of_the_user(family: str, plugin: str, where: str, folder: Path | None) -> type[Any]:
    module_name, _, name = plugin.partition(":")
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] in sys.stdlib_module_names:
        raise InputError(f"{where}: {shown(plugin)} must name a class of your own: package.module:Name")
    import_from(folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        places = f"{folder} or the Python path" if folder else "the Python path"
        raise InputError(f"{where}: cannot import {module_name!r} from {places}: {error}") from error
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        names = [n for n, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module_name]
        raise InputError(f"{where}: {module_name!r} has no class {name!r}; {nearest(name, names)}")
    if not any(callable(getattr(found, mark, None)) for mark in MARKS[family]):
        raise InputError(
            f"{where}: {shown(plugin)} is no {family}: its class has no {' and no '.join(MARKS[family])}()"
        )
    return found


def import_from(folder: Path | None) -> None:
    """Let a module that lies beside the recipe, or in the current folder, be imported, after all installed ones."""
    for path in (folder, Path.cwd()):
        if path is not None and (name := str(path.resolve())) not in sys.path:
            sys.path.append(name)


def build(family: str, spec: Spec, *, where: str, folder: Path | None = None, key: str = "id") -> Any:
    """Make a plug-in from how the recipe names it: `stat_syn`, `{id: stat_syn, new: 2}` or `reasoning_gym:gcd`.

    Raises:
        InputError: an unknown id or knob, or a knob's value is not what it should be.
    """
    plugin, knobs = split_spec(spec, where=where, key=key)
    if is_plugin_argument(family, plugin):
        plugin, _, argument = plugin.partition(":")
        first = next(iter(fields_of(find(family, plugin, where=where))))
        knobs = {first: argument, **knobs}
    cls = find(family, plugin, where=f"{where}.{key}", folder=folder)
    if not dataclasses.is_dataclass(cls):
        return make_plain(cls, knobs, where)
    return make(cls, knobs, where=where, folder=folder)


def is_plugin_argument(family: str, plugin: str) -> bool:
    """Whether an id is one of ours with its first knob behind a colon, such as `reasoning_gym:gcd`."""
    name, colon, _ = plugin.partition(":")
    return bool(colon) and name in _modules(family)


def split_spec(spec: Any, *, where: str, key: str = "id") -> tuple[str, dict[str, Any]]:
    """Return id and knobs of a plug-in as a recipe names it."""
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec, Mapping) or not isinstance(spec.get(key), str):
        raise InputError(f"{where}: expected a name or a mapping with {key!r}, got {shown(spec)}")
    return spec[key], {str(k): v for k, v in spec.items() if k != key}


def make_plain(cls: type[Any], knobs: Mapping[str, Any], where: str) -> Any:
    """Make an object of a user's class that is no dataclass."""
    try:
        return cls(**knobs)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error


def make(cls: type[Any], given: Mapping[str, Any], *, where: str, folder: Path | None = None) -> Any:
    """Make a frozen settings object (dataclass or record) from a recipe's mapping, checking each key and value.

    Raises:
        InputError: names the key, with the nearest known ones, or what is wrong with its value.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    given = mapping_at(given, where)
    fields = fields_of(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in fields:
            raise InputError(f"{where}: unknown key {name!r}; {nearest(name, fields)}")
        kind = hints[name]
        if isinstance(value, date):
            value = value.isoformat()  # YAML reads 2026-11-01 as a day; our records hold it as it was written
        nested = nested_of(kind)
        inner = settings_of(kind)
        try:
            if nested is not None and value is None and fields[name] is None:
                values[name] = None  # none is named, and none need be
            elif nested is not None:
                values[name] = _build_nested(nested, value, where=f"{where}.{name}", folder=folder)
            elif inner is not None and value is not None:
                values[name] = make(inner, mapping_at(value, f"{where}.{name}"), where=f"{where}.{name}", folder=folder)
            elif value is None and type(None) in typing.get_args(kind):
                values[name] = None
            else:
                if isinstance(value, float) and not math.isfinite(value):  # a saved recipe could not hold it
                    raise InputError(f"{where}.{name}: must be a finite number, got {value}")
                adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
                values[name] = adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in (where, name, *first["loc"]))
            raise InputError(f"{place}: {first['msg']}, got {shown(first['input'])}") from error
    missing = [name for name, default in fields.items() if default is REQUIRED and name not in values]
    if missing:
        raise InputError(f"{where}: {', '.join(map(repr, missing))} must be given")
    try:
        return cls(**values)
    except ValueError as error:  # a plug-in's own check of its knobs
        raise InputError(f"{where}: {error}") from error


def values_of(settings: Any) -> dict[str, Any]:
    """Return a settings object as plain data: what is saved in the run folder and hashed."""
    hints = hints_of(type(settings))
    found: dict[str, Any] = {}
    for name in fields_of(type(settings)):
        value, nested = getattr(settings, name), nested_of(hints.get(name))
        if nested is None or value is None:
            found[name] = _plain(value)
        elif isinstance(value, list | tuple):
            found[name] = [_spec_of(one, nested) for one in typing.cast(list[Any], value)]
        else:
            found[name] = _spec_of(value, nested)
    return found


@cache
def _modules(family: str) -> dict[str, tuple[str, str]]:
    """Module name -> (its package, class name), read from the sources so that nothing heavy is imported."""
    return {name: (package, cls) for package in FAMILIES[family] for name, cls in _modules_of(package)}


def _modules_of(package: str) -> Iterator[tuple[str, str]]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    for info in pkgutil.iter_modules(spec.submodule_search_locations):
        if info.ispkg or info.name == "base":
            continue
        source = Path(next(iter(spec.submodule_search_locations)), f"{info.name}.py").read_text(encoding="utf-8")
        names = _exported(source)
        if len(names) == 1:
            yield info.name, names[0]


def _exported(source: str) -> list[str]:
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                return [str(e.value) for e in elements if isinstance(e, ast.Constant)]
            case _:
                continue
    return []


def _build_nested(nested: Nested, value: Any, *, where: str, folder: Path | None) -> Any:
    if isinstance(value, list | tuple):
        return tuple(
            build(nested.family, spec, where=f"{where}.{place}", folder=folder, key=nested.key)
            for place, spec in enumerate(typing.cast(list[Any], value))
        )
    return build(nested.family, value, where=where, folder=folder, key=nested.key)


def _spec_of(plugin: Any, nested: Nested) -> dict[str, Any]:
    """Return how a recipe writes a plug-in that was made."""
    cls = type(plugin)
    package, _, module = cls.__module__.rpartition(".")
    ours = _modules(nested.family).get(module, ("", ""))[0] == package
    return {nested.key: module if ours else f"{cls.__module__}:{cls.__qualname__}", **values_of(plugin)}


def _plain(value: Any) -> Any:
    if is_settings(type(value)):
        return values_of(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in typing.cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in typing.cast(list[Any], value)]
    return str(value) if isinstance(value, Path) else value
