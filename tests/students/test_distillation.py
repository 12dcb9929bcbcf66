"""Distillation from a local teacher: stored draws, the student's own texts, vocabularies."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import StudentError
from lessons.records import Lesson, Span
from students.base import Training
from students.chats import Row
from students.hf import HFStudent
from students.objectives.on_policy import OnPolicy
from students.objectives.sparse_logits import SparseLogits
from students.rollouts import sampler_class
from students.sparse import DrawStore, Target, draw, pack, unpack
from students.whole import save_whole

Make = Callable[..., Lesson]


def changed(training: Training, **more: object) -> Training:
    return msgspec.structs.replace(training, **more)


@pytest.fixture(scope="module")
def teacher(
    student: HFStudent, lessons: list[Lesson], training: Training, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder that knows the six words in capitals."""
    folder = tmp_path_factory.mktemp("teacher")
    shouted = [msgspec.structs.replace(each, completion=each.completion.upper()) for each in lessons]
    taught, _ = student.learn(shouted, folder / "adapter", training)
    save_whole(taught, folder / "model")
    return folder / "model"


def likely(student: HFStudent, rows: list[Lesson]) -> float:
    return sum(map(sum, student.score([(row.prompt, row.completion) for row in rows])))


def in_capitals(lessons: list[Lesson]) -> list[Lesson]:
    return [msgspec.structs.replace(each, completion=each.completion.upper()) for each in lessons]


def test_stored_draws_are_unbiased():
    """10,000 draws from a made-up distribution: the mean share of each token within three standard errors."""
    import torch

    chances = torch.tensor([0.4, 0.3, 0.2, 0.07, 0.02, 0.009, 0.001])
    targets = draw(chances.expand(200, 7), 50, seed=3)
    counts = torch.zeros(7)
    for target in targets:
        assert sum(target.counts) == 50
        assert list(target.tokens) == sorted(set(target.tokens))
        for token, count in zip(target.tokens, target.counts, strict=True):
            counts[token] += count
    shares = counts / 10_000
    errors = (chances * (1 - chances) / 10_000).sqrt()
    assert ((shares - chances).abs() <= 3 * errors).all()
    # The k likeliest tokens, renormalised, are not: the first one's share would be 0.4 / 0.9.
    assert abs(0.4 / 0.9 - 0.4) > 3 * errors[0]
    assert draw(chances.expand(3, 7), 50, seed=3) == draw(chances.expand(3, 7), 50, seed=3)


@given(st.integers(2, 200_000), st.integers(1, 300), st.integers(0, 2**16), st.integers(0, 12))
def test_packed_draws_come_back(vocabulary: int, draws: int, seed: int, positions: int):
    rng = Random(seed)
    targets: list[Target] = []
    for _ in range(positions):
        tokens = sorted(rng.sample(range(vocabulary), min(vocabulary, rng.randint(1, 20))))
        targets.append(Target(tuple(tokens), tuple(rng.randint(1, draws) for _ in tokens)))
    packed = pack(targets, vocabulary, draws)
    assert unpack(packed, vocabulary, draws) == targets
    if positions:
        with pytest.raises(ValueError, match="cut off"):
            unpack(packed[:-1], vocabulary, draws)


def test_a_token_of_a_usual_vocabulary_takes_three_bytes_and_two_for_their_number():
    twelve = Target(tuple(range(1000, 1012)), (4,) * 12)
    assert len(pack([twelve], 49_152, 50)) == 2 + 12 * 3  # the paper's 36 GB for a thousand million tokens, and 2
    assert len(pack([twelve], 151_936, 50)) == 2 + 12 * 3


@pytest.mark.parametrize("rank", [0, 4])
def test_sparse_logits_learns_what_the_teacher_would_say(
    student: HFStudent, lessons: list[Lesson], steady: Training, teacher: Path, tmp_path: Path, rank: int
):
    rows = in_capitals(lessons)
    training = changed(
        steady, objective=SparseLogits(teacher=str(teacher)), epochs=25, rank=rank, learning_rate=5e-3, alpha=8
    )
    taught, learned = student.learn(rows, tmp_path, training)
    assert likely(taught, rows) > likely(student, rows) + (20 if rank else 60)
    assert learned.loss_last < 0.9 * learned.loss_first
    assert 4 <= learned.notes["bytes stored for a token"] < 40
    _, split = student.learn(rows, tmp_path, changed(training, epochs=2, micro_batch_size=2))
    assert split.losses == pytest.approx(learned.losses[:2], abs=1e-4)


def test_the_sparse_loss_is_near_the_full_divergence(
    student: HFStudent, lessons: list[Lesson], one_step: Training, teacher: Path, tmp_path: Path
):
    """With 20,000 draws for each token, the loss is KL(teacher || student) of whole distributions to 1 %."""
    import torch

    from students.chats import row_tokens
    from students.open import open_base

    rows = in_capitals(lessons)
    models = [base.model(torch.float32).eval() for base in (open_base(str(teacher)), student.base)]
    whole, tokens = 0.0, 0
    for each in rows:
        row = row_tokens(student.tokenizer, each.prompt, each.completion, student.stops)
        with torch.no_grad():
            own, other = (
                torch.log_softmax(m(input_ids=torch.tensor([[*row.prompt, *row.completion]])).logits[0], -1)
                for m in models
            )
        cut = slice(len(row.prompt) - 1, -1)
        whole += float((own[cut].exp() * (own[cut] - other[cut])).sum())
        tokens += len(row.completion)
    objective = SparseLogits(teacher=str(teacher), draws=20_000)
    _, learned = student.learn(rows, tmp_path, changed(one_step, objective=objective))
    assert learned.losses == pytest.approx([whole / tokens], rel=0.01)


def test_draws_are_made_once_and_read_again(
    student: HFStudent, lessons: list[Lesson], one_step: Training, teacher: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    training = changed(one_step, objective=SparseLogits(teacher=str(teacher)))
    _, first = student.learn(lessons, tmp_path, training)
    monkeypatch.setattr(DrawStore, "fill", lambda *_: pytest.fail("they are stored already"))
    _, again = student.learn(lessons, tmp_path, training, seed=0)
    assert (again.losses, again.adapter) == (first.losses, first.adapter)
    assert first.notes["lessons whose draws were stored already"] == 0
    assert again.notes["lessons whose draws were stored already"] == len(lessons)


def test_draws_do_not_depend_on_the_batch_and_damage_is_told(student: HFStudent, tmp_path: Path):
    import sqlite3

    import torch

    rows = [Row([4, 5, 6, *range(10, 10 + n)], [20 + n, 21, 1]) for n in range(5)]
    model = student.base.model(torch.float32).eval()
    together = DrawStore(tmp_path / "a" / "one.sqlite", "t", 50, 261)
    assert list(together.fill(model, rows, 0)) == [5]
    alone = DrawStore(tmp_path / "b.sqlite", "t", 50, 261)
    for row in rows[::-1]:
        list(alone.fill(model, [row], 0))
    assert [alone.read(row) for row in rows] == [together.read(row) for row in rows]
    assert together.missing([*rows, Row([4], [9])]) == [Row([4], [9])]
    file = sqlite3.connect(together.path)
    with file:
        file.execute("UPDATE draws SET drawn = substr(drawn, 1, 9)")
    file.close()
    with pytest.raises(StudentError, match="damaged; delete the file"):
        together.read(rows[0])
    (tmp_path / "c.sqlite").write_text("no database, but long enough to be seen as something else entirely")
    with pytest.raises(StudentError, match="is no file of draws"):
        DrawStore(tmp_path / "c.sqlite", "t", 50, 261)


@pytest.mark.parametrize("lmbda", [0.0, 1.0])
@pytest.mark.parametrize("rank", [0, 4])
def test_on_policy_draws_the_student_to_the_teacher(
    student: HFStudent, lessons: list[Lesson], steady: Training, teacher: Path, tmp_path: Path, lmbda: float, rank: int
):
    rows = in_capitals(lessons)
    objective = OnPolicy(teacher=str(teacher), lmbda=lmbda, max_tokens=8)
    training = changed(steady, objective=objective, epochs=20, rank=rank, learning_rate=5e-3, alpha=8)
    taught, learned = student.learn(rows, tmp_path, training)
    assert learned.notes.get("steps on what the student wrote", 0) == 20 * lmbda
    # On its own texts, which at first are noise, it learns where those go on; on lessons, the lessons.
    assert likely(taught, rows) > likely(student, rows) + (15 if lmbda == 0 else 2)
    assert learned.loss_last < learned.loss_first


def test_on_policy_weighs_lessons_and_does_not_depend_on_the_split(
    student: HFStudent, lessons: list[Lesson], steady: Training, teacher: Path, tmp_path: Path
):
    """The first loss by hand: KL(teacher || student), beta 0, over the lessons' own tokens, by weight."""
    import torch

    from students.chats import row_tokens
    from students.open import open_base

    weights = [0.1, 0.2, 0.1, 0.3, 0.1, 0.1]
    rows = [msgspec.structs.replace(each, weight=w) for each, w in zip(lessons, weights, strict=True)]
    models = [base.model(torch.float32).eval() for base in (open_base(str(teacher)), student.base)]
    above = below = 0.0
    for each in rows:
        row = row_tokens(student.tokenizer, each.prompt, each.completion, student.stops)
        with torch.no_grad():
            own, other = (
                torch.log_softmax(m(input_ids=torch.tensor([[*row.prompt, *row.completion]])).logits[0], -1)
                for m in models
            )
        cut = slice(len(row.prompt) - 1, -1)
        above += each.weight * float((own[cut].exp() * (own[cut] - other[cut])).sum())
        below += each.weight * len(row.completion)
    objective = OnPolicy(teacher=str(teacher), lmbda=0.0, beta=0.0)
    training = changed(steady, objective=objective)
    _, learned = student.learn(rows, tmp_path, training)
    _, split = student.learn(rows, tmp_path, changed(training, micro_batch_size=2))
    assert learned.losses[0] == pytest.approx(above / below, rel=1e-4)
    assert split.losses == pytest.approx(learned.losses, rel=1e-4)


@pytest.mark.parametrize("objective", [SparseLogits, OnPolicy])
def test_one_seed_gives_one_adapter(
    student: HFStudent, lessons: list[Lesson], steady: Training, teacher: Path, tmp_path: Path, objective: Any
):
    made = objective(teacher=str(teacher), **({"max_tokens": 6} if objective is OnPolicy else {}))
    training = changed(steady, objective=made, batch_size=4, micro_batch_size=2, order="shuffled")
    names = [
        student.learn(lessons, tmp_path / str(n), training, seed=seed)[1].adapter for n, seed in enumerate((1, 1, 2))
    ]
    assert names[0] == names[1] != names[2]


@pytest.fixture
def shifted(teacher: Path, tmp_path: Path) -> Path:
    """The same model, as wide as ever, whose tokenizer has two letters the other way round."""
    import shutil

    folder = tmp_path / "shifted"
    shutil.copytree(teacher, folder)
    told = json.loads((folder / "tokenizer.json").read_bytes())
    vocabulary = told["model"]["vocab"]
    vocabulary["q"], vocabulary["x"] = vocabulary["x"], vocabulary["q"]
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("objective", [SparseLogits, OnPolicy])
def test_a_teacher_with_another_vocabulary_of_the_same_width_is_refused(
    student: HFStudent, lessons: list[Lesson], steady: Training, shifted: Path, tmp_path: Path, objective: Any
):
    with pytest.raises(StudentError, match="as other tokens than the student does"):
        student.learn(lessons, tmp_path / "out", changed(steady, objective=objective(teacher=str(shifted))))
    assert not (tmp_path / "out").exists()


def test_a_teacher_without_room_or_places_is_refused(
    student: HFStudent, lesson: Make, steady: Training, teacher: Path, tmp_path: Path
):
    from students.vocabulary import check_width

    told = json.loads((teacher / "config.json").read_bytes())
    small = tmp_path / "small"
    import shutil

    shutil.copytree(teacher, small)
    (small / "config.json").write_text(json.dumps(told | {"max_position_embeddings": 32}))
    with pytest.raises(StudentError, match="has 32 positions, and a lesson has"):
        student.learn([lesson("q", "a" * 60)], tmp_path, changed(steady, objective=SparseLogits(teacher=str(small))))
    with pytest.raises(StudentError, match="knows 100 tokens, and the lessons have the token 100"):
        check_width([3, 100, 7], 100, "T")
    on_policy = OnPolicy(teacher=str(teacher), max_tokens=1021)
    with pytest.raises(StudentError, match="are more than the student's 1024 positions"):
        student.learn([lesson("q", "a")], tmp_path, changed(steady, objective=on_policy))
    spans = (Span(start=0, end=1, weight=2.0),)
    with pytest.raises(StudentError, match="on_policy has no weights of tokens"):
        student.learn([lesson("q", "ab", spans=spans)], tmp_path, changed(steady, objective=OnPolicy(teacher="tiny")))


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_every_step_is_full_and_every_lesson_comes(count: int, step: int, each: int, again: int, shuffled: bool):
    """TRL's own sampler gives nothing where there are fewer lessons than a step takes."""
    sampler = sampler_class()(count, step, each=each, again=again, shuffled=shuffled, seed=1, epoch=lambda: 0)
    places = list(sampler)
    assert len(places) == len(sampler) == sampler.steps * step * each * again
    assert set(places) == set(range(count))
    size = step * each
    for begin in range(0, len(places), size * again):
        first = places[begin : begin + size]
        assert places[begin : begin + size * again] == first * again
        assert all(len(set(first[at : at + each])) == 1 for at in range(0, size, each))
