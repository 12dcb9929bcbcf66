"""Readers of what comes over HTTP or from another process: completions, errors, headers, batches, scores, logs."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fuzzing.reader import Kind, Reader, Seed
from lessons.errors import TeacherError
from lessons.records import Message
from lessons.sandbox.values import BadValueError, decode, loads
from loops.watching.holders import held
from teachers import batch_jobs, batch_results, capabilities, rate_headers, retry, vllm_log, vllm_scores, wire
from teachers.base import Sampling
from teachers.loopback import Fault, LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.rule_tutor import RuleTutor
from teachers.secrets import check_headers, check_no_key, without_keys

COMPLETION = json.dumps({
    "id": "x", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "<think>7</think>Answer: 15",
         "reasoning_content": "add", "refusal": None}, "logprobs": None},
        {"index": 1, "finish_reason": "length", "message": {"content": [{"type": "text", "text": "It is"}]}},
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 24,
              "completion_tokens_details": {"reasoning_tokens": 3}, "prompt_tokens_details": {"cached_tokens": 4}},
}).encode()  # fmt: skip
ERRORS = tuple(json.dumps(error).encode() for error in (
    {"error": {"message": "maximum context length is 10", "type": "invalid_request_error", "code": "x", "param": "n"}},
    [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota. Please retry in 3s.", "details": [
        {"@type": "t", "violations": [{"quotaId": "GenerateRequestsPerDay"}]}, {"retryDelay": "3.5s"}]}}],
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded", "details": {"error_code": "x"}}},
    {"object": "error", "message": "no", "code": 404}, {"error": "words"}, {"detail": [{"msg": "m", "input": {}}]},
))  # fmt: skip
HEADERS = (
    b"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s\nretry-after-ms: 250",
    b"anthropic-ratelimit-tokens-remaining: 0\nanthropic-ratelimit-tokens-reset: 2026-11-01T12:00:00Z\nretry-after: 3",
    b"ratelimit-remaining: 0\nratelimit-reset: 1.5\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT",
)
BATCH = b"\n".join(json.dumps(line).encode() for line in (
    {"id": "1", "custom_id": "a", "response": {"status_code": 200, "body": json.loads(COMPLETION)}, "error": None},
    {"custom_id": "b", "response": {"status_code": 429, "body": json.loads(ERRORS[0])}},
    {"custom_id": "c", "response": None, "error": {"code": "batch_expired", "message": "too late"}},
))  # fmt: skip
JOBS = json.dumps({"data": [{"id": "b", "status": "failed", "metadata": {"tutelage": "t"}, "output_file_id": "f",
    "errors": {"data": [{"message": "m", "code": 3}]}}], "has_more": False}).encode()  # fmt: skip
SCORES = json.dumps({"choices": [{"prompt_logprobs": [None, {"5": {"logprob": -0.1, "decoded_token": "a", "rank": 1},
    "7": {"logprob": -3, "decoded_token": ""}}, {"9": {"logprob": 0}}]}]}).encode()  # fmt: skip
LOG = (
    b"(EngineCore_0 pid=7) ERROR 11-21 ValueError: Free memory on device (1/80 GiB) is less than desired GPU memory "
    b'utilization\n\x1b[31mRuntimeError: Engine core initialization failed\x1b[0m\nINFO:  127.0.0.1:1 - "GET /health\n'
    b"device_config=cpu\nvllm serve: error: unrecognized arguments: --x\r50%\r100%\nOSError: [Errno 98] in use\n"
)
LOCKS = b"1: FLOCK  ADVISORY  WRITE 1234 fe:00:2507316 0 EOF\n2: -> POSIX  ADVISORY  READ 7 00:1:3 0 EOF\n"
VALUE = json.dumps(
    [
        "dict",
        "a",
        [
            "list",
            1,
            ["fraction", "0x1", "0x3"],
            ["datetime", "2026-11-01T00:00:00"],
            ["decimal", "1.5"],
            ["range", "0x0", "0x9", "0x1"],
            ["set", ["tuple", ["bytes", "00ff"]]],
        ],
    ]
).encode()


def readers() -> Iterator[Reader]:
    """Yield every reader of what comes over HTTP or from another process."""
    yield _of("completion", wire.read_completion, "json", COMPLETION, refuses=TeacherError)
    yield _of("completions", wire.read_completions, "json", COMPLETION, refuses=TeacherError)
    yield _of("thoughts", lambda data: wire.split_thoughts(_text(data)), "text", b"<think>a</think>b", b"a</think>b")
    yield _of("error answer", _error, "json", *ERRORS)
    yield _of("rate headers", lambda data: rate_headers.quota_wait(_headers(data)), "text", *HEADERS)
    yield _of("retry headers", lambda data: retry.retry_after_seconds(_headers(data)), "text", *HEADERS)
    yield _of("batch results", _batch, "jsonl", BATCH)
    yield _of("batch jobs", _jobs, "json", JOBS, refuses=TeacherError)
    yield _of("list of models", capabilities.read_models, "json", b'{"object": "list", "data": [{"id": "m"}]}')
    yield _of("abilities", _abilities, "json", COMPLETION, b'{"choices": [{"message": {"content": "{}"}}]}')
    yield _of("scores", _scores, "json", SCORES, refuses=TeacherError)
    yield _of("vLLM's log", _log, "text", LOG)
    yield _of("list of locks", _locks, "text", LOCKS)
    yield _of("value from the sandbox", _value, "json", VALUE, refuses=BadValueError)
    yield _of("keys in text", lambda data: without_keys(_text(data)), "text", b"sk-abc123def456ghi789 Bearer abcdefgh1")
    yield _of("keys in knobs", _knobs, "json", b'{"headers": {"X-A": "b"}, "extra_body": {"metadata": ["c"]}}')
    yield _endpoint()


def _of(
    name: str, read: Callable[[bytes], object], kind: Kind, *seeds: bytes, refuses: type[Exception] | None = None
) -> Reader:
    refused = () if refuses is None else (refuses,)
    return Reader(name=name, read=read, seeds=tuple(Seed(seed, kind) for seed in seeds), refuses=refused)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _headers(data: bytes) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in data.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _error(data: bytes) -> object:
    body = batch_results.decoded(data)
    for status in (None, 302, 400, 401, 404, 429, 500, 503):
        said = wire.read_error(status, body, {"retry-after": "1"})
        assert isinstance(said, TeacherError)
        assert "\n" not in str(said)
        assert "\x1b" not in str(said)
    return None


def _batch(data: bytes) -> object:
    return batch_results.read_results(data.split(b"\n"), frozenset("abc"), str)


def _jobs(data: bytes) -> object:
    from teachers.secrets import Secrets

    jobs = batch_jobs.BatchJobs(
        base_url="http://127.0.0.1:1", secrets=Secrets.read("", {}), timeout=1.0, policy=retry.RetryPolicy(attempts=1)
    )
    page = jobs._read(data, batch_jobs._Page)
    return [job.problem for job in page.data]


def _abilities(data: bytes) -> object:
    class Endpoint:
        model, base_url, token_parameter, extra_body, name = "m", "http://127.0.0.1:1", "max_tokens", {}, "m"

        async def models(self) -> list[str] | None:
            return capabilities.read_models(data)

        async def post(self, body: Mapping[str, Any]) -> bytes:
            return data

    return _loop().run_until_complete(capabilities.probe(Endpoint()))


def _scores(data: bytes) -> object:
    completion = vllm_scores._decoded(data, vllm_scores._Completion, "http://127.0.0.1:1", str)
    told = completion.choices[0].prompt_logprobs if completion.choices else None
    return vllm_scores._scores([5, 9], told[1:3], 2) if told is not None and len(told) == 3 else None


def _log(data: bytes) -> object:
    path = _folder() / "vllm.log"
    path.write_bytes(data)
    said = vllm_log.last_lines(path, str)
    assert "\x1b" not in said
    return said, vllm_log.cause(path), vllm_log.last_error(path, str), vllm_log.is_cpu_build(path)


def _locks(data: bytes) -> object:
    run = _folder()
    (run / ".lock").touch()
    (run / "locks").write_bytes(data)
    return held(run, run / "locks")


def _value(data: bytes) -> object:
    return decode(loads(data), lambda rest: None)


def _knobs(data: bytes) -> object:
    from lessons.errors import InputError

    try:
        value = json.loads(data)
        check_no_key("x", value)
        if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
            check_headers(value)
    except (ValueError, RecursionError, InputError):
        return None
    return None


@cache
def _folder() -> Path:
    held = tempfile.TemporaryDirectory(prefix="tutelage-fuzz-")
    _HELD.append(held)
    return Path(held.name)


_HELD: list[object] = []


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _endpoint() -> Reader:
    """The whole client against a real server that answers with the input, as its body or with its headers."""
    server = LoopbackServer(RuleTutor())
    asked: list[OpenAITeacher] = []

    def read(data: bytes) -> object:
        import os

        if not server.port:
            server.__enter__()
            os.environ["TUTELAGE_FUZZ_KEY"] = server.key
            asked.append(
                OpenAITeacher(model="m", base_url=server.base_url, key="TUTELAGE_FUZZ_KEY", attempts=1, features=("n",))
            )
        status = (200, 200, 200, 400, 429, 500)[len(data) % 6]
        server.fault = lambda seen: Fault(status=status, raw=data, headers={"Content-Type": "application/json"})
        chat = [Message(role="user", content="7 + 8?")]
        server.requests.clear()
        return _loop().run_until_complete(asked[0].ask(chat, Sampling(max_tokens=8)))

    def close() -> None:
        if server.port:
            _loop().run_until_complete(asked[0].aclose())
            server.__exit__()

    seeds = tuple(Seed(data, "json") for data in (COMPLETION, *ERRORS))
    return Reader(name="endpoint over HTTP", read=read, seeds=seeds, refuses=(TeacherError,), weight=0.1, close=close)
