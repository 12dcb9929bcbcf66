import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.answers import (
    TEXT_LIMIT,
    final_answer,
    final_answers,
    first_sentence,
    fold,
    hedges,
    last_line,
    question_key,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("6 * 7 is 42.\nAnswer: 42", "42"),
        ("#### 42", "42"),
        ("so A: 3 is one\nA: 42", "42"),
        ("Job A: 42", None),  # A: is a marker at the start of a line only
        (r"thus \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{4", None),  # cut off
        ("The answer is 42.", "42."),
        ("The answer to the question is: 42", "42"),
        ("**Answer:** 42", "42"),
        ("**Final answer**: 42", "42"),
        ("Answer:\n\n  42\nmore", "42"),
        ("Answer: 12\nAnswer: 15", "15"),
        ("Answer: 12\nor 15", "12 or 15"),
        (r"\boxed{12} or \boxed{15}", "12  or  15"),
        ("Answer:", None),
        ("no marker 42", None),
        ("", None),
        ("<think>Answer: 1</think>Answer: 2", "2"),
        ("<think>Answer: 1</think> nothing", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_all_final_answers_last_first() -> None:
    assert final_answers("Answer: 1\nthe answer is 2\n#### 3") == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("４２", "42"),
        ("٤٢", "42"),
        ("−7", "-7"),
        ("1½", "1 1/2"),
        ("5²", "5^2"),
        ("4\u200b2", "42"),
        ("4\u202f000", "4 000"),
        ("Ａｎｓｗｅｒ： ７", "Answer: 7"),
        ("\ud800x", "x"),
        ("**a** `b`", "a b"),
    ],
)
def test_fold(written: str, plain: str) -> None:
    assert fold(written) == plain


def test_only_the_end_of_a_text_is_read() -> None:
    assert final_answer("Answer: 1" + " x" * TEXT_LIMIT) is None
    assert final_answer("x " * TEXT_LIMIT + "Answer: 1") == "1"


def test_sentences_and_hedges() -> None:
    assert first_sentence("42. This is because 6 * 7 = 42") == "42"
    assert first_sentence("3.5 because it is") == "3.5"
    assert first_sentence("12. Or 15.") == "12. Or 15."
    assert hedges("12 or 15")
    assert hedges("either of 12, 15")
    assert not hedges("for four orders")


def test_last_line() -> None:
    assert last_line("a\n\nParis.\n\n") == "Paris."
    assert last_line("Paris\nAnswer:\n \n") == "Paris"
    assert last_line(" \nAnswer:\n") is None


def test_question_key() -> None:
    assert question_key("What  is 2 + 3?") == question_key("what is 2 + 3")
    assert question_key("What is 2 + 3?") != question_key("What is 2 - 3?")
    assert question_key("2.5 and 3") != question_key("25 and 3")
    assert question_key("?!") != question_key("!?")


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    for region in final_answers(text):
        assert region
        assert region.strip() == region
    fold(text)
    question_key(text)


HOSTILE = [
    "Answer: " * 50_000,
    "answer" + " is" * 50_000,
    "the answer to " * 20_000,
    r"\boxed{" * 50_000,
    r"\boxed" + " " * 100_000,
    "{" * 100_000,
    "A" + " " * 100_000 + ":",
    " " * 100_000,
    "\n" * 100_000,
    "9" * 100_000,
    "1," * 50_000,
    "1/" * 50_000,
    "1 " * 50_000,
    "1 1/1 " * 20_000,
    "$" * 100_000,
    "(" * 100_000,
    "- " * 50_000,
    "-+" * 50_000,
    r"\frac{" * 20_000,
    "1 or " * 20_000,
    "１" * 100_000,
    "#" * 100_000,
    "." * 100_000,
    "=" * 100_000,
    "1=" * 50_000,
    "e5" * 50_000,
    "1e" * 50_000,
    "a_" * 50_000,
    "* " * 50_000,
    r"\text{" * 20_000,
    "\u0664" * 50_000,
    "\ud800" * 50_000,
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_texts_cost_no_time(number: int) -> None:
    from lessons.graders.choice import ChoiceGrader
    from lessons.graders.exact import ExactGrader
    from lessons.graders.numeric import NumericGrader
    from lessons.records import Problem

    problem = Problem(question="q", answer="5", choices=("5", "6"))
    text = HOSTILE[number]
    began = time.process_time()
    for hostile in (text, f"Answer: {text}", f"{text}\nAnswer: {text}"):
        for grader in (NumericGrader(), ExactGrader(), ChoiceGrader()):
            assert 0 <= grader.grade(problem, hostile).score <= 1
    assert time.process_time() - began < 3.0  # quadratic patterns need minutes here
