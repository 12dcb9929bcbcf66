"""The losses of single tokens: by hand, against autograd, against TRL, and what they do to the tiny student."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from lessons.errors import InputError, StudentError
from lessons.records import Lesson, Message, Provenance, Span
from students.base import Training
from students.hf import HFStudent
from students.objectives.asft import Asft
from students.objectives.base import Objective
from students.objectives.dft import Dft
from students.objectives.masked_thought import MaskedThought
from students.objectives.prompt_distillation import PromptDistillation
from students.objectives.reward_weighted import RewardWeighted
from students.objectives.sft import Sft
from students.objectives.tokens import Lens, TokenObjective

Make = Callable[..., Lesson]
LOGITS = [[2.0, -1.0, 0.5, 0.0], [0.1, 0.2, 0.3, 0.4], [-3.0, 4.0, 0.0, 1.0]]
TARGETS = [0, 3, 2]


def changed(training: Training, **more: object) -> Training:
    return msgspec.structs.replace(training, **more)


def told(student: HFStudent, lessons: list[Lesson]) -> list[list[float]]:
    return student.score([(lesson.prompt, lesson.completion) for lesson in lessons])


def lens_of(logits: Any, before: Any = None) -> Any:
    import torch

    targets = torch.tensor(TARGETS)
    return SimpleNamespace(
        logits=logits,
        targets=targets,
        log_probs=torch.log_softmax(logits, -1).gather(-1, targets[:, None])[:, 0],
        logits_before=lambda: before,
    )


def test_the_gradient_of_dft_is_the_papers():
    """d/dz of sg(p_y) (-log p_y) is p_y (p - e_y): three positions over four tokens."""
    import torch

    logits = torch.tensor(LOGITS, requires_grad=True)
    losses = Dft().token_losses(lens_of(logits))
    p = torch.softmax(logits.detach(), -1)
    own = p.gather(-1, torch.tensor(TARGETS)[:, None])
    assert torch.allclose(losses.detach(), -own[:, 0] * own[:, 0].log())
    losses.sum().backward()
    assert torch.allclose(logits.grad, own * (p - torch.nn.functional.one_hot(torch.tensor(TARGETS), 4)), atol=1e-6)


def test_the_gradient_of_asft_adds_the_anchors():
    """d/dz of KL(q || p) is p - q, with q the reference: both terms together, at the paper's weight."""
    import torch

    logits = torch.tensor(LOGITS, requires_grad=True)
    before = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0], [4.0, 0.0, 0.0, -2.0]])
    losses = Asft().token_losses(lens_of(logits, before))
    p, q = torch.softmax(logits.detach(), -1), torch.softmax(before, -1)
    own = p.gather(-1, torch.tensor(TARGETS)[:, None])
    by_hand = [
        -a * math.log(a)
        + 0.05 * sum(x * math.log(x / y) for x, y in zip(q[row].tolist(), p[row].tolist(), strict=True))
        for row, a in enumerate(own[:, 0].tolist())
    ]
    assert losses.tolist() == pytest.approx(by_hand, abs=1e-6)
    losses.sum().backward()
    dft = own * (p - torch.nn.functional.one_hot(torch.tensor(TARGETS), 4))
    assert torch.allclose(logits.grad, dft + 0.05 * (p - q), atol=1e-6)


def test_the_losses_of_dft_are_those_of_trl(
    student: HFStudent, lessons: list[Lesson], steady: Training, tmp_path: Path
):
    from datasets import Dataset
    from transformers import set_seed
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from students.learning import prepared

    training = changed(steady, epochs=4, batch_size=3, micro_batch_size=3, objective=Dft())
    _, ours = student.learn(lessons, tmp_path / "ours", training, seed=5)
    rows = [
        {"prompt": list(each.prompt), "completion": [{"role": "assistant", "content": each.completion}]}
        for each in lessons
    ]
    set_seed(5)
    trainer = SFTTrainer(
        model=prepared(student.base, None, training),
        processing_class=student.tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"), loss_type="dft", num_train_epochs=4, per_device_train_batch_size=3,
            learning_rate=1e-2, lr_scheduler_type="constant", train_sampling_strategy="sequential", seed=5,
            use_cpu=True, bf16=False, activation_checkpointing=False, save_strategy="no", report_to="none",
            logging_steps=1, disable_tqdm=True, max_length=512,
        ),
    )  # fmt: skip
    trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert ours.losses == pytest.approx(theirs, abs=1e-5)
    assert len(theirs) == 8


@pytest.mark.parametrize("rank", [0, 4])
def test_asft_begins_as_dft_and_then_holds_back(
    student: HFStudent, lessons: list[Lesson], steady: Training, tmp_path: Path, rank: int
):
    training = changed(steady, epochs=12, rank=rank)
    _, dft = student.learn(lessons, tmp_path, changed(training, objective=Dft()))
    free, none = student.learn(lessons, tmp_path, changed(training, objective=Asft(anchor=0.0)))
    held, far = student.learn(lessons, tmp_path, changed(training, objective=Asft(anchor=10.0)))
    assert none.losses == pytest.approx(dft.losses, abs=1e-5)
    assert far.losses[0] == pytest.approx(dft.losses[0], abs=1e-5)  # there is no divergence yet
    moved = [
        sum(abs(a - b) for one, other in zip(told(after, lessons), told(student, lessons), strict=True)
            for a, b in zip(one, other, strict=True))
        for after in (held, free)
    ]  # fmt: skip
    assert moved[0] < 0.5 * moved[1]


def test_asft_and_prompt_distillation_compare_with_the_student_that_training_goes_on_from(
    student: HFStudent, lessons: list[Lesson], steady: Training, tmp_path: Path
):
    """Its first step shows no divergence from where it begins, though it is far from the base."""
    for rank in (0, 4):
        taught, _ = student.learn(lessons, tmp_path, changed(steady, epochs=30, rank=rank))
        on = changed(steady, epochs=1, rank=rank, start="last")
        _, plain = taught.learn(lessons, tmp_path, changed(on, objective=Dft()))
        _, anchored = taught.learn(lessons, tmp_path, changed(on, objective=Asft(anchor=10.0)))
        assert anchored.losses == pytest.approx(plain.losses, abs=1e-4)
        again = [msgspec.structs.replace(each, provenance=Provenance(method="replay", round=1)) for each in lessons]
        _, same = taught.learn(again, tmp_path, changed(on, objective=PromptDistillation()))
        assert same.losses == pytest.approx([0.0], abs=1e-5)


def test_reward_weighted_by_hand(student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path):
    """exp(r / 0.4) x the mean loss of a lesson's tokens, and their mean over the step's lessons: not normalised."""
    rewards = [1.0, 0.0, 0.5, 1.0, 0.25, 0.0]
    rows = [msgspec.structs.replace(each, reward=r) for each, r in zip(lessons, rewards, strict=True)]
    nll = [-sum(row) / len(row) for row in told(student, rows)]
    factors = [math.exp(r / 0.4) for r in rewards]
    above = sum(f * n for f, n in zip(factors, nll, strict=True))
    _, plain = student.learn(rows, tmp_path, changed(one_step, objective=RewardWeighted()))
    _, normal = student.learn(rows, tmp_path, changed(one_step, objective=RewardWeighted(normalise=True)))
    _, split = student.learn(rows, tmp_path, changed(one_step, objective=RewardWeighted(), micro_batch_size=2))
    assert factors[0] == pytest.approx(12.182, abs=1e-3)
    assert plain.losses == pytest.approx([above / 6], rel=1e-5)
    assert normal.losses == pytest.approx([above / sum(factors)], rel=1e-5)
    assert split.losses == pytest.approx(plain.losses, rel=1e-5)


def test_reward_weighted_prefers_the_better_completion(
    student: HFStudent, lesson: Make, steady: Training, tmp_path: Path
):
    rows = [lesson("say it", "red", reward=1.0), lesson("say it", "blue", reward=0.0)]
    training = changed(steady, epochs=60, batch_size=2, micro_batch_size=2, learning_rate=3e-3)
    (even, _), (taught, _) = (
        student.learn(rows, tmp_path, changed(training, objective=objective))
        for objective in (Sft(), RewardWeighted(normalise=True))
    )
    margins = [sum(good) - sum(bad) for good, bad in (told(even, rows), told(taught, rows))]
    assert margins[1] > margins[0] + 1


def test_a_reward_that_is_missing_is_refused_but_a_replayed_answer_is_right(
    student: HFStudent, lesson: Make, one_step: Training, tmp_path: Path
):
    training = changed(one_step, objective=RewardWeighted())
    with pytest.raises(StudentError, match="has no reward, and reward_weighted goes by rewards"):
        student.learn([lesson("q", "a", reward=1.0), lesson("q", "b")], tmp_path, training)
    with pytest.raises(StudentError, match="its reward is nan"):
        student.learn([lesson("q", "a", reward=math.nan)], tmp_path, training)
    replayed = msgspec.structs.replace(lesson("q", "a"), provenance=Provenance(method="replay", round=1))
    _, one = student.learn([replayed], tmp_path, training)
    _, same = student.learn([lesson("q", "a", reward=1.0)], tmp_path, training)
    assert one.losses == same.losses


def test_masked_thought_hides_what_is_read_and_asks_for_all(
    student: HFStudent, lesson: Make, one_step: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = [lesson(f"say {n}", "abcdefghij" * 12) for n in range(2)]
    seen: list[tuple[Any, Any, Any]] = []
    asked = MaskedThought.token_losses

    def watching(self: MaskedThought, lens: Lens) -> Any:
        before = lens.inputs["input_ids"].clone()
        losses = asked(self, lens)
        seen.append((before, lens.inputs["input_ids"], lens.labels))
        return losses

    monkeypatch.setattr(MaskedThought, "token_losses", watching)
    objective = MaskedThought(rate=0.4, warmup=0.0)
    training = changed(one_step, objective=objective, batch_size=2, micro_batch_size=2, epochs=4, learning_rate=1e-9)
    student.learn(rows, tmp_path, training, seed=2)
    masks: list[Any] = []
    for before, after, labels in seen:
        hidden = before != after
        masks.append(hidden)
        assert (after[hidden] == student.tokenizer.pad_token_id).all()
        assert (labels[hidden] == before[hidden]).all()  # what is hidden is asked for, and prompts stay readable
        assert (labels != -100).sum() == 2 * 121
        assert abs(float(hidden.sum()) / (2 * 121) - 0.4) < 0.13
    assert (masks[0] != masks[1]).any()  # each step draws anew
    assert (masks[0][0] != masks[0][1]).any()  # and each lesson


def test_masked_thought_does_not_depend_on_the_split_and_rises(
    student: HFStudent, lessons: list[Lesson], steady: Training, tmp_path: Path
):
    objective = MaskedThought(rate=0.4, warmup=0.5)
    assert [objective.rate_at(step, 8) for step in (0, 1, 2, 4, 7)] == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.4])
    assert MaskedThought(warmup=0.0).rate_at(0, 8) == 0.4
    training = changed(steady, epochs=6, objective=objective, order="shuffled")
    _, whole = student.learn(lessons, tmp_path, training, seed=4)
    _, split = student.learn(lessons, tmp_path, changed(training, micro_batch_size=2), seed=4)
    _, plain = student.learn(lessons, tmp_path, changed(training, objective=Sft()), seed=4)
    _, clear = student.learn(lessons, tmp_path, changed(training, objective=MaskedThought(rate=0.0)), seed=4)
    assert split.losses == pytest.approx(whole.losses, abs=1e-5)
    assert clear.losses == plain.losses != whole.losses
    assert whole.losses[0] == plain.losses[0]  # the rate begins at 0


def test_masked_thought_takes_a_token_by_name(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    student.learn(lessons, tmp_path, changed(one_step, objective=MaskedThought(token="_", warmup=0.0)))
    with pytest.raises(InputError, match="'__' is 2 tokens for this student"):
        student.learn(lessons, tmp_path, changed(one_step, objective=MaskedThought(token="__")))


def privileged(rows: list[Lesson]) -> list[Lesson]:
    hint = Message(role="system", content="Answer in capitals.")
    return [msgspec.structs.replace(each, privileged=(hint, *each.prompt)) for each in rows]


def test_prompt_distillation_learns_what_the_context_says(
    student: HFStudent, lessons: list[Lesson], training: Training, steady: Training, tmp_path: Path
):
    """A student that says capitals only when it is told to learns to say them when it is not."""
    taught_rows = privileged(lessons)
    capitals = [
        msgspec.structs.replace(each, prompt=each.privileged, completion=each.completion.upper(), privileged=None)
        for each in taught_rows
    ]
    knows, _ = student.learn([*lessons, *capitals], tmp_path, changed(training, batch_size=12, micro_batch_size=12))
    assert sum(map(sum, told(knows, capitals))) > -6
    wanted = [msgspec.structs.replace(each, completion=each.completion.upper()) for each in taught_rows]
    before = sum(map(sum, told(knows, wanted)))
    on = changed(steady, start="last", rank=0, epochs=40, learning_rate=3e-3, objective=PromptDistillation())
    after_student, learned = knows.learn(wanted, tmp_path, on)
    assert before < -40
    assert sum(map(sum, told(after_student, wanted))) > 0.2 * before
    assert learned.loss_last < 0.1 * learned.loss_first


def test_prompt_distillations_first_loss_is_the_divergence_by_hand(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    import torch

    from students.chats import row_tokens

    rows = privileged(lessons)
    model = student.base.model(torch.float32).eval()

    def spoken(prompt: Any, completion: str) -> Any:
        row = row_tokens(student.tokenizer, prompt, completion, student.stops)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*row.prompt, *row.completion]])).logits[0]
        return torch.log_softmax(logits[len(row.prompt) - 1 : -1], -1)

    sums, tokens, later = 0.0, 0, 0.0
    for each in rows:
        own, more = spoken(each.prompt, each.completion), spoken(each.privileged, each.completion)
        each_token = (more.exp() * (more - own)).sum(-1)
        sums, later = sums + float(each_token.sum()), later + float(each_token[2:].sum())
        tokens += len(own)
    training = changed(one_step, objective=PromptDistillation())
    _, learned = student.learn(rows, tmp_path, training)
    assert learned.losses == pytest.approx([sums / tokens], abs=1e-6)
    _, split = student.learn(rows, tmp_path, changed(training, micro_batch_size=2))
    assert split.losses == pytest.approx(learned.losses, abs=1e-6)
    cut = [msgspec.structs.replace(each, spans=(Span(start=0, end=2, weight=0.0),)) for each in rows]
    _, part = student.learn(cut, tmp_path, training)
    assert part.trained_tokens == tokens - 12
    assert part.losses == pytest.approx([later / (tokens - 12)], abs=1e-6)
    assert abs(part.losses[0] - learned.losses[0]) > 2e-5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (None, "has no privileged chat"),
        ("same", "its privileged chat is its prompt"),
        ((), "must end with a turn that is not the assistant's"),
        ((Message(role="user", content="x" * 900),), "its privileged chat and completion are 9"),
    ],
)
def test_prompt_distillation_refuses_what_would_distil_nothing(
    student: HFStudent, lesson: Make, one_step: Training, tmp_path: Path, more: Any, message: str
):
    row = lesson("q", "a")
    row = msgspec.structs.replace(row, privileged=row.prompt if more == "same" else more)
    with pytest.raises(StudentError, match=message):
        student.learn([row], tmp_path, changed(one_step, objective=PromptDistillation(), max_length=512))


def test_stretches_weigh_by_hand(student: HFStudent, lesson: Make, one_step: Training, tmp_path: Path):
    spans = (Span(start=0, end=3, weight=2.0), Span(start=2, end=4, weight=0.0))
    rows = [lesson("say it", "abcdef", spans=spans, weight=3.0), lesson("say it", "xyz")]
    first, second = told(student, rows)
    weights = [2.0, 2.0, 0.0, 0.0, 1.0, 1.0, 1.0]  # the last span that holds a token counts; the end of the turn is 1
    above = 3 * sum(-w * s for w, s in zip(weights, first, strict=True)) - sum(second)
    _, learned = student.learn(rows, tmp_path, changed(one_step, batch_size=2, micro_batch_size=1))
    assert learned.losses == pytest.approx([above / (3 * sum(weights) + 4)], abs=1e-5)
    assert learned.trained_tokens == 5 + 4


def test_a_stretch_without_weight_is_not_learned(student: HFStudent, lesson: Make, training: Training, tmp_path: Path):
    row = lesson("say it", "good evil", spans=(Span(start=5, end=9, weight=0.0),))
    taught, _ = student.learn([row], tmp_path, changed(training, batch_size=1, micro_batch_size=1, epochs=30))
    (logs,) = told(taught, [row])
    assert min(logs[:5]) > -0.2 > -1.5 > max(logs[5:9])


def test_the_loss_of_a_users_own_objective_that_depends_on_the_split_is_refused(
    student: HFStudent, lessons: list[Lesson], steady: Training, tmp_path: Path
):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Centred(TokenObjective):
        paper: ClassVar[str] = "none"

        def token_losses(self, lens: Lens) -> Any:
            logs = lens.log_probs
            return (logs - logs.mean()) ** 2

    training = changed(steady, objective=Centred())
    student.learn(lessons, tmp_path / "whole", training)
    with pytest.raises(StudentError, match="the loss depends on how a step is split.*micro_batch_size"):
        student.learn(lessons, tmp_path / "split", changed(training, micro_batch_size=2))
    assert not (tmp_path / "split").exists()


@pytest.mark.parametrize(
    "objective",
    [Sft(), Dft(), Asft(), MaskedThought(), RewardWeighted(), PromptDistillation()],
    ids=lambda o: type(o).__name__,
)
@pytest.mark.parametrize("rank", [0, 4])
def test_one_seed_gives_one_adapter_and_no_bad_example_is_taught(
    student: HFStudent, lessons: list[Lesson], steady: Training, tmp_path: Path, objective: Objective, rank: int
):
    rows = [msgspec.structs.replace(each, reward=1.0) for each in privileged(lessons)]
    training = changed(steady, epochs=3, batch_size=4, micro_batch_size=2, order="shuffled", dropout=0.1 * (rank > 0),
                       objective=objective, rank=rank)  # fmt: skip
    names = [student.learn(rows, tmp_path / str(n), training, seed=seed)[1].adapter for n, seed in enumerate((1, 1, 2))]
    assert names[0] == names[1] != names[2]
    bad = msgspec.structs.replace(rows[0], desirable=False)
    with pytest.raises(StudentError, match="it is not desirable"):
        student.learn([*rows[1:], bad], tmp_path, training)
