"""Recipes side by side: shared work is done once, runs go on where they stopped, arms are made equal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lessons.errors import InputError, RoundError
from loops.benching import running
from loops.benching.planning import Arm, arms_of, bench_of, equalised, stem_of
from loops.cli import app
from loops.run import Run
from loops.store import read_yaml
from loops.views.bench import bench_view
from loops.watching.progress import Silent

RECIPE: dict[str, Any] = {
    "task": {
        "id": "skills_demo", "skills": ["carrying", "units"], "train": 3, "held_out": 4,
        "warm_up": {"carrying": 2, "units": 1},
    },
    "student": {"model": "tiny", "answer": {"max_tokens": 8}},
    "teacher": {"kind": "rule_tutor"},
    "method": {"id": "stat_syn", "pairs": 4, "solutions": 2, "references": 1},
    "filters": ["format", "duplicate"],
    "diagnose": {"by": "needed", "form": "skill"},
    "train": {"epochs": 1, "start": "last"},
    "examine": {"noise": False},
    "gate": {"rule": "always"},
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "aimed.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def arms(recipe: Path) -> list[Arm]:
    return arms_of([recipe], ["uniform:method.target=uniform", "plain:method.id=rationale"])


@pytest.fixture(scope="module")
def recipes(recipe: Path) -> list[Path]:
    other = recipe.with_name("explained.yaml")
    other.write_text(yaml.safe_dump({**RECIPE, "method": "rationale"}))
    return [recipe, other]


@pytest.fixture(scope="module")
def done(recipes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[running.BenchRun]]:
    into = tmp_path_factory.mktemp("bench") / "one"
    made = arms_of(recipes, ["uniform:method.target=uniform"])
    return into, running.run_bench(made, into, 2, None, None, Silent())


def test_every_arm_runs_with_every_seed(done: tuple[Path, list[running.BenchRun]]) -> None:
    _, runs = done
    assert [(run.arm, run.seed) for run in runs] == [
        ("aimed", 0), ("explained", 0), ("uniform", 0), ("aimed", 1), ("explained", 1), ("uniform", 1),
    ]  # fmt: skip
    assert all((run.folder / "finished.json").exists() for run in runs)


def test_arms_of_a_seed_share_exam_and_diagnosis_and_all_seeds_one_split(
    done: tuple[Path, list[running.BenchRun]],
) -> None:
    into, runs = done
    assert len(list((into / "stems").iterdir())) == 2  # one a seed
    by = {(run.arm, run.seed): run.folder for run in runs}
    for name in ("rounds/00/exam.jsonl", "rounds/01/attempts.jsonl", "rounds/01/profile.json"):
        for seed in (0, 1):
            texts = {(by[arm, seed] / name).read_bytes() for arm in ("aimed", "explained", "uniform")}
            assert len(texts) == 1
    assert len({(path / "problems" / "held_out.jsonl").read_bytes() for path in by.values()}) == 1
    adapters = {(by["aimed", seed] / "rounds/00/learned.json").read_bytes() for seed in (0, 1)}
    assert len(adapters) == 2  # yet the warm-up is drawn anew


def test_a_run_of_a_bench_is_that_of_its_recipe_run_alone(
    done: tuple[Path, list[running.BenchRun]], tmp_path: Path
) -> None:
    _, runs = done
    made = next(run.folder for run in runs if (run.arm, run.seed) == ("uniform", 1))
    saved = tmp_path / "alone.yaml"
    saved.write_text(yaml.safe_dump(read_yaml(made / "recipe.yaml")))
    alone = tmp_path / "alone"
    Run.start(saved, alone).to_the_end()
    for name in ("candidates.jsonl", "dropped.jsonl", "lessons.jsonl", "exam.jsonl", "metrics.json"):
        assert (alone / "rounds/01" / name).read_bytes() == (made / "rounds/01" / name).read_bytes(), name


def test_the_view_names_arms_and_compares_with_the_first(done: tuple[Path, list[running.BenchRun]]) -> None:
    into, runs = done
    view = bench_view(runs, into)
    assert [(arm.name, arm.group, arm.seeds) for arm in view.arms] == [
        ("aimed", "A", (0, 1)), ("explained", "B", (0, 1)), ("uniform", "C", (0, 1)),
    ]  # fmt: skip
    first, *others = view.arms
    assert first.against is None
    assert all(arm.against is not None and arm.change is not None and arm.change.n == 8 for arm in others)
    assert all(arm.tokens and arm.lessons for arm in view.arms)
    assert view.comparison.same_base is True
    assert "less aimed" in view.text()
    json.dumps(view.data())


def test_again_it_does_nothing_and_another_bench_is_refused(
    done: tuple[Path, list[running.BenchRun]], recipes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    into, runs = done
    made = arms_of(recipes, ["uniform:method.target=uniform"])

    def never(*_: object, **__: object) -> Iterator[None]:
        raise AssertionError("something was run again")

    with monkeypatch.context() as patch:
        patch.setattr(running.Run, "start", never)
        patch.setattr(running.Run, "resume", never)
        assert running.run_bench(made, into, 2, None, None, Silent()) == runs
    with pytest.raises(InputError, match="holds another bench"):
        running.run_bench(made[:2], into, 2, None, None, Silent())


def test_a_bench_that_was_stopped_in_a_stem_or_in_a_run_goes_on(
    recipe: Path, tmp_path: Path, done: tuple[Path, list[running.BenchRun]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, into = arms_of([recipe], []), tmp_path / "cut"
    stem = into / "stems" / stem_of(made[0].recipe(0))
    Run.start(made[0].recipe(0), stem).up_to(1, "examine")
    real = Run.to_the_end

    def cut(run: Run) -> Any:
        run.up_to(1, "learn")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "to_the_end", cut)
        with pytest.raises(KeyboardInterrupt):
            running.run_bench(made, into, 1, None, None, Silent())
    assert Run.to_the_end is real
    (went_on,) = running.run_bench(made, into, 1, None, None, Silent())
    path = went_on.folder
    undisturbed = next(run.folder for run in done[1] if (run.arm, run.seed) == ("aimed", 0))
    for name in ("lessons.jsonl", "exam.jsonl", "metrics.json"):
        assert (path / "rounds/01" / name).read_bytes() == (undisturbed / "rounds/01" / name).read_bytes()


def test_equal_teacher_tokens_caps_the_others_at_what_the_first_arm_took(recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "more.yaml"
    other.write_text(yaml.safe_dump({**RECIPE, "method": {"id": "rationale", "samples": 40, "of": "all"}}))
    made = arms_of([recipe, other], [])
    runs = running.run_bench(made, tmp_path / "b", 1, "teacher_tokens", None, Silent())
    took = {run.arm: running.taken(run.folder, "teacher_tokens") for run in runs}
    assert took["more"] <= took["aimed"]
    capped = read_yaml(next(run.folder for run in runs if run.arm == "more") / "recipe.yaml")["budget"]
    assert capped["tokens"] == took["aimed"]
    with pytest.raises(InputError, match="prices are not known, or 0"):
        running.taken(runs[0].folder, "cost")


def test_equal_lessons_sets_the_selectors_budget(recipe: Path, tmp_path: Path) -> None:
    assert equalised("lessons", 5) == ["select.budget=5"]
    assert equalised("cost", 0.5) == ["budget.usd=0.5", "budget.at_cap=finish"]
    assert equalised("teacher_tokens", None) == []
    runs = running.run_bench(arms(recipe)[:2], tmp_path / "b", 1, "lessons", 5, Silent())
    rows = [len((run.folder / "rounds/01/lessons.jsonl").read_text().splitlines()) for run in runs]
    assert max(rows) <= 5
    assert min(rows) > 0


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        (["uniform"], "expected NAME:KEY=VALUE"),
        (["a b:seed=1"], "no plain name"),
        (["../x:seed=1"], "no plain name"),
        (["aimed:seed=1"], "two arms have this name"),
    ],
)
def test_a_variant_that_is_not_written_right_is_refused(recipe: Path, variants: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        arms_of([recipe], variants)


def test_arms_must_begin_with_one_student_and_sit_one_exam(recipe: Path) -> None:
    other = arms_of([recipe], ["longer:task.held_out=5"])
    with pytest.raises(InputError, match="'longer': its task is not that of 'aimed'"):
        bench_of(other, 1, None, None)
    with pytest.raises(InputError, match="--amount"):
        bench_of(other[:1], 1, "lessons", None)
    with pytest.raises(InputError, match="--seeds"):
        bench_of(other[:1], 0, None, None)


def test_the_command_prints_the_table_and_writes_the_report(recipe: Path, tmp_path: Path) -> None:
    into = tmp_path / "b"
    told = CliRunner().invoke(
        app,
        ["bench", str(recipe), "--arm", "uniform:method.target=uniform", "--seeds", "1", "--into", str(into), "--json"],
    )
    assert told.exit_code == 0, told.output
    view = json.loads(told.output)
    assert [arm["name"] for arm in view["arms"]] == ["aimed", "uniform"]
    assert (into / "bench.html").read_text().startswith("<!")


def test_a_round_that_cannot_go_on_is_told_and_the_bench_goes_on(recipe: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"  # the tiny student is never right, so there is nothing of its own to learn from
    own.write_text(yaml.safe_dump({**RECIPE, "method": "rest_em"}))
    made = arms_of([recipe, own], ["uniform:method.target=uniform"])
    runs = running.run_bench(made, tmp_path / "b", 1, None, None, Silent())
    assert [(run.arm, bool(run.stopped)) for run in runs] == [("aimed", False), ("own", True), ("uniform", False)]
    view = bench_view(runs, tmp_path / "b")
    assert [arm.name for arm in view.arms] == ["aimed", "uniform"]
    assert f"stopped: own, seed 0: {view.stopped[0].reason}"[:60] in view.text()
    with pytest.raises(RoundError):  # what the first arm takes is the others' cap
        running.run_bench(arms_of([own, recipe], []), tmp_path / "c", 1, "teacher_tokens", None, Silent())
