"""One batch from its making to its results, with each step recorded before and after it is taken."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from lessons.errors import TeacherError
from teachers.batch_jobs import BatchJobs, Job
from teachers.batch_results import Outcome, read_results
from teachers.batch_state import Batch, BatchState

DOUBT = 10.0
"""Seconds after which a batch that may have been submitted, and is not to be found, is looked for once more."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_OTHERS = 0.2
"""Seconds between looks at another process's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a desk works. Nothing of it changes what comes back."""

    most: int
    """Requests in a batch at most."""
    gather: float
    """Seconds without a new request after which a batch is submitted."""
    poll: float
    """Seconds between questions how a batch stands."""
    attempts: int
    """Batches at most that a request is put into; polls in a row at most that may fail."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Courier:
    """Takes batches to the endpoint and brings back what they hold, on one event loop."""

    def __init__(self, jobs: BatchJobs, state: BatchState, pace: Pace) -> None:
        self.state = state
        self.pace = pace
        self._jobs = jobs
        self._submitting = asyncio.Lock()

    async def submit(self, chunk: Mapping[str, bytes]) -> tuple[Batch | None, list[str]]:  # chunk: key -> line
        """Submit those requests that are in no batch yet; return the batch and their keys.

        Raises:
            TeacherError: the endpoint took no batch; fatal where it refused it. Where `retryable`, it may have taken
                it all the same, and is asked when somebody follows it.
        """
        async with self._alone():
            batch, keys = self.state.make(list(chunk))
            if batch is not None:
                await self._submit(batch, [chunk[key] for key in keys])
            return batch, keys

    async def follow(self, number: int) -> Mapping[str, Outcome]:
        """Wait for a batch's end and record what came back; return what is an error for good, by key.

        Raises:
            TeacherError: the batch was refused or cancelled, or the endpoint no longer tells of it.
        """
        batch = self.state.batch(number)
        if batch is not None and batch.step == "sending":
            batch = await self._recovered(batch)
        if batch is None or batch.step != "sent":
            return {}  # it was never submitted, or another process has brought its results
        return await self._collect(batch, await self._end_of(batch))

    async def _submit(self, batch: Batch, lines: list[bytes]) -> None:
        """Upload and submit, and record each step before and after, so that a kill in between is known later."""
        try:
            with TemporaryDirectory(prefix="tutelage-batch-") as folder:
                path = Path(folder, "batch.jsonl")
                await asyncio.to_thread(path.write_bytes, b"".join(lines))
                file = await self._jobs.upload(path)
            self.state.advance(batch.number, "sending")
            job = await self._jobs.submit(file, batch.tag)
        except TeacherError as error:
            if error.retryable:
                raise
            self.state.give_up(batch.number)
            failure = TeacherError(f"a batch was refused: {error}", status=error.status, fatal=True)
        else:
            self.state.advance(batch.number, "sent", job.id)
            return
        raise failure

    async def _recovered(self, batch: Batch) -> Batch | None:
        """Find a batch of which only the endpoint knows whether it was submitted; None where it was not."""
        async with self._alone():
            now = self.state.batch(batch.number)
            if now is None or now.step != "sending":  # another process was quicker
                return now
            job = await self._jobs.find(batch.tag)
            if job is None:  # it may be on its way into the list
                await self.pace.sleep(DOUBT)
                job = await self._jobs.find(batch.tag)
            if job is None:
                self.state.give_up(batch.number)
                return None
            self.state.advance(batch.number, "sent", job.id)
            return self.state.batch(batch.number)

    async def _end_of(self, batch: Batch) -> Job:
        failed = 0
        while True:
            try:
                job = await self._jobs.get(batch.id)
                if job.status == "completed" and not (job.output_file_id or job.error_file_id):
                    raise TeacherError("it is completed, and has no file", retryable=True)
            except TeacherError as error:
                failed += 1
                if not error.retryable or failed >= self.pace.attempts:
                    raise self._lost(batch, error) from None
            else:
                failed = 0
                if job.status in _ENDED:
                    return job
            await self.pace.sleep(self.pace.poll)

    async def _collect(self, batch: Batch, job: Job) -> dict[str, Outcome]:
        """Record what came back; return what is an error for good. What is in neither is to be asked again."""
        if job.status == "failed":
            self.state.give_up(batch.number)
            hint = "lower teacher.most" if "limit" in job.problem else "correct the teacher's settings"
            raise TeacherError(f"the endpoint refused batch {batch.id}: {job.problem}: {hint}", fatal=True)
        asked = self.state.requests(batch.number)
        found = await self._downloaded(batch, job, frozenset(asked))
        ended: dict[str, Outcome] = {}
        for key, tries in asked.items():
            error = found[key].error if key in found else TeacherError("it has no line", retryable=True)
            if error is None:
                continue
            if job.status == "cancelled":
                words = f"batch {batch.id} was cancelled at the endpoint: go on with the run to submit the rest again"
                error = TeacherError(words, fatal=True)
            elif error.retryable and tries < self.pace.attempts:
                continue
            elif error.retryable:  # not `retryable`: one request that never comes back is no sign of a dead endpoint
                error = TeacherError(f"no reply in {tries} batches: the last, {batch.id}, {job.status}: {error}")
            ended[key] = Outcome(b"", error)
        results = {key: outcome.body for key, outcome in found.items() if outcome.error is None}
        await asyncio.to_thread(self.state.finish, batch, results, ended)
        return ended

    async def _downloaded(self, batch: Batch, job: Job, asked: frozenset[str]) -> dict[str, Outcome]:
        async def attempt() -> dict[str, Outcome]:
            with TemporaryDirectory(prefix="tutelage-batch-") as folder:
                paths: list[Path] = []
                for file in filter(None, (job.output_file_id, job.error_file_id)):
                    paths.append(Path(folder, f"{len(paths)}.jsonl"))
                    await self._jobs.download(file, paths[-1])
                lines = chain.from_iterable(map(_lines, paths))
                found = await asyncio.to_thread(read_results, lines, asked, self._jobs.secrets.hide)
                if not found and any(path.stat().st_size for path in paths):
                    # A proxy's page, and not the file: taken for it, the whole batch would be paid for again.
                    raise TeacherError("not one line of its files is of this batch", retryable=True)
                return found

        try:
            return await self._jobs.policy.run(attempt)
        except TeacherError as error:
            failure = self._lost(batch, error)
        raise failure

    def _lost(self, batch: Batch, error: TeacherError) -> TeacherError:
        words = f"batch {batch.id}: {error}"
        if error.status == 404:
            words = (
                f"the endpoint does not know batch {batch.id}, which was submitted and is paid for: use the key of the "
                f"account that submitted it, or remove {self.state.path} to submit and pay again"
            )
        return TeacherError(words, status=error.status, retryable=error.retryable, fatal=not error.retryable)

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None, None]:
        """Let only one process at a time make, submit or recover a batch with this state."""
        async with self._submitting:
            lock = FileLock(f"{self.state.path}.lock", thread_local=False)
            while True:
                try:
                    lock.acquire(blocking=False)
                    break
                except Timeout:
                    await asyncio.sleep(_OTHERS)
            try:
                yield
            finally:
                lock.release()


def _lines(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        yield from file
