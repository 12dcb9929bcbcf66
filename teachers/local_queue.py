"""Calls of a local model, gathered into batches and worked off in one thread, so that event loops go on meanwhile."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers import local_model
from teachers.base import Sampling, TokenScore
from teachers.local_model import LoadedModel, Written
from teachers.local_weights import give_memory_back, out_of_memory, threads_set
from teachers.wire import shown


@dataclass(eq=False, kw_only=True)
class AskCall:
    """A chat to answer."""

    messages: Sequence[Message]
    sampling: Sampling
    seed: int
    result: "Future[Written]" = field(default_factory=Future)
    dropped: bool = False
    """Whether nobody waits for it any more."""
    prompt: list[int] = field(default_factory=list[int])

    @property
    def kind(self) -> object:
        """What calls of one batch have in common: all of the sampling but the seed."""
        one = self.sampling
        return one.max_tokens, one.temperature, one.top_p, one.stop

    @property
    def length(self) -> int:
        """Tokens; neighbours in length go together, so that padding is least."""
        return len(self.prompt)

    def encode(self, loaded: LoadedModel, most: int) -> None:
        """Render the chat; refuse what does not fit."""
        self.prompt = loaded.prompt(self.messages)
        _check(len(self.prompt), self.sampling.max_tokens, "max_tokens", loaded, most)


@dataclass(eq=False, kw_only=True)
class ScoreCall:
    """A text to score."""

    messages: Sequence[Message]
    completion: str
    top: int
    result: "Future[list[TokenScore]]" = field(default_factory=Future)
    dropped: bool = False
    prompt: list[int] = field(default_factory=list[int])
    tokens: list[int] = field(default_factory=list[int])

    @property
    def kind(self) -> object:
        """What calls of one batch have in common."""
        return self.top

    @property
    def length(self) -> int:
        """Tokens of all; neighbours in length go together."""
        return len(self.prompt) + len(self.tokens)

    def encode(self, loaded: LoadedModel, most: int) -> None:
        """Render the chat, and encode the completion by itself; refuse what does not fit."""
        self.prompt, self.tokens = loaded.prompt(self.messages), loaded.tokens(self.completion)
        _check(len(self.prompt), len(self.tokens), "the completion's tokens", loaded, most)


LocalCall = AskCall | ScoreCall


def _check(prompt: int, rest: int, what: str, loaded: LoadedModel, most: int) -> None:
    if most and prompt > most:
        raise TeacherError(f"the prompt has {prompt} tokens, and teacher.max_input_tokens allows {most}: shorten it")
    if loaded.positions is not None and prompt + rest > loaded.positions:
        raise TeacherError(
            f"the prompt's {prompt} tokens and {what} {rest} are more than the model's {loaded.positions} positions: "
            "shorten the prompt, or ask for fewer"
        )


class BatchQueue:
    """Takes calls from any thread and event loop; loads the model at the first of them."""

    def __init__(
        self, load: Callable[[], LoadedModel], *, batch: int, gather: float, threads: int, max_input_tokens: int
    ) -> None:
        self._load, self._batch, self._gather = load, batch, gather
        self._threads, self._most = threads, max_input_tokens
        self._changed = threading.Condition()
        self._waiting: list[LocalCall] = []
        self._busy = False
        self._resting = False
        self._worker: ThreadPoolExecutor | None = None
        self._loaded: LoadedModel | None = None

    def put(self, call: LocalCall) -> None:
        """Take a call; its `result` comes when its batch is done."""
        with self._changed:
            self._waiting.append(call)
            self._changed.notify()
            self._resting = False
            if not self._busy:
                self._busy = True
                # An executor's threads are waited for when the program ends: torch must not be cut off in the middle.
                self._worker = self._worker or ThreadPoolExecutor(1, thread_name_prefix="local-teacher")
                self._worker.submit(self._work)

    def rest(self) -> None:
        """End the thread once nothing is under way; the next call starts another."""
        with self._changed:
            self._resting = True
            if not self._busy:
                self._idle()

    def close(self) -> None:
        """Wait for what is under way, end the thread and free the weights; the next call loads them again."""
        with self._changed:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=True)
        self._loaded = None
        give_memory_back()

    def _idle(self) -> None:
        """Note that nothing is under way. Called with the lock held."""
        self._busy = False
        if self._resting and self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None

    def _work(self) -> None:
        try:
            if self._loaded is None:
                self._loaded = self._load()
            while calls := self._next(self._loaded):
                self._run(self._loaded, calls)
        except Exception as error:  # noqa: BLE001 - each waiting call gets it; the thread has nobody else to tell
            with self._changed:
                calls, self._waiting = self._waiting, []
                self._idle()
            told = str(error) if isinstance(error, InputError) else f"the local model: {_words(error)}"
            _fail(calls, TeacherError(told, fatal=True))

    def _next(self, loaded: LoadedModel) -> list[LocalCall]:
        """Take the oldest call, and of its kind those nearest to it in length; [] where none is left."""
        while True:
            with self._changed:
                self._waiting = [call for call in self._waiting if not call.result.done()]
                if not self._waiting:
                    self._idle()
                    return []
                self._changed.wait_for(lambda: len(self._waiting) >= self._batch, self._gather)
                fresh = [call for call in self._waiting if not call.prompt]
            for call in fresh:
                _encode(call, loaded, self._most)
            with self._changed:
                ready = [call for call in self._waiting if call.prompt and not call.result.done()]
                taken = _neighbours(ready, self._batch)
                self._waiting = [call for call in self._waiting if call not in taken]
            if running := [call for call in taken if call.result.set_running_or_notify_cancel()]:
                return running

    def _run(self, loaded: LoadedModel, calls: list[LocalCall]) -> None:
        """Compute a batch; where it does not fit into memory, its halves. What goes wrong is its own calls' alone."""
        try:
            with threads_set(self._threads):
                _compute(loaded, calls)
            return
        except Exception as error:  # noqa: BLE001 - it is told to those who wait
            # Its frames hold the batch's memory, so what must be done is done outside of this handler.
            short, words = out_of_memory(error), _words(error)
        if not short:
            _fail(calls, TeacherError(f"the local model: {words}", fatal="CUDA error" in words))
            return
        give_memory_back()
        if len(calls) > 1:
            middle = len(calls) // 2
            self._run(loaded, calls[:middle])
            self._run(loaded, calls[middle:])
            return
        told = f"a call of {calls[0].length} tokens does not fit into memory, alone in its batch ({words})"
        _fail(calls, TeacherError(f"{told}: set teacher.max_input_tokens, lower max_tokens, or use a smaller model"))


def _neighbours(ready: Sequence[LocalCall], most: int) -> list[LocalCall]:
    """Return the oldest call and those of its kind next to it in length, longest first."""
    if not ready:
        return []
    oldest = ready[0]
    alike = [call for call in ready if type(call) is type(oldest) and call.kind == oldest.kind]
    alike.sort(key=lambda call: -call.length)
    first = max(0, min(alike.index(oldest) - most // 2, len(alike) - most))
    return alike[first : first + most]


def _encode(call: LocalCall, loaded: LoadedModel, most: int) -> None:
    try:
        call.encode(loaded, most)
        if not call.prompt:
            raise TeacherError("the chat template makes no tokens of this chat")
    except Exception as error:  # noqa: BLE001 - it is this call's, and the others go on
        told = error if isinstance(error, TeacherError) else TeacherError(f"cannot be encoded: {_words(error)}")
        _fail([call], told)


def _compute(loaded: LoadedModel, calls: Sequence[LocalCall]) -> None:
    asks = [call for call in calls if isinstance(call, AskCall)]
    if asks:
        sampling, seeds = asks[0].sampling, [call.seed for call in asks]
        prompts = [call.prompt for call in asks]
        written = local_model.generate(loaded, prompts, sampling, seeds, lambda row: asks[row].dropped)
        for call, one in zip(asks, written, strict=True):
            call.result.set_result(one)
    scores = [call for call in calls if isinstance(call, ScoreCall)]
    if scores:
        found = local_model.score(loaded, [(call.prompt, call.tokens) for call in scores], scores[0].top)
        for call, row in zip(scores, found, strict=True):
            call.result.set_result(row)


def _fail(calls: Sequence[LocalCall], error: TeacherError) -> None:
    for call in calls:
        if call.result.running() or call.result.set_running_or_notify_cancel():
            call.result.set_exception(error)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {shown(error)}"
