"""Votes among final answers."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from lessons.graders.math import MathGrader
from loops.voting import camps
from tests.loops.teaching import Numbers

GRADER = cast(Any, Numbers())


def test_the_largest_camp_comes_first_and_of_equals_the_earlier() -> None:
    assert camps(["7", "8", "7", None, "8", "7", "9"], GRADER) == [[0, 2, 5], [1, 4], [6]]
    assert camps(["8", "7", "7", "8"], GRADER) == [[0, 3], [1, 2]]
    assert camps([None, None], GRADER) == []
    assert camps([], GRADER) == []


def test_the_grader_says_what_is_the_same_and_words_decide_where_it_cannot_tell() -> None:
    assert camps(["0.5", "1/2", "3"], MathGrader()) == [[0, 1], [2]]
    assert camps(["12 or 15", "12 OR  15"], MathGrader()) == [[0, 1]]  # several answers: the grader cannot compare them


@given(st.lists(st.sampled_from(["1", "2", "3", None])))
def test_every_answer_is_in_one_camp(answers: list[str | None]) -> None:
    found = camps(answers, GRADER)
    assert sorted(place for camp in found for place in camp) == [n for n, a in enumerate(answers) if a is not None]
    assert [len(camp) for camp in found] == sorted((len(camp) for camp in found), reverse=True)
    assert all(len({answers[place] for place in camp}) == 1 for camp in found)
