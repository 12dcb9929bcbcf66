"""Hostile inputs from good ones: bytes and lines put out of order, members of JSON and YAML changed for worse ones.

An input is a pure function of the reader's seeds, a seed of chance and its number: whatever was found is found again.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any

import yaml

from fuzzing.reader import Kind, Seed

LARGEST = 200_000
"""Bytes of an input."""

_RAW = "\x01raw\x01"
"""Before JSON that is written as it stands, also where it is none."""

HOSTILE = (
    "null", "true", "false", "0", "-1", "1", "1.5", "-0.0", "1e308", "-1e308", "1e400", "5e-324", "NaN", "Infinity",
    "-Infinity", "9" * 20, "9" * 40, "9" * 400, "9" * 5000, "-" + "9" * 400, "2147483648", "4294967296", '""', '" "',
    '"\\u0000"', '"\\ud800"', '"\\u001b[2J\\u001b]0;x\\u0007"', '"\\u202egnp.exe"', '"<script>alert(1)</script>"',
    '"../../../../etc/passwd"', '"/dev/zero"', '"/dev/stdin"', '"a/b"', '"."', '".."', '"\\u00b2"', '"\\u0663"',
    '"NaN"', '"1e999999999"', '"1/0"', '"0001-01-01T00:00:00"', '"9999-12-31T23:59:59Z"', '"2026-13-45T99:99:99Z"',
    '"%s%n%d{0}{x}"', '"{{ 7*7 }}"', '"__class__"', '"os:system"', '"=1+1"', '"\\ufffe"', '"\\ud83d\\ude00"',
    '"' + "a" * 5000 + '"', '"' + "é" * 700 + '"', '"' + " " * 3000 + '"', "{}", "[]", "[[]]", "[null]", "[{}]",
    '{"":null}', '{"a":1,"a":2}', '{"id":"x"}', '["a","a"]', "[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300,
    "[" * 30_000, '{"a":' * 20_000, "[" + "0," * 5000 + "0]", "'x'", "0x10", "+1", ".5", "01", "1_000", "2026-11-01",
)  # fmt: skip
"""Values that stand where others belong."""

TOKENS = tuple(token.encode() for token in (
    "Answer:", "The final answer is: ", "**", "```\n", "```", "- ", "1. ", "Skills: a,", "Verdict: wrong\n", "Reason:",
    "Question:\n", "Question 1: a?\n", "Conclusion: right\n", "{", "}", '{"a":', '"', "\\", "[", "]", "<think>",
    "</think>", "<question>", "</question>", "\\boxed{", "\\frac{", "$$", "\\(", " ", "\t", "\n", "\n\n", "\r\n",
    "((((", ")", ",", ";", "1", "1,", "1/", "-1 ", "=", "{{ 7 }}", "{% raw %}", "_", "#", "####", "> ", ":", ": ", "'",
    "½", "٣", "²", "\u200b", "\u2028", "\u202e", "é", "\U0001f600", "\x00", "\x1b[2J", "Σ", "İ", "answer ", "7:05 ",
    "1e9", "1e999", "\\text{", "^", "~", "nan", "inf", "null", "true", "0", "-", "9" * 30, "a" * 300, "&a ", "*a",
    "<<: *a\n", "!!python/object/apply:os.system [id]", "!!binary ", "!!timestamp ", "!!int ", "!!float ", "!!set ",
    "!!omap ", "!x ", "? ", "---\n", "...\n", "%YAML 9.9\n", "- - - ", "|\n", ">-\n  ", "0x", "1:1:1", "2001-99-99",
    ".inf", "@", "`", "%", "\ufeff", "x-ratelimit-remaining-requests", "retry-after", "6m0s", "data: ", "</script>",
))  # fmt: skip
"""Signs and words that some reader takes for more than text."""


def made_from(seeds: Sequence[Seed], chance: Random) -> bytes:
    """Return one hostile input."""
    seed = seeds[chance.randrange(len(seeds))]
    data = seed.data
    if seed.kind in ("json", "jsonl", "yaml") and chance.random() < 0.6:
        data = _changed_members(seed.data, seed.kind, chance)
    if data is seed.data or chance.random() < 0.25:
        for _ in range(1 + min(int(chance.expovariate(0.5)), 12)):
            data = _damaged(data, seeds, chance, seed.kind)
    return seed.head + data[:LARGEST]


def _damaged(data: bytes, seeds: Sequence[Seed], chance: Random, kind: Kind) -> bytes:
    """Return the bytes with one thing done to them."""
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + 1 + int(chance.expovariate(0.05)))
    act = chance.randrange(12 if kind not in ("binary", "sqlite") else 6)
    if act == 0:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if act == 1:
        return data[:at] + data[end:]
    if act == 2:
        return data[:at] + data[at:end] * chance.choice((2, 3, 50)) + data[end:]
    if act == 3:
        return data[:at] if chance.random() < 0.5 else data[at:]
    if act == 4:
        other = seeds[chance.randrange(len(seeds))].data
        start = chance.randrange(len(other) + 1)
        return data[:at] + other[start : start + 1 + int(chance.expovariate(0.01))] + data[end:]
    if act == 5:
        word = chance.choice((b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80", b"\xed\xa0\x80"))
        return data[:at] + word + data[at + len(word) :]
    if act < 9:
        return data[:at] + chance.choice(TOKENS) + data[at if act < 8 else end :]
    if act == 9:
        return data[:at] + chance.choice(HOSTILE).encode("utf-8", "surrogatepass") + data[end:]
    return _lines_moved(data, chance)


def _lines_moved(data: bytes, chance: Random) -> bytes:
    lines = data.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    act = chance.randrange(4)
    if act == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif act == 1:
        del lines[one]
    elif act == 2:
        lines.insert(other, lines[one])
    else:
        lines[one] = chance.choice(TOKENS) + lines[one]
    return b"\n".join(lines)


def _changed_members(data: bytes, kind: Kind, chance: Random) -> bytes:
    """Return a document with members changed for hostile ones, still of its format; as it is where it is no such."""
    try:
        if kind == "jsonl":
            lines = data.split(b"\n")
            full = [place for place, line in enumerate(lines) if line.strip()]
            if not full:
                return data
            for place in {chance.choice(full) for _ in range(1 + chance.randrange(2))}:
                lines[place] = _written(_worse(json.loads(lines[place]), chance))
            return b"\n".join(lines)
        value = _parsed(data, kind)
    except (ValueError, yaml.YAMLError):
        return data
    for _ in range(1 + chance.randrange(3)):
        value = _worse(value, chance)
    return _written(value)


@lru_cache(maxsize=256)
def _parsed(data: bytes, kind: Kind) -> Any:
    """Return a seed's plain data; nobody changes it."""
    return yaml.safe_load(data) if kind == "yaml" else json.loads(data)


def _worse(value: Any, chance: Random) -> Any:
    """Return plain data with one of its members changed, taken out, doubled, renamed or replaced by a hostile one."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        act = chance.random()
        if act < 0.06:
            return {name: one for name, one in value.items() if name != key}
        if act < 0.12:
            renamed = json.loads(hostile) if (hostile := chance.choice(HOSTILE)).startswith('"') else f"{key}x"
            return {**value, renamed: value[key]}
        if act < 0.15:
            return {(f"{key} " if name == key else name): one for name, one in value.items()}
        return {**value, key: _worse(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        act = chance.random()
        if act < 0.08:
            return [*value[:place], *value[place + 1 :]]
        if act < 0.16:
            return [*value, *([value[place]] * chance.choice((1, 2, 100)))]
        return [*value[:place], _worse(value[place], chance), *value[place + 1 :]]
    if isinstance(value, str) and chance.random() < 0.25:
        at = chance.randrange(len(value) + 1)
        return value[:at] + chance.choice(TOKENS).decode() + value[at:]
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.4:
        return chance.choice((value + 1, -value, value * 10**6, value / 3, str(value), value - 1))
    return _RAW + chance.choice(HOSTILE)


def _written(value: Any) -> bytes:
    """Return plain data as JSON, with what stands behind `_RAW` as it is."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode("utf-8", "surrogatepass")


def _write(value: Any, parts: list[str]) -> None:
    if isinstance(value, str) and value.startswith(_RAW):
        parts.append(value[len(_RAW) :])
    elif isinstance(value, dict):
        parts.append("{")
        for place, (name, one) in enumerate(value.items()):
            parts.append(("," if place else "") + json.dumps(str(name)) + ":")
            _write(one, parts)
        parts.append("}")
    elif isinstance(value, list):
        parts.append("[")
        for place, one in enumerate(value):
            parts.append("," if place else "")
            _write(one, parts)
        parts.append("]")
    else:
        parts.append(json.dumps(value, default=str))
