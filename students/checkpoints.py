"""A training's state on disk, so that one that was killed goes on and ends with the same weights.

TRL and transformers keep optimizer, schedule and random states as pickles, keep bfloat16 weights without the float32
copies that are trained, and know nothing of our losses and notes. So this is our own: tensors in safetensors, the rest
in JSON, each checkpoint a folder that is there whole or not. Which lessons come next is transformers' own doing: it
passes over the batches that were trained on.
"""

import hashlib
import random
import re
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from lessons.ids import ID_LENGTH, canonical
from lessons.jsonl import UNREADABLE, encode_line, sync_folder, write_whole
from lessons.records import Lesson
from students.base import Training
from students.files import file_sum, sync_files

NOTE, STATE, TRAINER = "checkpoint.json", "state.safetensors", "trainer_state.json"
_NAME = re.compile(r"checkpoint-\d{8}")
_DECIDING = ("torch", "transformers", "trl", "peft", "accelerate")
"""Packages of which another version may train otherwise."""


class CheckpointNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`checkpoint.json`: what a checkpoint is of, and what of it is no tensor."""

    format: int = 1
    training: str
    """Id of the training; see `training_id`."""
    step: int
    losses: tuple[float, ...]
    notes: dict[str, float]
    seconds: float
    """That the training had taken so far."""
    schedule: dict[str, Any]
    rates: tuple[dict[str, float], ...]
    """Of each group of weights."""
    files: dict[str, str]
    """Name -> SHA-256."""


class ProcessNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`process-N.json`: what each process has of its own."""

    sums: dict[str, float]
    drawn: int
    python: tuple[int, ...]
    python_gauss: float | None
    numpy: tuple[int, ...]
    numpy_place: int
    numpy_gauss: tuple[int, float]
    torch: bytes
    cuda: bytes | None


def training_id(lessons: Sequence[Lesson], training: Training, *, base: str, last: str | None, seed: int) -> str:
    """Return the id of a training: of all that decides on its weights.

    base: fingerprint of the model. last: content of what it goes on from. How many lessons go through the model at once
    is left out, since the loss does not depend on it: a training that ran out of memory goes on with fewer. How many
    processes train is not: each has a part of a checkpoint.
    """
    whole = hashlib.sha256()
    for lesson in lessons:
        whole.update(encode_line(lesson))
    deciding = [
        (name, getattr(training, name))
        for name in training.__struct_fields__
        if name in ("num_processes", "accelerate") or name not in ("objective", *Training.OPERATIONAL)
    ]
    objective = (f"{type(training.objective).__module__}:{type(training.objective).__qualname__}", training.objective)
    told = [deciding, repr(objective), base, last, seed, [version(name) for name in _DECIDING]]
    whole.update(canonical(msgspec.to_builtins(told)))
    return whole.hexdigest()[:ID_LENGTH]


class Keeper:
    """Keeps checkpoints of one training while it goes on, and finds the one to go on from.

    folder: of this training alone. training: its id. every: seconds between two of them; 0 keeps none, and finds those
    that are there.
    """

    def __init__(self, folder: Path, training: str, every: float) -> None:
        self.folder, self.training, self.every = folder, training, every
        self._last, self._before = time.monotonic(), 0.0
        self._begun = self._last

    @property
    def seconds(self) -> float:
        """Seconds that the training has taken, over every time that it was gone on with."""
        return self._before + time.monotonic() - self._begun

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint of this training; None where there is none."""
        for path in sorted(self.folder.glob("checkpoint-*"), reverse=True):
            note = read_note(path) if _NAME.fullmatch(path.name) else None
            if note is not None and note.training == self.training:
                self._before = note.seconds
                return path
        return None

    def forget(self) -> None:
        """Delete what is kept: the training is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def due(self) -> bool:
        """Whether it is time for another one."""
        return bool(self.every) and time.monotonic() - self._last >= self.every

    def save(self, trainer: Any) -> None:
        """Keep the state after a step; every process calls it at the same step. The one before it is deleted.

        A checkpoint is an insurance: where it cannot be written, the training goes on without, and that is noted.
        """
        first = trainer.args.process_index == 0
        step = int(trainer.state.global_step)
        path = self.folder / f"checkpoint-{step:08d}"
        work = self.folder / f".checkpoint-{step:08d}"
        try:
            if first:
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True)
        except OSError:
            pass  # what cannot be made now cannot be filled below either
        _wait(trainer)
        try:
            write_whole(work / f"process-{trainer.args.process_index}.json", msgspec.json.encode(_of_process(trainer)))
            _wait(trainer)
            if first:
                self._fill(trainer, step, work)
                shutil.rmtree(path, ignore_errors=True)
                work.replace(path)
                sync_folder(self.folder)
                for other in self.folder.glob("*checkpoint-*"):
                    if other != path:
                        shutil.rmtree(other, ignore_errors=True)
        except OSError:
            unwritten = "checkpoints that could not be written"
            trainer.bench.notes[unwritten] = trainer.bench.notes.get(unwritten, 0) + 1
            shutil.rmtree(work, ignore_errors=True)
        self._last = time.monotonic()

    def _fill(self, trainer: Any, step: int, work: Path) -> None:
        from safetensors.torch import save_file

        optimizer = trainer.bench.optimizer
        tensors: dict[str, Any] = {}
        for number, (_, copy) in enumerate(optimizer.pairs):
            tensors[f"weight.{number}"] = copy.detach().cpu().contiguous().clone()
            for name, value in optimizer.state.get(copy, {}).items():
                tensors[f"{name}.{number}"] = value.detach().cpu().contiguous().clone()
        save_file(tensors, work / STATE)
        trainer.state.save_to_json(str(work / TRAINER))
        note = CheckpointNote(
            training=self.training,
            step=step,
            losses=tuple(trainer.losses),
            notes=trainer.bench.notes,
            seconds=self.seconds,
            schedule=trainer.lr_scheduler.state_dict(),
            rates=tuple({name: group[name] for name in ("lr", "initial_lr")} for group in optimizer.param_groups),
            files={entry.name: file_sum(entry) for entry in work.iterdir()},
        )
        (work / NOTE).write_bytes(msgspec.json.encode(note))
        sync_files(sorted(work.iterdir()))


def read_note(path: Path) -> CheckpointNote | None:
    """Return what a checkpoint says of itself; None where it is damaged in any way."""
    try:
        note = msgspec.json.decode((path / NOTE).read_bytes(), type=CheckpointNote)
        whole = note.format == 1 and all(file_sum(path / name) == told for name, told in note.files.items())
    except (OSError, *UNREADABLE):
        return None
    return note if whole else None


def restore(trainer: Any, folder: str) -> None:
    """Give a trainer the weights, the optimizer's and the schedule's state and the losses of a checkpoint."""
    import torch
    from safetensors.torch import load_file

    note = msgspec.json.decode(Path(folder, NOTE).read_bytes(), type=CheckpointNote)
    own = _process_note(folder, trainer.args.process_index)
    bench, optimizer = trainer.bench, trainer.bench.optimizer
    held: dict[int, dict[str, Any]] = {}
    for name, tensor in load_file(Path(folder, STATE)).items():
        kind, _, number = name.rpartition(".")
        held.setdefault(int(number), {})[kind] = tensor
    with torch.no_grad():
        for number, (weight, copy) in enumerate(optimizer.pairs):
            kept = held[number]
            copy.copy_(kept.pop("weight"))
            if weight is not copy:
                weight.copy_(copy)
            if kept:  # the number of steps stays on the CPU, as AdamW has it
                optimizer.state[copy] = {
                    name: value if name == "step" else value.to(copy.device) for name, value in kept.items()
                }
    trainer.lr_scheduler.load_state_dict(dict(note.schedule))
    for group, rates in zip(optimizer.param_groups, note.rates, strict=True):
        group.update(rates)
    trainer.losses[:] = note.losses
    bench.notes.update(note.notes)
    bench.sums.update(own.sums)
    bench.drawn = own.drawn


def restore_random(folder: str, process: int) -> None:
    """Set all random states of this process as they were when a checkpoint was kept."""
    import numpy
    import torch

    own = _process_note(folder, process)
    random.setstate((3, own.python, own.python_gauss))
    key = numpy.array(own.numpy, dtype=numpy.uint32)
    numpy.random.set_state(("MT19937", key, own.numpy_place, *own.numpy_gauss))
    torch.set_rng_state(torch.frombuffer(bytearray(own.torch), dtype=torch.uint8))
    if own.cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.frombuffer(bytearray(own.cuda), dtype=torch.uint8))


def _of_process(trainer: Any) -> ProcessNote:
    import numpy
    import torch

    _, python, gauss = random.getstate()
    told: Any = numpy.random.get_state()
    return ProcessNote(
        sums=trainer.bench.sums,
        drawn=trainer.bench.drawn,
        python=python,
        python_gauss=gauss,
        numpy=tuple(int(one) for one in told[1]),
        numpy_place=int(told[2]),
        numpy_gauss=(int(told[3]), float(told[4])),
        torch=torch.get_rng_state().numpy().tobytes(),
        cuda=torch.cuda.get_rng_state().cpu().numpy().tobytes() if torch.cuda.is_initialized() else None,
    )


def _process_note(folder: str, process: int) -> ProcessNote:
    return msgspec.json.decode(Path(folder, f"process-{process}.json").read_bytes(), type=ProcessNote)


def _wait(trainer: Any) -> None:
    if trainer.args.world_size > 1:
        trainer.accelerator.wait_for_everyone()
