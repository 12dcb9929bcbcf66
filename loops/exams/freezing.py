"""The problems of a run, frozen before anything else: no teacher has been asked and no weights are loaded by then."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

from lessons.errors import InputError
from lessons.jsonl import write_jsonl
from lessons.records import Problem
from loops.filters.base import normal
from loops.records import EXAMS, Frozen, FrozenPart, Marker
from loops.store import read_record, write_record
from loops.tasks.base import Split
from loops.work import PARTS, Work

FROZEN = "frozen.json"
"""Written last, with the digest of every part's file."""


def freeze(work: Work) -> Marker:
    """Write the problems of every part, the exams first; a run that has done so is held to what it wrote.

    Raises:
        InputError: the task's data is not as it should be, or a file of `problems` was changed since it was frozen.
    """
    folder = work.folder.path / "problems"

    def do(_: Path, counts: Counter[str]) -> None:
        split, overlap = without_overlap(work.task.split(work.recipe.of_split))
        parts: dict[str, FrozenPart] = {}
        for part in reversed(PARTS):  # the held-out set is frozen before anything else
            problems: tuple[Problem, ...] = getattr(split, part)
            path = folder / f"{part}.jsonl"
            if problems or part in ("train", "held_out"):
                counts[f"freeze/{part}"] = write_jsonl(path, problems)
                parts[part] = FrozenPart(problems=len(problems), sha256=sha256_of(path))
        counts["freeze/overlap"] = overlap
        write_record(folder / FROZEN, Frozen(parts=parts))

    marker = work.once(0, "freeze", (), do)
    check(folder)
    return marker


def check(folder: Path) -> None:
    """Refuse a `problems` folder that is not as it was frozen. Runs of versions without `frozen.json` pass.

    Raises:
        InputError: names the file, and what became of it.
    """
    frozen = read_record(folder / FROZEN, Frozen)
    if frozen is None:
        return
    then = "when the run's problems were frozen"
    for part in PARTS:
        path, was = folder / f"{part}.jsonl", frozen.parts.get(part)
        if was is None:
            fault = f"was not there {then}" if path.exists() else ""
        elif not path.exists():
            fault = f"held {was.problems:,} problems {then}, and is gone"
        else:
            fault = f"had other content {then}" if sha256_of(path) != was.sha256 else ""
        if fault:
            raise InputError(
                f"{path}: {fault}: the run's figures would not belong together; put the file back as it was, or start "
                "another run"
            )


def without_overlap(split: Split) -> tuple[Split, int]:
    """Return the split without train, pool and warm-up problems whose question is in an exam; and how many went.

    Raises:
        InputError: no train or no held-out problem is left, or a final problem is asked in another exam too.
    """
    exams = {normal(problem.question) for part in EXAMS for problem in getattr(split, part)}
    clean = {
        part: tuple(problem for problem in getattr(split, part) if normal(problem.question) not in exams)
        for part in ("train", "pool", "warm_up")
    }
    gone = sum(len(getattr(split, part)) - len(rows) for part, rows in clean.items())
    if not split.held_out or not clean["train"]:
        raise InputError("task: there must be at least one train and one held-out problem")
    asked = {normal(problem.question) for problem in (*split.held_out, *split.gate)}
    twice = [problem for problem in split.final if normal(problem.question) in asked]
    if twice:
        raise InputError(
            f"task: {len(twice):,} final problems are asked in every round's exam too, so they would not be untouched; "
            f"the first: {twice[0].question[:80]!r}"
        )
    return dataclasses.replace(split, **clean), gone


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; it is read a block at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
