"""Write docs/json.md: every key that a command prints with `--json`, taken from the records themselves.

    python scripts/write_json_docs.py [--check]

With `--check` nothing is written, and the exit code is 1 where the page is not what the records say.
"""

import argparse
import ast
import inspect
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lessons.records import Message, Record
from loops.views.bench import BenchView
from loops.views.compare import Compare
from loops.views.gaps import Gaps
from loops.views.show import Show
from loops.views.timing import RunTime
from loops.views.traces import Traces
from loops.views.why import Why

PAGE = Path(__file__).resolve().parent.parent / "docs" / "json.md"
COMMANDS = {
    "tutelage gaps RUN": (Gaps,),
    "tutelage show RUN": (Show,),
    "tutelage show --time RUN": (RunTime,),
    "tutelage why RUN LESSON": (Why, Traces),
    "tutelage compare RUN RUN": (Compare,),
    "tutelage bench RECIPES": (BenchView,),
}
HEAD = """# What `--json` prints

Written by `scripts/write_json_docs.py` from the records; a test holds it to them. A key whose value is the default
given here is left out. Keys are added, not renamed: what reads them should pass over those that it does not know.
Shares are in [0, 1], times are ISO 8601 in UTC, ids are 16 hex digits. Texts are as they came: whoever shows them
escapes them.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    shown: dict[str, type[Any]] = {}
    for command, kinds in COMMANDS.items():
        parts.append(f"## `{command} --json`\n")
        for kind in kinds:
            if len(kinds) > 1:
                parts.append(f"**{kind.__name__}**: {_about(kind)}\n")
            parts.append(_table(kind))
            _gather(kind, shown)
    parts.append("## Records within\n")
    tops = {kind.__name__ for kinds in COMMANDS.values() for kind in kinds}
    text = "\n".join(parts)  # a command's own record has its table above, unless another command's links to it
    within = sorted(name for name in shown if name not in tops or f"(#{name.lower()})" in text)
    parts += [f"### {name}\n\n{_about(shown[name])}\n\n{_table(shown[name])}" for name in within]
    return "\n".join(parts)


def _gather(kind: type[Any], shown: dict[str, type[Any]]) -> None:
    known = shown.get(kind.__name__)
    if known is not None:
        assert known is kind, f"{kind} and {known} have one name: a page cannot tell them apart"
        return
    shown[kind.__name__] = kind
    for hint in get_type_hints(kind).values():
        for inner in _records_in(hint):
            _gather(inner, shown)


def _records_in(hint: Any) -> list[type[Any]]:
    if isinstance(hint, type) and (issubclass(hint, Record) or hint is Message):
        return [hint]
    return [found for inner in get_args(hint) for found in _records_in(inner)]


def _about(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _table(kind: type[Any]) -> str:
    docs, hints = _field_docs(kind), get_type_hints(kind)
    defaults = _defaults(kind)
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, hint in hints.items():
        lines.append(f"| `{name}` | {_type(hint)} | {defaults.get(name, '')} | {docs.get(name, '')} |")
    return "\n".join(lines) + "\n"


def _defaults(kind: type[Any]) -> dict[str, str]:
    if not issubclass(kind, msgspec.Struct):
        return {}
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(kind):
        if field.default is not msgspec.NODEFAULT:
            found[field.name] = f"`{msgspec.json.encode(field.default).decode()}`"
        elif field.default_factory is not msgspec.NODEFAULT:
            found[field.name] = f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return found


def _type(hint: Any) -> str:
    """Return a type as JSON people say it."""
    if hint is type(None):
        return "null"
    if hint is Any:
        return "any"
    names = {str: "string", int: "integer", float: "number", bool: "true or false"}
    if isinstance(hint, type) and hint in names:
        return names[hint]
    arguments = get_args(hint)
    origin = getattr(hint, "__origin__", None)
    if origin is dict:
        return f"object: {_type(arguments[0])} → {_type(arguments[1])}"
    if origin in (tuple, list):
        return f"list of {' and '.join(dict.fromkeys(_type(a) for a in arguments if a is not Ellipsis))}"
    if arguments and all(isinstance(a, str) for a in arguments):
        return ", ".join(f"`{a!r}`".replace("'", '"') for a in arguments)
    if arguments:
        return " or ".join(_type(a) for a in arguments)
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


def _field_docs(kind: type[Any]) -> dict[str, str]:
    """Return the string below each field, of the class and those that it comes from."""
    found: dict[str, str] = {}
    for base in reversed([one for one in kind.__mro__ if issubclass(one, Record) and one is not Record] or [kind]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for field, doc in pairwise(body):
            match field, doc:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split()).replace("|", "\\|")
                case _:
                    pass
    return found


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
        print(PAGE)
    elif PAGE.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{PAGE} is not what the records say: run python scripts/write_json_docs.py")


if __name__ == "__main__":
    main()
