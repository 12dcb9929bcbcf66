"""No training at all; scores after nothing but the assistant's header; spans that cannot be."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lessons.errors import StudentError
from lessons.records import Lesson, Message, Span
from students.base import Training
from students.chats import prompt_text, row_tokens
from students.hf import HFStudent
from students.objectives.none import Untrained
from students.preflight import preflight
from students.tiny import TEMPLATE, TinyBase

Make = Callable[..., Lesson]

WITH_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|system|>You help.<|end|>{% endif %}" + TEMPLATE
)  # as some templates do: a system line of their own where the chat has none


def test_none_hands_the_weights_on(student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path):
    still = msgspec.structs.replace(one_step, objective=Untrained())
    same, learned = student.learn([], tmp_path / "a", still)
    assert (same.digest, learned.adapter, learned.steps, learned.losses) == (student.digest, "", 0, ())
    assert not (tmp_path / "a").exists()
    taught, first = student.learn(lessons, tmp_path / "b", one_step)
    again, kept = taught.learn(lessons, tmp_path / "c", still)
    assert (again.digest, kept.adapter) == (taught.digest, first.adapter)
    assert again.adapter == tmp_path / "c" / first.adapter  # so that the round's own folder holds its student
    assert taught.learn(lessons, tmp_path / "c", still)[0].digest == taught.digest


@pytest.mark.parametrize("template", [TEMPLATE, WITH_SYSTEM])
def test_an_empty_chat_is_the_header_alone(template: str):
    student = HFStudent(TinyBase(template=template), precision="float32")
    assert prompt_text(student.tokenizer, ()) == "<|assistant|>"
    row = row_tokens(student.tokenizer, (), "red", student.stops)
    assert student.tokenizer.decode(row.prompt) == "<|assistant|>"
    assert student.tokenizer.decode(row.completion) == "red<|end|>"
    ((alone,), (asked,)) = (
        student.score([(prompt, "red")]) for prompt in ((), (Message(role="user", content="say red"),))
    )
    assert len(alone) == len(asked) == 4
    assert alone != asked


def test_an_empty_chats_score_is_the_models_own_after_the_header(student: HFStudent):
    import torch

    tokens = student.tokenizer("<|assistant|>red<|end|>", add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logs = torch.log_softmax(student.base.model(torch.float32).eval()(input_ids=tokens).logits[0], -1)
    by_hand = [float(logs[place, tokens[0, place + 1]]) for place in range(4)]
    assert student.score([((), "red")])[0] == pytest.approx(by_hand, abs=1e-5)


def test_a_text_that_a_template_begins_every_chat_with_stands_before_the_header():
    student = HFStudent(TinyBase(template="<|pad|>" + TEMPLATE), precision="float32")
    student.tokenizer.bos_token = "<|pad|>"
    assert prompt_text(student.tokenizer, ()) == "<|pad|><|assistant|>"


def test_a_header_that_begins_like_every_text_does_so_once():
    """As in SmolLM2's template, where each turn begins with the token that its tokenizer calls the beginning."""
    turns = "{% for m in messages %}<|user|>{{ m.role }} {{ m.content }}<|end|>{% endfor %}"
    student = HFStudent(
        TinyBase(template=turns + "{% if add_generation_prompt %}<|user|>assistant {% endif %}"), precision="float32"
    )
    student.tokenizer.bos_token = "<|user|>"
    assert prompt_text(student.tokenizer, ()) == "<|user|>assistant "
    row = row_tokens(student.tokenizer, (), "red", student.stops)
    assert student.tokenizer.decode([*row.prompt, *row.completion]) == "<|user|>assistant red<|end|>"


def test_a_template_without_a_header_cannot_score_after_it():
    bare = HFStudent(TinyBase(template=TEMPLATE.split("{% if add")[0]), precision="float32")
    with pytest.raises(StudentError, match="writes no header of the assistant's turn"):
        bare.score([((), "red")])


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ((Span(start=0, end=5, weight=1.0),), "the span 0-5 does not lie in its completion of 4 characters"),
        ((Span(start=-1, end=2, weight=1.0),), "the span -1-2 does not lie"),
        ((Span(start=2, end=2, weight=1.0),), "the span 2-2 does not lie"),
        ((Span(start=0, end=2, weight=-0.5),), "has the weight -0.5; at least 0"),
        ((Span(start=0, end=2, weight=float("nan")),), "has the weight nan"),
        ((Span(start=0, end=4, weight=0.0),), "leave no token of its completion any weight"),
    ],
)
def test_spans_out_of_range_are_refused(student: HFStudent, lesson: Make, spans: tuple[Span, ...], message: str):
    row = lesson("q", "abcd", spans=spans)
    with pytest.raises(StudentError, match=f"lesson {row.id}: .*{message}"):
        preflight(student.tokenizer, [row], student.stops, max_length=512)


@pytest.mark.parametrize(
    ("completion", "span", "letters"),
    [
        ("abcd", (1, 3), "bc"),
        ("  ab cd ", (2, 4), "ab"),
        ("naïve é", (2, 3), "ï"),  # two bytes, two tokens
        ("東京", (1, 2), "京"),
    ],
)
@pytest.mark.parametrize("trims", [False, True])
def test_a_stretchs_tokens_are_those_of_its_characters(
    lesson: Make, completion: str, span: tuple[int, int], letters: str, trims: bool
):
    content = "{{ message.content | trim }}" if trims else "{{ message.content }}"
    student = HFStudent(TinyBase(template=TEMPLATE.replace("{{ message.content }}", content)), precision="float32")
    row = lesson("q", completion, spans=(Span(start=span[0], end=span[1], weight=5.0),))
    checked = preflight(student.tokenizer, [row], student.stops, max_length=512)
    (tokens,), (weights,) = [checked.rows, checked.token_weights]
    heavy = [token for token, weight in zip(tokens.completion, weights, strict=True) if weight == 5.0]
    assert student.tokenizer.decode(heavy) == letters
    assert weights[-1] == 1.0


def test_a_template_that_changes_the_words_has_no_stretches(lesson: Make):
    upper = TEMPLATE.replace("{{ message.content }}", "{{ message.content | replace(' ', '  ') }}")
    student = HFStudent(TinyBase(template=upper), precision="float32")
    row = lesson("q", "ab cd", spans=(Span(start=0, end=2, weight=2.0),))
    with pytest.raises(StudentError, match="its spans cannot be told in tokens"):
        preflight(student.tokenizer, [row], student.stops, max_length=512)
