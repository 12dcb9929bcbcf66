"""A real HTTP server that speaks OpenAI's Batch API in front of any teacher, and misbehaves when told to."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

from teachers.base import Teacher
from teachers.loopback import Decide, Fault, LoopbackServer, Seen

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFault:
    """How one batch goes wrong. Lines are counted from 0, in the order of the file that was sent."""

    end: Literal["completed", "failed", "expired", "cancelled"] = "completed"
    """How it ends. What was answered until then comes back also from an expired and from a cancelled one."""
    message: str = "fault on demand"
    """With `failed`: what is wrong with the file."""
    polls: int = 0
    """Questions that are answered with in_progress before it ends."""
    lines: Mapping[int, Fault] = field(default_factory=dict[int, Fault])
    """Answers to single lines."""
    missing: frozenset[int] = frozenset()
    """Lines that are not answered; of an expired batch they are named in its file of errors."""
    malformed: frozenset[int] = frozenset()
    """Lines whose answer is cut in half."""
    twice: frozenset[int] = frozenset()
    """Lines whose answer comes twice."""
    shuffle: bool = True
    """Whether the answers come back in another order."""


@dataclass(slots=True, kw_only=True)
class FakeBatch:
    """One submitted batch."""

    id: str
    requests: Sequence[Mapping[str, Any]]
    """The lines of its file, decoded."""
    metadata: Any
    fault: BatchFault
    polls: int = 0
    """How often somebody asked how it stands."""
    status: str = "validating"
    files: dict[str, str] = field(default_factory=dict[str, str])
    """`output_file_id` and `error_file_id`, once it has ended."""
    looked_at: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while somebody asks how it stands: of two who ask at once, one has it answered, and once."""


class LoopbackBatchServer(LoopbackServer):
    """Serves /v1/files and /v1/batches beside what LoopbackServer serves; used and told to misbehave in the same way.

    A line is answered, and paid for, when its batch has ended.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        fault: Decide | None = None,
        batch_fault: Callable[[int], BatchFault | None] | None = None,
        after: Callable[[Seen], None] | None = None,
        model: str = "loopback",
    ) -> None:
        """Make a server; `async with` or `with` starts it.

        Args:
            teacher: answers the lines.
            fault: looks at an HTTP request and says how to misbehave; its path is without the query.
            batch_fault: looks at the index of a new batch and says how it goes wrong.
            after: called when a request has had its effect, before it is answered.
            model: the only model that it knows.
        """
        super().__init__(teacher, fault=fault, model=model)
        self.batch_fault = batch_fault
        self.after = after
        self.batches: list[FakeBatch] = []
        """Every batch so far, in the order in which they came."""
        self.paid: Counter[str] = Counter()
        """How often each custom_id was answered."""
        self._files: dict[str, bytes] = {}

    async def _answer(self, request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web

        if not request.path.startswith(("/v1/files", "/v1/batches")):
            return await super()._answer(request)
        body = await request.content.read()
        seen = self._seen(request.path, request.headers.get("Authorization", ""), body)
        self.requests.append(seen)
        fault = (self.fault(seen) if self.fault else None) or Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.cut and request.transport is not None:
            request.transport.abort()
            return web.Response()
        status, answer = fault.status, _error(fault.message, fault.code)
        if fault.raw is not None:
            answer = fault.raw
        elif not seen.authorized and status < 400:
            status, answer = 401, _error("incorrect API key", "invalid_api_key")
        elif status < 400:
            content_type = request.headers.get("Content-Type", "")
            status, answer = await self._served(request.method, seen, request.query_string, content_type, body)
        if self.after is not None:
            self.after(seen)
        return web.Response(body=answer, status=status, headers=fault.headers, content_type="application/json")

    async def _served(
        self, method: str, seen: Seen, query: str, content_type: str, body: bytes
    ) -> tuple[int, bytes]:  # (status, body)
        match method, seen.path.removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                return 200, self._uploaded(content_type, body)
            case "GET", ["files", name, "content"] if name in self._files:
                return 200, self._files[name]
            case "POST", ["batches"]:
                return self._submitted(seen.body)
            case "GET", ["batches"]:
                return 200, self._listed(query)
            case "GET", ["batches", name]:
                for batch in self.batches:
                    if batch.id == name:
                        async with batch.looked_at:
                            await self._polled(batch)
                        return 200, _json(_told(batch))
            case _:
                pass
        return 404, _error(f"no such object: {method} {seen.path}", None)

    def _uploaded(self, content_type: str, body: bytes) -> bytes:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }
        sent = parts.get("file")
        if parts.get("purpose") != b"batch" or not isinstance(sent, bytes):
            return _error("a file and the purpose batch must be given", None)
        name = f"file-{len(self._files)}"
        self._files[name] = sent
        return _json({"id": name, "object": "file", "bytes": len(sent), "purpose": "batch", "status": "processed"})

    def _submitted(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        file = self._files.get(str(body.get("input_file_id")))
        if file is None or body.get("endpoint") != "/v1/chat/completions" or body.get("completion_window") != "24h":
            return 400, _error("the batch names no file, another endpoint or another window", None)
        index = len(self.batches)
        batch = FakeBatch(
            id=f"batch_{index}",
            requests=[json.loads(line) for line in file.splitlines()],
            metadata=body.get("metadata"),
            fault=(self.batch_fault(index) if self.batch_fault else None) or BatchFault(),
        )
        self.batches.append(batch)
        return 200, _json(_told(batch))

    def _listed(self, query: str) -> bytes:
        asked = parse_qs(query)
        newest = self.batches[::-1]
        after = asked.get("after", [""])[0]
        start = next((place + 1 for place, batch in enumerate(newest) if batch.id == after), 0)
        page = newest[start : start + int(asked.get("limit", ["20"])[0])]
        more = start + len(page) < len(newest)
        return _json({"object": "list", "data": [_told(batch) for batch in page], "has_more": more})

    async def _polled(self, batch: FakeBatch) -> None:
        batch.polls += 1
        if batch.files or batch.status == "failed":
            return
        if batch.polls <= batch.fault.polls:
            batch.status = "in_progress"
            return
        batch.status = batch.fault.end
        ids = [request["custom_id"] for request in batch.requests]
        if len(set(ids)) < len(ids) or any(request["url"] != "/v1/chat/completions" for request in batch.requests):
            batch.status = "failed"
        if batch.status == "failed":
            return
        output: list[bytes] = []
        errors: list[bytes] = []
        for index, request in enumerate(batch.requests):
            status, line = await self._line(batch, index, request)
            if line:
                (output if status < 400 else errors).extend([line] * (1 + (index in batch.fault.twice)))
        if batch.fault.shuffle:
            random.Random(batch.id).shuffle(output)
        for kind, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                batch.files[kind] = f"file-{len(self._files)}"
                self._files[batch.files[kind]] = b"\n".join(lines) + b"\n"

    async def _line(
        self, batch: FakeBatch, index: int, request: Mapping[str, Any]
    ) -> tuple[int, bytes]:  # (status, line of a file)
        told: dict[str, Any] = {"id": f"batch_req_{index}", "custom_id": request["custom_id"], "error": None}
        if index in batch.fault.missing:
            if batch.fault.end != "expired":
                return 200, b""
            late = {"code": "batch_expired", "message": "This request could not be executed before it expired."}
            return 408, _json({**told, "response": None, "error": late})
        asked = Seen(path="/v1/chat/completions", body=request["body"], index=index, repeat=0, authorized=True)
        status, answer = await self._answered(asked, batch.fault.lines.get(index, Fault()))
        if status < 400:
            self.paid[request["custom_id"]] += 1
        line = _json({**told, "response": {"status_code": status, "request_id": f"{index}", "body": answer}})
        return status, line[: len(line) // 2] if index in batch.fault.malformed else line


def _told(batch: FakeBatch) -> dict[str, Any]:
    told: dict[str, Any] = {"id": batch.id, "object": "batch", "status": batch.status, "metadata": batch.metadata}
    if batch.status == "failed":
        told["errors"] = {"object": "list", "data": [{"code": "invalid", "message": batch.fault.message, "line": 1}]}
    return {**told, "output_file_id": None, "error_file_id": None, **batch.files}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _error(message: str, code: str | None) -> bytes:
    return _json({"error": {"message": message, "type": "loopback", "code": code, "param": None}})
