"""docs/methods.md is what the plug-ins say of themselves, and every one says what a reader needs."""

import re
from pathlib import Path

import pytest

from loops.listing import ASKS, SECTIONS, listing, listing_page

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_page_is_what_the_plugins_say() -> None:
    """`python scripts/write_methods_docs.py` makes it anew."""
    assert PAGE.read_text(encoding="utf-8") == listing_page()


@pytest.mark.parametrize("family", list(SECTIONS))
def test_every_plugin_says_where_it_is_from_and_what_its_knobs_do(family: str) -> None:
    for entry in listing(family):
        assert entry["paper"], f"{family} {entry['id']} has no paper, and no 'our own: ...'"
        assert entry["about"].endswith("."), entry["about"]
        for knob in entry["knobs"]:
            assert knob["help"], f"{family} {entry['id']}.{knob['name']} has no help"
        if family == "method":
            assert all(entry.get(name) for name in ASKS), entry["id"]


def test_each_method_of_the_table_has_a_section() -> None:
    text = PAGE.read_text(encoding="utf-8")
    linked = re.findall(r"^\| \[(\w+)\]\(#(\w+)\)", text, re.MULTILINE)
    assert len(linked) == len(listing("method"))
    assert all(name == place and f"\n### {place}\n" in text for name, place in linked)
