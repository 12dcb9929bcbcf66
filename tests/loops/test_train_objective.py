"""`train.objective` in a recipe: an id, or an id with its knobs."""

import copy
from typing import Any

import pytest

from lessons.errors import InputError
from loops import plugins
from loops.knobs import knobs_of
from loops.recipe import Recipe, resolve
from students.objectives.dpo import Dpo
from students.objectives.sft import Sft

RECIPE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 4},
    "student": "tiny",
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
}


def with_objective(objective: Any) -> Recipe:
    return resolve(copy.deepcopy(RECIPE) | {"train": {"objective": objective}})


def test_an_id_is_enough_and_none_is_sft():
    assert resolve(RECIPE).train.objective == Sft() == with_objective("sft").train.objective
    assert with_objective("dpo").train.objective == Dpo()


def test_knobs_are_read_and_written_back():
    recipe = with_objective({"id": "dpo", "beta": 0.3})
    assert recipe.training.objective == Dpo(beta=0.3)
    told = recipe.plain()["train"]["objective"]
    assert told == {"id": "dpo", "beta": 0.3, "loss": "sigmoid", "label_smoothing": 0.0}
    again = resolve(recipe.plain())
    assert (again.digest, again.train) == (recipe.digest, recipe.train)
    assert recipe.digest != with_objective("dpo").digest


def test_an_old_runs_recipe_is_the_same_recipe():
    old = resolve(RECIPE).plain()
    old["train"]["objective"] = "sft"  # as runs before objectives were plug-ins have it
    assert resolve(old).digest == resolve(RECIPE).digest


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("dop", r"train.objective.id: there is no objective 'dop'; did you mean dpo"),
        ({"id": "dpo", "bta": 1}, r"train.objective: unknown key 'bta'; did you mean beta"),
        ({"id": "dpo", "beta": -1}, r"train.objective: beta must be above 0"),
        ({"id": "dpo", "loss": "soft"}, r"train.objective.loss: "),
        ("on_policy", r"train.objective: 'teacher' must be given"),
        ({"id": "reward_weighted", "tau": 0}, r"train.objective: tau must be above 0"),
        ({"beta": 1}, r"train.objective: expected a name or a mapping with 'id'"),
    ],
)
def test_what_is_wrong_names_its_key(objective: Any, message: str):
    with pytest.raises(InputError, match=message):
        with_objective(objective)


@pytest.mark.parametrize("name", plugins.known("objective"))
def test_every_objective_says_where_it_is_from_and_what_its_knobs_do(name: str):
    cls = plugins.find("objective", name, where="train.objective")
    assert cls.paper.startswith(("arXiv:", "our own: "))
    assert isinstance(cls.trains, bool)
    assert (cls.__doc__ or "").strip()
    assert all(knob.help for knob in knobs_of(cls))


def test_the_objectives_that_there_are():
    assert plugins.known("objective") == [
        "asft", "dft", "dpo", "grpo", "kto", "masked_thought", "none", "on_policy", "prompt_distillation",
        "reward_weighted", "sft", "sparse_logits",
    ]  # fmt: skip
