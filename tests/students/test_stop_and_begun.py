"""Answers that end at a text, and answers that are begun."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Lesson, Message
from students.base import Answer, Generation, Training
from students.chats import begun_answer, prompt_text, row_tokens, until
from students.hf import HFStudent
from students.tiny import TinyBase

Ask = Callable[[str], tuple[Message, ...]]


@pytest.fixture(scope="module")
def taught(
    student: HFStudent, lesson: Callable[..., Lesson], training: Training, tmp_path_factory: pytest.TempPathFactory
) -> HFStudent:
    rows = [lesson("say it", "seven ## and eight"), lesson("say that", "é## nine")]
    return student.learn(rows, tmp_path_factory.mktemp("taught"), training)[0]


def test_an_answer_ends_at_the_first_of_the_texts(taught: HFStudent, ask: Ask):
    prompts = [ask("say it"), ask("say that")]
    whole = taught.answer(prompts, Generation(max_tokens=40))
    assert [row[0].text for row in whole] == ["seven ## and eight", "é## nine"]
    ended = taught.answer(prompts, Generation(max_tokens=40, stop=("eight", "##")))
    assert [row[0] for row in ended] == [Answer("seven "), Answer("é")]  # not cut: it ended by itself
    assert taught.answer(prompts, Generation(max_tokens=40, stop=("nowhere",))) == whole


def test_no_token_is_computed_after_the_end(taught: HFStudent, ask: Ask, monkeypatch: pytest.MonkeyPatch):
    written: list[list[list[int]]] = []

    def noting(*args: Any, **more: Any) -> list[list[int]]:
        from students.decode import decode

        written.append(decode(*args, **more))
        return written[-1]

    monkeypatch.setattr("students.hf.decode", noting)
    taught.answer([ask("say it")], Generation(max_tokens=40, stop=("##",)))
    assert len(written[0][0]) == len("seven ##")


def test_an_answer_without_room_is_still_cut(taught: HFStudent, ask: Ask):
    assert taught.answer([ask("say it")], Generation(max_tokens=5, stop=("##",)))[0][0] == Answer("seven", cut=True)


def test_an_empty_text_ends_nothing():
    with pytest.raises(ValueError, match="must not be empty"):
        Generation(stop=("",))


@given(st.text(alphabet="ab#", max_size=20), st.lists(st.text(alphabet="ab#", min_size=1, max_size=3), max_size=3))
def test_what_stands_before_the_first_end(text: str, stop: list[str]):
    before, found = until(text, stop)
    assert text.startswith(before)
    assert found is any(end in text for end in stop)
    assert not any(end in before for end in stop)
    assert found or before == text


def test_a_begun_answer_is_gone_on_with(taught: HFStudent, ask: Ask):
    begun = (*ask("say it"), Message(role="assistant", content="seven ## a"))
    assert taught.answer([begun], Generation(max_tokens=40))[0][0].text == "nd eight"


def test_the_student_sees_the_tokens_that_it_would_have_written(ask: Ask):
    tokenizer = TinyBase().tokenizer()
    begun = (*ask("q"), Message(role="assistant", content="so far"))
    assert prompt_text(tokenizer, begun) == prompt_text(tokenizer, ask("q")) + "so far"
    assert begun_answer(begun) == (ask("q"), "so far")
    assert begun_answer(ask("q")) == (ask("q"), "")
    assert begun_answer(()) == ((), "")


def test_a_row_after_a_begun_answer_has_only_its_rest(ask: Ask, student: HFStudent):
    tokenizer = TinyBase().tokenizer()
    whole = row_tokens(tokenizer, ask("q"), "so far so good", student.stops)
    rest = row_tokens(tokenizer, (*ask("q"), Message(role="assistant", content="so far")), " so good", student.stops)
    assert [*rest.prompt, *rest.completion] == [*whole.prompt, *whole.completion]
    assert len(rest.completion) == len(" so good") + 1


def test_a_recipe_may_name_the_texts(tmp_path: Path):
    from loops.recipe import resolve

    recipe = resolve(
        {
            "task": "skills_demo",
            "student": {"model": "tiny", "answer": {"stop": ["Reflection:"]}},
            "teacher": {"kind": "rule_tutor"},
            "method": "refaug",
        }
    )
    assert recipe.student.answer.stop == ("Reflection:",)
    assert recipe.plain()["student"]["answer"]["stop"] == ["Reflection:"]
