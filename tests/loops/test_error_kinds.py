"""What a program can tell of how an attempt failed, and what it leaves to a reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.graders.base import Grader
from lessons.graders.choice import ChoiceGrader
from lessons.graders.math import MathGrader
from lessons.graders.numeric import NumericGrader
from lessons.records import Attempt, Problem
from loops.diagnosis.error_kinds import advice, is_of_form, told_by_program
from loops.grading import verdicts_of, with_verdict

NUMBER = Problem(question="Anna has 5 books and buys 3. How many are there?", answer="8")
LABEL = Problem(question="play some jazz", answer="PlayMusic", choices=("PlayMusic", "GetWeather"))


def failed(text: str, problem: Problem = NUMBER, *, cut: bool = False) -> Attempt:
    """An attempt as the project's own graders grade it."""
    return graded(ChoiceGrader() if problem.choices else NumericGrader(), problem, text, cut)


def graded(grader: Grader, problem: Problem, text: str, cut: bool) -> Attempt:
    (verdict,) = verdicts_of(grader, [(problem, text)], None)
    return with_verdict(Attempt(problem=problem, student="s", text=text, cut=cut), verdict)


@pytest.mark.parametrize(
    ("text", "cut", "kind"),
    [
        ("First I take 5 + 3 and then I", True, "truncated"),
        ("", True, "truncated"),  # nothing but thoughts, say
        ("Answer: 7", True, "truncated"),  # perhaps it would have been 78
        ("Answer: 7\nQuestion: Ben has", True, None),  # an answer was given, what follows is chatter
        ("#### 7\n\n", True, None),
        ("", False, "gave up"),
        (" ...\n", False, "gave up"),
        ("I don't know.", False, "gave up"),
        ("I’m sorry, I cannot solve this problem.", False, "gave up"),
        ("Answer: I don't know", False, "gave up"),
        ("no idea", False, "gave up"),
        ("I don't know, but 5 + 4 = 9", False, None),  # it tries something
        ("I do not know Anna, and " + "so on " * 60, False, "format"),
        ("She has many books now.", False, "format"),  # no final answer
        ("So 5 + 3 = 8 books, and she read 2 of them.", False, "format"),  # worked out, and another number comes last
        ("5 + 3 = 8. That took 2 days.", False, "format"),
        ("5 + 3 = 9. That took 2 days.", False, None),
        ("5 + 3 = 8. Answer: 2", False, None),  # it says what its answer is
        ("5 - 3 = 2", False, None),
        ("The total = all of the 8 books of day 2", False, None),  # an equation of words
        ("Answer: 9", False, None),
    ],
)
def test_the_first_rule_that_fits(text: str, cut: bool, kind: str | None) -> None:
    attempt = failed(text, cut=cut)
    assert attempt.failed
    assert told_by_program(attempt) == kind


def test_a_right_answer_did_not_go_wrong() -> None:
    attempt = failed("5 + 3 = 8", cut=True)
    assert attempt.right
    assert told_by_program(attempt) is None


def test_a_choice_that_is_read_was_stated() -> None:
    assert told_by_program(failed("GetWeather, because of the", LABEL, cut=True)) is None
    assert told_by_program(failed("The sentence asks for some", LABEL, cut=True)) == "truncated"
    assert told_by_program(failed("The sentence asks for some jazz.", LABEL)) == "format"


def test_a_program_that_ended_was_stated() -> None:
    code = "def double(n):\n    return n + n + 1"
    answered = Attempt(
        problem=NUMBER, student="s", text=f"```python\n{code}\n```\nThis adds", score=0.0, answer=code, cut=True
    )
    assert told_by_program(answered) is None
    broken = Attempt(problem=NUMBER, student="s", text=f"```python\n{code}", score=0.0, answer=code, cut=True)
    assert told_by_program(broken) == "truncated"


def test_a_grader_that_reads_no_answers_makes_no_failure_one_of_form() -> None:
    """A judge has no final answer to show, and does not say that there was none."""
    judged = Attempt(problem=NUMBER, student="s", text="Some essay.", score=0.0, answer=None, note="off the point")
    assert told_by_program(judged) is None


def test_an_ungraded_attempt_can_still_be_cut() -> None:
    attempt = Attempt(problem=NUMBER, student="s", text="First I", cut=True, note="not graded: time ran out")
    assert told_by_program(attempt) == "truncated"


@given(text=st.text(max_size=400), cut=st.booleans(), answer=st.sampled_from(["8", "1/2", "PlayMusic", "x = 3"]))
def test_any_text_has_at_most_one_kind(text: str, cut: bool, answer: str) -> None:
    problem = Problem(question="q", answer=answer)
    attempt = graded(MathGrader(), problem, text, cut)
    kind = told_by_program(attempt)
    assert kind in (None, "truncated", "gave up", "format")
    if attempt.right:
        assert kind is None
    if kind == "truncated":
        assert cut
    if not text.strip() and not attempt.right:
        assert kind == ("truncated" if cut else "gave up")


def test_only_format_and_truncated_are_of_form() -> None:
    kinds = ("format", "arithmetic slip", "wrong plan", "misread question", "gave up", "truncated", None)
    assert [kind for kind in kinds if is_of_form(kind)] == ["format", "truncated"]


def test_advice_is_about_the_kind_that_leads() -> None:
    assert "student.answer.max_tokens (now 256)" in advice({"truncated": 9, "format": 2}, 256)
    assert "warm-up" in advice({"truncated": 2, "format": 9}, 256)
