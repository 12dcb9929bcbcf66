"""The measurement of critiques: marks of people become step numbers, and the summary counts what it says."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from teachers.prompts.critique import Critique

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_critiques.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("measure_critiques", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def champ(folder: Path, text: str, begin: int | None) -> Path:
    marked = {"text": text, "start_idx": begin, "end_idx": begin and begin + 3, "author": "a model"}
    path = folder / "v0.json"
    path.write_text(json.dumps({"problems": {"P": {"_text": "What is 2+2+1?", "fws_annotations": {"a": marked}}}}))
    return path


@pytest.mark.parametrize(
    ("begin", "step"), [(0, 1), (3, 1), (5, 2), (6, 2), (7, 2), (8, 2), (14, 2), (15, 3), (16, 3), (None, None)],
)  # fmt: skip
def test_a_mark_is_the_number_of_its_line(script: Any, tmp_path: Path, begin: int | None, step: int | None) -> None:
    text = "2+2=4\n\n\nthat +1\nis 6"  # marks may begin in the blanks before their line
    (found,) = script.solutions(champ(tmp_path, text, begin))
    assert found.lines == ("2+2=4", "that +1", "is 6")
    assert found.wrong == step


def test_the_summary_counts_verdicts_and_named_steps(script: Any) -> None:
    wrong, right = script.Solution("q", ("a", "b"), 2), script.Solution("q", ("a",), None)
    said = [
        Critique("Step 2 is wrong.\nConclusion: wrong", "wrong"),
        Critique("Step 1 is wrong, and so is step 2.\nConclusion: wrong", "wrong"),
        Critique("All is well.\nConclusion: right", "right"),
        None,
        Critique("It is wrong.\nConclusion: wrong", "wrong"),
        Critique("All is well.\nConclusion: right", "right"),
    ]
    chosen = [wrong, wrong, wrong, wrong, right, right]
    answers = [SimpleNamespace(value=one, reason="" if one else "truncated") for one in said]
    found = script.summary(chosen, answers)
    assert (found["asked"], found["read"], found["lost"]) == (6, 5, {"truncated": 1})
    shares = {
        name: (part["hits"], part["of"]) for name, part in found.items() if isinstance(part, dict) and "of" in part
    }
    assert shares["wrong solutions called wrong (recall)"] == (2, 3)
    assert shares["called wrong that are wrong (precision)"] == (2, 3)
    assert shares["right solutions called right"] == (1, 2)
    assert shares["critiques that name a step"] == (2, 2)
    assert shares["first named step is the marked one"] == (1, 2)
    assert found["the commonest marked step"]["step"] == 2
