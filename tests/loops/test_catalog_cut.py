"""A catalogue stage that was cut before its marker is done again, and comes to the same, its counts included."""

import json
from pathlib import Path
from typing import Any

from lessons.demo.skills import generate
from loops.recipe import resolve
from loops.run import Run
from loops.work import Work


def recipe(folder: Path) -> Any:
    from random import Random

    rng = Random(0)
    rows = [dict(zip(("question", "answer"), generate("carrying", rng), strict=True)) for _ in range(8)]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"id": "jsonl", "train": str(folder / "p.jsonl"), "held_out": 0.5, "graded_by": "numeric"}
    return resolve({"task": task, "student": "tiny", "teacher": "rule_tutor", "method": "rationale"})


def counts(work: Work) -> dict[str, int]:
    marker = work.folder.marker(0, "catalog")
    assert marker is not None
    return {name: count for name, count in marker.counts.items() if name in ("catalog/asked", "catalog/parsed")}


def test_cut_before_the_marker(tmp_path: Path) -> None:
    first = Run.start(recipe(tmp_path), tmp_path / "run")
    first.up_to(0, "label")
    before, written = counts(first.work), (tmp_path / "run" / "catalog.yaml").read_bytes()
    assert before["catalog/asked"] > 0
    (tmp_path / "run" / "rounds" / "00" / ".done" / "catalog.json").unlink()
    again = Run.resume(tmp_path / "run")
    again.up_to(0, "label")
    assert counts(again.work) == before
    assert (tmp_path / "run" / "catalog.yaml").read_bytes() == written
