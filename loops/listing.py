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


def listing_text(entries: list[dict[str, Any]]) -> str:
    """Return the plug-ins as text for people."""
    blocks: list[str] = []
    for entry in entries:
        paper = f"   ({entry['paper']})" if entry["paper"] else ""
        block = [f"{entry['id']}{paper}", f"    {entry['about']}"]
        for knob in entry["knobs"]:
            default = f" = {knob['default']}" if knob["default"] else " (must be given)"
            block.append(f"      {knob['name']}{default}    {knob['help']}".rstrip())
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def _entry(family: str, plugin: str) -> dict[str, Any]:
    cls = plugins.find(family, plugin, where=family)
    about = (cls.__doc__ or "").strip().partition("\n")[0]
    knobs = [knob._asdict() for knob in knobs_of(cls)]
    return {"id": plugin, "paper": getattr(cls, "paper", ""), "about": about, "knobs": knobs}
