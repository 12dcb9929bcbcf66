"""The noise floor: what two examinations of one student tell of the difference between two exams."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Attempt, Problem
from loops.exams.noise import floor_of, noise_floor, otherwise
from students.base import Generation


def problem(number: int, skill: str = "s") -> Problem:
    return Problem(question=f"{skill} {number}?", answer="1", skills=(skill,))


def sat(scores: list[float | None], text: str, skill: str = "s") -> list[Attempt]:
    return [
        Attempt(problem=problem(number, skill), student="x", text=f"{text} {score}", score=score)
        for number, score in enumerate(scores)
    ]


def test_a_student_that_answers_the_same_has_no_noise() -> None:
    exam = sat([0, 1, 1, 0.5], "a")
    floor = noise_floor(exam, exam, ("s", "unseen"))
    assert (floor.n, floor.changed, floor.flipped, floor.difference, floor.floor) == (4, 0, 0, 0.0, 0.0)
    assert floor.skills["s"].floor == 0.0
    assert (floor.skills["unseen"].n, floor.skills["unseen"].floor) == (0, 1.0)  # nothing to tell it by


def test_other_words_with_the_same_verdict_are_counted_and_leave_a_floor() -> None:
    floor = noise_floor(sat([0] * 24, "a"), sat([0] * 24, "b"))
    assert (floor.changed, floor.flipped) == (24, 0)
    assert 0.05 < floor.floor < 0.06  # 1.96 * sqrt(0.5 / 25 / 24)


def test_what_a_grader_could_not_tell_is_left_out() -> None:
    floor = noise_floor(sat([1, None, 0, 1], "a"), sat([0, 1, None, 1], "a"))
    assert (floor.n, floor.flipped, floor.difference) == (2, 1, -0.5)


@given(
    st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.0, 1.0))), min_size=1, max_size=40),
    st.randoms(),
)
def test_the_order_of_the_second_examination_does_not_matter(pairs: list[tuple[float, float]], rng: Random) -> None:
    first, second = sat([a for a, _ in pairs], "a"), sat([b for _, b in pairs], "a")
    shuffled = list(second)
    rng.shuffle(shuffled)
    floor = noise_floor(first, second, ("s",))
    assert floor == noise_floor(first, shuffled, ("s",))
    assert floor.flipped <= floor.changed <= floor.n
    assert abs(floor.difference) <= floor.flipped / floor.n
    assert 0 <= floor.floor <= 1


def test_a_skill_of_few_problems_borrows_from_the_whole_exam() -> None:
    noisy = (sat([0, 1] * 50, "a", "noisy"), sat([1, 0] * 10 + [0, 1] * 40, "b", "noisy"))
    calm = (sat([0] * 3, "a", "calm"), sat([0] * 3, "b", "calm"))
    floor = noise_floor(noisy[0] + calm[0], noisy[1] + calm[1], ("noisy", "calm"))
    assert (floor.skills["calm"].flipped, floor.skills["noisy"].flipped) == (0, 20)
    assert floor.skills["calm"].floor > floor.skills["noisy"].floor > floor.floor > 0


def test_the_floor_holds_95_times_in_100() -> None:
    """A drawn student: each problem is right with a chance of its own. Two exams tell the floor, two others try it."""
    rng, tries, held = Random(0), 1000, 0
    for _ in range(tries):
        chances = [rng.betavariate(0.7, 0.7) for _ in range(80)]
        first, second, third, fourth = ([float(rng.random() < chance) for chance in chances] for _ in range(4))
        floor = noise_floor(sat(first, "a"), sat(second, "b")).floor
        held += abs(sum(fourth) - sum(third)) / len(chances) <= floor + 1e-9
    assert 0.925 <= held / tries <= 0.975


def test_the_floor_shrinks_with_the_exam() -> None:
    assert floor_of(0.2, 400) == floor_of(0.2, 100) / 2
    assert floor_of(0.2, 0) == 1.0


def test_the_second_examination_has_other_batches_and_answers_alike_otherwise() -> None:
    given_ = Generation(max_tokens=72, temperature=0.3, batch_tokens=1000)
    assert otherwise(given_) == Generation(max_tokens=72, temperature=0.3, batch_tokens=500)
