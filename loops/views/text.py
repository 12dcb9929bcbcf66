"""How views become text: quiet columns, and nothing that a model wrote can steer the terminal."""

import io
import re
from typing import TYPE_CHECKING, Any

import msgspec

from lessons.records import Record

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters: they move the cursor, ring, recolour
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi controls, unseen spaces
    "\ud800-\udfff\U000e0000-\U000e007f]"  # lone surrogates; tags, which spell text that nobody sees
)

SPARKS = "▁▂▃▄▅▆▇█"
PLAIN_WIDTH = 160
"""Columns where the width is not a terminal's: wide enough that a table of three rounds keeps its lines whole."""


def visible(text: str) -> str:
    """Return a text with control, bidi and unseen characters written out (⟨ESC⟩, ⟨U+202E⟩); newlines and tabs stay."""
    return _HIDDEN.sub(_name, text.replace("\r\n", "\n"))


def _name(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "⟨ESC⟩" if code == 0x1B else f"⟨U+{code:04X}⟩"


def one_line(text: str, longest: int = 100) -> str:
    """Return a text as one visible line of at most this many characters."""
    return clipped(" ".join(visible(text).split()), longest)


def clipped(text: str, longest: int) -> str:
    """Return a text cut to this many characters, the cut shown as …"""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def percent(share: float, digits: int = 1) -> str:
    """Return a share in [0, 1] as per cent: 0.412 is "41.2 %"."""
    return f"{100 * share:.{digits}f} %"


def points(difference: float, digits: int = 1) -> str:
    """Return a difference of shares in signed percentage points: 0.076 is "+7.6", nothing at all is "0.0"."""
    rounded = round(100 * difference, digits)
    return f"{rounded:.{digits}f}".lstrip("-") if rounded == 0 else f"{rounded:+.{digits}f}".replace("-", "−")


def dollars(usd: float) -> str:
    """Return an amount in USD: 3.1 is "$3.10", and a small one keeps two digits that say something."""
    if usd and abs(usd) < 0.01:  # below a cent, two decimals would show nothing
        return f"${usd:.2g}"
    return f"${usd:,.2f}"


def interval(low: float, high: float, digits: int = 1) -> str:
    """Return an interval of shares in per cent: "[39.0, 43.4]"."""
    return f"[{100 * low:.{digits}f}, {100 * high:.{digits}f}]".replace("-", "−")


def p_value(p: float) -> str:
    """Return a p-value as people write it: "p 0.002", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}" if p < 0.1 else f"p {p:.2f}"


def duration(seconds: float) -> str:
    """Return a wall time: "0.4 s", "42 s", "3 m 10 s", "2 h 05 m"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


def count(number: int | None) -> str:
    """Return a whole number with thousands marked; None is "–"."""
    return "–" if number is None else f"{number:,}"


def spark(shares: list[float | None]) -> str:
    """Return shares in [0, 1] as a row of small bars; a missing one is a space."""
    return "".join(" " if s is None else SPARKS[min(len(SPARKS) - 1, int(s * len(SPARKS)))] for s in shares)


def styled(text: str, style: str = "") -> "Text":
    """Return visible text that rich shows as it is: no markup, no emoji codes, no links."""
    from rich.text import Text

    return Text(visible(text), style=style)


def to_text(renderable: "RenderableType", *, width: int = PLAIN_WIDTH) -> str:
    """Return a renderable as plain text: no colours, no trailing spaces."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(), force_terminal=False, color_system=None, width=width, highlight=False, legacy_windows=False
    )
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


class View(Record, frozen=True, kw_only=True):
    """What a command shows: plain data that also knows how it looks."""

    def render(self) -> "RenderableType":
        """Return what rich prints."""
        raise NotImplementedError

    def text(self, width: int = PLAIN_WIDTH) -> str:
        """Return the view as plain text, without a newline at its end."""
        return to_text(self.render(), width=width).rstrip("\n")

    def data(self) -> Any:
        """Return the view as plain data (dicts, lists, strings, numbers) for `--json`."""
        return msgspec.to_builtins(self, str_keys=True)
