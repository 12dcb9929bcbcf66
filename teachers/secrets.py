"""Keys: read from the environment by name, never taken from a recipe, never shown."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from lessons.errors import InputError, TeacherError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_LIKE = re.compile(
    r"(sk|pk|rk|gsk|hf|xai|nvapi|pplx|r8|ghp|key)[-_](?=.*\d)|AIza|Bearer|(?=.*[a-z])(?=.*[A-Z])(?=.*\d).{20}"
)
"""How keys of known endpoints begin, or letters of both cases and digits over twenty characters."""
_SECRET_HEADER = re.compile(r"authorization|api-?key|token|secret|cookie", re.IGNORECASE)
_SHORTEST = 4
"""Characters: a shorter value is a placeholder, and taking it out of messages would only garble them."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The values behind the names. They are in no repr."""

    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    hidden: tuple[str, ...] = field(repr=False)
    """What must not be seen."""

    @classmethod
    def read(cls, key: str, headers: Mapping[str, str]) -> Self:
        """Look the names up in the environment.

        Raises:
            TeacherError: fatal: a variable is not set, or its value cannot stand in an HTTP header.
        """
        token = _value(key) if key else ""
        looked_up = {name: _value(value[1:]) for name, value in headers.items() if value.startswith("$")}
        hidden = {token, *looked_up.values()}
        return cls(
            key=token,
            headers={**headers, **looked_up},
            hidden=tuple(sorted((one for one in hidden if len(one) >= _SHORTEST), key=len, reverse=True)),
        )

    def hide(self, words: str) -> str:
        """Return the words without any secret."""
        for secret in self.hidden:
            words = words.replace(secret, "[key]")
        return words


def _value(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise TeacherError(f"the environment variable {variable} is not set: export {variable}=...", fatal=True)
    if not (value.isascii() and value.isprintable()):
        raise TeacherError(f"the environment variable {variable} holds signs that no HTTP header may hold", fatal=True)
    return value
