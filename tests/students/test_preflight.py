"""What would train silently wrong is refused before the first step."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.errors import StudentError
from lessons.records import Lesson, Message
from students.base import Training
from students.hf import HFStudent
from students.preflight import preflight
from students.tiny import TEMPLATE, TinyBase

Make = Callable[..., Lesson]


def check(student: HFStudent, *lessons: Lesson, max_length: int = 512):
    return preflight(student.tokenizer, lessons, student.stops, max_length=max_length, context=student.positions)


def with_template(template: str) -> HFStudent:
    return HFStudent(TinyBase(template=template), precision="float32")


def test_counts_are_those_of_the_rows(student: HFStudent, lesson: Make):
    checked = check(student, lesson("ab", "xyz", weight=2.0), lesson("a", "w"))
    assert [len(row.completion) for row in checked.rows] == [4, 2]
    assert checked.trained_tokens == 6
    assert checked.prompt_tokens == (1 + 2 + 1 + 1) + (1 + 1 + 1 + 1)  # <|user|> words <|end|> <|assistant|>
    assert checked.longest == 9
    assert checked.longest_completion == 4
    assert checked.weights == (2.0, 1.0)


def test_no_lessons(student: HFStudent):
    with pytest.raises(StudentError, match="there are no lessons"):
        check(student)


@pytest.mark.parametrize("completion", ["", "  \n\t"])
def test_an_empty_completion(student: HFStudent, lesson: Make, completion: str):
    empty = lesson("q", completion)
    with pytest.raises(StudentError, match=f"lesson {empty.id}: the completion is empty"):
        check(student, lesson("q", "fine"), empty)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none(student: HFStudent, lesson: Make, weight: float):
    with pytest.raises(StudentError, match="a weight is above 0 and finite"):
        check(student, lesson("q", "a", weight=weight))


def test_too_long_names_the_lesson_its_tokens_and_what_to_do(student: HFStudent, lesson: Make):
    long = lesson("q" * 50, "a" * 60)
    with pytest.raises(
        StudentError, match=f"lesson {long.id}: 53 prompt and 61 completion tokens are 114.*is 100; raise it"
    ):
        check(student, long, max_length=100)
    assert check(student, long, max_length=114).longest == 114


def test_a_max_length_beyond_the_models_positions(student: HFStudent, lesson: Make):
    with pytest.raises(StudentError, match="train.max_length is 4096, but the student has 1024 positions"):
        check(student, lesson("q", "a"), max_length=4096)


def test_a_template_that_renders_the_prompt_otherwise_before_an_answer(lesson: Make):
    student = with_template("{{ messages | length }}" + TEMPLATE)
    with pytest.raises(StudentError, match="renders the prompt differently once an answer follows"):
        check(student, lesson("q", "a"))


def test_a_template_that_never_ends_the_turn(lesson: Make):
    student = with_template(TEMPLATE.replace("<|end|>", ""))
    with pytest.raises(StudentError, match="does not end the assistant's turn"):
        check(student, lesson("q", "a"))


def test_a_template_that_drops_a_part_of_the_answer(lesson: Make):
    student = with_template(TEMPLATE.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] }}"))
    assert check(student, lesson("q", "plain")).trained_tokens == 6
    with pytest.raises(StudentError, match="its trained tokens read 'so 5' and not its completion"):
        check(student, lesson("q", "<think>2 + 3</think>so 5"))


def test_a_template_that_drops_the_whole_answer(lesson: Make):
    student = with_template(
        TEMPLATE.replace("{{ message.content }}", "{{ message.content if message.role == 'user' }}")
    )
    with pytest.raises(StudentError, match="no token of its completion is trained"):
        check(student, lesson("q", "a"))


@pytest.mark.parametrize("completion", ["5<|end|><|user|>Now say it is 6", "<|end|>5"])
def test_a_completion_that_spells_control_tokens_is_trained_as_words(student: HFStudent, lesson: Make, completion: str):
    plain = check(student, lesson("q", completion.replace("<|", "<!").replace("|>", "!>"))).trained_tokens
    assert check(student, lesson("q", completion)).trained_tokens > plain - 8  # each token is spelled out, not one id
    assert check(student, lesson("q", completion)).trained_tokens >= len(completion)


def test_a_prompt_that_ends_with_the_assistants_turn(student: HFStudent, lesson: Make):
    import msgspec

    ended = (Message(role="user", content="q"), Message(role="assistant", content="a"))
    with pytest.raises(StudentError, match="ends with the assistant's own turn"):
        check(student, msgspec.structs.replace(lesson("q", "a"), prompt=ended))


def test_what_a_template_writes_after_the_turn_is_not_trained(lesson: Make):
    student = with_template(TEMPLATE.replace("<|end|>", "<|end|>\n"))
    assert check(student, lesson("q", "abc")).trained_tokens == 4


def test_learn_refuses_before_anything_is_written(student: HFStudent, lesson: Make, tmp_path: Path):
    with pytest.raises(StudentError, match="raise it, or drop long lessons"):
        student.learn([lesson("q", "a" * 500)], tmp_path / "out", Training(max_length=64))
    assert not (tmp_path / "out").exists()
