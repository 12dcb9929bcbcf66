"""The small trained scorer, on the tiny model and TRL's real RewardTrainer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.errors import StudentError
from lessons.records import Message
from students.reward import Pair, RewardModel

Ask = Callable[[str], tuple[Message, ...]]


def pairs(ask: Ask) -> list[Pair]:
    """Two words to each question: the better one holds no z."""
    return [(ask(f"say {word}"), word, word.replace(word[0], "z")) for word in ("red", "green", "blue", "cyan")]


def better(model: RewardModel, given: list[Pair]) -> float:
    """The share of pairs whose better text scores higher."""
    chosen = model.score([(prompt, text) for prompt, text, _ in given])
    rejected = model.score([(prompt, text) for prompt, _, text in given])
    return sum(one > other for one, other in zip(chosen, rejected, strict=True)) / len(given)


def test_it_learns_which_text_is_better_and_goes_on_from_there(ask: Ask, tmp_path: Path):
    plain = RewardModel.open("tiny")
    assert plain.score([(ask("say red"), "red"), (ask("say red"), "zed")]) == [0.0, 0.0]  # it knows nothing
    taught = plain.learn(pairs(ask), tmp_path, seed=1, epochs=15, learning_rate=5e-3, batch_size=4)
    assert better(taught, pairs(ask)) == 1.0
    unseen: list[Pair] = [(ask("say white"), "white", "zhite"), (ask("say black"), "black", "zlack")]
    assert better(taught, unseen) == 1.0
    turned: list[Pair] = [(prompt, worse, good) for prompt, good, worse in pairs(ask)]
    again = taught.learn(turned, tmp_path, seed=1, epochs=1, learning_rate=1e-5)
    # It went on from what it knew: a step of next to nothing leaves the old order.
    assert better(again, pairs(ask)) == 1.0
    assert plain.score([(ask("say red"), "red")]) == [0.0]


def test_what_is_saved_scores_the_same_when_opened_and_depends_on_the_seed_alone(ask: Ask, tmp_path: Path):
    plain = RewardModel.open("tiny")
    texts = [(prompt, text) for prompt, text, _ in pairs(ask)]
    made = [plain.learn(pairs(ask), tmp_path / str(n), seed=seed, epochs=3) for n, seed in enumerate((3, 3, 4))]
    folders = [one.folder for one in made]
    assert folders[0] is not None
    assert folders[1] is not None
    assert folders[2] is not None
    assert folders[0].name == folders[1].name != folders[2].name
    assert {path.suffix for path in folders[0].iterdir()} == {".json", ".safetensors"}
    opened = RewardModel.open("tiny", folders[0])
    assert opened.score(texts) == pytest.approx(made[0].score(texts), abs=1e-6)
    assert opened.score(texts) != [0.0] * len(texts)


def test_a_score_does_not_depend_on_what_it_is_padded_with(ask: Ask, tmp_path: Path):
    taught = RewardModel.open("tiny").learn(pairs(ask), tmp_path, epochs=3, learning_rate=1e-3)
    rows = [(ask("say red"), "red"), (ask("say " + "green " * 20), "green " * 10), (ask("b"), "blue")]
    alone = [taught.score([row])[0] for row in rows]
    assert taught.score(rows) == pytest.approx(alone, abs=1e-5)


def test_pairs_that_teach_nothing_are_refused(ask: Ask, tmp_path: Path):
    plain = RewardModel.open("tiny")
    with pytest.raises(StudentError, match="there are no pairs"):
        plain.learn([], tmp_path)
    with pytest.raises(StudentError, match="'say red': the better and the worse text are the same"):
        plain.learn([(ask("say red"), "red", "red")], tmp_path)
    with pytest.raises(StudentError, match="1024 positions"):
        plain.learn([(ask("x" * 1000), "y" * 50, "z")], tmp_path)
