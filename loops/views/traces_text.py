"""How `tutelage why` looks for a problem, an attempt or a call: what it is, and the rows that came of it."""

from typing import TYPE_CHECKING

from loops.views.text import clipped, count, one_line, styled, visible
from loops.views.traces import Came, Traces, Tried

if TYPE_CHECKING:
    from rich.console import RenderableType

LONGEST = 2000
"""Characters of one text that are shown; `--json` has all of them."""
MOST = 40
"""Rows that are shown."""


def rendered(view: Traces) -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group

    part = f"   of the {view.part.replace('_', '-')} problems" if view.part else ""
    parts: list[RenderableType] = [styled(f"{view.kind} {view.id}{part}", "bold")]
    if view.problem is not None:
        parts.append(_said(view.problem.question))
        if view.problem.answer is not None:
            parts.append(_said(f"reference answer: {view.problem.answer}"))
    if view.call is not None:
        parts.append(styled(f"  {one_line(view.call.purpose, 40)}   {one_line(view.call.teacher, 60)}"))
        parts.append(_said(f"reply: {view.call.reply.text}"))
    for row in view.tried:
        parts += _tried(row)
    parts.append(styled("what came of it" if view.rows else "no lesson and no candidate came of it", "bold"))
    parts += [_row(row) for row in view.rows[:MOST]]
    if len(view.rows) > MOST:
        parts.append(styled(f"  and {count(len(view.rows) - MOST)} more; --json has all"))
    if view.rows:
        parts.append(styled(f"  `tutelage why RUN {view.rows[0].id}` tells the whole chain of a row", "dim"))
    return Group(*parts)


def _said(text: str) -> "RenderableType":
    from rich.padding import Padding

    return Padding(styled(clipped(visible(text).strip(), LONGEST)), (0, 0, 0, 4))


def _tried(row: Tried) -> "list[RenderableType]":
    it = row.attempt
    verdict = "not graded" if it.score is None else "right" if it.right else f"score {it.score:g}"
    lacked = f"   lacked: {one_line(', '.join(it.missing))}" if it.missing else ""
    return [styled(f"  examined in round {row.round}   attempt {row.id}   {verdict}{lacked}"), _said(it.text)]


def _row(row: Came) -> "RenderableType":
    reason = f" ({one_line(row.place.reason)})" if row.place.reason else ""
    skill = one_line(row.skill or "no skill", 40)
    return styled(f"  {row.id}   round {row.place.round}, {row.place.status}{reason}   {skill}   by {row.method}")
