"""Process rewards: steps, thresholds, scorers, and what a round makes of them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Problem
from loops import plugins
from loops.diagnosis import difficulty
from loops.listing import listing
from loops.recipe import resolve
from loops.run import Run
from loops.scorers.base import ANY, LAST, Cut, Solution, is_difficult, steps_of
from loops.scorers.step_tokens import StepTokens, conversation
from loops.scorers.teacher_tokens import TeacherTokens
from loops.settings import DifficultSettings
from students.base import Progress
from students.tiny import TinyBase

TEXT = "First 2 + 3 = 5.\n\nThen 5 * 2 = 10. So it is 10.\nAnswer: 10"
cuts = st.sampled_from(["auto", "paragraphs", "lines", "sentences"])
reward = st.floats(0, 1)


@pytest.mark.parametrize(
    ("cut", "steps"),
    [
        ("paragraphs", ("First 2 + 3 = 5.", "Then 5 * 2 = 10. So it is 10.\nAnswer: 10")),
        ("auto", ("First 2 + 3 = 5.", "Then 5 * 2 = 10. So it is 10.\nAnswer: 10")),
        ("lines", ("First 2 + 3 = 5.", "Then 5 * 2 = 10. So it is 10.", "Answer: 10")),
        ("sentences", ("First 2 + 3 = 5.", "Then 5 * 2 = 10.", "So it is 10.", "Answer: 10")),
    ],
)
def test_where_a_text_is_cut(cut: Cut, steps: tuple[str, ...]) -> None:
    assert steps_of(TEXT, cut) == steps


def test_a_text_without_blank_lines_is_cut_at_its_lines() -> None:
    assert steps_of("one\ntwo\n\n") == ("one", "two")
    assert steps_of("\n \n\none\n \t\n\n two \n") == ("one", "two")
    assert steps_of("one. two. Three.", "sentences") == ("one. two.", "Three.")
    assert steps_of(" \n\n ") == ()


@given(text=st.text(alphabet="ab. \n\r\tZ!", max_size=80), cut=cuts)
def test_no_word_is_lost_and_no_step_is_blank(text: str, cut: Cut) -> None:
    steps = steps_of(text, cut)
    assert "".join("".join(steps).split()) == "".join(text.split())
    assert all(step == step.strip() != "" for step in steps)


@given(rewards=st.lists(reward, max_size=8), last=reward, any_=reward)
def test_difficult_is_stats_own_rule(rewards: list[float], last: float, any_: float) -> None:
    told = is_difficult(rewards, last=last, any_=any_)
    if not rewards:
        assert told is None
        return
    assert told is not (rewards[-1] > last and fmean(rewards) > last and min([1.1, *rewards[:-1]]) > any_)


def test_the_thresholds_are_stats() -> None:
    assert (LAST, ANY) == (0.85, 0.7)
    assert is_difficult([0.9, 0.95]) is False
    assert is_difficult([0.99, 0.85]) is True  # at the threshold
    assert is_difficult([1.0, 0.7, 1.0, 1.0]) is True  # a step before the last
    assert is_difficult([1.0, 0.71, 1.0, 1.0]) is False
    assert is_difficult([0.75, 0.75, 0.9]) is True  # the mean
    assert is_difficult([0.86]) is False


SOLUTIONS = [
    Solution("How many are 2 and 3, twice?", ("2 + 3 = 5.", "5 * 2 = 10.", "Answer: 10")),
    Solution("How many are 1 and 1?", ("Answer: 2",)),
    Solution("Is it?", ("Yes.", "It is.")),
]


def scored(scorer: Any, solutions: Sequence[Solution] = SOLUTIONS) -> list[list[float]]:
    return asyncio.run(scorer.score(solutions))


def by_hand(text: str) -> float:
    """The tiny model's probability of "+" against "-" after a text, one forward pass a text."""
    import torch

    base = TinyBase()
    tokenizer, model = base.tokenizer(), base.model(torch.float32).eval()
    plus, minus = (tokenizer(sign, add_special_tokens=False)["input_ids"][0] for sign in "+-")
    tokens = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        return float(torch.softmax(model(tokens).logits[0, -1, [plus, minus]], -1)[0])


def test_step_tokens_reads_a_chat_as_rlhflows_models_are_read() -> None:
    found = scored(StepTokens(model="tiny", precision="float32"))
    assert [len(rewards) for rewards in found] == [3, 1, 2]
    for solution, rewards in zip(SOLUTIONS, found, strict=True):
        text = ""
        for number, (step, told) in enumerate(zip(solution.steps, rewards, strict=True)):
            said = step if number else f"{solution.question} {step}"
            text += f"<|user|>{said}<|end|><|assistant|>"
            assert told == pytest.approx(by_hand(text), abs=1e-5)
            text += "+<|end|>"


def test_step_tokens_reads_tags_as_math_shepherds_model_is_read() -> None:
    found = scored(StepTokens(model="tiny", form="tagged", precision="float32"))
    for solution, rewards in zip(SOLUTIONS, found, strict=True):
        text = f"{solution.question} "
        for step, told in zip(solution.steps, rewards, strict=True):
            text += f"{step} ки"
            assert told == pytest.approx(by_hand(text), abs=1e-5)
            text += "\n"


def test_step_tokens_leaves_out_what_does_not_fit() -> None:
    scorer = StepTokens(model="tiny")
    found = scored(scorer, [Solution("q", ("word " * 400, "end")), SOLUTIONS[1]])
    scorer.close()
    assert found[0] == []
    assert len(found[1]) == 1


def test_other_words_can_be_asked_for() -> None:
    plain, turned = scored(StepTokens(model="tiny")), scored(StepTokens(model="tiny", good="-", bad="+"))
    assert plain[1][0] + turned[1][0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("knobs", [{"good": "+", "bad": "+"}, {"good": ""}, {"form": "tagged", "tag": " "}])
def test_knobs_that_cannot_work(knobs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="difficult"):
        plugins.build("scorer", {"id": "step_tokens", "model": "tiny", **knobs}, where="difficult")


def test_words_that_end_in_one_token_are_refused() -> None:
    with pytest.raises(InputError, match="end in the same token"):
        scored(StepTokens(model="tiny", good="+", bad="a+"))


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no-such-model"):
        scored(StepTokens(model="no-such-model"))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("model") / "tiny"
    TinyBase().model(torch.float32).save_pretrained(folder)
    TinyBase().tokenizer().save_pretrained(folder)
    return folder


def test_a_scoring_teacher_gives_the_same_rewards(tiny_folder: Path) -> None:
    spec = {"id": "teacher_tokens", "teacher": {"kind": "local", "model": str(tiny_folder), "precision": "float32"}}
    teacher = plugins.build("scorer", spec, where="x")
    assert isinstance(teacher, TeacherTokens)
    told: list[tuple[int, int]] = []
    found = asyncio.run(teacher.score(SOLUTIONS, progress=lambda *at: told.append(at)))
    teacher.close()
    for rewards, expected in zip(found, scored(StepTokens(model="tiny", precision="float32")), strict=True):
        assert rewards == pytest.approx(expected, abs=1e-4)
    assert told == [(done, 6) for done in range(1, 7)]
    assert scored(teacher, []) == []


def test_a_folder_without_a_chat_template_can_be_asked_by_tags(tiny_folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    tagged = scored(StepTokens(model=str(bare), form="tagged", precision="float32"))
    own = scored(StepTokens(model="tiny", form="tagged", precision="float32"))
    for rewards, expected in zip(tagged, own, strict=True):
        assert rewards == pytest.approx(expected, abs=1e-5)
    with pytest.raises(Exception, match="no chat template"):
        scored(StepTokens(model=str(bare)))


def test_a_teacher_without_scores_is_refused() -> None:
    with pytest.raises(InputError, match="has no token scores"):
        plugins.build("scorer", {"id": "teacher_tokens", "teacher": "rule_tutor"}, where="diagnose.difficult.scorer")


def test_scorers_are_listed_with_their_knobs() -> None:
    entries = {entry["id"]: entry for entry in listing("scorer")}
    assert set(entries) == {"step_tokens", "teacher_tokens"}
    assert {"model", "form", "good", "bad", "tag"} <= {knob["name"] for knob in entries["step_tokens"]["knobs"]}


def test_the_chat_always_calls_earlier_steps_good() -> None:
    assert [turn["content"] for turn in conversation(SOLUTIONS[2], "+")] == ["Is it? Yes.", "+", "It is.", "+"]


class Given:
    """Rewards by the length of the solution; counts how often it is asked."""

    def __init__(self, rewards: dict[int, list[float]]) -> None:
        self.rewards, self.asked, self.closed = rewards, 0, 0

    async def score(self, solutions: Sequence[Solution], *, progress: Progress | None = None) -> list[list[float]]:
        self.asked += 1
        return [self.rewards[len(solution.steps)] for solution in solutions]

    def close(self) -> None:
        self.closed += 1


def attempts(*texts: str) -> list[Attempt]:
    problem = Problem(question="q", answer="1")
    return [Attempt(problem=problem, student="s", text=text, sample=n, score=0.0) for n, text in enumerate(texts)]


def rewarded(scorer: Given, made: list[Attempt], folder: Path) -> list[Attempt]:
    settings = DifficultSettings(scorer=scorer)
    rewards = asyncio.run(difficulty.rewards_of(made, settings, folder))
    return difficulty.with_rewards(made, rewards, settings)


def test_rewards_decide_and_the_grader_where_there_are_none(tmp_path: Path) -> None:
    scorer = Given({1: [0.9], 2: [0.99, 0.3], 3: []})
    found = rewarded(scorer, attempts("one", "one\ntwo", "one\ntwo\nthree", "  "), tmp_path)
    assert [a.difficult for a in found] == [False, True, None, None]
    assert [a.missed for a in found] == [False, True, True, True]
    assert [a.rewards for a in found] == [(0.9,), (0.99, 0.3), (), ()]
    assert difficulty.counted(found) == {
        "rewards/scored": 2, "rewards/not scored": 2, "rewards/difficult": 1, "rewards/difficult, grader right": 0,
        "rewards/easy, grader wrong": 1,
    }  # fmt: skip
    assert scorer.closed == 1


def test_what_was_scored_is_not_scored_again(tmp_path: Path) -> None:
    scorer = Given({1: [0.9], 2: [0.1, 0.2]})
    first = rewarded(scorer, attempts("one", "one\ntwo"), tmp_path)
    assert rewarded(scorer, attempts("one", "one\ntwo"), tmp_path) == first
    assert scorer.asked == 1
    rewarded(scorer, attempts("one", "one\ntwo", "another"), tmp_path)
    assert scorer.asked == 2


@pytest.mark.parametrize(
    ("rewards", "said"),
    [([0.5], "1 rewards for a solution of 2 steps"), ([0.5, 1.5], "got 1.5"), ([0.5, float("nan")], "nan")],
)
def test_rewards_that_are_none_are_refused(rewards: list[float], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        rewarded(Given({2: rewards}), attempts("one\ntwo"), tmp_path)
    assert not (tmp_path / "rewards.jsonl").exists()


RECIPE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 3, "held_out": 2, "skills": ["carrying", "products", "change"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 24, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": "rule_tutor",
    "method": "rationale",
    "select": {"id": "uniform", "replay": 0},
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
    "examine": {"noise": False},
    "diagnose": {
        "difficult": {"scorer": {"id": "step_tokens", "model": "tiny", "precision": "float32"}, "steps": "lines"}
    },
}


def test_a_round_teaches_what_is_difficult_and_nothing_else(tmp_path: Path) -> None:
    tau = 0.4755  # in the middle of the tiny model's rewards
    difficult = {**RECIPE["diagnose"]["difficult"], "tau1": tau, "tau2": 0.0}
    Run.start(resolve({**RECIPE, "diagnose": {"difficult": difficult, "form": "skill"}}), tmp_path / "run").to_the_end()
    folder = tmp_path / "run/rounds/01"
    found = list(read_jsonl(folder / "attempts.jsonl", Attempt))
    assert {a.difficult for a in found} >= {True, False}
    for a in found:
        assert len(a.rewards) == len(steps_of(a.text, "lines"))
        assert a.difficult == ((a.rewards[-1] <= tau or fmean(a.rewards) <= tau) if a.rewards else None)
        assert bool(a.missing) == a.missed
    caused = {lesson.provenance.attempt for lesson in read_jsonl(folder / "candidates.jsonl", Lesson)}
    assert caused == {a.id for a in found if a.missed}


def test_a_recipe_keeps_the_scorer_with_its_knobs() -> None:
    recipe = resolve(RECIPE)
    plain = recipe.plain()["diagnose"]["difficult"]
    assert plain["scorer"]["id"] == "step_tokens"
    assert (plain["scorer"]["good"], plain["tau1"], plain["tau2"]) == ("+", 0.85, 0.7)
    assert resolve(recipe.plain()).digest == recipe.digest
    assert "diagnose.difficult.scorer.threads" in recipe.operational


@pytest.mark.parametrize(
    ("difficult", "said"),
    [
        ({}, "'scorer' must be given"),
        ({"scorer": "step_token"}, "did you mean step_tokens"),
        ({"scorer": {"id": "step_tokens"}}, "'model' must be given"),
        ({"scorer": {"id": "step_tokens", "model": "tiny"}, "tau1": 2}, "tau1 and tau2 must lie in"),
        ({"scorer": {"id": "step_tokens", "model": "tiny"}, "steps": "words"}, "diagnose.difficult.steps"),
    ],
)
def test_a_wrong_key_is_named(difficult: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve({**RECIPE, "diagnose": {"difficult": difficult}})
