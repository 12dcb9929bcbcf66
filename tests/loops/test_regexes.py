"""Every regular expression of the packages takes time that grows with the text and no faster.

The expressions are found by walking the packages: those at the top of modules, and those written where they are used.
Of each, every repetition is pumped: what leads up to it, then what it repeats many times, then a sign that breaks it.
"""

import ast
import importlib
import pkgutil
import re
import re._constants as codes
import re._parser as parser
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("lessons", "teachers", "students", "loops")
PROGRAMS = ("math_worker", "__main__")
"""Modules that are programs of their own."""
BOUNDED = {"lessons.graders.choice._LETTER_ALONE": 40, "teachers.prompts.reading._NUMBERING": 20}
"""Expression -> characters of the longest text that it is ever given, where that is short."""
OWN = ("loops.ui.live_page._PROGRAM", "loops.ui.live_page._BLOCK")
"""Expressions that are given our own page only, in which no text of a stranger can spell `<script`."""
FLAGS = {"IGNORECASE": re.I, "MULTILINE": re.M, "VERBOSE": re.X, "ASCII": re.A, "DOTALL": re.S}
SMALL, TIMES, FLOOR, GENEROUS = 1_000, 8, 0.004, 3
"""Characters of the small text, how many times as long the large one is, seconds that need no growth measured, and the
bound: 8 times the text may take 24 times the time, where quadratic takes 40 to 64."""


SOURCES = {path: path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
ANCHORED = {"match": "match", "fullmatch": "fullmatch"}
"""Uses in which an expression is tried at one place; all others try it at every place."""


class Expression(NamedTuple):
    pattern: "re.Pattern[Any]"
    use: str
    """"search", "match" or "fullmatch": the worst of its uses."""


def worst(uses: set[str]) -> str:
    return "search" if not uses or uses - ANCHORED.keys() else "match" if "match" in uses else "fullmatch"


def at_the_top() -> Iterator[tuple[str, Expression]]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if found.name.endswith(PROGRAMS):
                continue
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, re.Pattern):
                    own = Path(str(importlib.import_module(found.name).__file__))  # such names are a module's own
                    called = set(re.findall(rf"\b{name}\.(\w+)", SOURCES[own]))
                    methods = called & {"search", "match", "fullmatch", "sub", "split", "findall", "finditer", "subn"}
                    yield f"{found.name}.{name}", Expression(value, worst(methods))


def where_used() -> Iterator[tuple[str, Expression]]:
    for path, text in SOURCES.items():
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(ast.Attribute(ast.Name("re"), act), [ast.Constant(str() | bytes() as words), *_]):
                    told = ast.unparse(node)
                    flags = sum(flag for name, flag in FLAGS.items() if f"re.{name}" in told)
                    if act not in ("escape", "compile"):
                        place = f"{path.relative_to(ROOT)} {words!r}"
                        yield place, Expression(re.compile(words, flags), worst({act}))
                case _:
                    continue


def every() -> dict[str, Expression]:
    found: dict[tuple[Any, int], tuple[str, Expression]] = {}
    for name, one in (*at_the_top(), *where_used()):
        found.setdefault((one.pattern.pattern, one.pattern.flags), (name, one))
    return dict(found.values())


def sample(tree: Any) -> str:
    """A short text that the expression, or a part of it, matches, roughly: looks around are passed over."""
    return "".join(_sample(op, value) for op, value in tree)


def _sample(op: Any, value: Any) -> str:
    if op in (codes.LITERAL, codes.NOT_LITERAL):
        return chr(value) if op is codes.LITERAL else ("a" if value != ord("a") else "b")
    if op is codes.ANY:
        return "a"
    if op is codes.IN:
        return _of_class(value)
    if op is codes.BRANCH:
        return sample(value[1][0])
    if op is codes.SUBPATTERN:
        return sample(value[-1])
    if op in REPEATS:
        return sample(value[2]) * max(value[0], 1)
    if op is codes.ATOMIC_GROUP:
        return sample(value)
    return ""


REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
CLASSES = {
    codes.CATEGORY_DIGIT: "7", codes.CATEGORY_WORD: "a", codes.CATEGORY_SPACE: " ", codes.CATEGORY_NOT_WORD: "!",
    codes.CATEGORY_NOT_SPACE: "a", codes.CATEGORY_NOT_DIGIT: "a",
}  # fmt: skip


def _of_class(members: Any) -> str:
    if members[0][0] is codes.NEGATE:
        return next(sign for sign in "a1 !\n<\x00" if not any(_holds(one, sign) for one in members[1:]))
    op, value = members[0]
    return chr(value) if op is codes.LITERAL else chr(value[0]) if op is codes.RANGE else CLASSES[value]


def _holds(member: Any, sign: str) -> bool:
    op, value = member
    if op is codes.CATEGORY:
        kinds = {codes.CATEGORY_WORD: r"\w", codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_SPACE: r"\s"}
        return value in kinds and re.match(kinds[value], sign) is not None
    return ord(sign) == value if op is codes.LITERAL else value[0] <= ord(sign) <= value[1]


def pumps(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """(what leads up to a repetition, what it repeats), for each that may repeat often; and each alternative."""
    for op, value in tree:
        if op in REPEATS:
            if value[1] is codes.MAXREPEAT or value[1] > 20:
                yield before, sample(value[2]) or "a"
                for part in value[2]:
                    if part[0] is codes.IN and part[1][0][0] is not codes.NEGATE:
                        yield from ((before, _of_class([member])) for member in part[1])
            yield from pumps(value[2], before)
        elif op is codes.BRANCH:
            for branch in value[1]:
                yield from pumps(branch, before)
        elif op is codes.SUBPATTERN:
            yield from pumps(value[-1], before)
        elif op in (codes.ASSERT, codes.ASSERT_NOT):
            yield from pumps(value[1], before)
        elif op is codes.ATOMIC_GROUP:
            yield from pumps(value, before)
        before += _sample(op, value)


def texts(one: "re.Pattern[Any]") -> list[tuple[str, str, str]]:
    words = one.pattern.decode("latin-1") if isinstance(one.pattern, bytes) else one.pattern
    tree = parser.parse(words, one.flags & ~re.UNICODE)
    found = dict.fromkeys(pumps(tree))
    found |= dict.fromkeys(("", pump) for _, pump in list(found))
    found |= dict.fromkeys(("", before + pump) for before, pump in list(found))
    found |= dict.fromkeys(("", whole) for whole in (sample(tree), before_of(found)) if whole)
    return [(before, pump, end) for before, pump in found for end in ("", "\x00", "a")]


def before_of(found: Any) -> str:
    return max((before for before, _ in found), key=len, default="")


def seconds(one: Expression, text: Any, runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        begun = time.thread_time()
        if one.use == "search":
            for _ in one.pattern.finditer(text):
                pass
        else:
            getattr(one.pattern, one.use)(text)
        best = min(best, time.thread_time() - begun)
    return best


PATTERNS = every()


def test_there_are_expressions() -> None:
    assert len(PATTERNS) > 100
    assert {*BOUNDED, *OWN, "lessons.answers._MARKER"} <= PATTERNS.keys()


@pytest.mark.parametrize("name", [name for name in PATTERNS if name not in OWN])
def test_time_grows_with_the_text_and_no_faster(name: str) -> None:
    one = PATTERNS[name]
    small = BOUNDED[name] // TIMES if name in BOUNDED else SMALL
    for before, pump, end in texts(one.pattern):

        def made(length: int, before: str = before, pump: str = pump, end: str = end) -> Any:
            text = before + pump * (length // len(pump)) + end
            return text.encode("utf-8", "replace") if isinstance(one.pattern.pattern, bytes) else text

        if (long := seconds(one, made(TIMES * small), 1)) < FLOOR:
            continue
        short = seconds(one, made(small), 3)
        if long >= TIMES * GENEROUS * short:
            long = seconds(one, made(TIMES * small), 3)
        assert long < max(FLOOR, TIMES * GENEROUS * short), (before, pump, end, short, long)


@pytest.mark.parametrize("words", [r"a+$", r"\s*\n?x", r"<[^>]*>", r"x[ \t]*\n?[ \t]*y", r"(?:a|b)*c", r"\d+\s*%"])
def test_what_is_quadratic_is_found(words: str) -> None:
    PATTERNS["quadratic"] = Expression(re.compile(words), "search")
    with pytest.raises(AssertionError):
        test_time_grows_with_the_text_and_no_faster("quadratic")
    del PATTERNS["quadratic"]
