"""Where a run trains: keys that may change while it goes on, a whole round in a process of its own."""

from pathlib import Path
from typing import Any

import pytest

from lessons.errors import InputError
from loops.recipe import load, resolve
from loops.records import RoundLearned
from loops.run import Run
from loops.store import read_record

SMALL: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 8, "held_out": 3},
    "student": {"model": "tiny", "answer": {"max_tokens": 12}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
    "select": {"id": "profile", "budget": 12, "replay": 0.2},
    "train": {"epochs": 1, "precision": "float32"},
    "gate": {"rule": "always"},
}


def with_training(**keys: Any) -> dict[str, Any]:
    return {**SMALL, "train": {**SMALL["train"], **keys}}


def test_where_and_how_it_is_trained_may_change() -> None:
    plain = resolve(SMALL)
    for keys in (
        {"process": "own"}, {"num_processes": 2}, {"micro_batch_size": 1}, {"checkpoint_minutes": 0.0},
        {"silent_minutes": 5.0}, {"retry_smaller": True}, {"accelerate": {"gpu_ids": "0"}},
    ):  # fmt: skip
        assert resolve(with_training(**keys)).digest == plain.digest
    assert resolve(with_training(batch_size=4)).digest != plain.digest


def test_settings_of_accelerate_are_read_with_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "fsdp.yaml").write_text("distributed_type: FSDP\nfsdp_config: {fsdp_offload_params: true}\n")
    (tmp_path / "recipe.yaml").write_text(
        "task: skills_demo\nstudent: tiny\nteacher: {kind: rule_tutor}\nmethod: rationale\n"
        "train: {num_processes: 2, accelerate: {config_file: fsdp.yaml}}\n"
    )
    recipe = load(tmp_path / "recipe.yaml")
    assert recipe.train.accelerate == {"distributed_type": "FSDP", "fsdp_config": {"fsdp_offload_params": True}}
    assert resolve(recipe.plain()).train == recipe.train


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_processes": 3}, "train: batch_size must be a multiple of num_processes"),
        ({"accelerate": {"fsdp": {}}}, "train.accelerate: 'fsdp' is not handed on"),
        ({"process": "apart"}, "train.process: Input should be 'auto', 'own' or 'here'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve(with_training(**keys))


@pytest.mark.slow
def test_a_round_in_a_process_of_its_own_comes_to_the_same(tmp_path: Path) -> None:
    found: list[RoundLearned] = []
    for process in ("here", "own"):
        Run.start(resolve(with_training(process=process)), tmp_path / process).to_the_end()
        round_ = tmp_path / process / "rounds" / "01"
        learned = read_record(round_ / "learned.json", RoundLearned)
        assert learned is not None
        found.append(learned)
        assert not (round_ / "training").exists()
        assert (round_ / "student" / learned.learned.adapter).is_dir()
    assert found[0].student == found[1].student
    assert found[0].learned.losses == found[1].learned.losses
