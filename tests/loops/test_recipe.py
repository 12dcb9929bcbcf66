from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from loops.changing import differing_keys
from loops.recipe import load, resolve

SMALL = {"task": "skills_demo", "student": "tiny", "teacher": {"kind": "rule_tutor"}, "method": "rationale"}


def test_defaults_are_filled_in_and_resolving_twice_changes_nothing() -> None:
    recipe = resolve(SMALL)
    plain = recipe.plain()
    assert plain["student"]["adapter"] == {"rank": 16, "alpha": 32, "dropout": 0.0}
    assert plain["method"]["samples"] == 1
    assert [f["id"] for f in plain["filters"]] == ["format", "duplicate", "verified"]
    again = resolve(yaml.safe_load(yaml.safe_dump(plain)))
    assert again.plain() == plain
    assert again.digest == recipe.digest


def test_the_digest_tells_recipes_apart() -> None:
    assert resolve(SMALL).digest != resolve({**SMALL, "seed": 1}).digest
    assert resolve(SMALL).digest == resolve({**SMALL, "seed": 0, "rounds": 1}).digest


def test_adapter_keys_reach_training() -> None:
    recipe = resolve({**SMALL, "student": {"model": "tiny", "adapter": {"rank": 4}}})
    assert recipe.train.rank == 4
    with pytest.raises(InputError, match="train: 'rank' is a key of student.adapter"):
        resolve({**SMALL, "train": {"rank": 4}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metod": "x"}, r"unknown key 'metod'; did you mean method\?"),
        ({"method": "stat_sim"}, r"method.id: there is no method 'stat_sim'; did you mean stat_s"),
        ({"method": {"id": "stat_syn", "nwe": 2}}, r"method: unknown key 'nwe'; did you mean new\?"),
        ({"filters": ["format", "verifed"]}, r"filters\[1\].id: there is no filter 'verifed'; did you mean verified"),
        ({"filters": "format"}, "filters: expected a list"),
        ({"rounds": 0}, "rounds: expected a whole number of at least 1, got 0"),
        ({"rounds": True}, "rounds: expected a whole number"),
        ({"train": {"epochs": "many"}}, "train.epochs: .*got 'many'"),
        ({"train": []}, "train: expected a mapping"),
        ({"student": {"model": "tiny", "answer": {"max_token": 3}}}, r"student.answer: unknown key 'max_token'"),
        ({"teacher": "oracle"}, "teacher.kind: there is no teacher 'oracle'"),
        ({"teacher": {"model": "x"}}, "teacher: expected a name or a mapping with 'kind'"),
        ({"gate": {"rule": "maybe"}}, "gate.rule: "),
        ({"task": {"id": "skills_demo", "skills": ["carying"]}}, "carying"),
    ],
)
def test_a_wrong_recipe_names_the_key(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve({**SMALL, **change})


@pytest.mark.parametrize("missing", ["task", "student", "teacher", "method"])
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(InputError, match=f"'{missing}' must be given"):
        resolve({key: value for key, value in SMALL.items() if key != missing})


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    with pytest.raises(InputError, match="cannot be read"):
        load(path)
    path.write_text("task: [unclosed\n")
    with pytest.raises(InputError, match=r"r.yaml: line 2, column 1: not valid YAML"):
        load(path)
    path.write_text("- just\n- a list\n")
    with pytest.raises(InputError, match="a recipe is a mapping"):
        load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not a text file in UTF-8"):
        load(path)
    path.write_text("task: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="not valid YAML"):
        load(path)


def test_settings_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    recipe = load(path, ["rounds=3", "method.samples=4", "train.learning_rate=2e-4", "filters=[format]", "seed=7"])
    assert (recipe.rounds, recipe.method["samples"], recipe.seed) == (3, 4, 7)
    assert recipe.train.learning_rate == 2e-4
    assert [f["id"] for f in recipe.filters] == ["format"]
    with pytest.raises(InputError, match="--set rounds: expected KEY=VALUE"):
        load(path, ["rounds"])


def test_differing_keys_are_named_with_their_path() -> None:
    one, other = resolve(SMALL).plain(), resolve({**SMALL, "seed": 3, "train": {"epochs": 1}}).plain()
    assert differing_keys(one, other) == ["seed", "train.epochs"]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["task", "id", "kind", "student", "model"]), x, max_size=4)
        ),
    )
)
def test_whatever_yaml_holds_there_is_no_other_error(data) -> None:
    with pytest.raises(InputError):
        resolve(data)


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("scripts/recipes/*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_resolves(path: Path) -> None:
    assert load(path).rounds >= 1


@pytest.mark.parametrize("method", ["rise", "mistake_tuning", "tapir", "reflection", "arte", "ts_align"])
def test_verified_is_no_default_where_it_would_drop_what_a_method_is_about_and_is_refused_there(method: str) -> None:
    knobs = {"id": method, "scorer": "tiny"} if method == "ts_align" else {"id": method}
    recipe = resolve({**SMALL, "method": knobs})
    assert [spec["id"] for spec in recipe.filters] == ["format", "duplicate"]
    with pytest.raises(InputError, match=rf"filters\[1\]: 'verified' would drop the lessons of '{method}' \(it"):
        resolve({**SMALL, "method": knobs, "filters": ["format", "verified"]})
    assert [spec["id"] for spec in resolve({**SMALL, "method": "rationale"}).filters][-1] == "verified"
