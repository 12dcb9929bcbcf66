"""dpo and kto: TRL's trainers on our tokens."""

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import StudentError
from lessons.records import Lesson, Provenance, Span
from students.base import Training
from students.hf import HFStudent
from students.objectives.dpo import Dpo
from students.objectives.kto import Kto
from students.preferences import by_weight, elsewhere
from students.whole import save_whole

Make = Callable[..., Lesson]


def changed(training: Training, **more: object) -> Training:
    return msgspec.structs.replace(training, **more)


def sums(student: HFStudent, pairs: list[Lesson]) -> list[tuple[float, float]]:
    """Log-probability of each better and each worse text."""
    rows = [(pair.prompt, text) for pair in pairs for text in (pair.completion, pair.rejected or "")]
    flat = [sum(logs) for logs in student.score(rows)]
    return list(zip(flat[::2], flat[1::2], strict=True))


def margin(student: HFStudent, pairs: list[Lesson]) -> float:
    return sum(better - worse for better, worse in sums(student, pairs))


def replayed(lesson: Lesson) -> Lesson:
    return msgspec.structs.replace(lesson, rejected=None, provenance=Provenance(method="replay", round=1))


@pytest.mark.parametrize("rank", [0, 4])
def test_dpo_by_hand_and_where_it_goes(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path, rank: int
):
    """The second step's loss is the mean of -log sigmoid(0.1 x margin over the base), from `score`."""
    weights = [1.0, 2.0, 0.5, 1.0, 1.0, 3.0]
    rows = [msgspec.structs.replace(pair, weight=w) for pair, w in zip(pairs, weights, strict=True)]
    training = changed(steady, objective=Dpo(), rank=rank, learning_rate=3e-3)
    after, first = student.learn(rows, tmp_path, changed(training, epochs=1))
    _, second = student.learn(rows, tmp_path, training)
    assert first.losses == pytest.approx([math.log(2)], abs=1e-6)
    moved = [(a - b) - (c - d) for (a, b), (c, d) in zip(sums(after, rows), sums(student, rows), strict=True)]
    by_hand = sum(w * math.log1p(math.exp(-0.1 * m)) for w, m in zip(weights, moved, strict=True)) / sum(weights)
    assert second.losses == pytest.approx([math.log(2), by_hand], abs=1e-5)
    _, split = student.learn(rows, tmp_path, changed(training, micro_batch_size=2))
    assert split.losses == pytest.approx(second.losses, abs=1e-6)
    taught, learned = student.learn(rows, tmp_path, changed(training, epochs=15))
    assert margin(taught, rows) > margin(student, rows) + 20
    assert learned.trained_tokens == sum(2 * (len(pair.completion) + 1) for pair in pairs)
    _, on = taught.learn(rows, tmp_path, changed(training, epochs=1, start="last"))
    assert on.losses == pytest.approx([math.log(2)], abs=1e-5)  # the reference is what training goes on from


def test_a_step_that_is_not_full_weighs_its_pairs_alike(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path
):
    """Five pairs in micro-batches of two: TRL itself would count the last one twice."""
    training = changed(steady, objective=Dpo(), batch_size=6, epochs=3)
    _, whole = student.learn(pairs[:5], tmp_path, training)
    _, split = student.learn(pairs[:5], tmp_path, changed(training, micro_batch_size=2))
    assert split.losses == pytest.approx(whole.losses, abs=1e-5)


@pytest.mark.parametrize("objective", [Dpo(), Kto()], ids=["dpo", "kto"])
@pytest.mark.parametrize("rank", [0, 4])
def test_one_seed_gives_one_adapter(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path, objective: Dpo | Kto, rank: int
):
    training = changed(steady, objective=objective, rank=rank, order="shuffled", batch_size=4, micro_batch_size=4)
    names = [
        student.learn(pairs, tmp_path / str(n), training, seed=seed)[1].adapter for n, seed in enumerate((1, 1, 2))
    ]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rejected": None}, "it has no rejected text, and dpo trains on pairs"),
        ({"rejected": " red"}, "are the same, so nothing is better"),
        ({"desirable": False}, "whose better text is not desirable"),
        ({"rejected": "  "}, "the completion is empty"),
        ({"rejected": "z" * 600}, "train.max_length is 512"),
        ({"spans": (Span(start=0, end=1, weight=2.0),)}, "its spans weigh tokens, and dpo has no weights of tokens"),
    ],
)
def test_dpo_refuses_what_is_no_pair(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path, more: dict[str, object], message: str
):
    rows = [msgspec.structs.replace(pairs[0], **more), *pairs[1:]]
    with pytest.raises(StudentError, match=message):
        student.learn(rows, tmp_path, changed(steady, objective=Dpo(), max_length=512))
    assert list(tmp_path.iterdir()) == []


def test_replayed_lessons_that_are_no_pairs_are_left_out_and_counted(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path
):
    training = changed(steady, objective=Dpo())
    _, learned = student.learn([*pairs[:4], replayed(pairs[4])], tmp_path, training)
    _, without = student.learn(pairs[:4], tmp_path, training)
    assert (learned.lessons, learned.notes) == (4, {"replayed lessons left out": 1})
    assert learned.losses == without.losses
    with pytest.raises(StudentError, match="dpo has no pair to train on"):
        student.learn([replayed(pairs[0])], tmp_path, training)


def test_a_teachers_local_weights_learn_from_preferences(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path
):
    from students.open import open_student

    save_whole(student, tmp_path / "teacher")
    teacher = open_student(str(tmp_path / "teacher"), precision="float32")
    assert isinstance(teacher, HFStudent)
    aligned, _ = teacher.learn(pairs, tmp_path / "out", changed(steady, objective=Dpo(), epochs=10))
    assert margin(aligned, pairs) > margin(teacher, pairs) + 10


@pytest.mark.parametrize("rank", [0, 4])
def test_kto_learns_from_single_texts(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path, rank: int
):
    singles = [msgspec.structs.replace(pair, rejected=None) for pair in pairs]
    singles += [
        msgspec.structs.replace(pair, completion=pair.rejected or "", rejected=None, desirable=False) for pair in pairs
    ]
    both = changed(
        steady, objective=Kto(), rank=rank, batch_size=12, micro_batch_size=12, epochs=15, learning_rate=3e-3
    )
    taught, learned = student.learn(singles, tmp_path, both)
    assert learned.losses[0] == pytest.approx(0.5, abs=1e-6)
    assert margin(taught, pairs) > margin(student, pairs) + 10
    sides = sorted(learned.losses)
    _, as_pairs = student.learn(pairs, tmp_path, both)
    assert as_pairs.losses[0] == pytest.approx(0.5, abs=1e-6)
    assert as_pairs.trained_tokens == learned.trained_tokens
    assert sides[0] < 0.45


def test_ktos_loss_by_hand_with_its_kl_term(student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path):
    """Two steps: the second one's loss from `score`, the KL term over texts put to other prompts, weights and kinds."""
    weights = [1.0, 2.0, 0.5, 1.0, 1.0, 3.0]
    rows = [msgspec.structs.replace(pair, weight=w) for pair, w in zip(pairs, weights, strict=True)]
    knobs = Kto(desirable_weight=1.5, undesirable_weight=0.5)
    training = changed(steady, objective=knobs, batch_size=12, micro_batch_size=12, learning_rate=3e-3)
    after, _ = student.learn(rows, tmp_path, changed(training, epochs=1))
    _, learned = student.learn(rows, tmp_path, training)
    texts = [(pair.prompt, text) for pair in rows for text in (pair.completion, pair.rejected or "")]
    foreign = [(texts[place][0], texts[(place + 2 - place % 2) % 12][1]) for place in range(12)]

    def moved(asked: list[tuple[object, str]]) -> list[float]:
        return [sum(a) - sum(b) for a, b in zip(after.score(asked), student.score(asked), strict=True)]

    kl = max(0.0, sum(moved(foreign)) / 12)
    above = 0.0
    for place, ratio in enumerate(moved(texts)):
        push = 0.1 * (ratio - kl) * (1 if place % 2 == 0 else -1)
        above += weights[place // 2] * (1.5 if place % 2 == 0 else 0.5) * (1 - 1 / (1 + math.exp(-push)))
    assert learned.losses[1] == pytest.approx(above / (2 * sum(weights)), abs=1e-5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_a_text_is_put_to_another_prompt_wherever_there_is_one(prompts: list[int]):
    places = elsewhere([[prompt] for prompt in prompts])
    assert len(places) == len(prompts)
    for place, other in enumerate(places):
        assert prompts[other] != prompts[place] or (other == place and len(set(prompts)) == 1)


def test_rows_of_one_weight_go_together():
    import torch

    inputs = {"ids": torch.arange(8).reshape(8, 1), "mask": torch.ones(8, 1), "whole": torch.tensor(3.0)}
    parts = list(by_weight(inputs, torch.tensor([1.0, 2.0, 1.0, 2.0])))
    assert [(weight, count, part["ids"][:, 0].tolist()) for weight, count, part in parts] == [
        (1.0, 2, [0, 2, 4, 6]),
        (2.0, 2, [1, 3, 5, 7]),
    ]
    assert [float(part["whole"]) for _, _, part in parts] == [3.0, 3.0]
    ((weight, count, part),) = by_weight(inputs, torch.full((4,), 0.5))
    assert (weight, count) == (0.5, 4)
    assert part["ids"] is inputs["ids"]


def test_kto_refuses_what_makes_its_kl_term_another_thing(
    student: HFStudent, pairs: list[Lesson], steady: Training, tmp_path: Path
):
    training = changed(steady, objective=Kto())
    singles = [msgspec.structs.replace(pair, rejected=None) for pair in pairs]
    one_prompt = [msgspec.structs.replace(pair, prompt=pairs[0].prompt) for pair in pairs]
    bad_pair = msgspec.structs.replace(pairs[0], desirable=False)
    cases: list[tuple[list[Lesson], Training, str]] = [
        (pairs, changed(training, micro_batch_size=2), "its loss depends on how a step is split"),
        (pairs, changed(training, batch_size=1, micro_batch_size=1), "set train.batch_size to at least 2"),
        (one_prompt, training, "all lessons have one prompt"),
        (singles, training, "all lessons are desirable, and kto needs both kinds"),
        ([bad_pair], training, "a pair whose better text is not desirable"),
    ]
    for rows, how, message in cases:
        with pytest.raises(StudentError, match=message):
            student.learn(rows, tmp_path, how)
    free = changed(training, objective=Kto(loss="apo_zero_unpaired"))
    _, whole = student.learn(pairs, tmp_path, free)
    _, split = student.learn(pairs, tmp_path, changed(free, micro_batch_size=2))
    assert split.losses == pytest.approx(whole.losses, abs=1e-5)  # without the term, splitting changes nothing
