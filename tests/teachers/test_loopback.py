import asyncio
import json
import urllib.error
import urllib.request

import aiohttp
import pytest

from lessons.errors import TeacherError
from teachers.base import Reply, Usage
from teachers.loopback import Fault, LoopbackServer
from teachers.scripted import ScriptedTeacher

CHAT = {
    "model": "loopback",
    "messages": [{"role": "user", "content": "2 + 2?"}],
    "max_tokens": 9,
    "seed": 3,
    "stop": "\n",
}


async def post(server: LoopbackServer, body: object, *, key: str | None = None, path: str = "/chat/completions"):
    headers = {"Authorization": f"Bearer {key or server.key}"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.base_url + path, data=data, headers=headers) as got,
    ):
        return got.status, dict(got.headers), await got.read()


async def test_it_answers_as_openai_does():
    reply = Reply(text="4", reasoning="two and two", usage=Usage(prompt=5, cached_prompt=1, completion=2, reasoning=1))
    teacher = ScriptedTeacher(replies=[reply])
    async with LoopbackServer(teacher) as server:
        status, headers, body = await post(server, CHAT)
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "application/json")
    answer = json.loads(body)
    message = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
    assert answer["choices"] == [{"index": 0, "message": message, "finish_reason": "stop"}]
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    (request,) = teacher.requests
    assert (request.sampling.max_tokens, request.sampling.seed, request.sampling.stop) == (9, 3, ("\n",))


async def test_strangers_unknown_models_paths_and_bodies_are_refused():
    teacher = ScriptedTeacher(replies=[])
    async with LoopbackServer(teacher) as server:
        assert (await post(server, CHAT, key="guess"))[0] == 401
        assert (await post(server, CHAT | {"model": "other"}))[0] == 404
        assert (await post(server, CHAT, path="/nothing"))[0] == 404
        assert (await post(server, {"model": "loopback"}))[0] == 400
        assert (await post(server, b"not json"))[0] == 404
        assert teacher.requests == []
        assert [seen.authorized for seen in server.requests] == [False, True, True, True, True]
        assert server.key not in repr(server.requests)


async def test_a_teachers_error_becomes_its_status():
    teacher = ScriptedTeacher(replies=[TeacherError("slow down", status=429), TeacherError("broken")])
    async with LoopbackServer(teacher) as server:
        assert [(await post(server, CHAT))[0] for _ in range(2)] == [429, 500]


async def test_the_log_tells_requests_and_repeats_apart():
    async with LoopbackServer(ScriptedTeacher(replies=lambda m, s: "x" * 2_000_000)) as server:
        for body in (CHAT, CHAT | {"seed": 4}, CHAT):
            await post(server, body)
        long = CHAT | {"messages": [{"role": "user", "content": "y" * 3_000_000}]}
        assert (await post(server, long))[0] == 200
        assert [(seen.index, seen.repeat) for seen in server.requests] == [(0, 0), (1, 0), (2, 1), (3, 0)]


async def test_it_misbehaves_on_demand():
    faults = [
        Fault(status=429, headers={"Retry-After": "3"}, message="slow down", code="rate_limit"),
        Fault(raw=b"<html>"),
        Fault(text="", finish_reason="abort"),
        Fault(finish_reason="length"),
        Fault(delay=0.001),
        None,
    ]
    teacher = ScriptedTeacher(replies=lambda m, s: "4")
    async with LoopbackServer(teacher, fault=lambda seen: faults[seen.index]) as server:
        answers = [await post(server, CHAT) for _ in faults]
        assert (answers[0][0], answers[0][1]["Retry-After"]) == (429, "3")
        assert json.loads(answers[0][2])["error"]["code"] == "rate_limit"
        assert answers[1][2] == b"<html>"
        choices = [json.loads(body)["choices"][0] for _, _, body in answers[2:]]
        assert [(c["message"]["content"], c["finish_reason"]) for c in choices] == [
            ("", "abort"),
            ("4", "length"),
            ("4", "stop"),
            ("4", "stop"),
        ]
        server.fault = lambda seen: Fault(cut=True)
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(server, CHAT)
        server.fault = lambda seen: Fault(delay=float("inf"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(server, CHAT), 0.05)


def test_it_serves_on_a_thread_and_ends_with_its_block():
    with LoopbackServer(ScriptedTeacher(replies=[])) as server:
        request = urllib.request.Request(f"{server.base_url}/models", headers={"Authorization": f"Bearer {server.key}"})
        with urllib.request.urlopen(request) as answer:
            assert [model["id"] for model in json.load(answer)["data"]] == ["loopback"]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(request, timeout=1)


def test_what_goes_wrong_on_the_thread_is_raised_where_it_was_started():
    with LoopbackServer(ScriptedTeacher(replies=[])) as taken:
        second = LoopbackServer(ScriptedTeacher(replies=[]))
        second.port = taken.port
        with pytest.raises(OSError, match="address already in use"):
            second.__enter__()
