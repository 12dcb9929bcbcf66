import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import GradeError
from lessons.graders.numeric import NumericGrader
from lessons.numbers import read_final_number, read_number, written
from lessons.records import Problem

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "gsm8k"
GRADER = NumericGrader()


def problem(answer: str | None) -> Problem:
    return Problem(question="q", answer=answer)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: 42", "42"),
        ("Answer: $1,234.50", "1234.5"),
        ("Answer: 1,00,000 rupees", "100000"),
        ("#### -3", "-3"),
        ("Answer: −3", "-3"),
        ("Answer: -$5", "-5"),
        ("Answer: $-5", "-5"),
        ("A: 3/4", "0.75"),
        ("Answer: 1/3", "1/3"),
        ("Answer: 1 1/2 cups", "1.5"),
        ("Answer: 1 and 1/2 cups", "1.5"),
        ("Answer: 1½", "1.5"),
        (r"\boxed{-\frac{3}{4}}", "-0.75"),
        (r"\boxed{1\frac12}", "1.5"),
        (r"Answer: \$42.00", "42"),
        (r"\boxed{1{,}000\text{ km}}", "1000"),
        (r"Answer: $1.5 \times 10^{3}$", "1500"),
        ("Answer: 5e3", "5000"),
        ("Answer: 50%", "50"),
        ("Answer: 2 million dollars", "2000000"),
        ("Answer: ４２", "42"),
        ("Answer: ٤٢", "42"),
        ("Answer: 6 * 7 = 42 apples", "42"),
        ("Answer: 42 = 6 * 7", "42"),
        ("Answer: x = 42", "42"),
        ("Answer: 42 (6 rows of 7)", "42"),
        ("Answer: 42. This is because 6 * 7 = 42.", "42"),
        ("Answer: 42 because 6 rows of 7 are that", "42"),
        ("Answer: *42*", "42"),
        ("Answer: (42)", "42"),
        ("Answer: 42 - that is all", "42"),
        ("Answer: three", "3"),
        ("Answer: 12 or 12.0", "12"),
        ("Answer: First, I count.\n6 * 7 = 42", "42"),
        ("#### 42\nI hope the answer is right.", "42"),
        ("She has 6 rows. In all 42", "42"),
        ("6 rows of 7, or 3 too many.\nSo 42", "42"),
        ("Answer: .5", "0.5"),
        ("Answer: 5.", "5"),
        ("Answer: " + "so " * 166 + "1234567", "1234567"),  # the limit of what is read cuts no number
    ],
)
def test_reads(text: str, value: str) -> None:
    reading = read_final_number(text)
    assert reading.value is not None, reading
    assert written(reading.value) == value


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("Answer: 12 or 15", "several answers"),
        ("Answer: 12\nor 15", "several answers"),
        ("Answer: 12. Or 15.", "several answers"),
        ("Answer: 12 (or 15)", "several answers"),
        (r"\boxed{12} or \boxed{15}", "several answers"),
        (r"Answer: 12 or \boxed{15}", "several answers"),
        ("Answer: x = 12 or x = 15", "several answers"),
        ("Answer: x = 12, y = 15", "several answers"),
        ("Answer: 12, 15", "several answers"),
        ("Answer: 12-15", "several answers"),
        ("It is 12 or 15", "several answers"),
        ("It is 12, or maybe 15", "several answers"),
        ("Answer: 3 apples and 4 pears", "several answers"),
        ("Answer: 7:05", "not a number"),
        ("Answer: 3/4/2024", "not a number"),
        ("Answer: 1,2", "not a number"),
        ("Answer: 3/0", "not a number"),
        ("Answer: 1 1/0", "not a number"),
        ("Answer: 1e999999999", "not a number"),
        ("Answer: 1e-999999999", "not a number"),
        ("Answer: " + "9" * 5000, "not a number"),
        ("Answer: NaN", "not a number"),
        ("Answer: -inf", "not a number"),
        ("Answer: 10+John's age", "not a number"),
        ("Answer: 10 - x", "not a number"),
        (r"Answer: \sqrt{2}", "not a number"),
        ("Answer: 2^3 = ?", "not a number"),
        ("Answer: x2", "not a number"),
        ("Answer: unknown", "not a number"),
        ("Answer:", "no final answer"),
        ("", "no final answer"),
        ("I do not know.", "no final answer"),
        ("\u200b", "no final answer"),
    ],
)
def test_an_unreadable_answer_is_an_honest_0_with_a_note(text: str, note: str) -> None:
    grade = GRADER.grade(problem("12"), text)
    assert (grade.score, grade.note) == (0.0, note)


@pytest.mark.parametrize("answer", [None, "", "many", "12 or 15", "1e999999999", "7:05", "nan"])
def test_an_unreadable_reference_is_never_a_0(answer: str | None) -> None:
    with pytest.raises(GradeError):
        GRADER.grade(problem(answer), "Answer: 12")


def test_exact_up_to_the_tolerance() -> None:
    assert GRADER.grade(problem("1/3"), "Answer: 0.333333").score == 1
    assert GRADER.grade(problem("1/3"), "Answer: 0.33").score == 0
    assert NumericGrader(tolerance=0.01).grade(problem("1/3"), "Answer: 0.33").score == 1
    assert NumericGrader(tolerance=0).grade(problem("0.1"), "Answer: 1/10").score == 1
    big = 10**30
    assert GRADER.grade(problem(str(big)), f"Answer: {big + 1}").score == 0
    with pytest.raises(ValueError, match="tolerance"):
        NumericGrader(tolerance=-1)


def test_without_the_last_number() -> None:
    strict = NumericGrader(last_number=False)
    assert strict.grade(problem("42"), "In all 42").note == "no final answer"
    assert strict.grade(problem("42"), "Answer: 42").score == 1


def test_same() -> None:
    assert GRADER.same("1,000", "$1000.00")
    assert GRADER.same("0.75", "3/4")
    assert not GRADER.same("12", "15")
    for one, other in (("12", "many"), ("", "12"), ("12 or 15", "12")):
        with pytest.raises(GradeError):
            GRADER.same(one, other)


numbers = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**6)


@given(numbers)
def test_what_is_written_is_read(value: Fraction) -> None:
    assert read_number(written(value)).value == value
    assert GRADER.grade(problem(written(value)), f"So.\nAnswer: {written(value)}").score == 1


@given(st.integers(-(10**15), 10**15))
def test_thousands_separators_and_currency(value: int) -> None:
    assert read_number(f"{value:,}").value == value
    assert read_number(f"${value:,}.00").value == value


@given(numbers, numbers)
def test_same_is_symmetric(one: Fraction, other: Fraction) -> None:
    a, b = written(one), written(other)
    assert GRADER.same(a, b) == GRADER.same(b, a) == (abs(one - other) <= Fraction(1e-6))


@given(st.text(alphabet="0123456789.,/:+-eE $%()=xor\n\\{}", max_size=60))
def test_any_text_gets_a_grade(text: str) -> None:
    grade = GRADER.grade(problem("12"), text)
    assert grade.score in (0.0, 1.0)
    assert (grade.answer is None) == (grade.note == "no final answer") or grade.note
    if grade.score:
        assert grade.note == ""


@pytest.mark.skipif(not DATA.exists(), reason=f"GSM8K is not at {DATA}")
def test_agrees_with_every_verdict_on_real_attempts() -> None:
    with (DATA / "test.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    answers = {row["question"]: row["answer"].rpartition("####")[2].strip() for row in rows}
    agreed, differing = 0, list[str]()
    with (DATA / "model_solutions.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            grade = GRADER.grade(problem(answers[row["question"]]), row["solution"])
            if (grade.score == 1) == row["is_correct"]:
                agreed += 1
            else:
                differing.append(f"{row['solution'][-60:]!r} {grade}")
    assert differing == []
    assert agreed == 5276


@pytest.mark.skipif(not DATA.exists(), reason=f"GSM8K is not at {DATA}")
def test_every_reference_is_right_by_itself() -> None:
    count = 0
    for name in ("train.jsonl", "test.jsonl"):
        with (DATA / name).open(encoding="utf-8") as lines:
            for line in lines:
                answer = json.loads(line)["answer"]
                assert GRADER.grade(problem(answer.rpartition("####")[2].strip()), answer).score == 1, answer
                count += 1
    assert count == 8792
