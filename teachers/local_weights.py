"""A local model's weights: where they lie, what tells them from others, how they are loaded and freed."""

import gc
import hashlib
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lessons.errors import InputError
from lessons.ids import content_id
from teachers.local_model import LoadedModel
from teachers.wire import shown

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]
"""Of the weights while they compute; auto is bfloat16 where the processor or GPU computes in it."""
Device = Literal["auto", "cpu", "cuda"]
"""auto is the first GPU where there is one."""

QUIET = {
    # Threads that wait by spinning are ten times slower as soon as another process holds a core; OpenMP reads this
    # once, when torch is loaded.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
SMALL = ("*.json", "*.jinja", "tokenizer.model")
"""What decides on replies beside the weights."""
SLICES, SLICE = 256, 512
"""Places of a weight file that are read to tell it from another of the same size, and bytes at each: a model trained
further has all of its shapes and none of its numbers, or at least a tenth of them changed."""


@dataclass(frozen=True)
class Weights:
    """A model folder, or a model of the hub at one commit."""

    model: str
    """A folder, or the hub's id."""
    adapter: str = ""
    """A folder with a LoRA adapter in safetensors; "" for none."""

    @property
    def place(self) -> str:
        """For people, and the same wherever the folder lies: the folder's own name, or the hub's id."""
        return self._folder.resolve().name if self._folder else self.model

    @cached_property
    def fingerprint(self) -> str:
        """Content id of the weights, cheap: their names, sizes and 128 kB of each; of the hub, the commit. An adapter's
        own files count where there is one.

        Raises:
            InputError: no such folder, no safetensors, or the hub does not answer.
        """
        if not self.adapter:
            return self._of_model
        config, weights = adapter_files(self.adapter)
        told = hashlib.sha256(config.read_bytes()).hexdigest()
        return content_id("adapted", model=self._of_model, config=told, weights=_sampled(weights))

    @cached_property
    def _of_model(self) -> str:
        folder = self._folder
        if folder is None:
            return content_id("hub", model=self.model, commit=self._commit)
        names = {path for pattern in SMALL for path in folder.glob(pattern)}
        small = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(names)}
        return content_id("folder", small=small, weights={path.name: _sampled(path) for path in _safetensors(folder)})

    def fetch(self) -> Path:
        """Return the folder, of the hub's cache where it is no folder of the user's; downloads what is not there.

        Raises:
            InputError: it cannot be had.
        """
        folder = self._folder
        if folder is None:
            from huggingface_hub import snapshot_download

            try:
                told = snapshot_download(
                    self.model, revision=self._commit, allow_patterns=[*SMALL, "*.safetensors"]
                )  # weights in other formats can run code, and are not even downloaded
            except Exception as error:  # the hub's client raises errors of many libraries
                raise InputError(f"teacher.model {self.model}: cannot be downloaded ({shown(error)})") from error
            folder = Path(told)
        _safetensors(folder)
        return folder

    @cached_property
    def _folder(self) -> Path | None:
        folder = Path(self.model).expanduser()
        if (folder / "config.json").is_file():
            return folder
        if folder.is_dir() or self.model.startswith(("/", ".", "~")) or self.model.count("/") > 1:
            raise InputError(f"teacher.model {self.model}: is no model folder, it has no config.json")
        return None

    @cached_property
    def _commit(self) -> str:
        """The commit in the hub's cache, so that a run keeps its teacher; the newest one where nothing is cached."""
        from huggingface_hub import HfApi, try_to_load_from_cache

        try:
            cached = try_to_load_from_cache(self.model, "config.json")
            if isinstance(cached, str):
                return Path(cached).parent.name
            told = HfApi().model_info(self.model).sha
        except Exception as error:
            raise InputError(
                f"teacher.model {self.model}: is neither a folder nor in the hub's cache, and the hub does not have it "
                f"or does not answer ({shown(error)}); give a folder with config.json and *.safetensors"
            ) from error
        assert told is not None  # only listings leave it out
        return told


def load(weights: Weights, precision: Precision, device: Device) -> LoadedModel:
    """Load tokenizer and weights, from safetensors only; no code of the model's folder runs.

    Raises:
        InputError: it cannot be loaded, has no chat template, or the device is not there. One line.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("teacher.device: torch sees no CUDA device; install its CUDA build, or set device: cpu")
    where = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    folder = weights.fetch()
    known: Mapping[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **known)
        if not tokenizer.chat_template:
            raise InputError(f"teacher.model {weights.model}: has no chat template; use an instruct model, or add one")
        dtype = _dtype(precision, where)
        # An adapter is merged in float32 and rounded once: small steps of it would be lost otherwise.
        first = torch.float32 if weights.adapter else dtype
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=first, use_safetensors=True, **known)
        if weights.adapter:
            model = _with_adapter(model, weights.adapter).to(dtype)
        model = model.to(where).eval().requires_grad_(False)
    except InputError:
        raise
    except Exception as error:  # the loaders raise errors of many libraries; a full memory is among them
        raise InputError(f"teacher.model {weights.model}: cannot be loaded ({shown(error)})") from error
    _pack_head(model)
    told = model.generation_config.eos_token_id
    stops: set[Any] = {tokenizer.eos_token_id, *(told if isinstance(told, list) else [told])} - {None}
    if not stops:
        raise InputError(f"teacher.model {weights.model}: has no eos_token_id, so no reply would ever end")
    padding = min(stops) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return LoadedModel(model, tokenizer, frozenset(stops), padding, positions)


def adapter_files(adapter: str) -> tuple[Path, Path]:  # (configuration, weights)
    """Return the files of a LoRA adapter.

    Raises:
        InputError: the folder has not both of them.
    """
    folder = Path(adapter).expanduser()
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if not config.is_file() or not weights.is_file():
        raise InputError(
            f"teacher.adapter {adapter}: is no LoRA adapter; one has adapter_config.json and adapter_model.safetensors"
        )
    return config, weights


def _with_adapter(model: Any, adapter: str) -> Any:
    from peft import PeftModel

    config, _ = adapter_files(adapter)
    adapted: Any = PeftModel.from_pretrained(model, config.parent, use_safetensors=True)
    return adapted.merge_and_unload()


def _safetensors(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise InputError(f"{folder}: has no *.safetensors weights; other formats can run code and are not read")
    return found


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    read = hashlib.sha256(f"{size}".encode())
    with path.open("rb") as file:
        for slot in range(SLICES):
            file.seek(slot * max(0, size - SLICE) // (SLICES - 1))
            read.update(file.read(SLICE))
    return read.hexdigest()


def _dtype(precision: Precision, where: "torch.device") -> "torch.dtype":
    import torch

    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if where.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # versions of torch lack one or the other of these; a processor of another kind has neither
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        fast = any(bool(ask()) for name in names if (ask := getattr(torch.cpu, name, None)))
    return torch.bfloat16 if fast else torch.float32


def _pack_head(model: Any) -> None:
    """Have the head get rows that lie side by side: of others torch copies the whole head once for each row."""

    def pack(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0].contiguous(), *given[1:])

    model.get_output_embeddings().register_forward_pre_hook(pack)


def out_of_memory(error: Exception) -> bool:
    """Whether a GPU or the machine itself has no more memory; torch has no type of its own for the latter."""
    import torch

    words = str(error)
    lacking = "can't allocate memory" in words or "not enough memory" in words
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and lacking)


def give_memory_back() -> None:
    """Let go of what nothing holds any more, also to other programs on the same GPU."""
    gc.collect()
    torch = sys.modules.get("torch")  # where it was never imported there is nothing to give back
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def threads_set(count: int) -> Generator[None]:
    """Compute with this many CPU threads in the block; 0 leaves the number to torch."""
    import torch

    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count:
            torch.set_num_threads(before)
