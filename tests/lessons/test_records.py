import msgspec
import pytest

from lessons.records import Attempt, Lesson, Problem, Provenance

PROBLEM = Problem(question="q", answer="1", skills=("a", "b"))


@pytest.mark.parametrize(
    ("score", "graded", "right", "failed"),
    [(None, False, False, False), (0.0, True, False, True), (0.99, True, False, True), (1.0, True, True, False)],
)
def test_an_attempt_that_could_not_be_graded_is_neither_right_nor_failed(
    score: float | None, graded: bool, right: bool, failed: bool
) -> None:
    attempt = Attempt(problem=PROBLEM, student="s", text="t", score=score)
    assert (attempt.graded, attempt.right, attempt.failed) == (graded, right, failed)


def test_a_lesson_teaches_first_what_it_aims_at() -> None:
    def lesson(skill: str | None) -> Lesson:
        provenance = Provenance(method="m", round=1, skill=skill)
        return Lesson(prompt=(), completion="c", problem=PROBLEM, provenance=provenance)

    assert lesson("b").skills == ("b", "a")
    assert lesson("c").skills == ("c", "a", "b")
    assert lesson(None).skills == ("a", "b")


def test_records_are_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        PROBLEM.question = "other"
    with pytest.raises(TypeError):
        Problem("q")


def test_defaults_are_left_out_of_the_line() -> None:
    line = msgspec.json.decode(msgspec.json.encode(Problem(question="q", answer="1")))
    assert set(line) - {"data"} == {"question", "answer"}


def test_attempts_differ_by_who_when_and_what() -> None:
    base = Attempt(problem=PROBLEM, student="s", text="t")
    others = [
        msgspec.structs.replace(base, student="r"),
        msgspec.structs.replace(base, sample=1),
        msgspec.structs.replace(base, text="u"),
    ]
    assert len({base.id, *(other.id for other in others)}) == 4
    assert msgspec.structs.replace(base, score=1.0, note="n").id == base.id
