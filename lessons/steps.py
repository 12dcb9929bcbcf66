"""How somebody who acts in turns speaks: a reason, then a line `Action: X`. Pure functions, linear in the text."""

import re
from collections.abc import Sequence

LONGEST_ACTION = 200
"""Characters of an action: a longer one is no action but talk. Our own bound."""

_ACTION = re.compile(r"^[ \t>*_#-]{0,8}action[ \t*_]{0,4}:[ \t*_]{0,4}(.*)$", re.IGNORECASE | re.MULTILINE)
_REASON = re.compile(r"^[ \t>*_#-]{0,8}reason[ \t*_]{0,4}:[ \t*_]{0,4}", re.IGNORECASE)
_EDGES = " \t\r\"'`*_.!"


def said(reason: str, action: str) -> str:
    """Return what is said in a turn: the reason on one line, where there is one, then the action."""
    told = " ".join(reason.split())
    return f"{told}\nAction: {action}" if told else f"Action: {action}"


def actions_of(text: str) -> list[str]:
    """Return the actions that a text names behind "Action:", one a line, in order; spelled in small letters."""
    found = (" ".join(match[1].split()).strip(_EDGES).casefold() for match in _ACTION.finditer(text))
    return [action for action in found if 0 < len(action) <= LONGEST_ACTION]


def action_in(text: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that a turn names: behind its first "Action:", else as its whole last line; None where it
    names none of them. Case, spaces and marks around it do not count."""
    known = {" ".join(one.split()).strip(_EDGES).casefold(): one for one in candidates}
    named = actions_of(text)
    if named:
        return known.get(named[0])
    lines = [line for line in text.splitlines() if line.strip()]
    return known.get(" ".join(lines[-1].split()).strip(_EDGES).casefold()) if lines else None


def reason_in(text: str) -> str:
    """Return what a turn says before its first action, on one line, without the word "Reason:"."""
    found = _ACTION.search(text)
    return " ".join(_REASON.sub("", text[: found.start()] if found else text).split())
