"""Beginnings of a reference solution: what a student is given to start from, a little more each time."""

import re

FRACTIONS = (0.2, 0.4, 0.6, 0.8)
"""Parts of a solution without lines that are given, one time after the other: GSI (arXiv 2411.00750)."""

_WORD = re.compile(r"\S+\s*")


def beginning(solution: str, time: int) -> str:
    """Return how a solution begins: one line more each time, or of a single line 20, 40, 60, 80 % of its words.

    The last line, or the last word, is never given: it states the answer. When all else was given, it begins again
    with the least. The paper counts tokens where this counts words, which are the same for every student.

    Args:
        solution: the reference; blanks at both ends do not count. One word alone has no beginning: "" is returned.
        time: which time, from 0.
    """
    lines = [line for line in solution.strip().splitlines() if line.strip()]
    if len(lines) > 1:
        given = 1 + time % (len(lines) - 1)
        return "\n".join(lines[:given]) + "\n"
    words = _WORD.findall(lines[0]) if lines else []
    given = int(FRACTIONS[time % len(FRACTIONS)] * len(words))
    return "".join(words[:given]).rstrip()
