"""docs/json.md is what the records say, and what commands print has no key that it does not name."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from loops.views.compare import Compare
from loops.views.gaps import Gaps
from loops.views.show import Show
from loops.views.why import Why

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "json.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_json_docs", ROOT / "scripts" / "write_json_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_records_say(script: ModuleType) -> None:
    assert PAGE.read_text(encoding="utf-8") == script.page(), "run python scripts/write_json_docs.py"


@pytest.mark.parametrize("kind", [Gaps, Show, Why, Compare])
def test_every_key_of_a_command_stands_in_its_section(kind: type[Any]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index(f"`tutelage {kind.__name__.lower()} RUN") :]
    keys = re.findall(r"^\| `(\w+)` \|", section.split("\n## ")[0], re.MULTILINE)
    assert set(keys) >= {field.name for field in msgspec.structs.fields(kind)}


def test_every_link_leads_to_a_record() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {name.lower() for name in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    links = {link for _, link in re.findall(r"\[(\w+)\]\(#(\w+)\)", text)}
    assert links
    assert links <= headings
