"""Prompts whose reply is JSON of a given form: held to it where the endpoint can, read leniently where it cannot."""

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import msgspec

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import literal

S = TypeVar("S", bound=msgspec.Struct)

_SHOWN = 200
_DEEPEST = 200
"""Levels of brackets: deeper is no reply but an attack on the reader. Our own bound."""
_MOST = 50
"""Values looked at in one reply. Our own bound."""


def structured(
    name: str, *, system: str, user: str, form: type[S], sampling: Sampling | None = None, example: S | None = None
) -> Prompt[S]:
    """Return a prompt whose reply is one JSON object, read as `form`.

    Args:
        name: what calls are counted by.
        system: the system turn.
        user: a jinja2 template; what the form is stands behind it.
        form: a msgspec Struct; its docstring and field types are the schema. Unknown members are passed over.
        sampling: how replies are drawn.
        example: a reply as it should be.
    """
    schema = schema_of(form)
    text = msgspec.json.encode(schema).decode()
    decoder = msgspec.json.Decoder(form, strict=False)
    return Prompt(
        name=name,
        system=system,
        user=f"{user}\n\nReply with one JSON object and nothing else. Its JSON schema:\n{literal(text)}",
        parse=lambda reply: _read(reply, decoder),
        sampling=sampling or Sampling(),
        json_schema=text,
        example=None if example is None else lambda fields, number: msgspec.json.encode(example).decode(),
    )


def schema_of(form: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a form's JSON schema as strict endpoints want it: an object, all members required, no others."""
    (found,), shared = msgspec.json.schema_components([form], ref_template="#/$defs/{name}")
    whole = cast(dict[str, Any], shared.pop(form.__name__, found))
    if shared:
        whole = {**whole, "$defs": shared}
    return _strict(whole)


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(member) for member in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    members = {key: _strict(value) for key, value in cast(dict[str, Any], schema).items() if key != "default"}
    if members.get("type") == "object" and "properties" in members:
        members |= {"required": list(members["properties"]), "additionalProperties": False}
    return members


def _read(reply: str, decoder: "msgspec.json.Decoder[S]") -> S:
    """Return what the reply says.

    Raises:
        ParseError: nothing in it has the form, or two values that differ have it.
    """
    found: list[S] = []
    complaint = "no JSON object stands in the reply"
    for number, piece in enumerate(values_in(reply)):
        if number == _MOST:
            break
        try:
            value = decoder.decode(piece.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError) as error:
            complaint = f"the reply is not of the form that was asked for: {str(error)[:_SHOWN]}"
            continue
        if value not in found:
            found.append(value)
    if len(found) > 1:
        raise ParseError("the reply holds two different JSON objects of the form that was asked for")
    if not found:
        raise ParseError(complaint)
    return found[0]


def values_in(text: str) -> Iterator[str]:
    """Yield the JSON objects that a text seems to hold: the whole of it, else those in fences, else any in brackets.

    One pass over the text for each of the three; commas before a closing bracket are left out.
    """
    stripped = text.strip()
    if stripped.startswith("{") and stripped.endswith("}"):
        pieces = list(_bracketed(stripped))
        if len(pieces) == 1:
            yield pieces[0]
            return
    fenced = [piece for block in text.split("```")[1::2] for piece in _bracketed(block)]
    yield from fenced or _bracketed(text)


def _bracketed(text: str) -> Iterator[str]:
    """Yield the outermost {...} of a text, strings respected, trailing commas left out. Linear in its length."""
    depth, start, kept, quoted, escaped = 0, 0, list[str](), False, False
    last, last_place = "", 0
    for place, sign in enumerate(text):
        if not depth:
            if sign == "{":
                depth, start, kept = 1, place, []
        elif quoted:
            quoted = escaped or sign != '"'
            escaped = sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        elif sign in "{[":
            depth += 1
            if depth > _DEEPEST:
                return
        elif sign in "}]":
            depth -= 1
            if last == ",":
                kept.append(text[start:last_place])
                start = place
            if not depth:
                kept.append(text[start : place + 1])
                yield "".join(kept)
        if not sign.isspace():
            last, last_place = sign, place
