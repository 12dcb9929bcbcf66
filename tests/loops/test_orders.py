"""In which order lessons are trained: each order keeps every lesson, and puts it where it says."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.records import Lesson
from loops import plugins
from loops.orders.base import Order
from loops.orders.easy_to_hard import EasyToHard
from loops.orders.hard_share import RisingHardShare
from loops.recipe import resolve
from loops.selectors.base import Choice
from tests.loops.selecting import Told, attempt, lesson, profile, scores_of

RECIPE = {"task": "skills_demo", "student": "tiny", "teacher": "rule_tutor", "method": "rationale"}


def choice(seed: int = 0, **more: object) -> Choice:
    return Choice(profile=profile({"a": (10, 5)}), rng=Random(seed), **more)  # pyright: ignore[reportArgumentType]


def by_number() -> Told:
    return Told(lambda prompt, text: float(text.split()[-1]))


def numbered(*numbers: int) -> list[Lesson]:
    return [lesson(f"q {number}", f"c {number}") for number in numbers]


@pytest.mark.parametrize("name", plugins.known("order"))
def test_every_order_keeps_every_lesson_as_often_as_it_was_given(name: str) -> None:
    order: Order = plugins.build("order", name, where="order")
    lessons = [*numbered(3, 1, 2, 9, 4), *numbered(1)]
    attempts = [attempt("q 9", 0.0), attempt("q 1", 1.0)]
    given_, found = (
        [choice(attempts=attempts, scores=scores_of(now=by_number())) for _ in range(2)],
        list[list[Lesson]](),
    )
    for where in given_:
        found.append(order.order(lessons, where))
    assert sorted(one.id for one in found[0]) == sorted(one.id for one in lessons)
    assert found[0] == found[1]
    assert order.order([], choice(scores=scores_of(now=by_number()))) == []


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("shuffled", "shuffled"),
        ("sequential", "sequential"),
        ("easy_to_hard", "sequential"),
        ("hard_share", "sequential"),
    ],
)
def test_the_trainer_shuffles_only_where_the_order_says_so(name: str, trained: str) -> None:
    assert resolve({**RECIPE, "order": name}).training.order == trained


def test_easy_to_hard_by_loss() -> None:
    where = choice(scores=scores_of(now=by_number()))
    ordered = EasyToHard().order(numbered(5, 1, 4, 2), where)
    assert [one.completion for one in ordered] == ["c 1", "c 2", "c 4", "c 5"]
    hardest = EasyToHard(hard_first=True).order(numbered(5, 1, 4, 2), where)
    assert [one.completion for one in hardest] == ["c 5", "c 4", "c 2", "c 1"]


def test_easy_to_hard_by_success() -> None:
    attempts = [attempt("q 1", 0.0), attempt("q 2", 1.0), attempt("q 3", 0.5), attempt("q 3", 0.7, sample=1)]
    ordered = EasyToHard(by="success").order(numbered(1, 2, 3), choice(attempts=attempts))
    assert [one.problem.question for one in ordered] == ["q 2", "q 3", "q 1"]


def test_easy_to_hard_needs_a_student_only_for_losses() -> None:
    with pytest.raises(InputError, match="order: easy_to_hard goes by how probable the student finds texts"):
        EasyToHard().order(numbered(1), choice())


@given(st.permutations(range(12)), st.sampled_from(["loss", "success"]))
def test_easy_to_hard_does_not_depend_on_how_the_lessons_came(order: list[int], by: str) -> None:
    selector = EasyToHard(by=by)  # pyright: ignore[reportArgumentType]
    student = Told(lambda prompt, text: float(int(text.split()[-1]) % 3))  # many are equally hard
    attempts = [attempt(f"q {n}", float(n % 2)) for n in range(12)]
    ordered = selector.order(numbered(*order), choice(attempts=attempts, scores=scores_of(now=student)))
    again = selector.order(numbered(*range(12)), choice(attempts=attempts, scores=scores_of(now=student)))
    assert ordered == again


def hard_places(hard: int, easy: int, rise: float = 1.0) -> list[bool]:
    lessons = [lesson(f"hard {n}") for n in range(hard)] + [lesson(f"easy {n}") for n in range(easy)]
    attempts = [attempt(one.problem.question, float(one.problem.question.startswith("easy"))) for one in lessons]
    ordered = RisingHardShare(rise=rise).order(lessons, choice(attempts=attempts))
    assert sorted(one.id for one in ordered) == sorted(one.id for one in lessons)
    return [one.problem.question.startswith("hard") for one in ordered]


def test_the_hard_share_rises_through_the_epoch() -> None:
    # Half of 100 are hard: the share rises from 0 to 1. Of the fifths, 2, 6, 10, 14 and 18 of 20 are hard.
    places = hard_places(50, 50)
    assert [sum(places[start : start + 20]) for start in range(0, 100, 20)] == [2, 6, 10, 14, 18]
    # A quarter is hard: from 0 to 0.5. Three quarters: from 0.5 to 1.
    places = hard_places(25, 75)
    assert [sum(places[start : start + 25]) for start in range(0, 100, 25)] == pytest.approx(
        [1.6, 4.7, 7.8, 10.9], abs=1
    )
    places = hard_places(75, 25)
    assert [sum(places[start : start + 25]) for start in range(0, 100, 25)] == pytest.approx([14, 17, 20, 24], abs=1)
    even = hard_places(50, 50, rise=0)
    assert [sum(even[start : start + 20]) for start in range(0, 100, 20)] == [10] * 5


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1))
def test_after_every_part_as_many_hard_lessons_have_come_as_should(hard: int, easy: int, rise: float) -> None:
    places = hard_places(hard, easy, rise)
    order, whole = RisingHardShare(rise=rise), hard + easy
    for place in range(whole):
        due = whole * order.hard_by((place + 1) / whole, hard / whole)
        assert abs(sum(places[: place + 1]) - due) <= 0.5 + 1e-6
    assert sum(places) == hard


def test_the_shares_of_the_line() -> None:
    order = RisingHardShare()
    assert order.hard_by(1.0, 0.3) == pytest.approx(0.3)
    assert order.hard_by(0.5, 0.5) == pytest.approx(0.125)
    with pytest.raises(ValueError, match="rise must be in"):
        RisingHardShare(rise=2)
