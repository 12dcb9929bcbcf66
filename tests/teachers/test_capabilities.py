import asyncio
import json

import pytest

from lessons.errors import TeacherError
from teachers import capabilities
from teachers.base import Sampling
from teachers.calls import Caller
from teachers.capabilities import Capabilities, probe, read_models, remember, remembered
from teachers.loopback import Fault, LoopbackServer
from teachers.scripted import ScriptedTeacher

HELLO = ScriptedTeacher(replies=lambda messages, sampling: "5")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("features", [(), ("n",), ("json_schema",), ("n", "json_schema")])
async def test_what_a_server_heeds_is_found_out(client, features):
    async with LoopbackServer(HELLO, features=features) as server:
        teacher = client(server)
        known = await probe(teacher)
        assert known.features == features
        assert known.models == ("loopback",)
        assert not known.logprobs
        assert len(server.requests) == 3  # the list of models, and two short calls
        assert all(seen.body.get("max_tokens", 0) <= 256 for seen in server.requests)
        await teacher.aclose()


async def test_what_is_refused_is_told_apart_from_what_comes_with_it(client):
    def refuse(name):
        return lambda seen: Fault(status=400, message=f"{name} is not supported") if name in seen.body else None

    async with LoopbackServer(HELLO, fault=refuse("logprobs")) as server:
        teacher = client(server)
        assert (await probe(teacher)).features == ("n", "json_schema")
        server.fault = refuse("n")
        assert (await probe(teacher)).features == ("json_schema",)
        server.fault = refuse("response_format")
        assert (await probe(teacher)).features == ("n",)
        await teacher.aclose()


async def test_log_probabilities_are_seen(client):
    choice = {
        "index": 0,
        "message": {"content": "a"},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": "a"}]},
    }
    body = json.dumps({"choices": [choice]}).encode()
    async with LoopbackServer(HELLO, fault=lambda seen: Fault(raw=body) if seen.body else None) as server:
        teacher = client(server)
        known = await probe(teacher)
        assert known.logprobs
        assert not known.n  # one choice where two were asked for
        await teacher.aclose()


@pytest.mark.parametrize("status", [401, 404])
async def test_a_wrong_key_or_model_is_no_lack_of_ability(client, status):
    async with LoopbackServer(HELLO, fault=lambda seen: Fault(status=status) if seen.body else None) as server:
        teacher = client(server, features="auto")
        with pytest.raises(TeacherError) as end:
            await teacher.offers_many()
        assert end.value.fatal
        await teacher.aclose()


async def test_an_endpoint_that_is_down_for_a_while_costs_no_sample(client, ledger, number_prompt):
    async with LoopbackServer(HELLO, fault=lambda seen: Fault(status=500) if seen.body.get("n") else None) as server:
        teacher = client(server, features="auto", attempts=2)
        answers = await Caller(teacher, ledger).ask(number_prompt, {"question": "?"}, n=3)
        assert [answer.value for answer in answers] == [5, 5, 5]
        server.fault = None
        await asyncio.gather(Caller(teacher, ledger).ask(number_prompt, {"question": "Again?"}, n=3))
        assert server.requests[-1].body["n"] == 3  # it was found out when it could be
        await teacher.aclose()


async def test_it_is_remembered_for_a_while_and_not_of_servers_of_this_machine(client, monkeypatch):
    now = 1_000_000.0
    monkeypatch.setattr(capabilities.time, "time", lambda: now)
    async with LoopbackServer(HELLO) as server:
        here, far = client(server), client(server, base_url="https://api.example.com/v1")
        known = Capabilities(models=None, n=True, json_schema=False, logprobs=False, asked=now)
        assert remember(here, known) == remember(far, known) == known
        assert remembered(here) is None
        assert remembered(far) == known
        assert remembered(client(server, base_url="https://api.example.com/v1", model="another")) is None
        now += capabilities.KEPT + 1
        assert remembered(far) is None
        now -= capabilities.KEPT + 1
        capabilities._note(far).write_bytes(b"{torn")
        assert remembered(far) is None


async def test_a_remembered_ability_asks_nobody(client):
    async with LoopbackServer(HELLO) as server:
        teacher = client(server, features="auto")
        monkey = Capabilities(models=None, n=True, json_schema=True, logprobs=False, asked=0.0)
        teacher._abilities._known = monkey
        assert await teacher.offers_many()
        await teacher.ask([{"role": "user", "content": "?"}], Sampling(json_schema='{"type":"object"}'))
        assert len(server.requests) == 1
        await teacher.aclose()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": 3}', b'{"data": [{"name": "x"}]}', b"\xff", b"<html>"])
def test_a_list_of_models_that_is_none(body):
    assert read_models(body) is None
    assert read_models(b'{"data": [{"id": "a", "object": "model"}, {"id": "b"}]}') == ["a", "b"]
