"""A small trained scorer: a base model with a head of one number, taught by pairs to score the better text higher."""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessons.errors import StudentError
from lessons.records import Message
from lessons.timing import counts_as
from students.adapters import LORA_CONFIG, LORA_WEIGHTS, AdapterNote, lora_settings, read_note, save_adapter
from students.base import Progress
from students.chats import Row, row_tokens
from students.decode import batches
from students.models import Base
from students.residents import gone, resident
from students.runtime import device, give_back, prepare, quiet, random_state_kept, threads_set
from students.weights import fill, lora_settings_of

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 8192
"""Positions in one batch of `score`, as in `HFStudent.score`."""
HEAD = "score"
"""What transformers calls the head of a model that scores."""

Text = tuple[Sequence[Message], str]
"""A chat and a completion."""
Pair = tuple[Sequence[Message], str, str]
"""A chat, the better completion and the worse one."""


class RewardModel:
    """One fixed scorer; learning returns the next one and leaves this one as it was. It computes in float32.

    base: where weights and tokenizer come from. folder: what `learn` has saved; None for a head that knows nothing,
    whose scores mean nothing either. threads: CPU threads; 0 leaves it to torch.
    """

    def __init__(self, base: Base, folder: Path | None = None, *, threads: int = 0) -> None:
        """Take a base model and what was learned.

        Raises:
            StudentError: the folder is damaged, or was made from another base model.
        """
        self.base = base
        self.threads = threads
        self.learned: tuple[Path, AdapterNote] | None = None
        if folder is not None:
            self.learned = folder, read_note(folder, base.fingerprint)
        self._model: Any = None

    @classmethod
    def open(cls, base_model: str, folder: Path | None = None, *, threads: int = 0) -> "RewardModel":
        """Return a scorer; base_model is named as a recipe names a student.

        Raises:
            InputError: there is no such model.
            StudentError: the folder is damaged, or was made from another base model.
        """
        from students.open import open_base

        return cls(open_base(base_model), folder, threads=threads)

    @property
    def folder(self) -> Path | None:
        """What it has learned; None before any pair."""
        return self.learned[0] if self.learned else None

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        prepare()
        return self.base.tokenizer()

    @counts_as("score")
    def score(self, rows: Sequence[Text], *, progress: Progress | None = None) -> list[float]:
        """Return a score for each completion, in order; higher is better, and only differences mean something.

        Raises:
            StudentError: the chat template does not fit, or a text is longer than the model's positions.
        """
        import torch

        tokens = [self._tokens(prompt, completion) for prompt, completion in rows]
        scores = [0.0] * len(tokens)
        done = 0
        with threads_set(self.threads), torch.inference_mode():
            model: Any = self._loaded() if tokens else None
            for places in batches([len(row) for row in tokens], 0, BATCH_TOKENS):
                inputs = _padded([tokens[place] for place in places], int(self.tokenizer.pad_token_id))
                told = model(**{name: value.to(model.device) for name, value in inputs.items()}).logits[:, 0].tolist()
                for place, score in zip(places, told, strict=True):
                    scores[place] = score
                done += len(places)
                if progress is not None:
                    progress(done, len(tokens))
        return scores

    @counts_as("learn")
    def learn(
        self,
        pairs: Sequence[Pair],
        into: Path,
        *,
        seed: int = 0,
        epochs: float = 1.0,
        learning_rate: float = 1e-4,
        batch_size: int = 8,
        rank: int = 16,
        progress: Progress | None = None,
    ) -> "RewardModel":
        """Go on from what it knows: train on pairs (TRL's RewardTrainer) and save into `into/adapter-<content id>`.

        The weights are a LoRA adapter and the head, in safetensors. One seed gives one folder, byte for byte. epochs:
        passes over the pairs. learning_rate: peak; 1e-4 is TRL's own default.

        Raises:
            StudentError: there are no pairs, a pair's two texts are one, or a text is longer than the positions.
        """
        if not pairs:
            raise StudentError("there are no pairs to learn from")
        for prompt, chosen, rejected in pairs:
            if chosen == rejected:
                asked = prompt[-1]["content"] if prompt else ""
                raise StudentError(f"a pair on {asked[:60]!r}: the better and the worse text are the same")
        rows = [
            {"chosen_ids": self._tokens(prompt, chosen), "rejected_ids": self._tokens(prompt, rejected)}
            for prompt, chosen, rejected in pairs
        ]
        self.close()
        with quiet(), random_state_kept(), threads_set(self.threads), tempfile.TemporaryDirectory() as work:
            model = self._trainable(rank, seed)
            _train(
                model, rows, self.tokenizer, work,
                seed=seed, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, progress=progress,
            )  # fmt: skip
            tensors, settings = _state(model)
        folder = save_adapter(
            into, tensors, settings | {"base_model_name_or_path": self.base.name},
            kind="lora", base=self.base.fingerprint, base_name=self.base.name, rank=int(settings["r"]),
        )  # fmt: skip
        give_back()
        return RewardModel(self.base, folder, threads=self.threads)

    def close(self) -> None:
        """Give back the memory of the loaded model; the next call loads it again."""
        self._model = None
        gone(self)
        give_back()

    def _tokens(self, prompt: Sequence[Message], completion: str) -> list[int]:
        stops = self.base.stop_ids() | {self.tokenizer.eos_token_id}
        row: Row = row_tokens(self.tokenizer, prompt, completion, stops)
        most = self.base.positions()
        if most is not None and len(row) > most:
            raise StudentError(f"{self.base.name} has {most} positions; a text of {len(row)} tokens does not fit")
        return [*row.prompt, *row.completion]

    def _loaded(self) -> Any:
        if self._model is None:
            prepare()
            with quiet(), random_state_kept():
                model = self._headed()
                if self.learned is not None:
                    model = self._with_learned(model, trains=False).merge_and_unload()
                self._model = model.eval().requires_grad_(False).to(device())
            resident(self)
        return self._model

    def _trainable(self, rank: int, seed: int) -> Any:
        from peft import LoraConfig, get_peft_model
        from transformers import set_seed

        set_seed(seed)
        model = self._headed()
        if self.learned is not None:
            return self._with_learned(model, trains=True).to(device())
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", modules_to_save=[HEAD], task_type="SEQ_CLS"
        )
        return get_peft_model(model, config).to(device())

    def _headed(self) -> Any:
        """Return the base model's body in float32 under a head of zeros, so that an untaught scorer says 0 of all."""
        import torch
        from transformers import AutoModelForSequenceClassification

        body = self.base.model(torch.float32)
        settings = body.config
        settings.num_labels = 1
        settings.pad_token_id = self.tokenizer.pad_token_id
        try:
            headed: Any = AutoModelForSequenceClassification.from_config(settings)
        except ValueError as error:
            raise StudentError(f"{self.base.name}: transformers has no scoring model of its kind") from error
        told = headed.load_state_dict(body.state_dict(), strict=False)
        lost = [name for name in told.missing_keys if not name.startswith(HEAD)]
        if lost:
            raise StudentError(f"{self.base.name}: its weights do not fit a scoring model: {lost[0]}")
        torch.nn.init.zeros_(getattr(headed, HEAD).weight)
        return headed.to(torch.float32)

    def _with_learned(self, model: Any, *, trains: bool) -> Any:
        from peft import LoraConfig, get_peft_model

        assert self.learned is not None
        settings = lora_settings_of(self.learned[0] / LORA_CONFIG)
        config = LoraConfig(
            r=settings.r,
            lora_alpha=int(settings.lora_alpha),
            target_modules=list(settings.target_modules),
            modules_to_save=[HEAD],
            task_type="SEQ_CLS",
            inference_mode=not trains,
        )
        adapted: Any = get_peft_model(model, config)
        told = fill(adapted, self.learned[0] / LORA_WEIGHTS)
        if told.unexpected_keys:
            raise StudentError(f"{self.learned[0]}: does not fit {self.base.name}: {told.unexpected_keys[0]}")
        return adapted


def _padded(rows: Sequence[Sequence[int]], padding: int) -> "dict[str, torch.Tensor]":
    """Return `input_ids` and `attention_mask`, padded on the right."""
    import torch

    width = max(map(len, rows))
    tokens = torch.full((len(rows), width), padding, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def _train(
    model: Any, rows: list[dict[str, list[int]]], tokenizer: Any, work: str, *, seed: int, epochs: float,
    learning_rate: float, batch_size: int, progress: Progress | None,
) -> None:  # fmt: skip
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    class StepEnd(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if progress is not None:
                progress(state.global_step, state.max_steps)

    on_cpu = device().type == "cpu"
    trainer = RewardTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=RewardConfig(
            output_dir=work,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            max_length=None,  # what is too long was refused; nothing is left out here
            seed=seed,
            data_seed=seed,
            use_cpu=on_cpu,
            bf16=False,
            activation_checkpointing=False,
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=not on_cpu,
        ),
        callbacks=[StepEnd()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _state(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from peft import get_peft_model_state_dict

    found: dict[str, Any] = get_peft_model_state_dict(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
    return tensors, lora_settings(model.peft_config["default"])
