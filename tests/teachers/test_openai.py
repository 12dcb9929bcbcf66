import asyncio
import gc
import json
import logging
import traceback
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers.base import Reply, Sampling, Teacher, Usage
from teachers.calls import Caller
from teachers.loopback import Fault, LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.scripted import ScriptedTeacher
from teachers.wire import read_completion, read_error, split_thoughts

CHAT = [Message(role="user", content="2 + 2?")]
FOUR = ScriptedTeacher(replies=lambda messages, sampling: "4")


async def test_a_reply_comes_with_all_that_the_endpoint_told(client):
    told = Reply(
        text="4",
        reasoning="two and two",
        usage=Usage(prompt=12, cached_prompt=8, completion=5, reasoning=3),
        model="loopback",
        detail="stop",
    )
    async with LoopbackServer(ScriptedTeacher(replies=[told])) as server:
        teacher: Teacher = client(server)
        assert await teacher.ask(CHAT, Sampling()) == told
        await teacher.aclose()
        await teacher.aclose()


async def test_what_is_sent(client):
    async with LoopbackServer(FOUR) as server:
        full = Sampling(max_tokens=7, temperature=0.2, top_p=0.9, seed=5, stop=("\n",))
        plain = client(server)
        await plain.ask(CHAT, full)
        await plain.ask(CHAT, Sampling())
        thinking = client(
            server,
            token_parameter="max_completion_tokens",
            send_seed=False,
            extra_body={"reasoning_effort": "low", "temperature": None},
        )
        await thinking.ask(CHAT, full)
        bodies = [dict(seen.body) for seen in server.requests]
        await plain.aclose()
        await thinking.aclose()
    common = {"model": "loopback", "messages": CHAT}
    assert bodies == [
        common | {"max_tokens": 7, "temperature": 0.2, "top_p": 0.9, "seed": 5, "stop": ["\n"]},
        common | {"max_tokens": 1024, "temperature": 0.7},
        common | {"max_completion_tokens": 7, "top_p": 0.9, "stop": ["\n"], "reasoning_effort": "low"},
    ]


async def test_half_a_surrogate_pair_can_be_sent(client):
    async with LoopbackServer(FOUR) as server:
        teacher = client(server)
        await teacher.ask([Message(role="user", content="half \ud83d")], Sampling())
        assert server.requests[0].body["messages"] == [{"role": "user", "content": "half \ufffd"}]
        await teacher.aclose()


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (Fault(status=429, headers={"Retry-After": "7"}), 7.0),
        (Fault(status=503, headers={"retry-after-ms": "1500"}), 1.5),
        (Fault(status=429, headers={"Retry-After": "99999"}), 120.0),
        (Fault(status=500), 0.0),
        (Fault(status=408), 0.0),
        (Fault(status=409), 0.0),
        (Fault(cut=True), 0.0),
        (Fault(raw=b"<html>Bad gateway</html>"), 0.0),
        (Fault(raw=b'{"choices": []}'), 0.0),
        (Fault(raw=b'{"error": {"message": "upstream is down", "code": 502}}'), 0.0),
        (Fault(raw=b"\xff\xfe"), 0.0),
    ],
    ids=str,
)
async def test_a_fault_that_may_pass_is_tried_again(client, fault, wait):
    async with LoopbackServer(FOUR, fault=lambda seen: fault if seen.repeat < 2 else None) as server:
        teacher = client(server)
        assert (await teacher.ask(CHAT, Sampling())).text == "4"
        assert [seen.repeat for seen in server.requests] == [0, 1, 2]  # the client itself does not retry
        assert teacher.waits == [wait, wait]
        await teacher.aclose()


async def test_a_date_in_retry_after_is_waited_for(client):
    date = formatdate(4_000_000_000, usegmt=True)  # far away: cut to the longest wait
    fault = Fault(status=429, headers={"Retry-After": date})
    async with LoopbackServer(FOUR, fault=lambda seen: None if seen.repeat else fault) as server:
        teacher = client(server)
        await teacher.ask(CHAT, Sampling())
        assert teacher.waits == [120.0]
        await teacher.aclose()


async def test_an_endpoint_that_never_answers_fails_after_all_tries(client):
    async with LoopbackServer(FOUR, fault=lambda seen: Fault(delay=float("inf"))) as server:
        teacher = client(server, timeout=0.05, attempts=2)
        with pytest.raises(TeacherError, match=r"no answer within 0\.05 seconds|TimeoutError") as end:
            await teacher.ask(CHAT, Sampling())
        assert (end.value.retryable, end.value.fatal, len(server.requests)) == (True, False, 2)
        await teacher.aclose()


async def test_nobody_listening_is_a_fault_that_may_pass(client):
    async with LoopbackServer(FOUR) as server:
        teacher = client(server, attempts=3)
    with pytest.raises(TeacherError, match="connection failed") as end:
        await teacher.ask(CHAT, Sampling())
    assert end.value.retryable
    assert len(teacher.waits) == 2
    await teacher.aclose()


@pytest.mark.parametrize(
    ("fault", "words", "fatal"),
    [
        (Fault(status=401, message="Incorrect API key"), "Incorrect API key.*check the key", True),
        (Fault(status=403, message="no"), "check the key and its rights", True),
        (Fault(status=404, message="no such model"), "no such model.*check the model's name", True),
        (Fault(status=402, message="pay"), "cannot pay", True),
        (Fault(status=429, code="insufficient_quota", message="quota"), "cannot pay", True),
        (Fault(status=400, code="unsupported_parameter", message="'max_tokens'"), "set token_parameter", True),
        (Fault(status=400, code="context_length_exceeded", message="too long"), "400: too long", False),
        (Fault(status=422, message="odd"), "422: odd", False),
    ],
    ids=str,
)
async def test_a_fault_that_will_not_pass_is_not_tried_again(client, fault, words, fatal):
    async with LoopbackServer(FOUR, fault=lambda seen: fault) as server:
        teacher = client(server)
        with pytest.raises(TeacherError, match=words) as end:
            await teacher.ask(CHAT, Sampling())
        assert (end.value.status, end.value.fatal, end.value.retryable) == (fault.status, fatal, False)
        assert len(server.requests) == 1
        await teacher.aclose()


async def test_a_wrong_key_stops_a_whole_run_after_few_requests(client, ledger, number_prompt, monkeypatch):
    async with LoopbackServer(FOUR) as server:
        teacher = client(server)
        monkeypatch.setenv("LOOPBACK_KEY", "a-wrong-one")
        caller = Caller(teacher, ledger, in_flight=8)
        with pytest.raises(TeacherError, match="incorrect API key") as end:
            await asyncio.gather(*(caller.ask(number_prompt, {"question": f"{i}?"}) for i in range(500)))
        assert end.value.fatal
        assert len(server.requests) <= 8
        await teacher.aclose()


@pytest.mark.parametrize(
    ("finish_reason", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "refused"),
        ("refusal", "refused"),
        ("abort", "other"),
        ("tool_calls", "other"),
    ],
)
async def test_finish_reasons(client, finish_reason, finish):
    async with LoopbackServer(FOUR, fault=lambda seen: Fault(finish_reason=finish_reason)) as server:
        teacher = client(server)
        reply = await teacher.ask(CHAT, Sampling())
        assert (reply.text, reply.finish, reply.detail) == ("4", finish, finish_reason)
        await teacher.aclose()


def completion(message: object, **fields: object) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], **fields}).encode()


def test_odd_but_whole_completions_are_read():
    assert read_completion(completion({"content": None, "refusal": "I will not."})) == Reply(
        text="", finish="refused", detail="I will not."
    )
    parts = [{"type": "text", "text": "4"}, {"type": "image"}, {"type": "text", "text": "2"}]
    assert read_completion(completion({"content": parts})).text == "42"
    assert read_completion(completion({"content": "half \ud83d"})).text == "half \ufffd"
    odd = read_completion(completion({"content": "4", "reasoning": {"a": 1}}, usage={"prompt_tokens": "x"}, model=3))
    assert odd == Reply(text="4", detail="stop")
    assert read_completion(completion({"content": "4"}, usage=None)).usage == Usage()
    assert read_completion(completion({"content": "4", "reasoning": "hm"})).reasoning == "hm"
    assert read_completion(b'{"choices": [{"message": {"content": "4"}}]}').finish == "other"


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(max_size=4), st.lists).map(
    lambda value: json.dumps({"choices": value, "error": value}).encode()
))  # fmt: skip
def test_any_bytes_are_a_reply_or_a_teacher_error(body: bytes):
    try:
        assert isinstance(read_completion(body), Reply)
    except TeacherError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("4", "", "4"),
        ("<think>two and two</think>\n\n4", "two and two", "4"),
        ("\n<think>\nhm\n</think>4 </think> 5", "hm", "4 </think> 5"),
        ("hm, so\n</think>\n4", "hm, so", "4"),  # the template had opened it
        ("<think>cut off while thin", "cut off while thin", ""),
        ("I think <think> is a tag", "", "I think <think> is a tag"),
        ("", "", ""),
    ],
)
def test_thoughts_are_kept_apart(text, thoughts, answer):
    assert split_thoughts(text) == (thoughts, answer)


def test_bodies_of_error_answers_are_said_in_one_short_line():
    assert str(read_error(500, "line one\nline two\x1b[31m", {})) == "the endpoint answered 500: line one line two [31m"
    assert str(read_error(400, {"object": "error", "message": "vLLM's form"}, {})).endswith("400: vLLM's form")
    assert str(read_error(422, {"detail": [{"loc": ["model"]}]}, {})).endswith("422: [{'loc': ['model']}]")
    assert str(read_error(502, None, {})).endswith("502: no message")
    assert len(str(read_error(500, "x" * 100_000, {}))) < 400


SECRET = "loopback-Abc123Secret456"


@pytest.mark.parametrize("echo", [f"bad key {SECRET}!", "x" * 290 + SECRET])
async def test_a_key_is_never_shown(client, monkeypatch, caplog, capfd, echo):
    caplog.set_level(logging.DEBUG)
    async with LoopbackServer(FOUR) as server:
        teacher = client(server, headers={"X-Gateway-Token": "$GATEWAY_TOKEN"}, attempts=2)
        monkeypatch.setenv("LOOPBACK_KEY", SECRET)
        monkeypatch.setenv("GATEWAY_TOKEN", "gate-Xyz789Secret")
        link = teacher._connection
        shown = [repr(teacher), teacher.name, repr(link.secrets), str(vars(teacher)), str(vars(link))]
        for fault in (
            Fault(status=401, message=f"{echo} gate-Xyz789Secret"),
            Fault(status=500, raw=echo.encode()),
            Fault(raw=echo.encode()),
            Fault(cut=True),
        ):
            server.fault = lambda seen, fault=fault: fault
            with pytest.raises(TeacherError) as end:
                await teacher.ask(CHAT, Sampling())
            shown += [str(end.value), "".join(traceback.format_exception(end.value))]
            assert end.value.__cause__ is None
            assert end.value.__context__ is None or SECRET not in str(end.value.__context__)
        await teacher.aclose()
    shown += [caplog.text, *capfd.readouterr()]
    for text in shown:
        assert SECRET[:12] not in text
        assert "Xyz789" not in text


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abc123",
        "sk_live_abc123",
        "gsk_1aBcD",
        "hf_1aBcD",
        "AIzaSyD1",
        "aB3dE6gH9jK2mN5pQ8sT",
        "two words",
        "Bearer",
    ],
)
def test_a_key_in_place_of_its_name_is_refused_and_not_repeated(key):
    with pytest.raises(InputError, match="name of an environment variable") as end:
        OpenAITeacher(model="m", key=key)
    assert key not in str(end.value)
    with pytest.raises(InputError) as end:
        OpenAITeacher(model="m", headers={"X-Api-Key": key})
    assert key not in str(end.value)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"base_url": "https://user:pass@host/v1"}, "must not hold a user"),
        ({"base_url": "https://host/v1?key=abc"}, "must not hold a user"),
        ({"base_url": "host:8000"}, "must begin with http"),
        ({"extra_body": {"model": "x"}}, "must not set model"),
        ({"attempts": 0}, "attempts must be at least 1"),
    ],
)
def test_knobs_that_cannot_work_are_refused(knobs, words):
    with pytest.raises(InputError, match=words) as end:
        OpenAITeacher(model="m", **knobs)
    assert "pass" not in str(end.value).replace("password", "")


def test_names_of_variables_are_taken_for_names():
    for name in ("OPENAI_API_KEY", "MY_KEY_2", "key", "", "TEACHER_KEY_PROD_EUROPE_2026"):
        assert OpenAITeacher(model="m", key=name).key == name


async def test_a_variable_that_is_not_set_or_not_usable_is_fatal(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(TeacherError, match="NO_SUCH_KEY is not set") as end:
        await OpenAITeacher(model="m", key="NO_SUCH_KEY").ask(CHAT, Sampling())
    assert end.value.fatal
    monkeypatch.setenv("ODD_KEY", "schlüssel")
    with pytest.raises(TeacherError, match="ODD_KEY holds signs") as end:
        await OpenAITeacher(model="m", key="ODD_KEY").ask(CHAT, Sampling())
    assert "schl" not in str(end.value)


def test_the_name_is_the_model_and_where_it_is():
    assert OpenAITeacher(model="gpt-5").name == "openai:gpt-5@api.openai.com"
    assert OpenAITeacher(model="q", base_url="http://10.0.0.1:8000/v1/").name == "openai:q@10.0.0.1:8000"
    assert OpenAITeacher(model="q", base_url="https://h/api/v1").name == "openai:q@h/api"
    low, high = (OpenAITeacher(model="q", extra_body={"reasoning_effort": e, "kind": 1}).name for e in ("low", "high"))
    assert low != high
    assert OpenAITeacher(model="q", base_url="http://127.0.0.1:40123/v1", label="local q").name == "local q"


def test_it_serves_one_event_loop_after_another_and_leaves_no_connection_open(client, caplog):
    with LoopbackServer(FOUR) as server:
        teacher = client(server)

        async def stage() -> list[str]:  # nobody closes the teacher
            return [reply.text for reply in await asyncio.gather(*(teacher.ask(CHAT, Sampling()) for _ in range(4)))]

        for _ in range(3):
            assert asyncio.run(stage()) == ["4"] * 4
            gc.collect()
        assert len(server.requests) == 12
    assert "Unclosed" not in caplog.text
    assert len(teacher._connection._held) == 1  # clients of loops that are gone are let go


async def test_without_a_key_none_is_looked_up(client):
    async with LoopbackServer(FOUR) as server:
        teacher = client(server, key="", attempts=1)
        with pytest.raises(TeacherError, match="incorrect API key"):
            await teacher.ask(CHAT, Sampling())
        assert not server.requests[0].authorized
        await teacher.aclose()


async def test_a_proxy_of_the_environment_is_not_asked_for_servers_of_this_machine(client, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with LoopbackServer(FOUR) as server:
        teacher = client(server, attempts=1)
        assert (await teacher.ask(CHAT, Sampling())).text == "4"
        await teacher.aclose()


async def test_a_redirect_is_not_followed_with_the_keys(client, monkeypatch):
    monkeypatch.setenv("GATEWAY_TOKEN", "gate-Xyz789Secret")
    async with LoopbackServer(FOUR) as elsewhere:
        away = Fault(raw=b"", status=307, headers={"Location": f"{elsewhere.base_url}/chat/completions"})
        async with LoopbackServer(FOUR, fault=lambda seen: away) as server:
            teacher = client(server, headers={"X-Gateway-Token": "$GATEWAY_TOKEN"}, attempts=1)
            with pytest.raises(TeacherError, match="307.*give the final address as base_url"):
                await teacher.ask(CHAT, Sampling())
            assert not elsewhere.requests
            await teacher.aclose()


@pytest.mark.parametrize("name", ["x-ratelimit-remaining-requests", "X-RateLimit-Remaining-Requests"])
async def test_a_used_up_quota_is_read_from_an_answers_headers(client, name):
    told = {name: "0", name.replace("emaining", "eset"): "20s"}
    async with LoopbackServer(FOUR, fault=lambda seen: Fault(headers=told)) as server:
        teacher = client(server)
        await teacher.ask(CHAT, Sampling())
        assert teacher.limiter.cooling == pytest.approx(20)
        await teacher.aclose()
