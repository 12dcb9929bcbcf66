"""Weights that others may have written: safetensors and an adapter's settings; what is none is refused in one line."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from lessons.errors import StudentError
from lessons.jsonl import UNREADABLE

LARGEST_RANK = 65_536
"""Rank of an adapter, at most: beyond any model's width. Our own bound."""


class LoraSettings(msgspec.Struct, frozen=True):
    """What of an `adapter_config.json` decides on the adapter's shape; the other members say how it was trained."""

    r: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_RANK)]
    lora_alpha: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    target_modules: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=10_000)]


def lora_settings_of(path: Path) -> LoraSettings:
    """Read an adapter's settings.

    Raises:
        StudentError: the file cannot be read, or does not hold them.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=LoraSettings)
    except (OSError, *UNREADABLE) as error:
        raise StudentError(f"{path}: holds no settings of a LoRA adapter ({error})") from error


def tensors_of(path: Path) -> dict[str, Any]:
    """Read the tensors of a safetensors file, name -> tensor on the CPU. Nothing in it can run.

    Raises:
        StudentError: the file cannot be read, or is none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise StudentError(f"{path}: holds no weights in safetensors ({' '.join(str(error).split())[:200]})") from error


def fill(adapted: Any, path: Path) -> Any:
    """Give an adapter the weights of a file; return peft's account of what was missing and unexpected.

    Raises:
        StudentError: they cannot be read, or are of other shapes.
    """
    from peft import set_peft_model_state_dict

    try:
        return set_peft_model_state_dict(adapted, tensors_of(path))
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise StudentError(f"{path}: the adapter does not fit the model: {str(error).splitlines()[0][:200]}") from error
