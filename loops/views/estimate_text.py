"""How `tutelage estimate` looks: one line for each kind of prompt, the sum, and how it was reckoned."""

from typing import TYPE_CHECKING

from loops.views.text import dollars, one_line, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from loops.costs.estimating import Estimate, Range


def rendered(view: "Estimate") -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "prompt"):
        table.add_column(name)
    for name in ("requests", "prompt tokens", "completion tokens", "USD"):
        table.add_column(name, justify="right")
    for row in view.rows:
        table.add_row(
            one_line(row.stage), one_line(row.prompt), _range(row.requests), _range(row.prompt_tokens),
            _range(row.completion_tokens), _usd(row.usd),
        )  # fmt: skip
    total = f"in all: {_range(view.requests)} requests, {_range(view.tokens)} tokens, {_usd(view.usd)}"
    notes = [styled(f"  {line}", "dim") for line in view.how]
    return Group(styled(f"teacher {one_line(view.teacher)}"), table, styled(total, "bold"), *notes)


def _range(of: "Range") -> str:
    low, high = _number(of.low), _number(of.high)
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    if value >= 1e7:
        return f"{value / 1e6:,.0f} M"
    return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value:,.0f}"


def _usd(of: "Range | None") -> str:
    if of is None:
        return "price unknown"
    low, high = dollars(of.low), dollars(of.high)
    return low if low == high else f"{low} to {high}"
