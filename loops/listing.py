"""What can be named in a recipe: every plug-in of a family, with what it does, where it is from, and its knobs."""

from typing import Any

from lessons.errors import InputError
from loops import plugins
from loops.knobs import knobs_of, nearest


def listing(family: str) -> list[dict[str, Any]]:
    """Return the plug-ins of a family as plain data.

    Raises:
        InputError: there is no such family.
    """
    if family not in plugins.FAMILIES:
        raise InputError(f"there is no family {family!r}; {nearest(family, plugins.FAMILIES)}")
    return [_entry(family, plugin) for plugin in plugins.known(family)]


ASKS = ("teacher", "student", "cost")
"""What a method says of itself beside its paper: what it asks of the teacher and of the student, and what a lesson
costs."""


def listing_text(entries: list[dict[str, Any]]) -> str:
    """Return the plug-ins as text for people."""
    blocks: list[str] = []
    for entry in entries:
        paper = f"   ({entry['paper']})" if entry["paper"] else ""
        block = [f"{entry['id']}{paper}", f"    {entry['about']}"]
        block += [f"      {name}: {entry[name]}" for name in ASKS if entry.get(name)]
        for knob in entry["knobs"]:
            default = f" = {knob['default']}" if knob["default"] else " (must be given)"
            block.append(f"      {knob['name']}{default}    {knob['help']}".rstrip())
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def _entry(family: str, plugin: str) -> dict[str, Any]:
    cls = plugins.find(family, plugin, where=family)
    about = first_sentence(cls.__doc__ or "")
    knobs = [knob._asdict() for knob in knobs_of(cls)]
    asks = {name: getattr(cls, name) for name in ASKS if isinstance(getattr(cls, name, None), str)}
    return {"id": plugin, "paper": getattr(cls, "paper", ""), "about": about, **asks, "knobs": knobs}


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, in one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + stop.rstrip()


PAGE = """# Methods, filters, selectors, orders, objectives

What a recipe can name: any method with any filter, selector, order and objective. This page is made by
`python scripts/write_methods_docs.py`; the same stands in `tutelage methods FAMILY`, with `--json` for programs.
"""
SECTIONS = {
    "method": "Methods: what the teacher writes",
    "filter": "Filters: what may not become a lesson",
    "selector": "Selectors: what is trained, and how much of it",
    "order": "Orders: in which order it is trained",
    "objective": "Objectives: the loss that the student is trained with",
}


def listing_page() -> str:
    """Return the page of what can be named in a recipe, as Markdown."""
    parts = [PAGE]
    for family, title in SECTIONS.items():
        entries = listing(family)
        parts.append(f"\n## {title}\n")
        if family == "method":
            parts.append(
                "| id | paper | of the teacher | of the student | teacher calls |\n| --- | --- | --- | --- | --- |"
            )
            parts += [_row(f"[{e['id']}](#{e['id']})", e["paper"], *(e.get(n, "") for n in ASKS)) for e in entries]
            parts.append("")
        for entry in entries:
            parts.append(f"### {entry['id']}\n\n{entry['about']}" + (f" ({entry['paper']})" if entry["paper"] else ""))
            if entry["knobs"]:
                parts.append("\n| knob | default | |\n| --- | --- | --- |")
                parts += [f"| `{k['name']}` | {_default(k['default'])} | {_cell(k['help'])} |" for k in entry["knobs"]]
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _default(written: str) -> str:
    return f"`{written}`" if written else "must be given"


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
