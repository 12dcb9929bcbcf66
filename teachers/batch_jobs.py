"""OpenAI's Files and Batches API over HTTP: one method for each request that is made."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lessons.errors import TeacherError
from lessons.jsonl import UNREADABLE
from teachers.batch_results import decoded
from teachers.bounded import body_of
from teachers.retry import RetryPolicy
from teachers.secrets import Secrets
from teachers.wire import read_error, shown

if TYPE_CHECKING:
    from aiohttp import ClientSession

_PIECE = 1 << 20
"""Bytes that are held of a file on its way to the disk."""
_PAGE = 100
"""Batches in one page of the list: the most that OpenAI allows."""
_PAGES = 10
"""Pages of the list that are looked through for a batch; the newest come first."""


class _Problem(msgspec.Struct):
    message: str | None = None
    code: Any = None


class _Problems(msgspec.Struct):
    data: list[_Problem] | None = None


class Job(msgspec.Struct):
    """A batch, as the endpoint tells of it."""

    id: str
    status: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    metadata: Any = None
    errors: _Problems | None = None

    @property
    def problem(self) -> str:
        """The first thing that was wrong with its file, in the endpoint's words."""
        first = next(iter((self.errors and self.errors.data) or []), None)
        return shown(first.message or first.code or "no reason told") if first else "no reason told"


class _Page(msgspec.Struct):
    data: list[Job]
    has_more: bool = False


class _Id(msgspec.Struct):
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJobs:
    """The requests, each tried again as the policy says, with nothing kept open between them."""

    base_url: str
    secrets: Secrets = field(repr=False)
    timeout: float
    """Seconds for one try, from connecting to the last byte."""
    policy: RetryPolicy

    async def upload(self, path: Path) -> str:
        """Send a file of requests; return the endpoint's id of it. A file that is never used costs nothing.

        Raises:
            TeacherError: the endpoint did not take it.
        """

        async def attempt() -> str:
            from aiohttp import FormData

            with path.open("rb") as file:
                form = FormData()
                form.add_field("purpose", "batch")
                form.add_field("file", file, filename="batch.jsonl", content_type="application/jsonl")
                return self._read(await self._send("POST", "/files", data=form), _Id).id

        return await self.policy.run(attempt)

    async def submit(self, file: str, tag: str) -> Job:
        """Submit an uploaded file as a batch. From here on it costs money.

        A try whose answer was lost may have submitted it: before another one, the tag is looked for among the
        endpoint's batches.

        Raises:
            TeacherError: there is no such batch; where it is `retryable`, there may be one all the same.
        """
        body = {
            "input_file_id": file,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"tutelage": tag},
        }
        tried = False

        async def attempt() -> Job:
            nonlocal tried
            if tried and (job := await self._found(tag)) is not None:
                return job
            tried = True
            return self._read(await self._send("POST", "/batches", json=body), Job)

        return await self.policy.run(attempt)

    async def find(self, tag: str) -> Job | None:
        """Return the batch that was submitted under this tag, or None where there is none.

        Raises:
            TeacherError: the endpoint does not tell.
        """
        return await self.policy.run(lambda: self._found(tag))

    async def get(self, job: str) -> Job:
        """Ask how a batch stands.

        Raises:
            TeacherError: the endpoint does not tell.
        """

        async def attempt() -> Job:
            return self._read(await self._send("GET", f"/batches/{job}"), Job)

        return await self.policy.run(attempt)

    async def download(self, file: str, into: Path) -> None:
        """Write a file of the endpoint's to this path, whole.

        Raises:
            TeacherError: it cannot be had.
        """
        await self.policy.run(lambda: self._send("GET", f"/files/{file}/content", into=into))

    async def _found(self, tag: str) -> Job | None:
        after = ""
        for _ in range(_PAGES):
            page = self._read(await self._send("GET", f"/batches?limit={_PAGE}{after}"), _Page)
            for job in page.data:
                if isinstance(job.metadata, Mapping) and job.metadata.get("tutelage") == tag:
                    return job
            if not page.has_more or not page.data:
                break
            after = f"&after={page.data[-1].id}"
        return None

    def _read(self, body: bytes, kind: type[Any]) -> Any:
        try:
            return msgspec.json.decode(body, type=kind)
        except UNREADABLE:
            words = shown(body, self.secrets.hide)
        raise TeacherError(f"the endpoint's answer is not what its batch API says: {words}", retryable=True)

    async def _send(self, method: str, path: str, *, into: Path | None = None, **content: Any) -> bytes:
        """One request. The error is raised outside of the handlers, so that no cause with a secret hangs on it."""
        from aiohttp import ClientError, ClientSession, ClientTimeout

        headers = {**self.secrets.headers, "Accept-Encoding": "gzip, deflate"}
        if self.secrets.key:
            headers["Authorization"] = f"Bearer {self.secrets.key}"
        try:
            limit = ClientTimeout(total=self.timeout)
            async with ClientSession(headers=headers, timeout=limit, trust_env=True) as session:
                return await self._answer(session, method, path, into, content)
        except TeacherError as error:
            failure = error
        except (ClientError, OSError, asyncio.IncompleteReadError) as error:
            where = f"{method} {self.base_url}{path.partition('?')[0]}"
            failure = TeacherError(
                f"{where}: no answer, the connection failed ({type(error).__name__})", retryable=True
            )
        raise failure

    async def _answer(
        self, session: "ClientSession", method: str, path: str, into: Path | None, content: Mapping[str, Any]
    ) -> bytes:
        # A redirect is not followed: it would carry the user's headers to whatever host it names.
        async with session.request(method, f"{self.base_url}{path}", allow_redirects=False, **content) as response:
            if response.status >= 300:
                body = await body_of(response)
                raise read_error(response.status, decoded(body), response.headers, self.secrets.hide)
            if into is None:
                return await body_of(response)
            with into.open("wb") as file:
                async for piece in response.content.iter_chunked(_PIECE):
                    file.write(piece)
            return b""
