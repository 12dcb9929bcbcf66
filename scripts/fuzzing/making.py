"""Inputs made from nothing: by hypothesis, after the grammar of each format, and the well-known bombs of each."""

import json
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzzing.mutation import HOSTILE, TOKENS
from fuzzing.reader import Kind

_NAMES = st.text(max_size=12) | st.sampled_from(("id", "name", "skills", "question", "answer", "train", "choices", ""))
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=60)
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_NAMES, inner, max_size=6), max_leaves=30
)
_JSON = _VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
_PIECES = st.lists(st.sampled_from(TOKENS) | st.text(max_size=20).map(lambda text: text.encode()), max_size=40)
_TEXT = _PIECES.map(b"".join) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass"))
_LINES = st.lists(_JSON | _TEXT | st.sampled_from(HOSTILE).map(lambda text: text.encode()), max_size=8).map(b"\n".join)


def _yaml_of(depth: int) -> st.SearchStrategy[str]:
    """Block mappings and sequences with anchors, aliases, tags and merges in odd places."""
    plain = st.sampled_from((
        "a", "1", "~", "*a", "*b", "&a x", "&b [*a, *a]", "!!int x", "!!binary x", "!!timestamp 1", "!!python/name:os",
        "2001-99-99", "0o9", "1:99", "9" * 5000, "{a: 1}", "[a, [b]]", "'x", '"\\ud800"', "|\n  x", ".nan", "=",
        "!!set {a}", "!!omap [a]", "!!pairs [a: b]", "!!null x", "!!bool x", "!!float x", "{? [a] : b}", "<<",
    ))  # fmt: skip
    if not depth:
        return plain
    inner = _yaml_of(depth - 1)
    keys = st.sampled_from(("a", "b", "<<", "task", "teacher", "skills", "? [x]", "1", "~", "&a k", "!!int z"))
    block = st.lists(st.tuples(keys, inner), min_size=1, max_size=4).map(
        lambda rows: "\n" + "\n".join(f"{key}: {value}".replace("\n", "\n ") for key, value in rows)
    )
    listed = st.lists(inner, min_size=1, max_size=4).map(
        lambda rows: "\n" + "\n".join(f"- {value}".replace("\n", "\n  ") for value in rows)
    )
    return plain | block | listed


_YAML = _yaml_of(3).map(lambda text: text.strip("\n").encode("utf-8", "surrogatepass"))

_BY_KIND: dict[Kind, st.SearchStrategy[bytes]] = {
    "text": _TEXT,
    "json": _JSON | st.sampled_from(HOSTILE).map(lambda text: text.encode()),
    "jsonl": _LINES,
    "yaml": _YAML | _JSON | _TEXT,
    "binary": st.binary(max_size=600),
    "sqlite": st.binary(max_size=600).map(lambda data: b"SQLite format 3\x00" + data),
}


def from_hypothesis(kind: Kind, count: int, chance: int, take: Callable[[bytes], object]) -> None:
    """Give `take` so many inputs of a format, the same ones for the same seed of chance."""

    @seed(chance)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_BY_KIND[kind])
    def give(data: bytes) -> None:
        take(data)

    give()


def _laughs(times: int, wide: int) -> str:
    """YAML that names itself over and over: `wide` to the power of `times` members in a few lines."""
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * wide)}]" for n in range(1, times)
    ]  # fmt: skip
    return "\n".join([*lines, f"task: *a{times - 1}"])


def _merges(times: int) -> str:
    """YAML whose mappings are merged from two copies of the one before."""
    lines = ["m0: &m0 {a: 1, b: 2}"] + [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}" for n in range(1, times)]
    return "\n".join([*lines, f"task: *m{times - 1}"])


BOMBS: tuple[bytes, ...] = tuple(
    text.encode("utf-8", "surrogatepass")
    for text in (
        "", " ", "\n", "\x00", "\ufeff", "\ud800", "null", "[]", "{}", "0", '""', "[" * 150_000, "{" * 150_000,
        '{"a":' * 30_000, "[" * 90_000 + "]" * 90_000, "9" * 150_000, "-" + "9" * 150_000, "1e" + "9" * 1000,
        '"' + "a" * 150_000 + '"', '"' + "\\u0000" * 20_000 + '"', "a" * 150_000, "a\n" * 70_000, " " * 150_000,
        "- " * 20_000, "? " * 20_000, "&a " * 9_000, "[" + "{}," * 50_000 + "{}]", _laughs(9, 9), _laughs(30, 9),
        _laughs(3, 60), _merges(12), _merges(40), "a: &a [*a]", "&a {a: *a}", "task: &t {id: *t}", "<<: *a", "!!int ''",
        "!!timestamp x", "!!float x", "!!bool x", "!!null [x]", "!!binary é", "2001-99-99", "1:" * 4_000 + "1",
        "!!python/object/apply:os.system ['touch /tmp/owned']", "!!python/name:os.system", "%TAG ! tag:x,1:\n--- !a b",
        "{{" * 50_000, "<think>" * 20_000, "Answer: " * 15_000, "\\boxed{" * 20_000, "| a " * 30_000, "```\n" * 30_000,
    )
)  # fmt: skip
"""What takes down readers that trust their input: nesting, digits, repetition, names that stand for themselves."""
