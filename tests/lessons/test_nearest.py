"""Which texts are nearest by words."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lessons.nearest import Nearest, words

TEXTS = ["Add 3 and 4 apples.", "How many minutes are 2 hours?", "Add 30 and 40 pears.", "Sort these words."]


def test_numbers_are_one_word_and_case_is_aside() -> None:
    assert words("Add 3 AND 4x_y apples!") == ["add", "0", "and", "0", "x", "y", "apples"]


def test_the_similarity_of_a_hand_worked_pair() -> None:
    # Two texts: "red blue", "red". idf(red) = 1 + ln(3/3) = 1, idf(blue) = 1 + ln(3/2).
    blue = 1 + math.log(1.5)
    assert Nearest(["red blue", "red"]).similarities("red") == [1 / math.hypot(1, blue), 1.0]
    assert Nearest(["red blue", "red"]).similarities("green") == [0.0, 0.0]


def test_nearest_first_and_ties_in_order() -> None:
    nearest = Nearest(TEXTS)
    assert nearest.to("Add 5 and 6 pears.", 2) == [2, 0]
    assert nearest.to("minutes", 1) == [1]
    assert nearest.to("nothing alike", 4) == [0, 1, 2, 3]
    assert nearest.to("Add 5 and 6 pears.", 2, among=[3, 1, 0]) == [0, 1]
    assert Nearest([]).to("x", 3) == []


@given(st.lists(st.text(max_size=20), max_size=8), st.text(max_size=20), st.integers(0, 9))
def test_any_texts(texts: list[str], question: str, k: int) -> None:
    nearest = Nearest(texts)
    near, found = nearest.similarities(question), nearest.to(question, k)
    assert all(0 <= one <= 1 for one in near)
    assert len(found) == len(set(found)) == min(k, len(texts))
    assert [near[place] for place in found] == sorted((near[place] for place in found), reverse=True)
    for place, text in enumerate(texts):
        if words(text):
            assert math.isclose(nearest.similarities(text)[place], 1.0)
