import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import GradeError
from lessons.graders.choice import ChoiceGrader
from lessons.graders.exact import ExactGrader
from lessons.records import Problem

CITIES = ("Paris", "New York", "York")


def exact(answer: str | None, text: str, **knobs: bool) -> tuple[float, str]:
    grade = ExactGrader(**knobs).grade(Problem(question="q", answer=answer), text)
    return grade.score, grade.note


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        " paris. ",
        "'PARIS'",
        "“Paris”",
        "The answer is Paris.",
        "Answer: Paris. It is the capital.",
        "Hm.\nParis",
    ],
)
def test_exact_right(text: str) -> None:
    assert exact("Paris", text) == (1.0, "")


@pytest.mark.parametrize("text", ["Parris", "Answer: Paris or London", "Paris\nLondon", "I think it is Paris"])
def test_exact_wrong(text: str) -> None:
    assert exact("Paris", text)[0] == 0.0


def test_exact_knobs() -> None:
    assert exact("Paris", "paris", case=True)[0] == 0
    assert exact("Paris", "Paris", case=True)[0] == 1
    assert exact("Paris", "Paris.", punctuation=True)[0] == 0
    assert exact("?", "?")[0] == 1
    assert exact("new  york", "New\u00a0York")[0] == 1


@pytest.mark.parametrize("text", ["", "  \n", "Answer:\n"])
def test_exact_without_answer(text: str) -> None:
    assert exact("Paris", text) == (0.0, "no final answer")


@pytest.mark.parametrize("answer", [None, "", "  "])
def test_exact_without_reference(answer: str | None) -> None:
    with pytest.raises(GradeError):
        exact(answer, "Paris")


def test_exact_same() -> None:
    assert ExactGrader().same("Paris.", "paris")
    assert not ExactGrader().same("Paris", "London")
    with pytest.raises(GradeError):
        ExactGrader().same("", "London")


def choose(text: str, answer: str | None = "Paris", choices: tuple[str, ...] = CITIES, **knobs: bool):
    return ChoiceGrader(**knobs).grade(Problem(question="q", answer=answer, choices=choices), text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Paris", "Paris"),
        ("paris.", "Paris"),
        ("It must be Paris, I think", "Paris"),
        ("I saw York first.\nAnswer: Paris", "Paris"),
        ("New York", "New York"),
        ("in new_york today", "New York"),
        ("NewYork", "New York"),
        ("York", "York"),
        ("A", "Paris"),
        ("(b)", "New York"),
        ("B) New York", "New York"),
        ("option C", "York"),
        ("Answer: (C)", "York"),
        ("A trip to York", "York"),
    ],
)
def test_choice_names_one(text: str, named: str) -> None:
    grade = choose(text)
    assert (grade.answer, grade.note, grade.score) == (named, "", float(named == "Paris"))


@pytest.mark.parametrize("text", ["Paris or York", "Answer: Paris, New York", "(A) or (B)", "A) York", "paris york"])
def test_choice_names_several(text: str) -> None:
    grade = choose(text)
    assert (grade.score, grade.note) == (0.0, "several answers")


@pytest.mark.parametrize("text", ["", "London", "Yorkshire", "D", "Z)", "Parisian"])
def test_choice_names_none(text: str) -> None:
    grade = choose(text)
    assert (grade.score, grade.answer, grade.note) == (0.0, None, "no final answer")


def test_choices_that_are_letters_are_themselves() -> None:
    assert choose("B", answer="B", choices=("B", "A")).score == 1
    assert choose("A", answer="B", choices=("B", "A")).score == 0
    assert choose("b", answer="yes", choices=("no", "yes"), letters=False).answer is None
    assert choose("+", answer="+", choices=("+", "-")).score == 1


def test_a_reference_may_be_a_letter() -> None:
    assert choose("New York", answer="B").score == 1


@pytest.mark.parametrize(
    ("answer", "choices"), [(None, CITIES), ("London", CITIES), ("Paris", ()), ("a", ("a", "A")), ("D", CITIES)]
)
def test_choice_that_cannot_be_told(answer: str | None, choices: tuple[str, ...]) -> None:
    with pytest.raises(GradeError):
        choose("Paris", answer=answer, choices=choices)


def test_choice_same() -> None:
    assert ChoiceGrader().same("New York", "new-york.")
    assert not ChoiceGrader().same("York", "New York")
    with pytest.raises(GradeError):
        ChoiceGrader().same("", "York")


@given(st.lists(st.sampled_from(CITIES), min_size=1, max_size=4), st.sampled_from([" ", ", ", " and ", "\n"]))
def test_right_only_where_one_choice_is_named(named: list[str], joint: str) -> None:
    from hypothesis import assume

    text = joint.join(named)
    assume("New York" not in text or "York" not in named)
    grade = choose(text)
    assert grade.score == float(set(named) == {"Paris"})
    assert (grade.note == "several answers") == (len(set(named)) > 1)


@given(st.text())
def test_any_text_gets_a_grade(text: str) -> None:
    assert choose(text).score in (0.0, 1.0)
    assert exact("Paris", text)[0] in (0.0, 1.0)
