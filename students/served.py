"""A student that answers through a vLLM server: its base's weights there, its latest adapter under a name of its own.

What is asked are the tokens that it is trained on, and what comes back are tokens; learning and scoring stay in this
process. Who starts the server, and when it must leave the memory to others, is told by the desk.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessons.errors import StudentError
from lessons.graders.base import Grader
from lessons.ids import seed_of
from lessons.records import Lesson, Message
from lessons.timing import counts_as
from students.adapters import AdapterNote
from students.answering import Asked, Counted, Job, read
from students.base import Answer, Generation, Learned, Progress, Training
from students.hf import HFStudent
from students.runtime import Precision
from students.serving import TRIES, Desk, Serving, ask
from students.tracking import Tracking

if TYPE_CHECKING:
    import aiohttp

_SEEDS = 1 << 63
"""vLLM's seeds are signed 64-bit numbers."""


class ServedStudent:
    """A student whose answers come from a server. Greedy ones equal those of `weights` in float32.

    In bfloat16 nearly equal tokens may change places, as they do in every engine. weights: the student in this process,
    which scores and learns. merge: whether an adapter is merged into weights of its own that are served, in the place
    of being loaded beside the base's. dtype: of merged weights; auto: the base's own. at_once: answers that are asked
    for at once. timeout: seconds for one.
    """

    def __init__(
        self,
        weights: HFStudent,
        desk: Desk,
        *,
        merge: bool = False,
        dtype: str = "auto",
        at_once: int = 256,
        timeout: float = 600.0,
    ) -> None:
        self.weights, self.desk = weights, desk
        self._merge, self._dtype, self._at_once, self._timeout = merge, dtype, at_once, timeout

    @property
    def name(self) -> str:
        """The base model's short name."""
        return self.weights.name

    @property
    def digest(self) -> str:
        """Content id of base and adapter."""
        return self.weights.digest

    def with_adapter(self, folder: Path) -> "ServedStudent":
        """Return the student that `learn` saved in this folder.

        Raises:
            StudentError: the folder is damaged, or was made from another base model.
        """
        return self._with(self.weights.with_adapter(folder))

    def close(self) -> None:
        """Give back what scoring has loaded in this process; the server is the desk's."""
        self.weights.close()

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
        """Answer chats, in the order given.

        A drawn answer depends on its prompt, the seed and its sample number, where the server takes seeds.

        Raises:
            StudentError: a prompt and its answer do not fit the model's positions, or the server cannot answer.
        """
        asked = Asked.of(self.weights.tokenizer, prompts, generation, samples)
        asked.check_room(self.name, self.weights.positions)
        if not asked.jobs:
            return asked.spread({})
        # Also where an event loop runs already, on this thread: its own would not let another one in.
        with ThreadPoolExecutor(max_workers=1) as pool:
            answers = pool.submit(asyncio.run, self._answers(asked, seed, asked.counted(progress))).result()
        return asked.spread(answers)

    def score(
        self, rows: Sequence[tuple[Sequence[Message], str]], *, progress: Progress | None = None
    ) -> list[list[float]]:  # [row][completion token]
        """Return the natural-log probability of each token of each completion, computed in this process.

        Raises:
            StudentError: the chat template does not fit, or a row does not fit the positions.
        """
        self.desk.make_room("scoring")
        return self.weights.score(rows, progress=progress)

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
    ) -> tuple["ServedStudent", Learned]:
        """Train on lessons and save the next student's weights, as the student in this process does.

        Raises:
            StudentError: the lessons would train silently wrong.
        """
        self.desk.make_room("training")
        taught, learned = self.weights.learn(
            lessons, into, training, seed=seed, progress=progress, tracking=tracking, grader=grader, keep=keep
        )
        return self._with(taught), learned

    @property
    def serving(self) -> Serving:
        """What is served so that this student answers.

        Never a model and its adapters on one server at once: a batch of both can answer with the wrong weights.
        """
        learned = self.weights.learned
        folder = getattr(self.weights.base, "folder", None)
        if learned is not None and (self._merge or learned[1].kind == "whole"):
            return Serving(model=self._made(self.digest), write=self._write(self.weights))
        if isinstance(folder, Path):
            return _beside(Serving(model=folder), learned)
        bare = HFStudent(self.weights.base)
        return _beside(Serving(model=self._made(bare.digest), write=self._write(bare)), learned)

    async def _answers(self, asked: Asked, seed: int, ended: Counted) -> dict[Job, Answer]:
        import aiohttp

        waiting, answers, serving = iter(asked.jobs), dict[Job, Answer](), self.serving
        limit = aiohttp.ClientTimeout(total=self._timeout)
        connector = aiohttp.TCPConnector(limit=self._at_once)

        async def take() -> None:
            for job in waiting:
                tokens = await self._one(session, serving, asked, job, seed)
                answers[job] = read(self.weights.tokenizer, tokens, self.weights.stops, asked.generation.stop)
                ended()

        async with aiohttp.ClientSession(timeout=limit, connector=connector) as session:
            takers = [asyncio.create_task(take()) for _ in range(min(self._at_once, len(asked.jobs)))]
            try:
                await asyncio.gather(*takers)
            finally:  # the first failure ends the others
                for taker in takers:
                    taker.cancel()
                await asyncio.gather(*takers, return_exceptions=True)
        return answers

    async def _one(
        self, session: "aiohttp.ClientSession", serving: Serving, asked: Asked, job: Job, seed: int
    ) -> list[int]:
        """Return the tokens of one answer, asking again where the server broke down under it."""
        failed = 0
        while True:
            address = await self.desk.up(serving)
            body = self._body(serving, asked, job, seed if address.seeds else None)
            reply = await ask(session, address, body)
            if isinstance(reply, list):
                return reply
            if await self.desk.fell(address.start):
                continue
            failed += 1
            if failed == TRIES:
                raise StudentError(f"{self.name}: its vLLM server gave no answer in {TRIES} tries: {reply}")

    def _body(self, serving: Serving, asked: Asked, job: Job, seed: int | None) -> dict[str, Any]:
        chat, sample = job
        how = asked.generation
        body: dict[str, Any] = {
            "model": serving.name,
            "prompt": list(chat),
            "max_tokens": how.max_tokens,
            "temperature": how.temperature,
            # Said, so that no settings of the model's own are taken for it.
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "stop_token_ids": sorted(self.weights.stops),
            "return_token_ids": True,
        }
        if how.stop:
            body |= {"stop": list(how.stop), "include_stop_str_in_output": True}
        if asked.drawn and seed is not None:
            body["seed"] = seed_of("answer", seed, chat, sample) % _SEEDS
        return body

    def _with(self, weights: HFStudent) -> "ServedStudent":
        return ServedStudent(
            weights, self.desk, merge=self._merge, dtype=self._dtype, at_once=self._at_once, timeout=self._timeout
        )

    def _made(self, digest: str) -> Path:
        return self.desk.folder / f"{digest}-{self._dtype}"

    def _write(self, student: HFStudent) -> Callable[[Path], None]:
        precisions: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16"}

        def write(folder: Path) -> None:
            from students.whole import save_whole

            save_whole(student, folder, precisions.get(self._dtype, "auto"))

        return write


def _beside(serving: Serving, learned: tuple[Path, AdapterNote] | None) -> Serving:
    """Return what serves an adapter beside the base's weights; the base alone where nothing was learned."""
    if learned is None:
        return serving
    folder, note = learned
    return Serving(model=serving.model, write=serving.write, rank=note.rank, adapter=folder.resolve())
