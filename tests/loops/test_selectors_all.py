"""What holds for every selector, by listing the folder: alone, and in a run with the tiny student."""

import dataclasses
import shutil
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.errors import InputError, RoundError
from lessons.jsonl import read_jsonl
from lessons.records import Lesson
from loops import plugins, stages
from loops.history import student_after
from loops.recipe import resolve
from loops.run import Run
from loops.selectors.base import Choice, Selector
from loops.store import RunFolder, dump_yaml, read_yaml
from loops.watching.progress import Silent
from loops.work import Work
from students.base import Training
from tests.loops.selecting import Told, attempt, lesson, profile, scores_of

SELECTORS = plugins.known("selector")
DRAWING = {"balance", "clusters", "hard_quota", "hard_share", "profile", "skill_it", "uniform"}
"""Selectors that draw by chance, and say with which."""
ORDERLY = {"facility", "ifd", "lobass"}
"""Selectors that draw nothing: the order of the candidates does not matter to them."""


def choice_of(seed: int, folder: Path) -> Choice:
    def loss(prompt: Any, text: str) -> float:
        return (2.0 if prompt else 3.0) + Random(text).random()

    student = Told(loss, after=lambda prompt, text: loss(prompt, text) * Random(f"{text} after").random())
    last, base = Told(loss, name="last"), Told(lambda prompt, text: loss(prompt, text) + 1, name="base")
    base.after = student.after
    seen = profile({"a": (10, 7), "b": (12, 2), "c": (9, 4)})
    return Choice(
        profile=seen,
        rng=Random(seed),
        index=2,
        rounds=3,
        profiles=[profile({"a": (10, 9), "b": (12, 2), "c": (9, 5)}), seen],
        attempts=[attempt(f"{s} {n}", float((n + len(s)) % 2), skill=s) for s in "abc" for n in range(6)],
        earlier=[lesson(f"earlier {n}", skill="a") for n in range(5)],
        problems=[lesson(f"{s} {n}", skill=s).problem for s in "abc" for n in range(6)],
        scores=scores_of(now=student, last=last, base=base),
        student=cast(Any, student),
        training=Training(),
        folder=folder,
    )


CANDIDATES = [lesson(f"{s} {n % 9}", f"way {n} of {s}", skill=s) for s in "abc" for n in range(12)]


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=25)
@given(budget=st.integers(0, 40), seed=st.integers(0, 1000), order=st.permutations(range(36)), count=st.integers(1, 36))
def test_every_selector_keeps_its_budget_and_repeats_nothing(
    name: str, budget: int, seed: int, order: list[int], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    selector: Selector = plugins.build("selector", name, where="select")
    candidates = [CANDIDATES[place] for place in order[:count]]
    folder = tmp_path_factory.mktemp("choice")
    chosen = selector.select(candidates, min(budget, count), choice_of(seed, folder))
    assert len(chosen) <= min(budget, count)
    assert len({one.id for one in chosen}) == len(chosen)
    known = {one.id: one for one in candidates}
    for one in chosen:  # nothing of a lesson is changed but its weight and its share
        assert msgspec.structs.replace(one, share=None, weight=1.0) == known[one.id]
        assert one.weight > 0
        assert one.share is None or 0 < one.share <= 1
    assert all((one.share is not None) == (name in DRAWING) for one in chosen)
    if name in DRAWING:
        assert len(chosen) == min(budget, count)
    # A stage that begins again draws the same, with what the first try left in its folder.
    assert selector.select(candidates, min(budget, count), choice_of(seed, folder)) == chosen
    if name in ORDERLY:
        assert selector.select(candidates[::-1], min(budget, count), choice_of(seed + 1, folder)) == chosen


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_has_the_shared_knobs_a_paper_and_refuses_what_is_none(name: str) -> None:
    cls = plugins.find("selector", name, where="select")
    assert {"budget", "replay"} <= {field.name for field in dataclasses.fields(cls)}
    assert cls.paper
    made = plugins.build("selector", {"id": name, "budget": 7, "replay": 0.1}, where="select")
    assert (made.budget, made.replay) == (7, 0.1)
    for knobs in ({"replay": 1.0}, {"replay": -0.1}, {"budget": -1}):
        with pytest.raises(ValueError, match="budget must be at least 0, replay in"):
            cls(**knobs)


@pytest.mark.parametrize(
    "select",
    [
        {"id": "profile", "by": "learnable", "prerequisites": {"carrying": ["units", "tens"]}, "temper": 0.5},
        {"id": "balance", "target": {"math": 0.5, "others": 0.5}, "short": "spread"},
        {"id": "skill_it", "helps": {"units": ["tens"]}, "targets": ["tens"]},
        {"id": "ifd", "reverse_below": 1.0},
    ],
)
def test_knobs_come_back_from_a_saved_recipe(select: dict[str, Any], tmp_path: Path) -> None:
    recipe = resolve({**RECIPE, "select": select})
    path = tmp_path / "recipe.yaml"
    path.write_bytes(dump_yaml(recipe.plain()))
    again = resolve(read_yaml(path))
    assert again.digest == recipe.digest
    assert again.make("selector", again.select, "select") == recipe.make("selector", recipe.select, "select")


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ({"id": "profile", "prerequisites": {"a": ["b"], "b": ["a"]}}, "select: prerequisites: .* in a circle"),
        ({"id": "balance", "target": {"a": "much"}}, r"select.target.a: .* got 'much'"),
        ({"id": "skill_it", "window": 0}, "select: eta, edge and validation must be at least 0, window at least 1"),
        ({"id": "clusters", "clusters": 0}, "select: clusters must be at least 1, temperature above 0"),
        ({"id": "facility", "neighbours": 0}, "select: fraction must be in .* neighbours at least 1"),
        ({"id": "hard_share", "start": 2}, "select: start must be in"),
        ({"id": "lobass", "fraction": 2}, "select: fraction must be in"),
        ({"id": "ifd", "fractoin": 1}, "select: unknown key 'fractoin'; did you mean fraction"),
    ],
)
def test_wrong_knobs_are_one_line_that_names_the_key(select: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as wrong:
        resolve({**RECIPE, "select": select})
    assert "\n" not in str(wrong.value)


# --- in a run ---------------------------------------------------------------------------------------------------------

RECIPE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 4, "held_out": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 2}},
    "teacher": {"kind": "rule_tutor"},
    "method": {"id": "rationale", "of": "all"},
    "filters": ["format", "duplicate"],
    "select": {"id": "uniform", "budget": 24, "replay": 0.25},
    "train": {"epochs": 1, "threads": 1, "start": "last"},
    "examine": {"per_round": 24},
    "diagnose": {"by": "needed"},
    "gate": {"rule": "always"},
    "rounds": 2,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    Run.start(resolve(RECIPE), path).to_the_end()
    return path


def selected(finished: Path, into: Path, **changes: Any) -> bytes:
    """Select in both rounds anew, with another selector or order; return the second round's lessons."""
    if not into.exists():
        shutil.copytree(finished, into, ignore=shutil.ignore_patterns(".lock"))
    work = Work(folder=RunFolder(into), recipe=resolve({**RECIPE, **changes}), listener=Silent())
    try:
        for index in (1, 2):
            (into / "rounds" / f"0{index}" / ".done" / "select.json").unlink()
            stages.select(work, index, student_after(work, index - 1))
    finally:
        work.close()
    return (into / "rounds" / "02" / "lessons.jsonl").read_bytes()


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_selects_in_a_run_and_the_same_when_it_begins_again(
    name: str, finished: Path, tmp_path: Path
) -> None:
    select = {"id": name, "budget": 24, "replay": 0.25}
    try:
        first = selected(finished, tmp_path / "run", select=select)
    except RoundError as error:  # of a student with random weights, no lesson may fit
        assert name in {"ifd", "lobass"}, error
        return
    lessons = list(read_jsonl(tmp_path / "run" / "rounds" / "02" / "lessons.jsonl", Lesson))
    assert 0 < len(lessons) <= 24
    assert len({one.id for one in lessons}) == len(lessons)
    kept = {one.id for one in read_jsonl(tmp_path / "run" / "rounds" / "02" / "kept.jsonl", Lesson)}
    assert {one.id for one in lessons if one.provenance.method != "replay"} <= kept
    assert selected(finished, tmp_path / "run", select=select) == first  # with what lay in its folder
    assert selected(finished, tmp_path / "other", select=select) == first  # and with nothing


@pytest.mark.parametrize("name", plugins.known("order"))
def test_every_order_orders_in_a_run(name: str, finished: Path, tmp_path: Path) -> None:
    select = {"id": "uniform", "budget": 24, "replay": 0.25}
    plain = selected(finished, tmp_path / "plain", select=select, order="sequential")
    ordered = selected(finished, tmp_path / "run", select=select, order=name)
    assert sorted(plain.splitlines()) == sorted(ordered.splitlines())
    assert selected(finished, tmp_path / "run", select=select, order=name) == ordered


def test_a_pilot_is_not_trained_again_by_a_stage_that_begins_again(finished: Path, tmp_path: Path) -> None:
    select = {"id": "learning_percentage", "of": "first_epoch", "fraction": 0.5}
    first = selected(finished, tmp_path / "run", select=select)
    notes = sorted((tmp_path / "run").rglob("pilot.json"))
    assert [path.parents[2].name for path in notes] == ["01", "02"]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("pilot-*/**/*")}
    assert selected(finished, tmp_path / "run", select=select) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("pilot-*/**/*")} == times


def test_scores_outlive_the_stage(finished: Path, tmp_path: Path) -> None:
    selected(finished, tmp_path / "run", select={"id": "ifd", "fraction": 1.0, "below": 1e9})
    path = tmp_path / "run" / "scores.sqlite"
    size = path.stat().st_size
    assert size > 0
    selected(finished, tmp_path / "run", select={"id": "ifd", "fraction": 1.0, "below": 1e9})
    assert path.stat().st_size == size
