"""SECURITY.md: a defence stands in it only with tests, and each of them is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not re.match(r"\| (---|threat )", line)]


@cache
def functions(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def asserts(path: str, name: str) -> bool:
    """Whether a function of a test file asserts something, itself or by another function of the file."""
    nodes = list(ast.walk(functions(path)[name]))
    if any(isinstance(node, ast.Assert) for node in nodes):
        return True
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    others = called & functions(path).keys() - {name}
    return "pytest.raises" in called or any(asserts(path, other) for other in others)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_is_there_and_asserts_something(path: str, name: str) -> None:
    assert name in functions(path), f"SECURITY.md names {path}::{name}, which is not there"
    assert asserts(path, name), f"{path}::{name} asserts nothing"


@pytest.mark.parametrize("row", ROWS)
def test_every_threat_has_a_defence_and_a_test(row: str) -> None:
    threat, done, tests = (cell.strip() for cell in row.strip("| ").split(" | "))
    assert threat
    assert done
    assert re.search(r"`tests/[\w/]+\.py::\w+`", tests), threat


def test_the_page_is_read() -> None:
    assert len(ROWS) >= 25
    assert len(NAMED) >= 50
