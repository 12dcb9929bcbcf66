"""An endpoint cannot fill the memory by what it answers: bodies end at a bound, before and after they are unpacked."""

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest

from lessons.errors import TeacherError
from lessons.records import Message
from teachers import bounded
from teachers.base import Sampling
from teachers.batch_jobs import BatchJobs
from teachers.bounded import AnswerPackedWronglyError, Unpacker
from teachers.loopback import Fault, LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.retry import RetryPolicy
from teachers.rule_tutor import RuleTutor
from teachers.secrets import Secrets

CHAT = [Message(role="user", content="What is 7 + 8?")]
MEGABYTE = 2**20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    server = LoopbackServer(RuleTutor())
    monkeypatch.setenv("BOUNDED_KEY", server.key)
    with server:
        yield server


def reply(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def teacher(server: LoopbackServer) -> OpenAITeacher:
    return OpenAITeacher(model="m", base_url=server.base_url, key="BOUNDED_KEY", attempts=1, features=("n",))


async def asked(server: LoopbackServer, body: bytes, packing: str = "", status: int = 200) -> str:
    headers = {"Content-Type": "application/json"} | ({"Content-Encoding": packing} if packing else {})
    server.fault = lambda seen: Fault(raw=body, headers=headers, status=status)
    asking = teacher(server)
    try:
        return (await asking.ask(CHAT, Sampling(max_tokens=8))).text
    finally:
        await asking.aclose()


async def test_packed_replies_are_read(server: LoopbackServer) -> None:
    assert await asked(server, reply("15")) == "15"
    assert await asked(server, gzip.compress(reply("15")), "gzip") == "15"
    half = len(reply("15")) // 2
    members = gzip.compress(reply("15")[:half]) + gzip.compress(reply("15")[half:])
    assert await asked(server, members, "gzip") == "15"
    assert await asked(server, reply("15"), "identity") == "15"


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("packing", ["", "gzip"])
async def test_a_bomb_is_not_read_to_its_end(
    packing: str, status: int, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "LARGEST", MEGABYTE)
    body = reply("7" * 40 * MEGABYTE)
    with pytest.raises(TeacherError, match="AnswerTooLargeError") as refused:
        await asked(server, gzip.compress(body) if packing else body, packing, status)
    assert refused.value.retryable
    assert not refused.value.fatal


async def test_a_bomb_of_the_real_size_is_not_either(server: LoopbackServer) -> None:
    bomb = gzip.compress(bytes(MEGABYTE)) * (4 * bounded.LARGEST // MEGABYTE)  # 512 MB in half a megabyte
    assert len(bomb) < MEGABYTE
    with pytest.raises(TeacherError, match="AnswerTooLargeError"):
        await asked(server, bomb, "gzip")


@pytest.mark.parametrize("packing", ["br", "zstd", "deflate", "gzip, gzip", "x"])
async def test_no_other_packing_is_unpacked(packing: str, server: LoopbackServer) -> None:
    with pytest.raises(TeacherError, match="AnswerPackedWronglyError"):
        await asked(server, zlib.compress(reply("15")), packing)


async def test_what_is_no_gzip_is_refused(server: LoopbackServer) -> None:
    with pytest.raises(TeacherError, match="AnswerPackedWronglyError"):
        await asked(server, reply("15"), "gzip")


async def test_the_batch_api_is_bounded_too(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", MEGABYTE)
    jobs = BatchJobs(
        base_url=server.base_url, secrets=Secrets.read("BOUNDED_KEY", {}), timeout=30.0, policy=RetryPolicy(attempts=1)
    )
    for status in (200, 500):
        bomb = gzip.compress(bytes(40 * MEGABYTE))
        server.fault = lambda seen, s=status, b=bomb: Fault(raw=b, status=s, headers={"Content-Encoding": "gzip"})
        with pytest.raises(TeacherError, match="AnswerTooLargeError"):
            await jobs.get("b")


def test_what_is_unpacked_comes_in_small_pieces() -> None:
    data = bytes(5 * MEGABYTE) + b"end"
    pieces = list(Unpacker().of(gzip.compress(data)))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= MEGABYTE
    whole = Unpacker()
    assert b"".join(piece for byte in gzip.compress(b"abc") for piece in whole.of(bytes([byte]))) == b"abc"
    with pytest.raises(AnswerPackedWronglyError):
        list(Unpacker().of(b"no gzip at all"))
