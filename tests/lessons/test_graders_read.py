"""Every grader reads the final answer of a text without knowing the reference: what agreement is counted on."""

import pytest

from lessons.graders.base import Grader
from lessons.graders.choice import ChoiceGrader
from lessons.graders.exact import ExactGrader
from lessons.graders.math import MathGrader
from lessons.graders.numeric import NumericGrader


@pytest.mark.parametrize(
    ("grader", "text", "answer"),
    [
        (NumericGrader(), "3 + 4 = 7\nAnswer: 7 apples", "7"),
        (NumericGrader(), "Answer: 12 or 15", None),
        (NumericGrader(), "no idea", None),
        (ExactGrader(), "Answer: Paris", "Paris"),
        (ExactGrader(), "  ", None),
        (ChoiceGrader(), "AddToPlaylist", "AddToPlaylist"),
        (ChoiceGrader(), "Answer: B", "B"),
        (MathGrader(), "so\nAnswer: 7:05", "7:05"),
        (MathGrader(), "Answer: 12 or 15", None),
        (MathGrader(), r"thus \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (MathGrader(), "", None),
    ],
)
def test_read(grader: Grader, text: str, answer: str | None) -> None:
    assert grader.read(text) == answer
