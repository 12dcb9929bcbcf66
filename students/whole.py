"""A student as one model folder that any library reads: merged weights, configuration, tokenizer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from students.models import with_weights
from students.runtime import Precision, quiet

if TYPE_CHECKING:
    from students.hf import HFStudent


def save_whole(student: "HFStudent", into: Path, precision: Precision = "auto") -> None:
    """Write a student's weights (safetensors), configuration, generation settings and tokenizer into a folder.

    The adapter is merged in float32 and rounded once, to `precision`; `auto` is the type that the base model names in
    its own configuration, else float32.

    Raises:
        StudentError: the base model cannot be loaded, or the adapter does not fit it.
    """
    import torch

    named = _base_type(student) if precision == "auto" else precision
    dtype = torch.bfloat16 if named == "bfloat16" else torch.float16 if named == "float16" else torch.float32
    with quiet():
        model: Any = with_weights(student.base, student.learned, torch.float32).to(dtype)
        model.save_pretrained(into, safe_serialization=True)
        student.tokenizer.save_pretrained(into)
    settings = into / "config.json"
    told: dict[str, Any] = json.loads(settings.read_bytes())
    told.pop("_name_or_path", None)  # a path of this machine
    settings.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _base_type(student: "HFStudent") -> str:
    folder = getattr(student.base, "folder", None)
    if not isinstance(folder, Path):
        return "float32"
    told: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return str(told.get("dtype") or told.get("torch_dtype") or "float32")
