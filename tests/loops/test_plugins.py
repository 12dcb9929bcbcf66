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
    source += "    def judge(self, lessons, context):\n        return lessons\n"
    (tmp_path / "my_filters_for_test.py").write_text(source)
    made = plugins.build("filter", {"id": "my_filters_for_test:Loud", "volume": 3}, where="f", folder=tmp_path)
    assert made.volume == 3
    with pytest.raises(InputError, match="has no class 'Lout'; did you mean Loud"):
        plugins.build("filter", "my_filters_for_test:Lout", where="f", folder=tmp_path)
    with pytest.raises(InputError, match="cannot import 'no_such_module_here'"):
        plugins.build("filter", "no_such_module_here:X", where="f", folder=tmp_path)
    with pytest.raises(InputError, match="unexpected keyword argument 'size'"):
        plugins.build("filter", {"id": "my_filters_for_test:Loud", "size": 3}, where="f", folder=tmp_path)


@pytest.mark.parametrize(
    "spec",
    [
        {"id": "os:system", "command": "touch owned"}, {"id": "subprocess:run", "args": ["touch", "owned"]},
        {"id": "builtins:exec", "source": "open('owned', 'w')"}, {"id": "psutil:Popen", "args": ["touch", "owned"]},
        {"id": "pathlib:Path"}, {"id": "loops.plugins:import_from"}, {"id": "loops.store:RunFolder", "path": "owned"},
        {"id": "..plugins:find"}, {"id": ":find"}, {"id": "a b:c"}, {"id": "os.path:join"},
    ],
)  # fmt: skip
def test_a_recipe_calls_no_code_but_plug_ins(
    spec: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for family in plugins.MARKS:
        with pytest.raises(InputError, match=r"must name a class of your own|has no class|is no |cannot import"):
            plugins.build(family, spec, where="x", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_plug_in_has_its_familys_mark() -> None:
    for family, marks in plugins.MARKS.items():
        for name in plugins.known(family):
            cls = plugins.find(family, name, where="x")
            assert any(callable(getattr(cls, mark, None)) for mark in marks), (family, name)
    assert plugins.MARKS.keys() == plugins.FAMILIES.keys()
