"""How a teacher is asked for one kind of thing: a template, and the parser of its reply, side by side."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lessons.errors import InputError
from lessons.ids import content_id
from lessons.records import Message
from teachers.base import Sampling

T = TypeVar("T")

_UNSEEN = r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]"
_TAG = re.compile(
    rf"[<\uff1c\ufe64]((?:{_UNSEEN}|/){{0,8}}[A-Za-z_](?:[A-Za-z_]|[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]){{0,40}}"
    rf"(?:{_UNSEEN}|/){{0,8}})[>\uff1e\ufe65]"
)
"""A tag, or what a reader may take for one: in capitals, with blanks or unseen signs in it, in wide signs."""
_CONTROL = re.compile(
    r"<([|\uff5c][^<>\n]{1,40}[|\uff5c])>|\[(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS))\]"
)
"""What begins and ends turns in the chat templates of Qwen, Llama, Phi, DeepSeek and Mistral."""


def fenced(value: object) -> object:
    """Return text with the brackets of every tag and control token changed for others that look alike (‹tag›).

    So what a model or a stranger wrote can neither close the section that holds it, open another one, nor end its turn.
    """
    if not isinstance(value, str):
        return value
    return _CONTROL.sub(lambda found: f"‹{found[1] or found[2]}›", _TAG.sub(r"‹\1›", value))


_environment = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=fenced, autoescape=False
)


@lru_cache(maxsize=64)
def _template(source: str) -> Template:
    return _environment.from_string(source)


@lru_cache(maxsize=256)
def _version(system: str, user: str) -> str:
    return content_id("prompt", system=system, user=user)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Generic[T]):
    """One kind of request. Fields are put between `<tag>` and `</tag>`; a field cannot forge a tag."""

    name: str
    """What calls, counts and costs are grouped by."""
    system: str
    user: str
    """A jinja2 template; an undefined name is an error."""
    parse: Callable[[str], T]
    """Reads the reply; raises ParseError where it has not the form that the prompt asks for."""
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: str | None = None
    """The form of the reply as a JSON schema, where it is one: asked of endpoints that can hold a model to it."""
    example: Callable[[Mapping[str, object], int], str] | None = None
    """Makes a reply as it should be, from the fields and a number that tells replies apart: what `tutelage estimate`
    rehearses with. A test reads each."""

    @property
    def version(self) -> str:
        """Content id of the wording: replies are only comparable under one version."""
        return _version(self.system, self.user)

    def messages(self, fields: Mapping[str, object]) -> tuple[Message, ...]:
        """Render the chat.

        Raises:
            InputError: a field that the template names is missing.
        """
        try:
            user = _template(self.user).render(fields)
        except Exception as error:
            raise InputError(f"prompt {self.name!r} cannot be rendered: {error}") from error
        return (Message(role="system", content=self.system), Message(role="user", content=user.strip()))
