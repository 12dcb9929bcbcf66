from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import GradeError
from lessons.graders.contains import ContainsGrader
from lessons.records import Problem


def score(answer: str | None, text: str, **knobs: Any) -> float:
    return ContainsGrader(**knobs).grade(Problem(question="q", answer=answer), text).score


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("Paris", "The capital is paris.", 1),
        ("Paris", "The capital is Parisian.", 0),
        ("Paris|City of Light", "They call it the City  of\nLight!", 1),
        ("Paris|City of Light", "London", 0),
        ("art", "a party", 0),
        ("New York", "NEW YORK", 1),
        ("3", "It is 3.", 1),
        ("3", "It is 3.5 m", 0),
        ("3", "It is 13", 0),
        ("3", "It is 0.3", 0),
        ("3", "It is ３", 1),
        ("1,200", "1,200 people", 1),
        ("1,200", "31,200 people", 0),
        ("C++", "written in C++, mostly", 1),
        ("(a)", "I take (a).", 1),
        ("Straße", "STRASSE", 1),
        ("Paris", "<think>Paris?</think> Rome", 0),
        ("Paris", "**Paris**", 1),
        ("a.b", "axb", 0),
    ],
)
def test_the_reference_answer_stands_in_the_text(answer: str, text: str, right: float) -> None:
    assert score(answer, text) == right


def test_knobs() -> None:
    assert score("Paris", "paris", case=True) == 0
    assert score("art", "a party", whole_words=False) == 1
    assert score("a|b", "a", separator="") == 0
    assert score("a|b", "this is a|b", separator="") == 1
    assert score("a; b", "only b here", separator=";") == 1
    assert score(None, "boil, then stir", phrases=("boil", "stir"), need="all") == 1
    assert score(None, "boil it", phrases=("boil", "stir"), need="all") == 0.5
    assert score("ignored", "stir", phrases=("boil", "stir")) == 1
    half = ContainsGrader(phrases=("boil", "stir"), need="all").grade(Problem(question="q"), "boil it")
    assert half == (0.5, "boil", "lacks stir")
    with pytest.raises(ValueError, match="empty phrase"):
        ContainsGrader(phrases=("a", " "))


@pytest.mark.parametrize("answer", [None, "", " | "])
def test_nothing_to_look_for_is_no_verdict(answer: str | None) -> None:
    with pytest.raises(GradeError, match="no reference answer to look for"):
        score(answer, "anything")


def test_two_texts() -> None:
    grader = ContainsGrader()
    assert grader.same("Paris.", " paris")
    assert not grader.same("Paris", "Rome")
    assert grader.read("  ") is None
    assert grader.read("<think>so</think> Paris ") == "Paris"
    with pytest.raises(GradeError):
        grader.same("", "a")


words = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)


@given(words, st.lists(words, max_size=5), st.lists(words, max_size=5))
def test_a_phrase_between_other_words_is_found(phrase: str, before: list[str], behind: list[str]) -> None:
    assert score(phrase, " ".join([*before, phrase, *behind]), separator="") == 1


@given(st.text(max_size=30), st.text(max_size=100))
def test_any_text(answer: str, text: str) -> None:
    try:
        assert score(answer, text) in (0.0, 1.0)
    except GradeError as error:
        assert str(error)
