"""Every plug-in that a recipe can name, found by listing its folder, does its part in a real run of the tiny student.

One run is brought up to a stage once; each plug-in goes on from there, so that this stays quick. Selectors and orders
are listed in test_selectors_all.py, objectives in tests/students.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lessons.ids import digest
from lessons.records import Message
from loops import asking
from loops.plugins import known
from loops.recipe import load, resolve
from loops.run import Run
from loops.store import dump_yaml, read_yaml
from teachers.base import Reply, Sampling, Usage
from teachers.calls import Caller
from teachers.prompts.base import Prompt
from teachers.rule_tutor import REFUSAL, RuleTutor

ROOT = Path(__file__).parents[2]

RECIPE: dict[str, Any] = {
    "task": {
        "id": "skills_demo", "skills": ["largest", "carrying", "units"], "train": 4, "held_out": 2, "warm_up": 1,
    },
    "student": {"model": "tiny", "answer": {"max_tokens": 12}, "adapter": {"rank": 2}},
    "teacher": {"kind": "rule_tutor"},
    "method": {"id": "rationale", "of": "all", "samples": 2},
    "filters": [],
    "diagnose": {"by": "needed", "form": "skill"},
    "train": {"epochs": 1, "batch_size": 4, "max_length": 1024},
    "examine": {"noise": False},
    "gate": {"rule": "always"},
}  # fmt: skip


def discerning(name: str, fields: Mapping[str, object]) -> str:
    """Return a reply that goes by what is shown, for prompts whose one example would tell nothing apart; else ""."""
    if name == "preference":
        return f"Reason: It is.\nBetter: {'first' if str(fields['first']) > str(fields['second']) else 'second'}"
    if name == "rating":
        return f"Reason: It is.\nRating: {9 if 'Answer' in str(fields['answer']) else 3}"
    if name == "solution":  # all solutions agree
        return "It is counted.\nAnswer: 1"
    if name.startswith("relabel"):
        steps = [{"reason": "", "action": f"step {n}"} for n in range(int(str(fields["count"])))]
        steps[-1] = {"reason": "The last line states it.", "action": "Answer: 1"}
        return json.dumps({"mistakes": "It babbles.", "steps": steps})
    return ""


class Known:
    """Answers what it is asked by rule where the demo's tutor can, else with the prompt's own example."""

    asked: dict[str, tuple[Prompt[Any], Mapping[str, object]]] = {}

    def __init__(self) -> None:
        self.tutor = RuleTutor()
        self.name = "known"
        self.count = 0

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        told = await self.tutor.ask(messages, sampling)
        if told.text != REFUSAL:
            return told
        prompt, fields = self.asked[digest(list(messages))]
        assert prompt.example is not None, f"the prompt {prompt.name} has no example"
        text = discerning(prompt.name, fields) or prompt.example(fields, sampling.seed or 0)
        return Reply(text=text, usage=Usage(prompt=1, completion=1))

    async def aclose(self) -> None:
        """Nothing to give back."""


class Noting(Caller):
    """The path of a call, with a note of which prompt a chat is."""

    async def ask(self, prompt: Any, fields: Any, **more: Any) -> Any:
        Known.asked[digest(list(prompt.messages(fields)))] = (prompt, fields)
        return await super().ask(prompt, fields, **more)


@pytest.fixture(scope="module", autouse=True)
def examples() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "Caller", Noting)
        yield


def changed(**parts: Any) -> dict[str, Any]:
    return {**RECIPE, "teacher": {"kind": f"{__name__}:Known"}, **parts}


def brought_to(stage: str, recipe: dict[str, Any], into: Path) -> Path:
    """Run until a stage of round 1 is about to begin."""
    Run.start(resolve(recipe), into).up_to(1, stage)
    return into


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe whose student babbles and is right a third of the time: the answer is the length of its text, modulo 3.

    Methods that learn from right answers find some.
    """
    path = tmp_path_factory.mktemp("task") / "lengths.jsonl"
    rows = [
        {
            "question": f"How long is number {n}?", "answer": str(n % 3), "skills": [("long", "short")[n % 2]],
            "solution": f"It is number {n}.\nThis is its length.",
        }
        for n in range(8)
    ]  # fmt: skip
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    task = {"id": "jsonl", "train": str(path), "held_out": 0.25, "graded_by": "tests.loops.teaching:Lengths"}
    student = {**RECIPE["student"], "answer": {"max_tokens": 12, "temperature": 1.0}}
    return changed(task=task, student=student, select={"id": "uniform", "replay": 0.0})


@pytest.fixture(scope="module")
def before_teach(guessing: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brought_to("teach", guessing, tmp_path_factory.mktemp("stems") / "teach")


@pytest.fixture(scope="module")
def before_filter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brought_to("filter", changed(), tmp_path_factory.mktemp("stems") / "filter")


def go_on(stem: Path, into: Path, whole: dict[str, Any]) -> Path:
    """Let a run go on from a stem with another recipe."""
    recipe = resolve(whole)
    shutil.copytree(stem, into)
    (into / "recipe.yaml").write_bytes(dump_yaml(recipe.plain()))
    Run.start(recipe, into).to_the_end()
    assert (into / "finished.json").exists()
    return into / "rounds/01"


METHODS: dict[str, dict[str, Any]] = {
    "arte": {"align": False, "drafts": 2, "several": 2, "validation": 2, "preference": 2},
    "gsi": {"samples": 2, "min_correct": 1, "resample": 1},
    "lmsi": {"samples": 3, "shots": 1},
    "reflection": {"bound": None},
    "rest_em": {"samples": 6},
    "rft": {"samples": 6},
    "rise": {"best_of": 2},
    "ts_align": {"samples": 3, "scorer": "tiny"},
}
"""Knobs with which a method is small enough for a test; the others have their defaults."""


@pytest.mark.parametrize("plugin", known("method"))
def test_every_method(plugin: str, before_teach: Path, guessing: dict[str, Any], tmp_path: Path) -> None:
    method = {"id": plugin, **METHODS.get(plugin, {})}
    folder = go_on(before_teach, tmp_path / "run", {**guessing, "method": method})
    assert (folder / "candidates.jsonl").read_text() or (folder / "memory.json").exists()
    assert (folder / "metrics.json").exists()


@pytest.mark.parametrize("plugin", [name for name in known("filter") if name != "semantic_duplicate"])
def test_every_filter(plugin: str, before_filter: Path, tmp_path: Path) -> None:
    """`semantic_duplicate` needs a model's folder: tests/loops/test_filters_semantic.py makes one."""
    select = {"id": "uniform", "replay": 0.0}
    folder = go_on(before_filter, tmp_path / "run", changed(filters=[plugin], select=select))
    candidates = len((folder / "candidates.jsonl").read_text().splitlines())
    kept, dropped = (len((folder / name).read_text().splitlines()) for name in ("kept.jsonl", "dropped.jsonl"))
    assert kept + dropped == candidates > 0


@pytest.mark.parametrize("recipe", sorted((ROOT / "scripts/recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe(recipe: Path, tmp_path: Path) -> None:
    """With the tiny student, a few problems and a teacher that needs no key; what the recipe is about stays."""
    written = read_yaml(recipe)
    data = ROOT.parent / "shared" / "data"
    task = dict(written["task"])
    if "folder" in task:
        if not (data / task["id"]).is_dir():
            pytest.skip(f"the data of {task['id']} are not here")
        task |= {"folder": str(data / task["id"])}
    small = {"train": 6, "held_out": 4, "final": 4, "warm_up": 4, "gate": 0}
    task |= {key: small[key] for key in task.keys() & small.keys() if task[key]}
    changes = {
        "task": task,
        "student": {"model": "tiny", "answer": {"max_tokens": 8}},
        "teacher": {"kind": f"{__name__}:Known"},
        "train": {**written.get("train", {}), "epochs": 0.5},
        "examine": {**written.get("examine", {}), "per_round": 0},
        "gate": {"rule": "always"},
        "rounds": 1,
    }
    path = tmp_path / recipe.name
    path.write_bytes(dump_yaml({**written, **changes}))
    done = Run.start(load(path), tmp_path / "run").to_the_end()
    assert [one.index for one in done] == [0, 1]
