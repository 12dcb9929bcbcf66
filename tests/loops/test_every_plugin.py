"""Every plug-in that a recipe can name, found by listing its folder, does its part in a real run of the tiny student.

One run is brought up to each stage once; each plug-in goes on from there, so that this stays quick.
"""

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
    "method": {"id": "rationale", "of": "all"},
    "filters": [],
    "diagnose": {"by": "needed", "form": "skill"},
    "train": {"epochs": 1, "batch_size": 4, "max_length": 1024},
    "examine": {"noise": False},
    "gate": {"rule": "always"},
}  # fmt: skip


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
        return Reply(text=prompt.example(fields, sampling.seed or 0), usage=Usage(prompt=1, completion=1))

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


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stage -> a run that stands before it."""
    folder = tmp_path_factory.mktemp("stems")
    found: dict[str, Path] = {}
    before: Path | None = None
    for stage in ("teach", "filter", "select", "learn"):
        found[stage] = folder / stage
        if before is not None:
            shutil.copytree(before, found[stage])
        Run.start(resolve(changed()), found[stage]).up_to(1, stage)
        before = found[stage]
    return found


def go_on(stem: Path, into: Path, **parts: Any) -> Path:
    """Let a run go on from a stem with other parts."""
    recipe = resolve(changed(**parts))
    shutil.copytree(stem, into)
    (into / "recipe.yaml").write_bytes(dump_yaml(recipe.plain()))
    Run.start(recipe, into).to_the_end()
    assert (into / "finished.json").exists()
    return into / "rounds/01"


METHODS: dict[str, dict[str, Any]] = {}
"""Knobs with which a method is small enough for a test; the others have their defaults."""


@pytest.mark.parametrize("plugin", known("method"))
def test_every_method(plugin: str, stems: dict[str, Path], tmp_path: Path) -> None:
    folder = go_on(stems["teach"], tmp_path / "run", method={"id": plugin, **METHODS.get(plugin, {})})
    made = (folder / "candidates.jsonl").read_text() + (folder / "dropped_by_method.jsonl").read_text()
    assert made or (folder / "memory.json").exists()


@pytest.mark.parametrize("plugin", known("filter"))
def test_every_filter(plugin: str, stems: dict[str, Path], tmp_path: Path) -> None:
    folder = go_on(stems["filter"], tmp_path / "run", filters=[plugin])
    candidates = len((folder / "candidates.jsonl").read_text().splitlines())
    kept, dropped = (len((folder / name).read_text().splitlines()) for name in ("kept.jsonl", "dropped.jsonl"))
    assert kept + dropped == candidates > 0


@pytest.mark.parametrize("plugin", known("selector"))
def test_every_selector(plugin: str, stems: dict[str, Path], tmp_path: Path) -> None:
    folder = go_on(stems["select"], tmp_path / "run", select={"id": plugin, "budget": 6})
    assert 0 < len((folder / "lessons.jsonl").read_text().splitlines())


@pytest.mark.parametrize("plugin", known("order"))
def test_every_order(plugin: str, stems: dict[str, Path], tmp_path: Path) -> None:
    folder = go_on(stems["select"], tmp_path / "run", order=plugin)
    rows = (folder / "lessons.jsonl").read_text().splitlines()
    shuffled = go_on(stems["select"], tmp_path / "other")
    assert sorted(rows) == sorted((shuffled / "lessons.jsonl").read_text().splitlines())


OBJECTIVES: dict[str, dict[str, Any]] = {}
"""Knobs of an objective that must be given, or make it small enough."""


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
