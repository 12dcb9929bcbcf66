"""Weights on disk: what they are called, and how it is known that they are what they were."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lessons.ids import ID_LENGTH, content_id, digest
from lessons.jsonl import UNREADABLE, sync_folder, write_whole
from lessons.places import cache_folder

SMALL_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
               "special_tokens_map.json", "chat_template.jinja")  # fmt: skip
"""What decides on a model's answers beside its weights, where it is there."""


class _Sum(msgspec.Struct, frozen=True):
    size: int
    changed: int
    sha256: str


def file_sum(path: Path) -> str:
    """Return the SHA-256 of a file, read anew."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sum(path: Path) -> str:
    """Return the SHA-256 of a large file, read again only when its size or time of change differ."""
    told = path.resolve().stat()
    note = cache_folder() / "checksums" / f"{digest(str(path.resolve()))[:ID_LENGTH]}.json"
    try:
        kept = msgspec.json.decode(note.read_bytes(), type=_Sum)
        if (kept.size, kept.changed) == (told.st_size, told.st_mtime_ns):
            return kept.sha256
    except (OSError, *UNREADABLE):
        pass  # not there, or torn: it is only a note, and is written anew
    kept = _Sum(size=told.st_size, changed=told.st_mtime_ns, sha256=file_sum(path))
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, msgspec.json.encode(kept))
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return kept.sha256


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder, by name."""
    return sorted(folder.glob("*.safetensors"))


def model_fingerprint(folder: Path) -> str:
    """Return the content id of a model folder: its weights, configuration, tokenizer and chat template."""
    small = {name: file_sum(folder / name) for name in SMALL_FILES if (folder / name).is_file()}
    return content_id("model", weights={path.name: known_sum(path) for path in weight_files(folder)}, files=small)


def tensors_digest(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the content id of named CPU tensors and a configuration: names, dtypes, shapes, every byte."""
    import torch

    whole = hashlib.sha256(digest(dict(config)).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()[:ID_LENGTH]


def sync_files(paths: Iterable[Path]) -> None:
    """Have the system write these files to disk, so that a renamed folder is whole after a power cut."""
    folders: set[Path] = set()
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)
