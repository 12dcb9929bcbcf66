"""The student of a run for others to use: its adapter, or a whole model with the adapter merged into it."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from lessons.errors import InputError
from lessons.jsonl import UNREADABLE
from lessons.records import Record
from loops.export.cards import model_card
from loops.export.placing import put_in_place
from loops.reading import RoundView, RunView
from loops.remembering import NAME
from students.adapters import LORA_CONFIG, LORA_WEIGHTS


class ExportedStudent(Record, frozen=True, kw_only=True):
    """What was written."""

    folder: str
    round: int
    merged: bool


def export_student(
    path: Path | str | RunView,
    out: Path | None = None,
    *,
    index: int | None = None,
    merged: bool = False,
    license: str = "",  # noqa: A002 - the card's own word
) -> ExportedStudent:
    """Write the student that the run stands with, or that of one round: its adapter, or `merged` a whole model.

    A merged model needs the base model here, as the run did; it is merged in float32 and saved in the base's own type.

    Raises:
        InputError: there is no trained student yet, it has no adapter, or the folder is there already and is no export.
        StudentError: the adapter's weights are damaged, or the base model is another one than it was trained on.
    """
    run = RunView.of(path)
    turn = _turn(run, index)
    assert turn.learned is not None
    if not turn.learned.learned.adapter:
        raise InputError(
            f"{run.path}: round {turn.index} trained no weights: the student is the base model{_with(turn)}"
        )
    weights = turn.folder / "student" / turn.learned.learned.adapter
    if not weights.is_dir():
        raise InputError(f"{weights}: the student's weights are not in the run folder any more")
    folder = out if out is not None else run.path / "export" / ("model" if merged else "adapter")
    base = str(run.recipe.get("student", {}).get("model", ""))
    if not merged and not (weights / LORA_CONFIG).is_file():
        raise InputError(f"{run.path}: round {turn.index} trained all weights (rank 0), not an adapter: export model")
    with put_in_place(folder) as work:
        (_merge if merged else _copy)(weights, base, work)
        if turn.learned.memory is not None:
            shutil.copyfile(turn.folder / "student" / NAME, work / NAME)
        card = model_card(run, turn.index, merged=merged, base=base, license_id=license)
        (work / "README.md").write_text(card, encoding="utf-8")
    return ExportedStudent(folder=str(folder), round=turn.index, merged=merged)


def _turn(run: RunView, index: int | None) -> RoundView:
    taught = [turn for turn in run.rounds if turn.learned is not None]
    if index is not None:
        found = next((turn for turn in taught if turn.index == index), None)
        if found is None:
            known = ", ".join(str(turn.index) for turn in taught) or "none yet"
            raise InputError(f"{run.path}: round {index} has trained no student; rounds that have: {known}")
        return found
    kept = [turn for turn in taught if turn.metrics is not None and turn.metrics.promoted]
    if not kept:
        raise InputError(f"{run.path}: no round's student was kept: there is none to export")
    return kept[-1]


def _with(turn: RoundView) -> str:
    held = turn.learned is not None and turn.learned.memory is not None
    return f", with what it remembers in its prompt ({turn.folder / 'student' / NAME})" if held else ""


def _copy(weights: Path, base: str, into: Path) -> None:
    """Copy the adapter, naming its base as others know it."""
    shutil.copyfile(weights / LORA_WEIGHTS, into / LORA_WEIGHTS)
    try:
        settings = msgspec.json.decode((weights / LORA_CONFIG).read_bytes(), type=dict[str, Any])
    except (OSError, *UNREADABLE) as error:
        raise InputError(f"{weights / LORA_CONFIG}: cannot be read ({error})") from error
    told = json.dumps({**settings, "base_model_name_or_path": base}, indent=2)
    (into / LORA_CONFIG).write_text(told + "\n", encoding="utf-8")


def _merge(weights: Path, base: str, into: Path) -> None:
    from students.hf import HFStudent
    from students.open import open_student
    from students.whole import save_whole

    student = open_student(base, adapter=weights)
    assert isinstance(student, HFStudent)
    save_whole(student, into)
