"""Keys: read from the environment by name, never taken from a recipe, never shown."""

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import quote

from lessons.errors import InputError, TeacherError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_LIKE = re.compile(
    r"(sk|pk|rk|gsk|hf|xai|nvapi|pplx|r8|ghp|key)[-_](?=.*\d)|AIza|Bearer|(?=.*[a-z])(?=.*[A-Z])(?=.*\d).{20}"
)
"""How keys of known endpoints begin, or letters of both cases and digits over twenty characters."""
_SECRET_HEADER = re.compile(r"authorization|api-?key|token|secret|cookie", re.IGNORECASE)
_KEY_WITHIN = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|gsk|hf|xai|nvapi|pplx|r8|ghp)[-_](?=[\w-]{0,200}\d)[\w-]{16,}|AIza[\w-]{16,}"
    r"|Bearer\s+[\w-]{8,}|(?=[A-Za-z0-9]{0,200}[a-z])(?=[A-Za-z0-9]{0,200}[A-Z])(?=[A-Za-z0-9]{0,200}\d)[A-Za-z0-9]{32,})"
)
"""A key within other words: stricter than `_KEY_LIKE`, since models, labels and addresses hold many signs too."""
_SECRET_MEMBER = re.compile(
    r"(?:.*[-_])?(?:authorization|api[-_]?key|(?:access|auth)[-_]?token|secret|password)", re.IGNORECASE
)
_SHORTEST = 8
"""Characters: a shorter value is a placeholder (EMPTY, none, 1234), and taking it out of replies would garble them."""
_SHORTEST_WORD = 16
"""Characters of a value that is letters only or digits only: a shorter one may be a word or an answer."""
_SHORTEST_HALF = 12
"""Characters: what holds half of a key is hidden too where the half is as long as this; it may have been cut."""


def check_variable(knob: str, name: str) -> None:
    """Refuse what is not the name of an environment variable, above all a key. The value is never repeated.

    Raises:
        InputError: it is not a name.
    """
    if name and (not _VARIABLE.fullmatch(name) or _KEY_LIKE.match(name)):
        raise InputError(
            f"teacher.{knob} must be the name of an environment variable, and what stands there looks like a key: "
            f"export it (export TEACHER_KEY=...) and write its name (TEACHER_KEY)"
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse a header that would put a secret into a recipe.

    Raises:
        InputError: a header that carries secrets has its value written out, or names no environment variable.
    """
    for header, value in headers.items():
        if value.startswith("$"):
            check_variable(f"headers.{header}", value[1:])
        elif _SECRET_HEADER.search(header) or _KEY_LIKE.match(value):
            raise InputError(f"teacher.headers.{header} holds a secret: export it and write $NAME of its variable")


def without_keys(words: str) -> str:
    """Return the words without what looks like a key."""
    return _KEY_WITHIN.sub("[key]", words)


def check_no_key(knob: str, value: Any, variables: Iterable[str] = ()) -> None:
    """Refuse a knob that is written into files and has a key in it, at whatever depth; the key is not repeated.

    Args:
        knob: its name in the recipe.
        value: plain data.
        variables: names of environment variables whose values are secrets, and must not stand in it either.

    Raises:
        InputError: something in it looks like a key, or is one.
    """
    known = [secret for name in variables if _hides(secret := os.environ.get(name, "").strip())]
    for where, member, words in _strings(f"teacher.{knob}", "", value):
        if (words and _SECRET_MEMBER.fullmatch(member)) or _holds(words, known):
            place = f"teacher.{knob}" if _holds(where, known) else where
            raise InputError(
                f"{place} holds what looks like a key, and recipes are written into files: export the key and give the "
                "name of its variable in teacher.key, or $NAME in teacher.headers"
            )


def _holds(words: str, known: Sequence[str]) -> bool:
    return _KEY_WITHIN.search(words) is not None or any(secret in words for secret in known)


def _strings(where: str, member: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (dotted place, member's name, text) of every text in plain data; a member's name is a text too."""
    if isinstance(value, str):
        yield where, member, value
    elif isinstance(value, Mapping):
        for name, inner in cast(Mapping[Any, Any], value).items():
            yield where, "", str(name)
            yield from _strings(f"{where}.{name}", str(name), inner)
    elif isinstance(value, list | tuple):
        for inner in cast(list[Any], value):
            yield from _strings(where, member, inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The values behind the names. They are in no repr."""

    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    hidden: tuple[str, ...] = field(repr=False)
    """What must not be seen: each secret in every form in which it is hidden, the longest first."""

    @classmethod
    def read(cls, key: str, headers: Mapping[str, str]) -> Self:
        """Look the names up in the environment.

        Raises:
            TeacherError: fatal: a variable is not set, or its value cannot stand in an HTTP header.
        """
        token = _value(key) if key else ""
        looked_up = {name: _value(value[1:]) for name, value in headers.items() if value.startswith("$")}
        hidden = {form for secret in (token, *looked_up.values()) if _hides(secret) for form in _forms(secret)}
        return cls(
            key=token,
            headers={**headers, **looked_up},
            hidden=tuple(sorted(hidden, key=lambda form: (-len(form), form))),
        )

    def hide(self, words: str) -> str:
        """Return the words without any secret: neither plain, nor cut in half, escaped, percent-encoded or in base64.

        For what an endpoint says in good faith; one that means harm can spell a key in ways that nobody finds.
        """
        for form in self.hidden:
            if form in words:
                words = words.replace(form, "[key]")
        return words


def _hides(secret: str) -> bool:
    is_word = secret.isalpha() or secret.isdigit()
    return len(secret) >= (_SHORTEST_WORD if is_word else _SHORTEST)


def _forms(secret: str) -> set[str]:
    """Return the spellings of a secret that endpoints echo: JSON's, Python's, PHP's, a query's, and base64."""
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.replace("/", "\\/"), quote(secret, safe="")}
    for before in range(3):  # base64 of "Bearer KEY" differs from that of KEY by where the bits begin
        encoded = b64encode(b"\0" * before + secret.encode()).decode()
        core = encoded[(0, 2, 3)[before] : (before + len(secret)) * 8 // 6]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    half = len(secret) // 2
    return forms | ({secret[:half], secret[half:]} if half >= _SHORTEST_HALF else set())


def _value(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise TeacherError(f"the environment variable {variable} is not set: export {variable}=...", fatal=True)
    if not (value.isascii() and value.isprintable()):
        raise TeacherError(f"the environment variable {variable} holds signs that no HTTP header may hold", fatal=True)
    return value
