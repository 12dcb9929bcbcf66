from dataclasses import dataclass
from pathlib import Path

import pytest

from lessons.errors import InputError
from loops import plugins
from loops.knobs import knobs_of
from students.base import Training


@dataclass(frozen=True, kw_only=True)
class Knobbed:
    """A plug-in of the tests'."""

    size: int = 3
    """How big,
    in rows."""
    names: tuple[str, ...] = ()
    rate: float


def test_ids_are_module_names() -> None:
    assert {"format", "duplicate", "verified", "agreement", "overlap"} <= set(plugins.known("filter"))
    assert "base" not in plugins.known("filter")
    assert {"profile", "uniform"} <= set(plugins.known("selector"))
    assert {"stat_sel", "stat_syn", "rationale", "critique"} <= set(plugins.known("method"))
    assert {"exact", "numeric", "choice", "math"} <= set(plugins.known("grader"))
    assert {"openai", "scripted", "rule_tutor"} <= set(plugins.known("teacher"))


@pytest.mark.parametrize("family", sorted(plugins.FAMILIES))
def test_every_plugin_loads_and_every_knob_is_documented(family: str) -> None:
    for plugin in plugins.known(family):
        cls = plugins.find(family, plugin, where="x")
        assert cls.__doc__, plugin
        for knob in knobs_of(cls):
            assert knob.help, f"{family} {plugin}: {knob.name} has no help text"


def test_unknown_id_offers_the_nearest() -> None:
    with pytest.raises(InputError, match=r"filters\[1\].id: there is no filter 'duplicat'; did you mean duplicate"):
        plugins.build("filter", "duplicat", where="filters[1]")


def test_unknown_id_with_no_near_name_lists_all() -> None:
    with pytest.raises(InputError, match="known: agreement, contamination, .*duplicate"):
        plugins.build("filter", "qqqqqqq", where="f")


def test_knobs() -> None:
    made = plugins.make(Knobbed, {"rate": 1, "names": ["a"]}, where="x")
    assert made == Knobbed(rate=1.0, names=("a",))
    assert [tuple(knob) for knob in knobs_of(Knobbed)] == [
        ("size", "int", "3", "How big, in rows."),
        ("names", "tuple[str, ...]", "()", ""),
        ("rate", "float", "", ""),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 1, "sise": 2}, r"x: unknown key 'sise'; did you mean size\?"),
        ({"size": 2}, "x: 'rate' must be given"),
        ({"rate": "fast"}, r"x.rate: .*number.*got 'fast'"),
        ({"rate": 1, "names": ["a", 3]}, r"x.names.1: .*string.*got 3"),
        ({"rate": 1, "size": 2.5}, r"x.size: .*integer.*got 2.5"),
    ],
)
def test_wrong_knobs_name_the_key(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plugins.make(Knobbed, given, where="x")


def test_a_plugins_own_check_names_the_key() -> None:
    with pytest.raises(InputError, match="select: budget must be at least 0"):
        plugins.build("selector", {"id": "profile", "replay": 1.5}, where="select")


def test_records_are_settings_too() -> None:
    training = plugins.make(Training, {"epochs": 2, "learning_rate": "2e-4"}, where="train")
    assert (training.epochs, training.learning_rate, training.rank) == (2.0, 2e-4, 16)
    with pytest.raises(InputError, match=r"train.objective"):
        plugins.make(Training, {"objective": "magic"}, where="train")


def test_values_round_trip() -> None:
    made = plugins.build("method", {"id": "stat_syn", "new": 4}, where="method")
    again = plugins.build("method", {"id": "stat_syn", **plugins.values_of(made)}, where="method")
    assert made == again
    assert plugins.values_of(made)["new"] == 4


def test_a_plugin_of_the_users_own_beside_the_recipe(tmp_path: Path) -> None:
    source = "class Loud:\n    def __init__(self, volume: int = 1) -> None:\n        self.volume = volume\n"
    (tmp_path / "my_filters_for_test.py").write_text(source)
    made = plugins.build("filter", {"id": "my_filters_for_test:Loud", "volume": 3}, where="f", folder=tmp_path)
    assert made.volume == 3
    with pytest.raises(InputError, match="has no class 'Lout'; did you mean Loud"):
        plugins.build("filter", "my_filters_for_test:Lout", where="f", folder=tmp_path)
    with pytest.raises(InputError, match="cannot import 'no_such_module_here'"):
        plugins.build("filter", "no_such_module_here:X", where="f", folder=tmp_path)
    with pytest.raises(InputError, match="unexpected keyword argument 'size'"):
        plugins.build("filter", {"id": "my_filters_for_test:Loud", "size": 3}, where="f", folder=tmp_path)
