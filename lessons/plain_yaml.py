"""YAML that strangers may have written, read as plain data: no objects, no bombs, and every fault said in one line.

PyYAML's safe loader makes no objects, but values that name themselves over and over grow without bound ("a billion
laughs"), nesting is read by recursion and in quadratic time, and its constructors let other errors through than YAML's.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.scanner import ScannerError

from lessons.errors import InputError

LARGEST = 4 * 1024 * 1024
"""Characters of a file. Our own bound, as the others here: a recipe with thousands of skills has fewer."""
DEEPEST = 60
"""Levels of nesting."""
MOST = 500_000
"""Values, each counted as often as it is named."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MOST_SIGNS = 100
"""Of a number: its digits are turned into one in quadratic time."""

_LET_THROUGH = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What PyYAML's constructors raise for values that their tags do not fit."""
_UNFIT = re.compile("[\x00\ud800-\udfff]")
"""What neither a text file nor a path can hold, and a quoted scalar can spell."""


def read_yaml_file(path: Path) -> Any:
    """Return the plain data of a YAML file.

    Raises:
        InputError: it cannot be read, is no text, or as `load_yaml`; names the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4 * LARGEST + 1)  # a character has at most four bytes
        return load_yaml(data.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file in UTF-8") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def load_yaml(text: str) -> Any:
    """Return the plain data of a YAML text.

    Raises:
        InputError: it is no YAML, or larger, deeper or more entangled than any file of ours; says where, not in what.
    """
    if len(text) > LARGEST:
        raise InputError(f"not valid YAML here: it is longer than {LARGEST:,} characters")
    loader = _Loader(text) if _readable(text) else None
    if loader is None:
        raise InputError("not valid YAML (it holds characters that no text file has)")
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{place}not valid YAML ({getattr(error, 'problem', None) or error})") from error
    except (RecursionError, *_LET_THROUGH) as error:
        raise InputError(f"not valid YAML here ({type(error).__name__})") from error
    finally:
        loader.dispose()


def _readable(text: str) -> bool:
    return yaml.reader.Reader.NON_PRINTABLE.search(text) is None and _UNFIT.search(text) is None


class _Loader(yaml.SafeLoader):
    """The safe loader, within bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}
        """id of a node -> values in it, each as often as it is named. The nodes live as long as the loader reads."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - PyYAML's own name
        if self.flow_level >= DEEPEST:
            raise ScannerError(None, None, f"nested deeper than {DEEPEST} levels", self.get_mark())
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        if len(self.indents) >= DEEPEST:
            raise ScannerError(None, None, f"nested deeper than {DEEPEST} levels", self.get_mark())
        return super().add_indent(column)

    def compose_node(self, parent: Any, index: Any) -> Any:
        named = self.check_event(yaml.AliasEvent)
        node: Any = super().compose_node(parent, index)
        if named and id(node) not in self._sizes:
            raise ComposerError(None, None, "a value that holds itself", node.start_mark)
        if not named:
            pairs = node.value if isinstance(node, yaml.CollectionNode) else ()
            inner = [one for pair in pairs for one in (pair if isinstance(pair, tuple) else (pair,))]
            self._sizes[id(node)] = 1 + sum(self._sizes[id(one)] for one in inner)
        if self._sizes[id(node)] > MOST:
            raise ComposerError(None, None, f"more than {MOST:,} values, aliases written out", node.start_mark)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _MOST_SIGNS:
            raise ConstructorError(None, None, "a number of too many digits", node.start_mark)
        try:
            value = super().construct_object(node, deep)
        except _LET_THROUGH as error:
            raise ConstructorError(None, None, f"{node.tag} cannot be read from this", node.start_mark) from error
        if isinstance(value, str) and _UNFIT.search(value):
            raise ConstructorError(None, None, "a lone surrogate, or a zero byte", node.start_mark)
        return value
