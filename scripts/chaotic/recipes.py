"""Three small recipes, which have something to do in every stage between them."""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import yaml

IN_FLIGHT = 4
"""Calls at once: what a fault may have asked again."""
_SKILLS = ("carrying", "percentages", "clock")
_COMMON: Mapping[str, Any] = {
    "student": {"model": "tiny", "answer": {"max_tokens": 10, "temperature": 1.0}, "adapter": {"rank": 4}},
    "train": {"epochs": 1, "threads": 1},
    "calls": {"in_flight": IN_FLIGHT},
    "gate": {"rule": "always"},
    "preflight": {"problems": 4, "at_least": 0},
}


def recipes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name -> recipe, without its teacher, the quickest first; data files are written into the folder."""
    return {
        "the teacher's own list of skills": {
            **_COMMON,
            "task": {"id": "jsonl", "train": str(_problems(folder / "train.jsonl", 6, "train")),
                     "held_out": str(_problems(folder / "held_out.jsonl", 4, "held out")), "graded_by": "numeric"},
            "method": "rationale",
            "diagnose": {"skill_sample": 6, "agreement_sample": 3, "check_right": 1},
            "filters": ["format", "duplicate", "judge"],
            "rounds": 1,
        },
        "new problems": {
            **_COMMON,
            "task": {"id": "skills_demo", "skills": list(_SKILLS), "train": 3, "held_out": 2, "gate": 1, "final": 1,
                     "warm_up": 1},
            "method": {"id": "stat_syn", "new": 1, "solutions": 3, "agree": 2},
            "filters": ["format", "duplicate", "verified", "near_duplicate", "contamination"],
            "select": {"id": "profile", "budget": 12, "replay": 0.25},
            "rounds": 2,
        },
        "critiques, scores of the student, on from the last": {
            **_COMMON,
            "task": {"id": "skills_demo", "skills": list(_SKILLS), "train": 3, "held_out": 2},
            "method": "critique",
            "filters": ["format", "verified", {"id": "ifd", "below": None}],
            "select": {"id": "ifd", "budget": 6, "below": 1000.0, "fraction": 1.0},
            "train": {"epochs": 1, "threads": 1, "start": "last"},
            "rounds": 2,
        },
    }  # fmt: skip


def write_recipe(path: Path, recipe: Mapping[str, Any], base_url: str) -> None:
    """Write a recipe whose teacher is a server of this machine."""
    teacher = {
        "kind": "openai", "model": "loopback", "label": "loopback", "base_url": base_url, "key": "LOOPBACK_KEY",
        "features": ["n", "json_schema"],
    }  # fmt: skip
    path.write_text(yaml.safe_dump({**recipe, "teacher": teacher}), encoding="utf-8")


def _problems(path: Path, count: int, seed: str) -> Path:
    """Write problems that say no skills, of those that the demo's teacher can work."""
    from lessons.demo.skills import generate

    rng = Random(seed)
    made = [generate(_SKILLS[number % len(_SKILLS)], rng) for number in range(count)]
    rows = [{"question": question, "answer": answer} for question, answer in made]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
