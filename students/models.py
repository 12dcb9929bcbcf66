"""Base models: where weights and tokenizer come from, and the same weights with an adapter on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from lessons.errors import InputError, StudentError
from lessons.jsonl import UNREADABLE
from students.adapters import LORA_CONFIG, LORA_WEIGHTS, WHOLE_WEIGHTS, AdapterNote
from students.files import model_fingerprint, weight_files
from students.weights import fill, lora_settings_of, tensors_of

if TYPE_CHECKING:
    import torch


class Base(Protocol):
    """A model before any lesson."""

    @property
    def name(self) -> str:
        """For people: short."""
        ...

    @property
    def fingerprint(self) -> str:
        """Content id of weights, configuration, tokenizer and chat template."""
        ...

    def tokenizer(self, *, chat: bool = True) -> Any:
        """Return the tokenizer, with a token that ends a turn, one for padding, and (`chat`) a chat template."""
        ...

    def stop_ids(self) -> frozenset[int]:
        """Return the ids that the model's own generation settings stop at, beside the tokenizer's."""
        ...

    def positions(self) -> int | None:
        """Return how many positions the model has; None where it does not say."""
        ...

    def model(self, dtype: "torch.dtype", attention: str | None = None) -> Any:
        """Return a fresh causal language model on the CPU. attention: None leaves its kind to transformers."""
        ...


class FolderBase:
    """A model folder with safetensors weights."""

    def __init__(self, folder: Path, name: str = "") -> None:
        """Take a folder as a model.

        Raises:
            InputError: the folder has no configuration, or no weights in safetensors.
        """
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: is no model folder, it has no config.json")
        if not weight_files(folder):
            raise InputError(f"{folder}: has no *.safetensors weights; other formats can run code and are not read")
        self.folder = folder
        self.name = name or folder.resolve().name
        self.fingerprint = model_fingerprint(folder)

    def tokenizer(self, *, chat: bool = True) -> Any:
        """Load the tokenizer.

        Raises:
            StudentError: it has no chat template though one is asked for, or no token that ends a turn.
        """
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False, local_files_only=True)
        if chat and not tokenizer.chat_template:
            raise StudentError(f"{self.folder}: its tokenizer has no chat template; use an instruct model, or add one")
        if tokenizer.eos_token_id is None:
            raise StudentError(f"{self.folder}: its tokenizer has no eos_token, so no answer would ever end")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def stop_ids(self) -> frozenset[int]:
        """Read the ids that `generation_config.json` stops at."""
        path = self.folder / "generation_config.json"
        told = self._json(path).get("eos_token_id") if path.is_file() else None
        several = cast("list[object]", told) if isinstance(told, list) else [told]
        return frozenset(token for token in several if isinstance(token, int))

    def positions(self) -> int | None:
        """Read how many positions the model has; in models with several parts, the text part's."""
        settings = self._json(self.folder / "config.json")
        part = settings.get("text_config", settings)
        told = part.get("max_position_embeddings") if isinstance(part, dict) else None
        return told if isinstance(told, int) else None

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, *UNREADABLE) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error

    def model(self, dtype: "torch.dtype", attention: str | None = None) -> Any:
        """Load the weights."""
        return load_folder(self.folder, dtype, attention)


def load_folder(folder: Path, dtype: "torch.dtype", attention: str | None = None) -> Any:
    """Return the causal language model of a folder, from safetensors only; no code of the folder runs."""
    from transformers import AutoModelForCausalLM

    more: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False, use_safetensors=True, local_files_only=True, **more
        )
    except (OSError, ValueError) as error:
        raise StudentError(f"{folder}: the model cannot be loaded ({str(error).splitlines()[0]})") from error


def with_weights(base: Base, adapter: tuple[Path, AdapterNote] | None, dtype: "torch.dtype") -> Any:
    """Return the model that answers and scores: adapter merged, no gradients, in this dtype.

    An adapter is merged in float32 and rounded once: merged in bfloat16, what it learned in small steps would be lost.
    """
    import torch

    if adapter is None:
        model = base.model(dtype)
    elif adapter[1].kind == "whole":
        model = whole_model(base, adapter[0], dtype)
    else:
        model = peft_model(base.model(torch.float32), adapter[0]).merge_and_unload().to(dtype)
    return model.eval().requires_grad_(False)


def whole_model(base: Base, folder: Path, dtype: "torch.dtype", attention: str | None = None) -> Any:
    """Return the base model with all of its weights replaced by those of a folder.

    Raises:
        StudentError: the folder's weights do not fit the model.
    """
    model = base.model(dtype, attention)
    try:
        told: Any = model.load_state_dict(tensors_of(folder / WHOLE_WEIGHTS), strict=False)
    except RuntimeError as error:  # other shapes
        raise StudentError(f"{folder}: its weights do not fit {base.name}: {str(error).splitlines()[-1]}") from error
    missing = [name for name in told.missing_keys if name not in (getattr(model, "_tied_weights_keys", None) or ())]
    if missing or told.unexpected_keys:
        raise StudentError(f"{folder}: its weights do not fit {base.name}: {(missing or told.unexpected_keys)[0]}")
    return model


def peft_model(model: Any, folder: Path, *, dropout: float | None = None) -> Any:
    """Return a model with the LoRA adapter of a folder on it, in the model's own dtype.

    dropout: of the adapter while it is trained further; None where it is not.

    Raises:
        StudentError: the adapter's weights do not fit the model.
    """
    from peft import LoraConfig, get_peft_model

    settings = lora_settings_of(folder / LORA_CONFIG)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=int(settings.lora_alpha),
        lora_dropout=dropout or 0.0,
        target_modules=list(settings.target_modules),
        task_type="CAUSAL_LM",
        inference_mode=dropout is None,
    )
    try:
        adapted: Any = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:  # the model has no such modules
        raise StudentError(f"{folder}: the adapter does not fit the model: {str(error).splitlines()[0]}") from error
    told = fill(adapted, folder / LORA_WEIGHTS)
    lost = [name for name in told.missing_keys if "lora_" in name] or list(told.unexpected_keys)
    if lost:
        raise StudentError(f"{folder}: the adapter does not fit the model: {lost[0]}")
    return adapted
