"""YAML that strangers wrote is plain data within bounds, or one line that says where it is not."""

import datetime
import time
from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.plain_yaml import DEEPEST, LARGEST, load_yaml, read_yaml_file


def test_plain_data_is_read_as_by_the_safe_loader() -> None:
    text = "a: &x {b: [1, 2.5, null], c: 2026-11-01}\nd: *x\ne: {<<: *x, f: yes}\n? g\n: |\n  two\n  lines\n"
    held = {"b": [1, 2.5, None], "c": datetime.date(2026, 11, 1)}
    assert load_yaml(text) == {"a": held, "d": held, "e": {**held, "f": True}, "g": "two\nlines\n"}
    assert load_yaml("") is None


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/object/new:list", "!mine", "!!js/x"]
)
def test_no_object_is_ever_made(tag: str, tmp_path: Path) -> None:
    told = tmp_path / "made"
    with pytest.raises(InputError, match="could not determine a constructor"):
        load_yaml(f"{tag} ['touch {told}']")
    assert not told.exists()


def laughs(times: int) -> str:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, times))]
    return "\n".join(lines)


def merges(times: int) -> str:
    lines = ["m0: &m0 {a: 1}", *(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}" for n in range(1, times))]
    return "\n".join(lines)


BOMBS = {
    "billion laughs": laughs(30), "merged laughs": merges(60), "brackets": "[" * 200_000, "braces": "{a: " * 90_000,
    "dashes": "- " * 90_000, "question marks": "? " * 90_000, "digits": "9" * 200_000,
    "hexadecimal": "0x" + "f" * 90_000,
    "base 60": "1:" * 50_000 + "1", "too long": "a" * (LARGEST + 1),
    "indents": "\n".join(" " * n + "a:" for n in range(500)),
    "itself": "a: &a [*a]", "itself as a key": "&a {*a : 1}",
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_at_once(bomb: str) -> None:
    begun = time.thread_time()
    with pytest.raises(InputError, match="not valid YAML") as refused:
        load_yaml(bomb)
    assert time.thread_time() - begun < 2.0
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_aliases_and_nesting_within_bounds_are_read() -> None:
    assert len(load_yaml(laughs(5))["a4"]) == 9
    assert load_yaml("[" * (DEEPEST - 2) + "]" * (DEEPEST - 2))


@pytest.mark.parametrize(
    "text",
    ["!!int ''", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "2001-13-45", "!!binary é",
     '"\\ud800"', "a: \x00",
     "!!null [x]", "!!set [a]", "!!omap {a: b}", "? [a]\n: b", "!!int {a: b}", "<<: 3", "a: b: c", "\ud800"],
)  # fmt: skip
def test_whatever_its_constructors_raise_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="not valid YAML") as refused:
        load_yaml(text)
    assert "\n" not in str(refused.value)


def test_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    with pytest.raises(InputError, match=r"r.yaml: cannot be read \(No such file"):
        read_yaml_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"r.yaml: is not a text file"):
        read_yaml_file(path)
    path.write_text("a: [")
    with pytest.raises(InputError, match=r"r.yaml: line 1, column 5: not valid YAML"):
        read_yaml_file(path)
