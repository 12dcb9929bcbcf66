"""The student on transformers, PEFT and TRL: one fixed set of weights, on the CPU or the first GPU."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from lessons.errors import StudentError
from lessons.graders.base import Grader
from lessons.ids import content_id, seed_of
from lessons.records import Lesson, Message
from lessons.timing import counts_as, inside
from students.adapters import NOTE, AdapterNote, copy_folder, read_note
from students.answering import Asked, Job, check_room, read
from students.apart.parent import is_apart, learn_apart, work_folder
from students.base import Answer, Generation, Learned, Progress, Training
from students.chats import row_tokens, text_of, until
from students.checkpoints import Keeper, training_id
from students.decode import batches, decode
from students.learning import learn_here
from students.models import Base, with_weights
from students.objectives.base import Desk
from students.residents import gone, resident
from students.runtime import Precision, device, dtype_of, give_back, prepare, quiet, threads_set
from students.scoring import score_rows
from students.shortage import with_smaller
from students.tracking import Tracking

SCORE_TOKENS = 8192
"""Positions in one batch of `score`."""


class HFStudent:
    """A base model and perhaps an adapter. Models are loaded when they are first needed, one at a time.

    base: where weights and tokenizer come from. adapter: a folder that `learn` made. precision: of the weights while
    answering; scores are always computed in float32. threads: CPU threads for answering and scoring; 0 leaves it to
    torch.

    Greedy answers do not depend on the batch in float32. In bfloat16 two nearly equal tokens may change places with
    the batch's shape, as they do in every engine.
    """

    def __init__(
        self, base: Base, *, adapter: Path | None = None, precision: Precision = "auto", threads: int = 0
    ) -> None:
        """Take a base model and an adapter.

        Raises:
            StudentError: the adapter is damaged, or belongs to another model.
        """
        self.base = base
        self.precision: Precision = precision
        self.threads = threads
        self._adapter = None if adapter is None else (adapter, read_note(adapter, base.fingerprint))
        self._loaded: tuple[Any, Any] | None = None  # (dtype, model)

    @property
    def name(self) -> str:
        """The base model's short name."""
        return self.base.name

    @property
    def adapter(self) -> Path | None:
        """The folder of what it has learned; None before any lesson."""
        return self._adapter[0] if self._adapter else None

    @property
    def learned(self) -> tuple[Path, AdapterNote] | None:
        """What it has learned, as its folder and what that says of itself; None before any lesson."""
        return self._adapter

    @property
    def digest(self) -> str:
        """Content id of base and adapter."""
        learned = self._adapter[1].content if self._adapter else None
        return content_id("student", base=self.base.fingerprint, adapter=learned)

    def with_adapter(self, folder: Path) -> "HFStudent":
        """Return the student that `learn` saved in this folder.

        Raises:
            StudentError: the folder is damaged, or was made from another base model.
        """
        return HFStudent(self.base, adapter=folder, precision=self.precision, threads=self.threads)

    @counts_as("load")
    def close(self) -> None:
        """Give back the memory of the loaded model; the next call loads it again."""
        self._loaded = None
        gone(self)
        give_back()

    @counts_as("answer")
    def answer(
        self,
        prompts: Sequence[Sequence[Message]],
        generation: Generation,
        *,
        samples: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:  # [prompt][sample]
        """Answer chats, in the order given; longest prompts first inside.

        A drawn answer depends on its prompt, the seed and its sample number only. Greedy answers to one prompt are one
        answer, which is computed once.

        Raises:
            StudentError: a prompt and its answer do not fit the model's positions.
        """
        asked = Asked.of(self.tokenizer, prompts, generation, samples)
        asked.check_room(self.name, self.positions)
        work, ended = asked.jobs, asked.counted(progress)
        answers: dict[Job, Answer] = {}
        with threads_set(self.threads):
            model = self._model(dtype_of(self.precision, device()))
            sizes = [len(chat) for chat, _ in work]
            for batch in batches(sizes, generation.max_tokens, generation.batch_tokens):
                taken = [work[place] for place in batch]
                written = decode(
                    model,
                    [chat for chat, _ in taken],
                    stops=self.stops,
                    padding=self.tokenizer.pad_token_id,
                    max_tokens=generation.max_tokens,
                    temperature=generation.temperature,
                    seeds=[seed_of("answer", seed, chat, sample) for chat, sample in taken],
                    ended=ended,
                    is_over=self._is_over(generation.stop),
                )
                for job, tokens in zip(taken, written, strict=True):
                    answers[job] = read(self.tokenizer, tokens, self.stops, generation.stop)
        return asked.spread(answers)

    @counts_as("score")
    def score(
        self,
        rows: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Progress | None = None,
    ) -> list[list[float]]:  # [row][completion token]
        """Return the natural-log probability of each token of each completion, its end-of-turn token included.

        Raises:
            StudentError: the chat template does not fit (see `row_tokens`), or a row does not fit the positions.
        """
        import torch

        tokens = [row_tokens(self.tokenizer, prompt, completion, self.stops) for prompt, completion in rows]
        check_room(self.name, self.positions, [[*row.prompt, *row.completion] for row in tokens], 0)
        finished = 0

        def scored(count: int) -> None:
            nonlocal finished
            finished += count
            if progress is not None:
                progress(finished, len(tokens))

        with threads_set(self.threads):
            model = self._model(torch.float32)
            return score_rows(
                model, tokens, padding=self.tokenizer.pad_token_id, batch_tokens=SCORE_TOKENS, scored=scored
            )

    @counts_as("learn")
    def learn(
        self,
        lessons: Sequence[Lesson],
        into: Path,
        training: Training,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        tracking: Tracking | None = None,
        grader: Grader | None = None,
        keep: Path | None = None,
    ) -> tuple["HFStudent", Learned]:
        """Train on lessons and save the next student's weights in `into/adapter-<content id>`.

        One seed gives one adapter, byte for byte, on one machine with one number of threads; also where training is
        killed and goes on from a checkpoint in `keep`, here or in a process of its own.

        Raises:
            StudentError: the lessons would train silently wrong; see the objective's `check`, and `train`.
        """
        if not training.objective.trains:
            return self._as_it_is(lessons, into)
        if keep is None:
            training = msgspec.structs.replace(training, checkpoint_minutes=0.0)  # nobody would find them again
        own = training_id(
            lessons, training, base=self.base.fingerprint, last=self._adapter[1].content if self._adapter else None,
            seed=seed,
        )  # fmt: skip

        def once(how: Training) -> Learned:
            self.close()
            if is_apart(how, self.base):
                return learn_apart(
                    self.base, self.adapter, lessons, into, how,
                    seed=seed, progress=progress, tracking=tracking, grader=grader, keep=folder, training_id=own,
                )  # fmt: skip
            keeper = Keeper(folder / "checkpoints", own, 60 * how.checkpoint_minutes) if keep else None
            learned = learn_here(
                self.desk(how, grader), lessons, into, seed=seed, progress=progress, tracking=tracking, keeper=keeper
            )
            assert learned is not None
            return learned

        with work_folder(keep) as folder:
            learned = with_smaller(once, training)
        return self.with_adapter(into / learned.adapter), learned

    def desk(self, training: Training, grader: Grader | None = None) -> Desk:
        """Return what an objective may look at while this student is to be trained."""
        return Desk(
            base=self.base, tokenizer=self.tokenizer, stops=self.stops, positions=self.positions, training=training,
            last=self._adapter, grader=grader,
        )  # fmt: skip

    def _as_it_is(self, lessons: Sequence[Lesson], into: Path) -> tuple["HFStudent", Learned]:
        """Return this student as the next one; what it has learned is put into the folder, as if it was learned now."""
        name = ""
        if self._adapter is not None:
            name = self._adapter[0].name
            if not (into / name / NOTE).is_file():
                copy_folder(self._adapter[0], into / name)
        learned = Learned(
            lessons=len(lessons), steps=0, trained_tokens=0, loss_first=0.0, loss_last=0.0, seconds=0.0, adapter=name
        )
        return self.with_adapter(into / name) if name else self, learned

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        with inside("load"):
            prepare()
            return self.base.tokenizer()

    @cached_property
    def stops(self) -> frozenset[int]:
        """Ids of the tokens that end a turn."""
        return self.base.stop_ids() | {self.tokenizer.eos_token_id}

    @cached_property
    def positions(self) -> int | None:
        """Positions that the model has; None where it does not say."""
        return self.base.positions()

    def _model(self, dtype: Any) -> Any:
        if self._loaded is None or self._loaded[0] != dtype:
            prepare()
            self.close()
            with quiet(), inside("load"):
                self._loaded = dtype, with_weights(self.base, self._adapter, dtype).to(device())
            resident(self)
        return self._loaded[1]

    def _is_over(self, stop: Sequence[str]) -> Callable[[Sequence[int]], bool] | None:
        """Return what tells whether one of the texts that end an answer has just been written; None without any."""
        if not stop:
            return None
        width = max(len(text.encode()) for text in stop) + 4  # a token is a byte at least; a first character may be cut
        return lambda tokens: until(text_of(self.tokenizer, tokens[-width:], self.stops), stop)[1]

    def _check_room(self, chats: Sequence[Sequence[int]], more: int) -> None:
        longest = max((len(chat) for chat in chats), default=0)
        if self.positions is not None and longest + more > self.positions:
            raise StudentError(
                f"{self.name} has {self.positions} positions; a text of {longest} tokens"
                + (f" and max_tokens {more} do not fit: lower generation.max_tokens" if more else " does not fit")
            )
