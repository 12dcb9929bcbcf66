"""Each endpoint's recipe, as its page has it, against a server that behaves as that endpoint does."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lessons.errors import TeacherError
from lessons.records import Message
from loops.plugins import build
from teachers.base import Reply, Sampling, Usage
from teachers.openai import OpenAITeacher
from teachers.totals import classify
from tests.teachers.endpoints.apis import Anthropic, Google
from tests.teachers.endpoints.endpoint import ANSWER, LONG, THOUGHTS, Answer, Endpoint
from tests.teachers.endpoints.fakes import PAGES
from tests.teachers.endpoints.servers import LMStudio

DOCS = Path(__file__).parents[3] / "docs" / "endpoints"
TWO = Sampling(max_tokens=40, temperature=0.7, seed=5)
everywhere = pytest.mark.parametrize("page", PAGES)


def recipe(page: str) -> dict[str, Any]:
    """The page's teacher block; the one for reasoning models is the second of its page."""
    name, _, second = page.partition("-reasoning")
    blocks = re.findall(r"^```yaml\n(teacher:\n.*?)^```", (DOCS / f"{name}.md").read_text("utf-8"), re.M | re.S)
    return yaml.safe_load(blocks[page != name and second == ""])["teacher"]


def chat(text: str) -> list[Message]:
    return [Message(role="system", content="Be brief."), Message(role="user", content=text)]


@pytest.fixture
def attach(client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The teacher of a page's recipe, but for where the endpoint is; its waits are noted, not slept."""

    def made(page: str, server: Endpoint, **changed: Any) -> Any:
        spec = {**recipe(page), **changed}
        monkeypatch.setenv(spec.get("key") or "NONE_NEEDED", server.key)
        teacher = build("teacher", spec, where="teacher", key="kind")
        assert isinstance(teacher, OpenAITeacher)
        knobs = {knob.name: getattr(teacher, knob.name) for knob in dataclasses.fields(OpenAITeacher)}
        return client(server, **knobs | {"base_url": server.base_url, "features": ()})

    return made


def fake(page: str) -> Endpoint:
    return PAGES[page](recipe(page)["model"])


async def asked(teacher: Any, text: str = "What is 2 + 2 ?", sampling: Sampling = TWO) -> Reply:
    try:
        return await teacher.ask(chat(text), sampling)
    finally:
        await teacher.aclose()


async def failure(teacher: Any, text: str = "What is 2 + 2 ?", sampling: Sampling = TWO) -> TeacherError:
    with pytest.raises(TeacherError) as end:
        await asked(teacher, text, sampling)
    assert "\n" not in str(end.value)
    assert teacher.waits == []  # it was not tried again
    return end.value


@everywhere
async def test_the_recipe_of_the_page_gets_an_answer(page, attach):
    async with fake(page) as server:
        reply = await asked(attach(page, server))
    thought = "" if page in ("openai", "openai-reasoning", "anthropic", "google") else THOUGHTS
    assert (reply.text, reply.reasoning, reply.finish, reply.model) == (ANSWER, thought, "stop", server.model)
    assert len(server.requests) == 1
    told = {
        "openai": Usage(prompt=8, cached_prompt=1, completion=6, reasoning=3),
        "openai-reasoning": Usage(prompt=8, cached_prompt=1, completion=6, reasoning=3),
        "google": Usage(prompt=8, completion=6, reasoning=3),
        "llama-cpp": Usage(prompt=8, cached_prompt=1, completion=6),
    }
    assert reply.usage == told.get(page, Usage(prompt=8, completion=6))


@everywhere
async def test_thinking_that_used_up_max_tokens_is_no_answer(page, attach):
    async with fake(page) as server:
        reply = await asked(attach(page, server), "think long about it")
    assert (reply.text, reply.finish, classify(reply)) == ("", "length", "truncated")
    assert reply.usage.completion == TWO.max_tokens  # the limit was sent under a name that the endpoint heeds
    if page in ("openai", "openai-reasoning", "google"):
        assert reply.usage.reasoning == TWO.max_tokens


@everywhere
async def test_a_refusal_is_told_as_one(page, attach):
    async with fake(page) as server:
        reply = await asked(attach(page, server), "please refuse")
    assert (reply.finish, classify(reply)) == ("refused", "refused")


@pytest.mark.parametrize("page", ["openai", "anthropic", "google"])
async def test_a_rate_limit_is_waited_for_as_the_endpoint_asks(page, attach):
    async with fake(page) as server:
        told, seconds = server.rate_limited()
        server.next += [told, told]
        teacher = attach(page, server)
        assert (await asked(teacher)).text == ANSWER
    assert teacher.waits == [seconds, seconds]
    assert len(server.requests) == 3


@everywhere
async def test_overloaded_or_loading_is_tried_again(page, attach):
    async with fake(page) as server:
        server.next += [server.overloaded()] * 3
        teacher = attach(page, server)
        assert (await asked(teacher)).text == ANSWER
    assert len(teacher.waits) == 3


async def test_a_server_that_loads_for_minutes_is_waited_for(attach):
    async with fake("llama-cpp") as server:
        server.next += [server.overloaded()] * 11
        assert (await asked(attach("llama-cpp", server))).text == ANSWER


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("ollama", "lm-studio")])  # they take any
async def test_a_wrong_key_stops_the_run(page, attach, monkeypatch):
    async with fake(page) as server:
        server.needs_key = True
        teacher = attach(page, server, key="THE_KEY")
        monkeypatch.setenv("THE_KEY", "wrong-key")
        error = await failure(teacher)
    assert (error.fatal, error.retryable, len(server.requests)) == (True, False, 1)
    assert "check the key and its rights" in str(error)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "llama-cpp"])  # it takes any name
async def test_an_unknown_model_stops_the_run(page, attach):
    async with fake(page) as server:
        error = await failure(attach(page, server, model="no-such-model"))
    assert (error.fatal, len(server.requests)) == (True, 1)
    assert re.search("no-such-model.*check the model's name and base_url", str(error))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "ollama"])
async def test_a_prompt_that_does_not_fit_loses_one_call(page, attach):
    async with fake(page) as server:
        teacher = attach(page, server)
        error = await failure(teacher, LONG)
        assert (error.fatal, error.retryable) == (False, False)
        assert "do not fit the model's context" in str(error)
        assert (await asked(teacher)).text == ANSWER


async def test_ollama_cuts_in_silence_and_only_the_count_tells(attach):
    async with fake("ollama") as server:
        reply = await asked(attach("ollama", server), LONG)
        assert (reply.finish, reply.usage.prompt) == ("stop", server.context // 2 + 2)
        server.next.append(server.too_long_said())
        error = await failure(attach("ollama", server), LONG)
    assert (error.fatal, error.retryable) == (False, False)


async def test_a_page_without_its_settings_would_fail(attach):
    async with fake("google") as server:
        error = await failure(attach("google", server, send_seed=True))
        assert error.fatal
        assert re.search('Unknown name "seed".*set token_parameter or send_seed', str(error))
    async with fake("openai-reasoning") as server:
        error = await failure(attach("openai-reasoning", server, token_parameter="max_tokens"))
        assert "'max_tokens' is not supported" in str(error)
        assert error.fatal
        error = await failure(attach("openai-reasoning", server, extra_body={}))
        assert "'temperature' does not support 0.7" in str(error)
        assert error.fatal
    async with fake("ollama") as server:
        reply = await asked(attach("ollama", server, token_parameter="max_completion_tokens"), "think long about it")
        assert reply.usage.completion == 10_000


async def test_stop_and_top_p_pass_where_the_page_says_so(attach):
    full = Sampling(max_tokens=40, temperature=0.7, top_p=0.9, stop=("\n\n",), seed=5)
    for page in PAGES:
        async with fake(page) as server:
            changed = {"extra_body": {"top_p": None}} if page == "anthropic" else {}
            assert (await asked(attach(page, server, **changed), sampling=full)).text == ANSWER, page


@pytest.mark.parametrize("native", [True, False])
async def test_both_error_forms_of_anthropic(attach, native):
    async with fake("anthropic") as server:
        assert isinstance(server, Anthropic)
        server.native = native
        teacher = attach("anthropic", server)
        told, seconds = server.rate_limited()
        server.next += [told, server.overloaded()]
        assert (await asked(teacher)).text == ANSWER
        assert teacher.waits == [seconds, 0.0]
        for wrong in (server.wrong_key(), server.unknown_model("x")):
            server.next.append(wrong)
            assert (await failure(attach("anthropic", server))).fatal


async def test_an_account_of_anthropic_that_cannot_pay_stops_the_run(attach):
    async with fake("anthropic") as server:
        assert isinstance(server, Anthropic)
        poor = server.error(400, "Your credit balance is too low to access the Anthropic API.")
        for told in (server.spend_limit(), poor, server.error(402, "billing", "billing_error")):
            server.next.append(told)
            error = await failure(attach("anthropic", server))
            assert error.fatal
            assert "the account cannot pay" in str(error)


async def test_a_model_of_anthropic_without_temperature(attach):
    async with fake("anthropic") as server:
        assert isinstance(server, Anthropic)
        server.newest = True
        error = await failure(attach("anthropic", server))
        assert error.fatal
        assert "drop a parameter with a null in extra_body" in str(error)
        assert (await asked(attach("anthropic", server, extra_body={"temperature": None}))).text == ANSWER


@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "project_spend_limit_exceeded",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    ],
)
async def test_an_account_of_openai_that_cannot_pay_stops_the_run(attach, code):
    async with fake("openai") as server:
        server.next.append(server.error(429, "You exceeded your current quota", code, "insufficient_quota"))
        error = await failure(attach("openai", server))
    assert error.fatal
    assert "the account cannot pay" in str(error)


async def test_a_day_s_quota_of_google_is_not_waited_for(attach):
    async with fake("google") as server:
        assert isinstance(server, Google)
        server.next.append(server.quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"))
        error = await failure(attach("google", server))
        assert error.fatal
        assert "quota of this day is used up" in str(error)
        server.next.append(server.error(400, "Multiple authentication credentials received. Please pass only one."))
        assert (await failure(attach("google", server))).fatal


@pytest.mark.parametrize("word", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "content_filter: OTHER"])
async def test_google_s_words_for_a_stop(attach, word):
    async with fake("google") as server:
        choice = {"index": 0, "message": {"role": "assistant"}, "finish_reason": word}
        server.next.append(Answer(200, server.body([choice], 2, 0, 0)))
        reply = await asked(attach("google", server))
    assert (classify(reply), reply.detail) == ("refused", word)


async def test_lm_studio_says_some_errors_with_status_200(attach):
    async with fake("lm-studio") as server:
        assert isinstance(server, LMStudio)
        server.next.append(server.too_long_with_200())
        error = await failure(attach("lm-studio", server))
        assert (error.fatal, error.retryable) == (False, False)
        server.next.append(server.none_loaded())
        assert (await failure(attach("lm-studio", server))).fatal
        teacher = attach("lm-studio", server)
        wrong = dataclasses.replace(teacher, base_url=teacher.base_url.removesuffix("/v1"))
        error = await failure(wrong)
        assert error.fatal
        assert re.search("Unexpected endpoint.*check the model's name and base_url", str(error))


async def test_thoughts_under_either_name(attach):
    async with fake("lm-studio") as server:
        assert isinstance(server, LMStudio)
        server.tags = False
        assert (await asked(attach("lm-studio", server))).reasoning == THOUGHTS
    async with fake("vllm") as server:
        server.field = "reasoning_content"
        assert (await asked(attach("vllm", server))).reasoning == THOUGHTS


@pytest.mark.parametrize("page", [page for page in PAGES if page != "anthropic"])  # there n must be 1
async def test_several_samples_in_one_call_are_whole_and_in_order(page, attach):
    async with fake(page) as server:
        teacher = attach(page, server)
        replies = await teacher.ask_many(chat("What is 2 + 2 ?"), [TWO] * 3)
        await teacher.aclose()
    count = min(3, server.choices_at_most)
    assert [reply.text for reply in replies] == [ANSWER] * count
    assert sum(reply.usage.completion for reply in replies) == 6 * count
    assert [reply.usage.prompt for reply in replies] == [8] + [0] * (count - 1)


def test_every_page_is_in_the_index_and_every_knob_is_known():
    index = (DOCS / "README.md").read_text("utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
    for page in PAGES:
        assert recipe(page)["kind"] == "openai"
