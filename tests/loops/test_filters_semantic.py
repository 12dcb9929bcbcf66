"""Duplicates in meaning: the greedy rule held to comparing every pair, and a real small model."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from lessons.errors import InputError
from loops import plugins
from loops.exams.embedding import BATCH
from loops.filters import semantic_duplicate
from loops.filters.base import Context
from loops.filters.semantic_duplicate import SemanticDuplicate
from loops.recipe import resolve
from loops.run import Run
from tests.loops.filtering import CONTEXT, lesson, reasons


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny student's base model, saved as any transformers model is."""
    import torch

    from students.tiny import TinyBase

    folder = tmp_path_factory.mktemp("model")
    TinyBase().model(torch.float32).save_pretrained(folder, safe_serialization=True)
    TinyBase().tokenizer().save_pretrained(folder)
    return str(folder)


def test_each_is_near_the_first_kept_one_or_kept_itself() -> None:
    rng = np.random.default_rng(Random(5).randrange(10**6))
    rows = rng.normal(size=(3 * BATCH + 7, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    known = 40
    kept, expected = list(range(known)), list[tuple[int, int]]()
    for place in range(known, len(rows)):
        near = next((other for other in kept if float(rows[other] @ rows[place]) >= 0.9), -1)
        expected.append((place - known, near))
        if near < 0:
            kept.append(place)
    found = list(semantic_duplicate._nearest(rows, 0.9, known))  # pyright: ignore[reportPrivateUsage]
    assert [(place, near) for place, near, _ in found] == expected
    assert {near >= 0 for _, near in expected} == {True, False}


QUESTIONS = [f"{animal}s: a farmer has {n} of them" for n, animal in enumerate(("hen", "cow", "ox", "goose", "pig"))]


def test_the_same_words_mean_the_same(model: str) -> None:
    lessons = [lesson(question, "I know.") for question in (*QUESTIONS, *QUESTIONS)]
    judge = SemanticDuplicate(model=model, cosine=0.99999)
    found = reasons(judge, lessons)
    assert found[5:] == ["means nearly the same as an earlier candidate"] * 5
    assert found[:5] == ["kept"] * 5
    context = Context(grader=CONTEXT.grader, earlier=lessons[:1])
    assert reasons(judge, lessons[:2], context) == ["means nearly the same as a lesson of an earlier round", "kept"]
    without = SemanticDuplicate(model=model, cosine=0.99999, earlier=False)
    assert reasons(without, lessons[:2], context) == ["kept", "kept"]
    assert reasons(judge, []) == []


def test_which_text_counts(model: str) -> None:
    two = [lesson("Why?", "Because it is so."), lesson("Why?", "7 x 11 = 77, by and large")]
    assert reasons(SemanticDuplicate(model=model, cosine=0.99999), two) == ["kept", "kept"]
    assert reasons(SemanticDuplicate(model=model, cosine=0.99999, of="prompt"), two)[1] != "kept"


def test_a_model_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder of a transformers model"):
        reasons(SemanticDuplicate(model=str(tmp_path)), [lesson("a")])
    with pytest.raises(InputError, match="'model' must be given"):
        plugins.build("filter", "semantic_duplicate", where="filters[0]")
    for knobs in ({"model": ""}, {"model": "x", "cosine": 0.0}):
        with pytest.raises(InputError, match="model must name|cosine must be above 0"):
            plugins.build("filter", {"id": "semantic_duplicate", **knobs}, where="filters[0]")


@pytest.mark.parametrize("plugin", ["semantic_duplicate", "contamination"])
def test_a_run_does_not_begin_without_the_model_of_a_filter(plugin: str, tmp_path: Path) -> None:
    recipe = {
        "task": {"id": "skills_demo", "train": 2, "held_out": 2},
        "student": "tiny",
        "teacher": {"kind": "rule_tutor"},
        "method": "rationale",
        "filters": ["format", {"id": plugin, "model": str(tmp_path / "none")}],
    }
    with pytest.raises(InputError, match=r"filters\[1\]: .* is no folder of a transformers model"):
        Run.start(resolve(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()
