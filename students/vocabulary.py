"""Whether two models read text as the same tokens: looked at by encoding probes, never by the width of a head."""

from collections.abc import Iterable
from typing import Any

from lessons.errors import StudentError

PROBES = (
    "The quick brown fox can't jump over 13 lazy dogs.",
    " 3.14159 + 2,718 = 42; 7 * 8 != 57 (mod 100)",
    "def f(x):\n    return {'a': [x ** 2, None]}\n\n\t# tab",
    "Ångström naïve Straße — 東京 привет 🙂",
    "  two  spaces\r\nand\n\n\nlines ",
    "ANTIDISESTABLISHMENTARIANISM http://example.org/?q=1&b=%20",
)
"""Words, numbers, code, other scripts, white space, long words: where vocabularies differ first."""


def check_same(student: Any, teacher: Any, texts: Iterable[str], name: str) -> None:
    """Refuse a teacher whose tokens are not the student's.

    student, teacher: tokenizers. texts: some of what is to be trained on, control tokens included. name: the teacher's.

    Raises:
        StudentError: a probe, a text, or one of the student's control tokens has other ids.
    """
    for text in (*PROBES, *student.all_special_tokens, *texts):
        own, other = (tokenizer(text, add_special_tokens=False)["input_ids"] for tokenizer in (student, teacher))
        if list(own) != list(other):
            shown = text if len(text) <= 40 else f"{text[:39]}…"
            raise StudentError(
                f"the teacher {name} reads {shown!r} as other tokens than the student does, and this objective "
                "compares the two token by token; take a teacher of the student's own family"
            )


def check_width(ids: Iterable[int], width: int, name: str) -> None:
    """Refuse a teacher whose head has no place for a token of the lessons.

    Raises:
        StudentError: the largest id is beyond the head's width.
    """
    largest = max(ids, default=0)
    if largest >= width:
        raise StudentError(f"the teacher {name} knows {width} tokens, and the lessons have the token {largest}")
