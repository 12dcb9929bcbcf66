from dataclasses import dataclass
from typing import Annotated

import pytest

from lessons.errors import InputError
from lessons.knobs import Nested, operational
from loops import plugins
from loops.knobs import operational_keys, without
from loops.recipe import resolve
from teachers.openai import OpenAITeacher
from teachers.pool import PoolTeacher
from teachers.prices import Prices

MEMBER = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "key": ""}
POOL = {"kind": "pool", "members": [MEMBER, {**MEMBER, "base_url": "http://127.0.0.1:2/v1", "timeout": 5}]}
REST = {"task": "skills_demo", "student": "tiny", "method": "rationale"}


def test_plug_ins_within_a_plug_in_are_built_checked_and_written_back():
    pool = plugins.build("teacher", POOL, where="teacher", key="kind")
    assert isinstance(pool, PoolTeacher)
    assert [type(member) for member in pool.members] == [OpenAITeacher, OpenAITeacher]
    told = plugins.values_of(pool)
    assert [member["kind"] for member in told["members"]] == ["openai", "openai"]
    assert told["members"][1]["timeout"] == 5.0
    assert plugins.values_of(plugins.build("teacher", {"kind": "pool", **told}, where="teacher", key="kind")) == told


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            [{**MEMBER, "kind": "opneai"}],
            r"teacher\.members\.0\.kind: there is no teacher 'opneai'; did you mean openai",
        ),
        ([MEMBER, {**MEMBER, "timeuot": 1}], r"teacher\.members\.1: unknown key 'timeuot'; did you mean timeout"),
        ([{"model": "m"}], r"teacher\.members\.0: expected a name or a mapping with 'kind'"),
    ],
)
def test_a_wrong_key_within_is_named_with_its_place(members, words):
    with pytest.raises(InputError, match=words):
        resolve({**REST, "teacher": {"kind": "pool", "members": members}})


def test_what_members_do_not_depend_on_is_no_part_of_the_run():
    recipe = resolve({**REST, "teacher": POOL})
    assert {"teacher.members.0.timeout", "teacher.members.1.prices", "calls.in_flight", "budget"} <= recipe.operational
    slower = {**POOL, "members": [{**MEMBER, "timeout": 99}, POOL["members"][1]]}
    assert resolve({**REST, "teacher": slower}).digest == recipe.digest
    other = {**POOL, "members": [{**MEMBER, "model": "n"}, {**POOL["members"][1], "model": "n"}]}
    assert resolve({**REST, "teacher": other}).digest != recipe.digest


@dataclass(frozen=True, kw_only=True)
class Held:
    """Holds one plug-in, and settings that may be null."""

    inner: Annotated[object, Nested("teacher")]
    """One."""
    prices: Prices | None = operational(None)
    """Null or settings."""


def test_one_plug_in_and_settings_that_may_be_null():
    held = plugins.make(Held, {"inner": "rule_tutor", "prices": {"prompt": 1, "completion": 2}}, where="held")
    assert held.prices == Prices(prompt=1.0, completion=2.0)
    assert plugins.values_of(held)["inner"]["kind"] == "rule_tutor"
    assert plugins.make(Held, {"inner": "rule_tutor", "prices": None}, where="held").prices is None
    with pytest.raises(InputError, match=r"held\.prices: unknown key 'promt'; did you mean prompt"):
        plugins.make(Held, {"inner": "rule_tutor", "prices": {"promt": 1}}, where="held")
    assert operational_keys(held, "held.") == ["held.prices"]


def test_a_day_in_yaml_is_a_day_in_prices():
    import yaml

    spec = yaml.safe_load("{kind: openai, model: m, prices: {prompt: 1, completion: 2, as_of: 2026-11-01}}")
    teacher = plugins.build("teacher", spec, where="teacher", key="kind")
    assert teacher.prices.as_of == "2026-11-01"


def test_members_are_taken_out_by_their_dotted_keys():
    data = {"a": {"b": 1, "c": [{"d": 2, "e": 3}, {"d": 4}]}, "f": 5}
    assert without(data, ["a.b", "a.c.0.d", "f", "no.such"]) == {"a": {"c": [{"e": 3}, {"d": 4}]}}
