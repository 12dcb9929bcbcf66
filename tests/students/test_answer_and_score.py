"""Answers and scores, on the tiny student."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import StudentError
from lessons.records import Lesson, Message
from students.base import Answer, Generation, Training
from students.chats import row_tokens
from students.decode import batches
from students.hf import HFStudent
from students.tiny import TinyBase, tiny

Ask = Callable[[str], tuple[Message, ...]]
QUESTIONS = ("say red", "say green please", "a", "b", "say blue " * 6, "say cyan", "x" * 90)


@pytest.fixture(scope="module")
def taught(
    student: HFStudent, lessons: list[Lesson], training: Training, tmp_path_factory: pytest.TempPathFactory
) -> HFStudent:
    return student.learn(lessons, tmp_path_factory.mktemp("taught"), training)[0]


def test_greedy_answers_do_not_depend_on_the_batch_or_the_order(taught: HFStudent, ask: Ask):
    prompts = [ask(question) for question in QUESTIONS]
    alone = [taught.answer([prompt], Generation(max_tokens=12))[0] for prompt in prompts]
    assert len({row[0].text for row in alone}) > 3
    for batch_tokens in (1, 200, 100_000):
        generation = Generation(max_tokens=12, batch_tokens=batch_tokens)
        assert taught.answer(prompts, generation) == alone
        assert taught.answer(prompts[::-1], generation) == alone[::-1]


def test_greedy_answers_are_those_of_transformers_generate(taught: HFStudent, ask: Ask):
    import torch

    model = taught.base.model(torch.float32)
    from safetensors.torch import load_file

    assert taught.adapter is not None
    model.load_state_dict(load_file(taught.adapter / "model.safetensors"), strict=False)
    for question in QUESTIONS:
        tokens = taught.tokenizer.apply_chat_template(
            list(ask(question)), add_generation_prompt=True, return_tensors="pt"
        )
        whole = model.generate(**tokens, max_new_tokens=12, do_sample=False)
        written = whole[0, tokens["input_ids"].shape[1] :]
        expected = Answer(
            taught.tokenizer.decode(written, skip_special_tokens=True), cut=int(written[-1]) not in taught.stops
        )
        assert taught.answer([ask(question)], Generation(max_tokens=12)) == [[expected]]


def test_an_answer_stops_at_the_end_of_the_turn_and_at_max_tokens(taught: HFStudent, ask: Ask):
    assert taught.answer([ask("say green")], Generation(max_tokens=50)) == [[Answer("green")]]
    assert taught.answer([ask("say green")], Generation(max_tokens=3)) == [[Answer("gre", cut=True)]]


def test_an_answer_is_cut_only_where_it_did_not_end_by_itself(taught: HFStudent, ask: Ask):
    letters = len("green")  # the tiny student has one token for each byte
    asked = [ask("say green")]
    assert taught.answer(asked, Generation(max_tokens=letters)) == [[Answer("green", cut=True)]]
    assert taught.answer(asked, Generation(max_tokens=letters + 1)) == [[Answer("green")]]  # its end is the last token
    both = taught.answer([ask("say red"), *asked], Generation(max_tokens=4))
    assert both == [[Answer("red")], [Answer("gree", cut=True)]]  # rows of one batch


def test_each_drawn_answer_tells_for_itself_whether_it_was_cut(student: HFStudent, ask: Ask):
    most = 40
    (row,) = student.answer([ask("a")], Generation(max_tokens=most, temperature=1.0), samples=60, seed=3)
    longer = student.answer([ask("a")], Generation(max_tokens=4 * most, temperature=1.0), samples=60, seed=3)[0]
    assert {answer.cut for answer in row} == {True, False}
    for answer, whole in zip(row, longer, strict=True):
        assert whole.text.startswith(answer.text.rstrip("\ufffd"))
        assert answer.cut or whole == answer


def test_samples_depend_on_the_seed_and_not_on_the_batch(student: HFStudent, ask: Ask):
    prompts = [ask(question) for question in QUESTIONS]
    warm = Generation(max_tokens=10, temperature=1.0)
    first = student.answer(prompts, warm, samples=3, seed=1)
    assert [len(row) for row in first] == [3] * len(prompts)
    assert len(set(first[0])) > 1
    small = Generation(max_tokens=10, temperature=1.0, batch_tokens=1)
    assert student.answer(prompts[::-1], small, samples=3, seed=1) == first[::-1]
    assert student.answer(prompts, warm, samples=3, seed=2) != first


def test_samples_are_drawn_as_the_model_says(student: HFStudent, ask: Ask):
    """2,000 draws from made-up chances: each share within four standard errors."""
    import torch

    from students.decode import pick

    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    from random import Random

    draws = [Random(seed) for seed in range(2000)]
    drawn = pick(chances.log().expand(2000, 4), 1.0, draws)
    for token, chance in enumerate(chances.tolist()):
        assert abs((drawn == token).float().mean().item() - chance) < 4 * (chance * (1 - chance) / 2000) ** 0.5
    cold = pick(chances.log().expand(2000, 4), 0.05, draws)
    assert (cold == 0).float().mean() > 0.99


def test_greedy_samples_are_one_answer(taught: HFStudent, ask: Ask):
    (row,) = taught.answer([ask("say blue")], Generation(max_tokens=8), samples=4)
    assert row == [Answer("blue")] * 4


def test_progress_of_answers_ends_with_all_of_them(taught: HFStudent, ask: Ask):
    told: list[tuple[int, int]] = []
    prompts = [ask(question) for question in QUESTIONS]
    taught.answer(prompts, Generation(max_tokens=4, batch_tokens=300), progress=lambda *at: told.append(at))
    assert told == [(done, len(prompts)) for done in range(1, len(prompts) + 1)]


def test_no_prompts_no_answers(student: HFStudent):
    assert student.answer([], Generation()) == []
    assert student.score([]) == []


def test_a_prompt_that_does_not_fit_is_refused(student: HFStudent, ask: Ask):
    with pytest.raises(StudentError, match="1024 positions"):
        student.answer([ask("x" * 900)], Generation(max_tokens=200))
    with pytest.raises(StudentError, match="1024 positions"):
        student.score([(ask("x" * 900), "y" * 200)])


def test_scores_sum_to_the_models_own_loss(student: HFStudent, lesson: Callable[..., Lesson], ask: Ask):
    import torch

    rows = [(ask(question), "word " * (1 + place)) for place, question in enumerate(QUESTIONS)]
    scores = student.score(rows)
    model = student.base.model(torch.float32)
    for (prompt, completion), found in zip(rows, scores, strict=True):
        row = row_tokens(student.tokenizer, prompt, completion, student.stops)
        tokens = torch.tensor([[*row.prompt, *row.completion]])
        labels = torch.tensor([[-100] * len(row.prompt) + row.completion])
        loss = model(input_ids=tokens, labels=labels).loss.item()
        assert len(found) == len(completion.encode()) + 1  # the end of the turn is scored too
        assert -sum(found) / len(found) == pytest.approx(loss, abs=1e-5)


def test_scores_keep_the_order_and_tell_progress(student: HFStudent, ask: Ask):
    rows = [(ask(question), f"word {place}") for place, question in enumerate(QUESTIONS)]
    told: list[tuple[int, int]] = []
    scores = student.score(rows, progress=lambda *at: told.append(at))
    for place, row in enumerate(rows):
        assert student.score([row])[0] == pytest.approx(scores[place], abs=1e-5)
    assert told[-1] == (len(rows), len(rows))


def test_the_head_sees_only_what_is_asked_and_is_left_as_it_was(student: HFStudent):
    import torch

    from students.scoring import head_sees

    model = student.base.model(torch.float32).eval()
    tokens = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    places = torch.tensor([[True, False, True, False], [False, False, False, True]])
    with torch.no_grad():
        whole = model(input_ids=tokens).logits
        with head_sees(model, places):
            part = model(input_ids=tokens).logits
        assert model(input_ids=tokens).logits.shape == whole.shape
    assert torch.allclose(part[0], whole[places], atol=1e-6)


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(0, 100), st.integers(1, 4000))
def test_batches_hold_every_row_once_and_stay_within_their_tokens(lengths: list[int], new: int, most: int):
    found = list(batches(lengths, new, most))
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        width = max(lengths[place] for place in batch) + new
        assert len(batch) == 1 or len(batch) * width <= most
    assert [lengths[place] for batch in found for place in batch] == sorted(lengths, reverse=True)


def test_the_digest_is_of_weights_and_template(taught: HFStudent, student: HFStudent):
    assert tiny().digest == student.digest != tiny(seed=1).digest
    assert HFStudent(TinyBase(template="{{ messages }}")).digest != student.digest
    assert taught.digest not in (student.digest, "")
    assert taught.adapter is not None
    assert student.with_adapter(Path(taught.adapter)).digest == taught.digest
