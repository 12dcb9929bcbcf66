"""A real HTTP server that speaks OpenAI's chat API in front of any teacher, and misbehaves when told to."""

import asyncio
import contextlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from lessons.errors import TeacherError
from lessons.ids import digest
from lessons.records import Message
from teachers.base import Reply, Sampling, Teacher

if TYPE_CHECKING:
    from aiohttp import web

_FINISH_REASONS = {"stop": "stop", "length": "length", "refused": "content_filter", "other": "abort"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request that reached the server. Keys are not kept."""

    path: str
    body: Mapping[str, Any]
    """The decoded JSON; empty where there was none."""
    index: int
    """Requests to this path before this one."""
    repeat: int
    """How often the same body had come to this path before: 0 the first time, more where a client tries again."""
    authorized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How the server misbehaves towards one request."""

    status: int = 200
    """With 400 or more, an error answer with `message` and `code`."""
    message: str = "fault on demand"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to the answer, such as {"Retry-After": "3"}."""
    delay: float = 0.0
    """Seconds before anything is answered; infinity never answers."""
    cut: bool = False
    """Break the connection off without an answer."""
    cut_body: bool = False
    """Break the connection off in the middle of the answer's body."""
    drip: float = 0.0
    """Seconds between the bytes of the answer's body."""
    raw: bytes | None = None
    """Send these bytes as the whole body, whatever they are."""
    text: str | None = None
    """Answer this text in place of the teacher's."""
    finish_reason: str | None = None
    """Say that the reply ended so."""


Decide = Callable[[Seen], Fault | None]
"""Looks at a request and says how to misbehave; None: not at all."""


class LoopbackServer:
    """Serves /v1/chat/completions and /v1/models on 127.0.0.1, a free port and a random key, until its block ends.

    `async with` serves on the running event loop; plain `with` serves on a thread of its own.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        fault: Decide | None = None,
        model: str = "loopback",
        features: Collection[str] = ("n", "json_schema"),
    ) -> None:
        self.teacher = teacher
        self.features = features
        """What it heeds of `n` (several choices, the later ones with seeds that follow the first's) and `json_schema`
        (passed on to the teacher; a schema that leaves only one reply gets it); it ignores the others, as many do."""
        self.fault = fault
        """May be replaced while the server runs."""
        self.model = model
        """The only model that it knows; another name is answered with 404."""
        self.key = f"loopback-{secrets.token_urlsafe(18)}"
        self.requests: list[Seen] = []
        """Every request so far, in the order in which they came."""
        self.port = 0
        self._bodies: Counter[str] = Counter()
        self._paths: Counter[str] = Counter()
        self._runner: web.ServerRunner | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None

    @property
    def base_url(self) -> str:
        """The address to give to a client, /v1 included."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        from aiohttp import web

        self._runner = web.ServerRunner(web.Server(self._answer, handler_cancellation=True), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def __enter__(self) -> Self:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="loopback", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    async def _serve(self, started: "Future[None]") -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            await self.__aenter__()
        except BaseException as error:  # noqa: BLE001 - it is raised where the server was asked for
            started.set_exception(error)
            return

        def stop() -> None:
            loop.call_soon_threadsafe(stopping.set)

        self._stop = stop
        started.set_result(None)
        await stopping.wait()
        await self.__aexit__()
        await self.teacher.aclose()

    async def _answer(self, request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web

        body = await request.content.read()  # not request.read(), which refuses more than a megabyte
        seen = self._seen(request.path, request.headers.get("Authorization", ""), body)
        self.requests.append(seen)
        fault = (self.fault(seen) if self.fault else None) or _NO_FAULT
        if fault.delay:
            await _wait(fault.delay)
        if fault.cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        status, text, headers = fault.status, fault.raw, fault.headers
        if text is None:
            status, answer = await self._answered(seen, fault)
            text = json.dumps(answer).encode()
            headers = {**headers, "Content-Type": "application/json"}
        if fault.cut_body or fault.drip:
            return await _send_badly(request, web.StreamResponse(status=status, headers=headers), text, fault)
        return web.Response(body=text, status=status, headers=headers)

    def _seen(self, path: str, authorization: str, body: bytes) -> Seen:
        fields: dict[str, Any] = {}
        with contextlib.suppress(ValueError, RecursionError):
            decoded = json.loads(body)
            fields = cast(dict[str, Any], decoded) if isinstance(decoded, dict) else {}
        content = f"{path} {digest(fields)}"
        seen = Seen(
            path=path,
            body=fields,
            index=self._paths[path],
            repeat=self._bodies[content],
            authorized=secrets.compare_digest(authorization.encode(), f"Bearer {self.key}".encode()),
        )
        self._bodies[content] += 1
        self._paths[path] += 1
        return seen

    async def _answered(self, seen: Seen, fault: Fault) -> tuple[int, dict[str, Any]]:  # (status, body)
        if fault.status >= 400:
            return fault.status, _error(fault.message, fault.code)
        if not seen.authorized:
            return 401, _error("incorrect API key", "invalid_api_key")
        if seen.path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]}
        if seen.path != "/v1/chat/completions":
            return 404, _error(f"no such path: {seen.path}", None)
        if seen.body.get("model") != self.model:
            return 404, _error(f"the model {seen.body.get('model')!r} does not exist", "model_not_found")
        try:
            replies = [Reply(text=fault.text)] if fault.text is not None else await self._replies(seen.body)
        except TeacherError as error:
            return error.status or 500, _error(str(error), None)
        except (KeyError, TypeError, ValueError) as error:
            return 400, _error(f"the request cannot be read: {error!r}", None)
        return 200, _completion(replies, self.model, fault.finish_reason)

    async def _replies(self, body: Mapping[str, Any]) -> list[Reply]:
        sampling = _sampling(body, held="json_schema" in self.features)
        only = _only_reply(sampling.json_schema)
        if only is not None:
            return [Reply(text=only)]
        count = int(body.get("n") or 1) if "n" in self.features else 1
        seeds = [None if sampling.seed is None else sampling.seed + sample for sample in range(count)]
        drawn = [msgspec.structs.replace(sampling, seed=seed) for seed in seeds]
        return list(await asyncio.gather(*(self.teacher.ask(_messages(body), one) for one in drawn)))


_NO_FAULT = Fault()


async def _wait(seconds: float) -> None:
    if seconds == float("inf"):
        await asyncio.Event().wait()
    await asyncio.sleep(seconds)


async def _send_badly(
    request: "web.BaseRequest", response: "web.StreamResponse", body: bytes, fault: Fault
) -> "web.StreamResponse":
    """Send half of the body and break off, or all of it byte by byte."""
    response.content_length = len(body)
    await response.prepare(request)
    if fault.cut_body:
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()  # what was written still leaves
    for place in range(0 if fault.cut_body else len(body)):
        await response.write(body[place : place + 1])
        await asyncio.sleep(fault.drip)
    return response


def _messages(body: Mapping[str, Any]) -> list[Message]:
    return [Message(role=turn["role"], content=str(turn["content"])) for turn in body["messages"]]


def _sampling(body: Mapping[str, Any], *, held: bool) -> Sampling:
    stop = body.get("stop") or ()
    form = body.get("response_format")
    schema = form["json_schema"]["schema"] if held and form and form.get("type") == "json_schema" else None
    return Sampling(
        max_tokens=int(body.get("max_tokens") or body.get("max_completion_tokens") or 1024),
        temperature=float(body.get("temperature", 1.0)),
        top_p=float(body.get("top_p", 1.0)),
        seed=body.get("seed"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        json_schema=None if schema is None else json.dumps(schema),
    )


def _only_reply(schema: str | None) -> str | None:
    """Return the reply that a schema leaves no choice about (an object of single words), or None."""
    properties = json.loads(schema).get("properties", {}) if schema else {}
    words = {name: member.get("enum") or [] for name, member in properties.items()}
    if not words or any(len(choice) != 1 for choice in words.values()):
        return None
    return json.dumps({name: choice[0] for name, choice in words.items()})


def _completion(replies: list[Reply], model: str, finish_reason: str | None) -> dict[str, Any]:
    """Return the answer's body; tokens that the replies tell are added up, except that the prompt is paid for once."""
    choices: list[dict[str, Any]] = []
    for index, reply in enumerate(replies):
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        ended = finish_reason or _FINISH_REASONS[reply.finish]
        choices.append({"index": index, "message": message, "finish_reason": ended})
    first = replies[0].usage
    usage: dict[str, Any] = {"prompt_tokens": first.prompt, "completion_tokens": _sum(replies, "completion")}
    usage["prompt_tokens_details"] = {"cached_tokens": first.cached_prompt}
    usage["completion_tokens_details"] = {"reasoning_tokens": _sum(replies, "reasoning")}
    return {"object": "chat.completion", "model": model, "choices": choices, "usage": usage}


def _sum(replies: list[Reply], kind: str) -> int | None:
    told = [getattr(reply.usage, kind) for reply in replies]
    return None if None in told else sum(told)


def _error(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "loopback", "code": code, "param": None}}
