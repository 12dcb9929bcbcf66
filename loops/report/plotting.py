"""What all figures share: plain Plotly data, whose texts are escaped and whose colours are the page's own variables.

Plotly reads a little HTML in its texts, so every text is escaped here, as it is in the page.
"""

from html import escape
from typing import Any

from loops.views.text import visible

Figure = dict[str, Any]
"""`{"data": [...], "layout": {...}}`. A colour that begins with -- is a variable of page.css, set when it is drawn."""


def safe(text: str) -> str:
    """Return a text that Plotly shows as it is: no tags, no entities of its own, no hidden characters."""
    return escape(visible(text), quote=False)


def title(index: int) -> str:
    """Return how a round is called below a chart."""
    return "start" if index == 0 else f"round {index}"
