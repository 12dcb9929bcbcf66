"""What a student has learned, on disk: a folder of safetensors named by its content, so that no name is ever reused."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import msgspec

from lessons.errors import StudentError
from lessons.ids import canonical
from lessons.jsonl import UNREADABLE, sync_folder
from students.files import file_sum, known_sum, sync_files, tensors_digest

NOTE = "student.json"
LORA_WEIGHTS = "adapter_model.safetensors"
LORA_CONFIG = "adapter_config.json"
WHOLE_WEIGHTS = "model.safetensors"
WHOLE_CONFIG = "config.json"


class AdapterNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`student.json` in an adapter's folder: what it is, and what it belongs to."""

    kind: Literal["lora", "whole"]
    """A LoRA adapter, or all weights of the model (rank 0)."""
    content: str
    """Content id of tensors and configuration; the folder's name ends with it."""
    sha256: str
    """Of the weights file."""
    base: str
    """Fingerprint of the model that it was trained on."""
    base_name: str
    rank: int


def lora_settings(config: Any) -> dict[str, Any]:
    """Return a LoRA configuration as JSON with one order: its sets have none, and would change the content's name."""

    def plain(value: object) -> object:
        if isinstance(value, set | frozenset):
            return sorted(str(item) for item in value)
        return value.value if isinstance(value, Enum) else value

    settings = {str(name): plain(value) for name, value in config.to_dict().items()}
    return settings | {"inference_mode": True}


def save_adapter(
    into: Path,
    tensors: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    kind: Literal["lora", "whole"],
    base: str,
    base_name: str,
    rank: int,
) -> Path:
    """Write weights and configuration to `into/adapter-<content id>` and return that folder; it is there whole or not.

    The same content learned again is the same folder, and is left as it is.

    Raises:
        OSError: it cannot be written: a full disk, lost rights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    content = tensors_digest(tensors, settings)
    folder = into / f"adapter-{content}"
    if (folder / NOTE).is_file():
        return folder
    weights, config = (LORA_WEIGHTS, LORA_CONFIG) if kind == "lora" else (WHOLE_WEIGHTS, WHOLE_CONFIG)
    into.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=into))
    try:
        save_file(dict(tensors), work / weights, metadata={"format": "pt"})
        (work / config).write_text(json.dumps(json.loads(canonical(dict(settings))), indent=2) + "\n", encoding="utf-8")
        note = AdapterNote(
            kind=kind, content=content, sha256=file_sum(work / weights), base=base, base_name=base_name, rank=rank
        )
        (work / NOTE).write_bytes(msgspec.json.format(msgspec.json.encode(note)))
        sync_files(sorted(work.iterdir()))
        shutil.rmtree(folder, ignore_errors=True)  # what has no note was never whole
        work.replace(folder)
        sync_folder(into)
    except SafetensorError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise _of_the_system(error, work / weights) from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder


def _of_the_system(error: Exception, path: Path) -> Exception:
    """Return the error of the file system that safetensors has put into words; its own where it is none."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return error if told is None else OSError(int(told[1]), os.strerror(int(told[1])), str(path))


def copy_folder(folder: Path, into: Path) -> None:
    """Copy what was learned to another folder; it is there whole or not."""
    into.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    try:
        shutil.copytree(folder, work, dirs_exist_ok=True)
        sync_files(sorted(path for path in work.iterdir() if path.is_file()))
        shutil.rmtree(into, ignore_errors=True)
        work.replace(into)
        sync_folder(into.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def read_note(folder: Path, base: str) -> AdapterNote:
    """Return what a folder says of its adapter, once its weights are seen to be what was saved.

    base: fingerprint of the model that it is to be used with.

    Raises:
        StudentError: the folder holds no adapter, its weights are damaged, or it belongs to another model.
    """
    try:
        note = msgspec.json.decode((folder / NOTE).read_bytes(), type=AdapterNote)
    except (OSError, *UNREADABLE) as error:
        raise StudentError(f"{folder}: holds no student's adapter ({NOTE}: {error})") from error
    weights = folder / (LORA_WEIGHTS if note.kind == "lora" else WHOLE_WEIGHTS)
    if not weights.is_file():
        raise StudentError(f"{folder}: {weights.name} is missing; learn the round again")
    if known_sum(weights) != note.sha256:
        raise StudentError(f"{weights}: the weights are not those that were saved; learn the round again")
    if note.base != base:
        raise StudentError(
            f"{folder}: was trained on another model ({note.base_name}, {note.base}) than this one ({base})"
        )
    return note
