"""Instruction-following difficulty: how much a student finds an answer likelier for having read its instruction.

IFD(x, y) = ppl(y | x) / ppl(y) (Cherry, arXiv 2308.12032); reverse IFD(x, y) = ppl(x | y, a request to guess the
instruction) / ppl(x) (Selective Reflection-Tuning, arXiv 2402.10110). Below 1 the one helps with the other; the nearer
to 1, the harder. Perplexities are over the text's tokens and the end of its turn.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from lessons.errors import StudentError
from lessons.records import Message
from loops.scores import Score, Scores, Text

PAIRS = 256
"""Ratios that are computed at once."""

GUESS = "What was asked for, so that the text above is the answer to it? Write what was asked, and nothing else."
"""Behind the answer, where the student is to find what was asked. Our own words for the paper's request."""

Pair = tuple[Text, Text]
"""A text after what may help with it, and the same text after nothing."""


def ifd(scores: Scores, rows: Iterable[Text], student: str = "now") -> list[float]:  # [row]
    """Return ppl(y | x) / ppl(y) of each row, a chat x and the completion y after it.

    A ratio is in (0, inf]. It is nan, which is neither above nor below any bound, where nothing can be told: the
    completion is blank, the student cannot take the row (too long for it), or a score is not finite. (The released
    code says 0 there, which would pass as below 1.) `student`: a name that `Scores` knows, or the id of a model.

    Raises:
        InputError: there is no such student.
        StudentError: it cannot take any of the rows; why it cannot take the first.
    """
    return list(_ratios(scores, (((chat, text), ((), text)) for chat, text in rows), student))


def reverse_ifd(scores: Scores, rows: Iterable[Text], student: str = "now") -> list[float]:  # [row]
    """Return ppl(x | y and the request to guess it) / ppl(x) of each row; x is what the user said last in the chat.

    Range, nan and errors as for `ifd`; nan also where the chat has no turn of a user.
    """
    return list(_ratios(scores, (_reversed(chat, text) for chat, text in rows), student))


def instruction_of(chat: Sequence[Message]) -> str:
    """Return what the user said last in a chat; "" where no user said anything."""
    return next((turn["content"] for turn in reversed(chat) if turn["role"] == "user"), "")


def _reversed(chat: Sequence[Message], text: str) -> Pair:
    asked = instruction_of(chat)
    if not text.strip():
        asked = ""  # nothing to guess from, so nothing can be told
    return ((Message(role="user", content=f"{text}\n\n{GUESS}"),), asked), ((), asked)


def _ratios(scores: Scores, pairs: Iterable[Pair], student: str) -> Iterator[float]:
    rest = iter(pairs)
    refused: StudentError | None = None
    told = False
    while chunk := list(islice(rest, PAIRS)):
        texts = [text for pair in chunk if pair[0][1].strip() for text in pair]
        given = scores.each(texts, student)
        for pair in chunk:
            if not pair[0][1].strip():
                yield math.nan
                continue
            after, alone = next(given), next(given)
            if isinstance(after, StudentError) or isinstance(alone, StudentError):
                refused = refused or next(one for one in (after, alone) if isinstance(one, StudentError))
                yield math.nan
            else:
                told = True
                yield _ratio(after, alone)
    if refused is not None and not told:
        raise refused


def _ratio(after: Score, alone: Score) -> float:
    if not after.tokens or not alone.tokens:
        return math.nan
    difference = after.loss - alone.loss
    if not math.isfinite(difference):
        return math.nan
    return math.exp(difference) if difference < 700 else math.inf
