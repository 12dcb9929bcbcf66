"""Learning, on the tiny student: a real model, TRL's real trainer."""

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lessons.errors import StudentError
from lessons.records import Lesson
from students.base import Generation, Training
from students.chats import row_tokens
from students.hf import HFStudent
from students.learning import micro_batch, steps_of
from students.tiny import tiny

GREEDY = Generation(max_tokens=8)


def changed(training: Training, **more: object) -> Training:
    return msgspec.structs.replace(training, **more)


def weighted_mean(student: HFStudent, lessons: list[Lesson]) -> float:
    """The loss of untrained weights, by hand: from `score`, which is checked against the model itself."""
    scores = student.score([(lesson.prompt, lesson.completion) for lesson in lessons])
    above = sum(-lesson.weight * sum(row) for lesson, row in zip(lessons, scores, strict=True))
    return above / sum(lesson.weight * len(row) for lesson, row in zip(lessons, scores, strict=True))


def test_learning_lowers_the_loss_changes_the_answers_and_leaves_the_first_student_as_it_was(
    student: HFStudent, lessons: list[Lesson], training: Training, tmp_path: Path
):
    prompts = [lesson.prompt for lesson in lessons]
    before = student.answer(prompts, GREEDY)
    taught, learned = student.learn(lessons, tmp_path, training, seed=1)
    assert learned.loss_last < 0.1 < learned.loss_first
    assert [row[0].text for row in taught.answer(prompts, GREEDY)] == [lesson.completion for lesson in lessons]
    assert student.answer(prompts, GREEDY) == before
    assert taught.digest != student.digest
    assert learned.steps == len(learned.losses) == 60
    assert learned.lessons == 6
    assert learned.trained_tokens == sum(len(lesson.completion) + 1 for lesson in lessons)
    assert learned.seconds > 0


def test_lora_learns_too(student: HFStudent, lessons: list[Lesson], training: Training, tmp_path: Path):
    taught, learned = student.learn(lessons, tmp_path, changed(training, rank=8, alpha=32, epochs=20), seed=1)
    assert learned.loss_last < learned.loss_first
    rows = [(lesson.prompt, lesson.completion) for lesson in lessons]
    assert sum(map(sum, taught.score(rows))) > sum(map(sum, student.score(rows)))


def test_the_first_loss_is_the_weighted_mean_by_hand(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    light = [msgspec.structs.replace(each, weight=0.5 if place % 2 else 2.0) for place, each in enumerate(lessons)]
    losses: list[float] = []
    for rows in (lessons, light):
        _, learned = student.learn(rows, tmp_path, one_step)
        assert learned.losses == pytest.approx([weighted_mean(student, rows)], abs=1e-5)
        losses.append(learned.losses[0])
    assert abs(losses[0] - losses[1]) > 1e-3


def test_weights_that_are_all_equal_change_nothing(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    heavy = [msgspec.structs.replace(each, weight=3.0) for each in lessons]
    training = changed(one_step, epochs=4)
    _, plain = student.learn(lessons, tmp_path, training)
    _, same = student.learn(heavy, tmp_path, training)
    assert same.losses == pytest.approx(plain.losses, abs=1e-5)


def test_the_losses_are_those_of_trl_itself(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    """TRL gets the chats and makes rows, masks and batches by itself; four steps, so the gradients are compared too."""
    from datasets import Dataset
    from transformers import set_seed
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from students.learning import prepared

    training = changed(one_step, epochs=4, batch_size=3, micro_batch_size=3, learning_rate=1e-2)
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
            output_dir=str(tmp_path / "trl"),
            num_train_epochs=4,
            per_device_train_batch_size=3,
            learning_rate=1e-2,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            weight_decay=0.0,
            train_sampling_strategy="sequential",
            seed=5,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
            max_length=512,
        ),
    )
    trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(theirs) == 8
    assert ours.losses == pytest.approx(theirs, abs=1e-5)


def test_trls_own_head_which_a_gpu_uses_gives_the_same_losses(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from students import trainer

    class WithTheirHead(trainer.trainer_class()):  # type: ignore[misc]
        def __init__(self, **more: object) -> None:
            super().__init__(**more)
            self.own_head = False

    light = [msgspec.structs.replace(each, weight=0.5 + place) for place, each in enumerate(lessons)]
    training = changed(one_step, epochs=4, micro_batch_size=2, learning_rate=1e-2)
    _, ours = student.learn(light, tmp_path, training)
    monkeypatch.setattr(trainer, "trainer_class", lambda: WithTheirHead)
    _, theirs = student.learn(light, tmp_path, training)
    assert theirs.losses == pytest.approx(ours.losses, abs=1e-5)
    assert theirs.losses[-1] < theirs.losses[0]


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_the_losses_do_not_depend_on_the_micro_batch_split(
    student: HFStudent, lesson: Callable[..., Lesson], one_step: Training, tmp_path: Path, micro: int
):
    """Completions of very different lengths and weights, and a last step that is not full."""
    rows = [lesson(f"q{n}", "x" * (1 + 5 * n), weight=0.5 + n) for n in range(8)]
    training = changed(one_step, epochs=3, learning_rate=1e-2)
    _, whole = student.learn(rows, tmp_path, training)
    _, split = student.learn(rows, tmp_path, changed(training, micro_batch_size=micro))
    assert whole.steps == 6
    assert split.losses == pytest.approx(whole.losses, abs=1e-5)


def test_sequential_order_is_kept_and_shuffled_is_not(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    """With a rate of nearly 0, each step's loss is that of its one lesson under the first weights."""
    still = changed(one_step, batch_size=1, micro_batch_size=1, learning_rate=1e-12)
    expected = [weighted_mean(student, [each]) for each in lessons]
    _, learned = student.learn(lessons, tmp_path, still, seed=3)
    assert learned.losses == pytest.approx(expected, abs=1e-5)
    _, shuffled = student.learn(lessons, tmp_path, changed(still, order="shuffled"), seed=3)
    assert sorted(shuffled.losses) == pytest.approx(sorted(expected), abs=1e-5)
    assert shuffled.losses != pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_last_adapter_is_gone_on_with_and_the_base_begins_anew(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path, rank: int
):
    training = changed(one_step, epochs=10, learning_rate=1e-2, rank=rank)
    taught, first = student.learn(lessons, tmp_path, training)
    _, last = taught.learn(lessons, tmp_path, changed(training, start="last"))
    _, base = taught.learn(lessons, tmp_path, changed(training, start="base"))
    assert last.losses[0] == pytest.approx(weighted_mean(taught, lessons), abs=1e-4)
    assert last.losses[0] < first.losses[0] - 0.1
    assert base.losses == first.losses


def test_going_on_with_another_rank_is_refused(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    taught, _ = student.learn(lessons, tmp_path, one_step)
    with pytest.raises(StudentError, match="rank 4 and training asks for rank 8.*start: base"):
        taught.learn(lessons, tmp_path, changed(one_step, rank=8, start="last"))


def test_one_seed_gives_one_adapter_and_another_seed_another(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    training = changed(one_step, epochs=3, batch_size=2, micro_batch_size=2, order="shuffled", dropout=0.1)
    names: list[str] = []
    for place, seed in enumerate((7, 7, 8)):
        _, learned = student.learn(lessons, tmp_path / str(place), training, seed=seed)
        names.append(learned.adapter)
    weights = [
        (tmp_path / str(place) / name / "adapter_model.safetensors").read_bytes() for place, name in enumerate(names)
    ]
    assert weights[0] == weights[1] != weights[2]
    assert names[0] == names[1] != names[2]


def test_learning_leaves_the_callers_random_numbers_alone(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    import random

    import torch

    random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), torch.rand(1).item()
    random.seed(1)
    torch.manual_seed(1)
    student.learn(lessons, tmp_path, one_step, seed=9)
    assert (random.random(), torch.rand(1).item()) == expected


def test_progress_is_told_at_every_step_and_nothing_is_printed_or_left_behind(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    told: list[tuple[int, int]] = []
    _, learned = student.learn(
        lessons, tmp_path, changed(one_step, batch_size=2, epochs=2), progress=lambda *at: told.append(at)
    )
    assert told == [(step, 6) for step in range(1, 7)]
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == [learned.adapter]


def test_bfloat16_learns_in_steps_that_bfloat16_alone_would_lose(lessons: list[Lesson], tmp_path: Path):
    """At a rate of 1e-5 one step is far below a bfloat16 weight's last bit; the float32 copies sum them up."""
    student = tiny()
    training = Training(
        epochs=20, learning_rate=1e-5, batch_size=6, rank=0, precision="bfloat16", warmup=0.0, schedule="constant"
    )
    taught, learned = student.learn(lessons, tmp_path, training)
    rows = [(lesson.prompt, lesson.completion) for lesson in lessons]
    assert sum(map(sum, taught.score(rows))) > sum(map(sum, student.score(rows)))
    assert all(math.isfinite(loss) for loss in learned.losses)


def test_a_loss_that_is_no_number_is_an_error(
    student: HFStudent, lessons: list[Lesson], training: Training, tmp_path: Path
):
    with pytest.raises(StudentError, match="the loss is no number from step"):
        student.learn(lessons, tmp_path, changed(training, learning_rate=1e30, epochs=5, warmup=0.0))
    assert list(tmp_path.iterdir()) == []


def test_steps_and_micro_batches():
    training = Training(epochs=3, batch_size=8, micro_batch_size=8)
    assert steps_of(190, training) == 72
    assert steps_of(1, changed(training, epochs=0.5)) == 1
    assert micro_batch(training, 49152, 60) == 8
    assert micro_batch(changed(training, micro_batch_size=3), 49152, 60) == 2
    assert micro_batch(training, 49152, 900) == 2  # more would hold over 2**27 logits
    assert micro_batch(training, 500_000, 5000) == 1


def test_training_sees_the_prompt_tokens_of_answering(student: HFStudent, lessons: list[Lesson]):
    for each in lessons:
        row = row_tokens(student.tokenizer, each.prompt, each.completion, student.stops)
        asked = student.tokenizer.apply_chat_template(list(each.prompt), add_generation_prompt=True)["input_ids"]
        assert row.prompt == asked
