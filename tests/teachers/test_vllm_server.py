import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from lessons.errors import InputError, TeacherError
from lessons.knobs import is_operational
from loops import plugins
from loops.knobs import knobs_of
from teachers import servers, vllm_process, vllm_server
from teachers.base import HoldingTeacher, ManyTeacher, Sampling, ServingTeacher
from teachers.calls import Caller
from teachers.loopback import Fault, LoopbackServer
from teachers.scripted import ScriptedTeacher
from teachers.vllm import VLLMTeacher
from teachers.vllm_command import flag_words
from teachers.vllm_log import cause, last_error, last_lines

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).with_name("fake_vllm.py")
Make = Callable[..., VLLMTeacher]


def chat(text: str):
    return [{"role": "user", "content": text}]


async def until(true: Callable[[], object], seconds: float = 10.0) -> float:
    """Wait until something holds; return the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "did not come true in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def processes(mark: str) -> list[psutil.Process]:
    return list(servers._marked(mark))


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    command.chmod(0o755)
    return command


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FAKE_VLLM", raising=False)
    return tmp_path / "cache" / "servers"


@pytest.fixture
def make(executable: Path) -> Iterator[Make]:
    """Makes a teacher on a server that misbehaves as `fault` says; all are ended after the test."""
    made: list[VLLMTeacher] = []

    def teacher(fault: dict[str, object] | None = None, **knobs: object) -> VLLMTeacher:
        env = {"FAKE_VLLM": json.dumps(fault or {}), **knobs.pop("env", {})}
        given = {"model": "some/model", "executable": str(executable), "stop_timeout": 2.0, "attempts": 2, **knobs}
        made.append(VLLMTeacher(env=env, **given))
        return made[-1]

    yield teacher
    for one in made:
        one.close()


def requests_in(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ---------------------------------------------------------------------------------------------- start


async def test_it_answers_and_is_ready_only_when_a_completion_comes_back(make: Make, tmp_path: Path):
    teacher = make({"loading": 0.6, "requests": str(tmp_path / "requests")})
    began = time.monotonic()
    reply = await teacher.ask(chat("hello"), Sampling(max_tokens=7, seed=3))
    assert (reply.text, reply.finish, reply.model) == ("HELLO", "stop", "teacher")
    assert time.monotonic() - began > 0.6
    *probes, last = requests_in(tmp_path / "requests")
    assert len(probes) > 1  # the port was open long before
    assert all(probe["max_tokens"] == 1 for probe in probes)
    assert (last["model"], last["max_tokens"], last["seed"]) == ("teacher", 7, 3)


async def test_several_samples_are_drawn_in_one_request(make: Make, tmp_path: Path):
    teacher = make({"requests": str(tmp_path / "requests")})
    assert isinstance(teacher, ManyTeacher)
    replies = await teacher.ask_many(chat("hello"), [Sampling(seed=1), Sampling(seed=2)])
    assert [reply.text for reply in replies] == ["HELLO", "HELLO"]
    assert requests_in(tmp_path / "requests")[-1]["n"] == 2


async def test_the_key_is_seen_nowhere(make: Make, cache: Path, tmp_path: Path):
    teacher = make({"engine": True})
    await teacher.ask(chat("hello"), Sampling())
    key, record = teacher._server.key, teacher._server.process.record
    lines = [" ".join(process.cmdline()) for process in processes(record.id)]
    assert len(lines) == 3  # guardian, server, its engine
    assert not any(key in line for line in lines)
    assert not any(key.encode() in path.read_bytes() for path in cache.iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()] == [0o600] * 2
    assert key not in repr(teacher) + repr(vars(teacher)) + repr(record)
    assert key not in os.environ.values()


async def test_an_error_shows_neither_key_nor_control_characters_and_is_bounded(make: Make, executable: Path):
    noise = "\x1b[31m" + "x" * 9000 + "\x07\n"
    executable.write_text(f"#!/bin/sh\nprintf '%s' '{noise * 3}'\necho my key is $VLLM_API_KEY\nexit 9\n")
    teacher = make()
    with pytest.raises(TeacherError) as caught:
        await teacher.ask(chat("hello"), Sampling())
    said = str(caught.value)
    assert "my key is [key]" in said
    assert "exit code 9" in said
    assert teacher._server.key not in said
    assert said.isprintable()
    assert len(said) < 5000


async def test_the_environment_keeps_vllm_to_itself_and_this_interpreter_out(make: Make, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DO_NOT_TRACK", "0")  # what the user says counts
    teacher = make(kv_cache_gib=3, env={"VLLM_LOGGING_LEVEL": "DEBUG"})
    await teacher.ready()
    environment = psutil.Process(teacher._server.process.record.server.pid).environ()
    expected = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "0",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "3",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "VLLM_HOST_IP": "127.0.0.1",
        "SPT_NOENV": "1",
        "TUTELAGE_SERVER": teacher._server.process.record.id,
    }
    assert {name: environment.get(name) for name in expected} == expected
    assert not {"VIRTUAL_ENV", "VLLM_SERVER_DEV_MODE"} & environment.keys()


async def test_flags_are_passed_through(make: Make):
    teacher = make(
        dtype="bfloat16",
        max_model_len=512,
        tensor_parallel=2,
        data_parallel=3,
        sleep_mode=True,
        flags={
            "enforce_eager": True,
            "max-num-seqs": 8,
            "seed": None,
            "enable_prefix_caching": False,
            "allowed_origins": ["a", "b"],
            "speculative_config": {"method": "ngram"},
        },
    )
    await teacher.ready()
    command = teacher._server.process.record.command
    port = command[command.index("--port") + 1]
    assert " ".join(command[1:]) == (
        f"serve some/model --served-model-name teacher --host 127.0.0.1 --port {port} --dtype bfloat16 "
        "--max-model-len 512 --tensor-parallel-size 2 --data-parallel-size 3 --enable-sleep-mode --enforce-eager "
        '--max-num-seqs 8 --allowed-origins a b --speculative-config {"method": "ngram"}'
    )
    assert flag_words({"compilation_config.cudagraph_mode": "NONE"}) == ["--compilation-config.cudagraph_mode", "NONE"]


async def test_a_taken_port_is_left_for_another_one(make: Make, monkeypatch, tmp_path: Path):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        real, ports = vllm_process.free_port, [squatter.getsockname()[1]]
        monkeypatch.setattr(vllm_process, "free_port", lambda: ports.pop() if ports else real())
        teacher = make(restarts=0)
        assert (await teacher.ask(chat("hello"), Sampling())).text == "HELLO"
    assert teacher._server.starts == 1
    assert len(servers.records()) == 1


async def test_a_port_that_answers_for_somebody_else_is_left_for_another_one(make: Make, monkeypatch):
    # vLLM opens its port so that a second one may share it (SO_REUSEPORT): then the other's key is asked for.
    with LoopbackServer(ScriptedTeacher(replies=[])) as other:
        real, ports = vllm_process.free_port, [other.port]
        monkeypatch.setattr(vllm_process, "free_port", lambda: ports.pop() if ports else real())
        teacher = make({"port_taken": True, "once": str(Path(os.environ["TUTELAGE_CACHE"]).parent / "once")})
        assert (await teacher.ask(chat("hello"), Sampling())).text == "HELLO"


async def test_many_who_ask_at_once_share_one_start(make: Make, tmp_path: Path):
    teacher = make({"loading": 0.3, "requests": str(tmp_path / "requests")})
    asking = [asyncio.create_task(teacher.ask(chat(f"say {i}"), Sampling())) for i in range(20)]
    await asyncio.sleep(0.1)
    asking[0].cancel()  # who started it may leave
    replies = await asyncio.gather(*asking[1:])
    assert [reply.text for reply in replies] == [f"SAY {i}" for i in range(1, 20)]
    assert len({request["pid"] for request in requests_in(tmp_path / "requests")}) == 1
    assert len(teacher.limiters) == 1


def test_what_close_left_behind_is_counted_and_killed(make: Make):
    """Something that carries the server's mark, and which neither the guardian nor its own signals reached."""
    teacher = make({"stubborn": True})
    assert (teacher.running, teacher.left(), teacher.kill()) == (False, 0, 0)
    asyncio.run(teacher.ready())
    record = teacher._server.process.record
    assert teacher.running
    words = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    environment = {**os.environ, servers.MARK: record.id}
    left = subprocess.Popen(
        [sys.executable, "-c", words], env=environment, stdout=subprocess.PIPE, start_new_session=True
    )
    left.stdout.readline()
    teacher.close()
    assert (teacher.running, teacher.left()) == (False, 1)
    assert teacher.kill() == 0
    assert not psutil.pid_exists(left.pid)


def test_it_is_a_teacher_that_holds_processes_and_draws_many(make: Make):
    assert isinstance(make(), HoldingTeacher)
    assert isinstance(make(), ServingTeacher)
    assert isinstance(make(), ManyTeacher)
    assert make().limiters == ()


def test_it_lives_from_one_event_loop_to_the_next_and_ends_with_close(make: Make):
    teacher = make()

    async def stage(text: str) -> tuple[str, int]:
        reply = await teacher.ask(chat(text), Sampling())
        await teacher.aclose()
        return reply.text, teacher._server.process.record.server.pid

    first, second = asyncio.run(stage("a")), asyncio.run(stage("b"))
    assert (first[0], second[0]) == ("A", "B")
    assert first[1] == second[1]
    mark = teacher._server.process.record.id
    teacher.close()
    teacher.close()
    assert processes(mark) == []
    assert servers.records() == []
    assert asyncio.run(stage("c"))[0] == "C"  # it may be wanted again


def test_a_start_that_was_left_is_gone_on_with_on_the_next_event_loop(make: Make):
    teacher = make({"loading": 0.8})

    async def leaves() -> None:
        async with asyncio.timeout(0.4):
            await teacher.ready()

    with pytest.raises(TimeoutError):
        asyncio.run(leaves())
    pid = teacher._server.process.record.server.pid
    asyncio.run(teacher.ready())
    assert teacher._server.process.record.server.pid == pid


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"flags": {"host": "0.0.0.0"}}, r"flags\.host cannot be set: the server's address"),
        ({"flags": {"por": 1}}, r"flags\.por cannot be set"),
        ({"flags": {"api_key": "x"}}, r"flags\.api_key cannot be set"),
        ({"flags": {"served-model-name": "x"}}, r"flags\.served-model-name cannot be set"),
        ({"flags": {"ssl_keyfile": "x"}}, r"flags\.ssl_keyfile cannot be set: .*TLS"),
        ({"flags": {"trust_remote_code": True}}, r"flags\.trust_remote_code cannot be set: it would run code"),
        ({"flags": {"enable_lora": True}}, r"flags\.enable_lora cannot be set: .*wrong weights"),
        ({"flags": {"lora_modules": ["a=b"]}}, r"flags\.lora_modules cannot be set: .*wrong weights"),
        ({"flags": {"hf_token": "hf_abc"}}, r"flags\.hf_token cannot be set: a secret on a command line"),
        ({"flags": {"some_api_key": "abc"}}, r"flags\.some_api_key cannot be set: a secret"),
        ({"flags": {"config": "x.yaml"}}, r"flags\.config cannot be set"),
        ({"flags": {"host=0.0.0.0": True}}, r"not a flag of vLLM"),
        ({"flags": {"--seed": 1}}, r"not a flag of vLLM"),
        ({"flags": {"dtype": "auto"}}, r"flags\.dtype: use the knob teacher\.dtype"),
        ({"flags": {"tensor_parallel_size": 2}}, r"use the knob teacher\.tensor_parallel"),
        ({"env": {"VLLM_API_KEY": "x"}}, r"env\.VLLM_API_KEY cannot be set"),
        ({"env": {"HF_TOKEN": "hush"}}, r"env\.HF_TOKEN holds a secret: export it"),
        ({"env": {"HARMLESS": "sk-hush123456"}}, r"env\.HARMLESS holds a secret"),
        ({"model": "--port"}, r"teacher\.model must be"),
        ({"key": "MY_KEY"}, r"teacher\.key goes with base_url"),
        ({"base_url": "http://h/v1", "placement": "shared"}, r"shared is for a server that is started here.*remote"),
        ({"placement": "remote"}, r"remote is for a server that runs already: give base_url"),
        ({"base_url": "http://h/v1", "flags": {"seed": 1}}, r"teacher\.flags says how a server is started"),
        ({"base_url": "http://h/v1", "dtype": "half"}, r"teacher\.dtype says how a server is started"),
        ({"base_url": "h:8000"}, r"teacher\.base_url must begin with http"),
        ({"base_url": "http://h/v1", "key": "sk-abc123"}, r"teacher\.key must be the name"),
        ({"tensor_parallel": 0}, "must be at least 1"),
        ({"kv_cache_gib": 0}, "must be at least 1"),
        ({"restarts": -1}, r"teacher\.restarts must be at least 0"),
        ({"attempts": 0}, r"teacher\.attempts must be at least 1"),
        ({"extra_body": {"model": "x"}}, r"teacher\.extra_body must not set model"),
    ],
)
def test_what_is_not_safe_or_cannot_work_is_refused_on_one_line(knobs, words):
    with pytest.raises(InputError, match=words) as caught:
        VLLMTeacher(**{"model": "m", **knobs})
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_with_token_in_its_name_and_a_path_are_no_secrets():
    VLLMTeacher(model="m", env={"TOKENIZERS_PARALLELISM": "false", "HF_HOME": "/Data1/Models/of/everybody/hub"})


async def test_a_missing_command_is_said_with_what_to_do(make: Make):
    with pytest.raises(TeacherError, match=r"no vLLM at 'no-such-vllm': .*scripts/setup_vllm\.sh") as caught:
        await make(executable="no-such-vllm").ask(chat("hello"), Sampling())
    assert caught.value.fatal


def test_the_name_is_of_all_that_changes_replies_and_of_nothing_else(tmp_path: Path):
    def name(**knobs: object) -> str:
        return VLLMTeacher(**{"model": "org/model", **knobs}).name

    assert re.fullmatch(r"vllm:org/model#[0-9a-f]{16}", name())
    same = [
        {"executable": "/other/vllm"},
        {"flags": {"enforce_eager": True, "gpu_memory_utilization": 0.8, "max_num_seqs": 3, "seed": None}},
        {"tensor_parallel": 4, "env": {"A": "b"}, "kv_cache_gib": 9, "restarts": 0, "sleep_mode": True},
        {"base_url": "http://127.0.0.1:8123/v1"},
        {"base_url": "http://127.0.0.1:9123/v1"},
    ]
    assert {name(**knobs) for knobs in same} == {name()}
    different = [
        {"model": "org/other"},
        {"dtype": "float32"},
        {"max_model_len": 99},
        {"flags": {"quantization": "fp8"}},
        {"flags": {"revision": "abc"}},
        {"extra_body": {"top_k": 5}},
    ]
    assert len({name(), *(name(**knobs) for knobs in different)}) == len(different) + 1
    assert name(flags={"max_logprobs": 3, "hf-overrides": {"a": 1}}) == name(flags={"hf_overrides": {"a": 1}})


def test_a_model_folder_keeps_its_name_where_it_is_moved_and_not_where_its_weights_change(tmp_path: Path):
    def folder(place: str, weights: bytes) -> str:
        path = tmp_path / place / "my-model"
        path.mkdir(parents=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(weights)
        return VLLMTeacher(model=str(path)).name

    first = folder("a", b"1" * 5000)
    assert first.startswith("vllm:my-model#")
    assert folder("b", b"1" * 5000) == first
    assert folder("c", b"1" * 4999 + b"2") != first


def test_knobs_that_change_no_reply_are_said_to_be_operational():
    fields = VLLMTeacher.__dataclass_fields__.values()
    telling = {field.name for field in fields if not is_operational(field)}
    assert telling == {"model", "dtype", "max_model_len", "flags", "extra_body"}
    assert all(knob.help for knob in knobs_of(VLLMTeacher))


def test_recipes_of_the_page_can_be_used():
    page = (ROOT / "docs" / "teachers-vllm.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    teachers = [block["teacher"] for block in blocks if "teacher" in block]
    assert len(teachers) >= 4
    for spec in teachers:
        assert isinstance(plugins.build("teacher", spec, where="teacher", key="kind"), VLLMTeacher)


# ---------------------------------------------------------------------------------------------- its end


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "the GPU's memory is full"),
        ("ValueError: No available memory for the cache blocks. Try increasing", "no memory for the KV cache"),
        (
            (
                "ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired GPU memory "
                "utilization (0.9, 71.2 GiB)."
            ),
            "another program holds the GPU's memory",
        ),
        (
            (
                "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV "
                "cache is needed, which is larger than the available KV cache memory (1.0 GiB)."
            ),
            "lower max_model_len",
        ),
        ("ValueError: User-specified max_model_len (9999) is greater than the derived max_model_len", "lower it"),
        ("ValueError: Model architectures ['FooForCausalLM'] are not supported for now.", "upgrade vLLM"),
        ("vllm: error: unrecognized arguments: --nonsense 3", "teacher.flags holds what this vLLM does not know"),
        ("OSError: You are trying to access a gated repo.", "export HF_TOKEN"),
        (
            "OSError: nosuch is not a local folder and is not a valid model identifier listed on the hub",
            "the model was not found",
        ),
        ("RuntimeError: Failed to infer device type, please set the environment", "take the CPU build"),
        ("Value error, Sleep mode is not supported on current platform.", "set sleep_mode: false"),
        ("ModuleNotFoundError: No module named 'torch'", "environment is broken"),
        ("something that nobody has seen", "exit code 3"),
    ],
)
async def test_when_it_ends_the_error_says_why_and_what_to_do(make: Make, cache: Path, words: str, hint: str):
    teacher = make({"end": words, "code": 3})
    began = time.monotonic()
    with pytest.raises(TeacherError) as caught:
        await teacher.ask(chat("hello"), Sampling())
    said = str(caught.value)
    assert caught.value.fatal
    assert hint in said
    assert words[:200] in said
    assert str(next(cache.glob("*.log"))) in said
    assert time.monotonic() - began < 5  # at once, not after start_timeout
    assert servers.records() == []


async def test_a_start_that_failed_is_not_tried_again_for_every_call(make: Make, cache: Path):
    teacher = make({"end": "no"})
    failures = await asyncio.gather(*(teacher.ask(chat("a"), Sampling()) for _ in range(9)), return_exceptions=True)
    with pytest.raises(TeacherError):
        await teacher.ask(chat("b"), Sampling())
    assert len({str(failure) for failure in failures}) == 1
    assert len(list(cache.glob("*.log"))) == 1


async def test_a_server_that_never_answers_is_given_up_and_ended(make: Make):
    teacher = make({"loading": 1e9, "stubborn": True}, start_timeout=0.5, stop_timeout=0.3)
    with pytest.raises(TeacherError, match=r"did not answer within 0.5 seconds \(raise teacher\.start_timeout\)"):
        await teacher.ready()
    assert servers.records() == []


async def test_a_model_without_chat_template_is_said(make: Make):
    refuse = "As of transformers v4.44, default chat template is no longer allowed"
    with pytest.raises(TeacherError, match=r"cannot answer a chat: .*take an instruct model") as caught:
        await make({"refuse": refuse}).ask(chat("hello"), Sampling())
    assert caught.value.fatal


def test_the_error_that_others_follow_from_is_the_cause_however_many_calls_fail_with_it(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text(
        "(EngineCore pid=7) ERROR 11-21 [core.py:9] Traceback (most recent call last):\n"
        "(EngineCore pid=7) ERROR 11-21 [core.py:9] RuntimeError: the matter itself\n"
        "(APIServer pid=6) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.\n"
        + 'INFO:     127.0.0.1:4 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error\n' * 64
        + "(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert last_error(log, str) == "RuntimeError: the matter itself"
    assert "the matter itself" in last_lines(log, str)
    assert "POST" not in last_lines(log, str)


def test_a_healthy_log_names_no_cause_and_a_log_that_is_gone_is_no_error(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text(
        "INFO Detected the chat template content format to be 'string'.\nsleep mode is not supported on CPU\n"
    )
    assert cause(log) == ""
    assert last_lines(tmp_path / "none", str) == "the log is empty"
    log.write_bytes(b"\xff\xfe one\r two\x1b[1;31m three\x00four\n" * 40)
    assert last_lines(log, str, 2) == "two three four | two three four"


# ---------------------------------------------------------------------------------------------- break-downs


async def test_after_a_break_down_all_in_flight_are_asked_again_by_one_restart(make: Make, tmp_path: Path):
    teacher = make({"once": str(tmp_path / "once"), "requests": str(tmp_path / "requests"), "slow": 0.5})
    await teacher.ready()
    name = teacher.name
    asking = [teacher.ask(chat(f"slow {i}"), Sampling()) for i in range(16)]
    replies = await asyncio.gather(*asking, teacher.ask(chat("die"), Sampling()))
    assert [reply.text for reply in replies] == [*(f"SLOW {i}" for i in range(16)), "DIE"]
    assert (teacher._server.starts, teacher._server.restarts_left, teacher.name) == (2, 2, name)
    assert len({request["pid"] for request in requests_in(tmp_path / "requests")}) == 2
    assert len(servers.records()) == 1


@pytest.mark.parametrize("how", ["engine", "abort"])
async def test_a_dead_engine_and_a_reply_broken_off_at_the_end_are_break_downs(make: Make, tmp_path: Path, how: str):
    teacher = make({"once": str(tmp_path / "once")}, attempts=1)
    assert (await teacher.ask(chat(how), Sampling())).text == how.upper()
    assert teacher._server.starts == 2


async def test_a_server_with_a_dead_engine_that_stays_is_ended(make: Make, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(vllm_server, "_DYING", 0.3)
    teacher = make({"once": str(tmp_path / "once"), "dying": 99, "stubborn": True}, attempts=1, stop_timeout=0.2)
    assert (await teacher.ask(chat("engine"), Sampling())).text == "ENGINE"
    assert teacher._server.starts == 2


async def test_a_reply_broken_off_by_a_server_that_lives_is_handed_on_as_no_answer(monkeypatch, ledger, number_prompt):
    with LoopbackServer(ScriptedTeacher(replies=["12"])) as server:
        server.fault = lambda seen: Fault(finish_reason="abort")
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        teacher = VLLMTeacher(model=server.model, base_url=server.base_url, key="LOOPBACK_KEY")
        (answer,) = await Caller(teacher, ledger).ask(number_prompt, {"question": "?"})
        await teacher.aclose()
    assert (answer.value, answer.reason) == (None, "failed")


async def test_when_it_breaks_down_too_often_the_run_stops_with_the_log(make: Make):
    teacher = make(restarts=1)
    with pytest.raises(
        TeacherError, match=r"started again as often .*killed \(SIGKILL\).*engine met its end"
    ) as caught:
        await teacher.ask(chat("die"), Sampling())
    assert caught.value.fatal
    assert teacher._server.starts == 2
    with pytest.raises(TeacherError, match="as often"):
        await teacher.ask(chat("hello"), Sampling())


async def test_a_death_between_two_calls_is_a_break_down_too(make: Make):
    teacher = make({"engine": True})
    await teacher.ready()
    record = teacher._server.process.record
    os.kill(record.server.pid, signal.SIGKILL)
    took = await until(lambda: not processes(record.id))
    assert took < 3  # also the engine, which had left the group and does not follow SIGTERM
    assert (await teacher.ask(chat("hello"), Sampling())).text == "HELLO"
    assert teacher._server.starts == 2


async def test_close_while_it_is_asked_is_an_error_and_no_restart(make: Make):
    teacher = make({"slow": 30})
    await teacher.ready()
    asking = asyncio.create_task(teacher.ask(chat("slow"), Sampling()))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(teacher.close)
    with pytest.raises(TeacherError, match="was stopped while it was asked"):
        await asking
    assert teacher._server.starts == 1


# ---------------------------------------------------------------------------------------------- attaching, sleeping


async def test_attaching_asks_a_running_server_and_ends_nothing(monkeypatch):
    with LoopbackServer(ScriptedTeacher(replies=["4"])) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        teacher = VLLMTeacher(model=server.model, base_url=server.base_url, key="LOOPBACK_KEY")
        await teacher.ready()
        assert (await teacher.ask(chat("2 + 2"), Sampling())).text == "4"
        with pytest.raises(TeacherError, match=r"has no /sleep: it must be started with --enable-sleep-mode"):
            await teacher.sleep()
        await teacher.aclose()
        teacher.close()
        assert server.requests[0].path == "/v1/chat/completions"
    assert servers.records() == []


async def test_it_is_put_to_sleep_and_wakes_when_it_is_asked(make: Make, tmp_path: Path):
    teacher = make({"requests": str(tmp_path / "requests")}, sleep_mode=True)
    await teacher.ready()
    await teacher.sleep()
    assert (await teacher.ask(chat("hello"), Sampling())).text == "HELLO"
    await teacher.wake()
    paths = [request["path"] for request in requests_in(tmp_path / "requests")]
    assert paths[-3:] == ["/sleep?level=1", "/wake_up", "/v1/chat/completions"]
    with pytest.raises(InputError, match="level 1, not 2"):
        await teacher.sleep(2)


async def test_without_sleep_mode_it_says_so_and_still_answers(make: Make):
    teacher = make()
    await teacher.ready()
    with pytest.raises(TeacherError, match=r"set teacher\.sleep_mode: true"):
        await teacher.sleep()
    assert (await teacher.ask(chat("hello"), Sampling())).text == "HELLO"


@pytest.mark.parametrize(("cpu", "told", "sent"), [(True, None, None), (False, None, 5), (True, True, 5)])
async def test_a_cpu_build_gets_no_seed_unless_it_is_told_to(make: Make, tmp_path: Path, cpu, told, sent):
    teacher = make({"cpu": cpu, "requests": str(tmp_path / "requests")}, send_seed=told)
    await teacher.ask(chat("hello"), Sampling(seed=5))
    assert requests_in(tmp_path / "requests")[-1].get("seed") == sent


def test_the_version_of_a_command(executable: Path, tmp_path: Path):
    assert vllm_server.version_of(str(executable)) == "0.32.0+cpu"
    assert vllm_server.version_of(str(tmp_path / "none")) is None
    executable.write_text("#!/bin/sh\nsleep 60\n")
    assert vllm_server.version_of(str(executable), timeout=0.2) is None


# ---------------------------------------------------------------------------------------------- orphans

OWNER = textwrap.dedent("""
    import asyncio, json, sys, time
    sys.path.insert(0, sys.argv[1])
    from teachers.base import Sampling
    from teachers.vllm import VLLMTeacher
    teacher = VLLMTeacher(model="some/model", executable=sys.argv[2], stop_timeout=1.0, env={"FAKE_VLLM": sys.argv[3]})
    asyncio.run(teacher.ready())
    print(teacher._server.process.record.id, flush=True)
    if len(sys.argv) > 4:
        sys.exit(0)
    if "slow" in sys.argv[3]:
        asyncio.run(teacher.ask([{"role": "user", "content": "slow"}], Sampling()))
    time.sleep(300)
""")


@contextlib.contextmanager
def owner(executable: Path, fault: dict[str, object], *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield another process with a server of its own, and the server's id."""
    command = [sys.executable, "-c", OWNER, str(ROOT), str(executable), json.dumps(fault), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        mark = process.stdout.readline().strip()
        try:
            yield process, mark
        finally:
            process.kill()
            for left in processes(mark):  # only where the test has failed
                left.kill()


@pytest.mark.parametrize("fault", [{"engine": True}, {"engine": True, "stubborn": True, "slow": 99}])
async def test_nothing_is_left_when_its_owner_is_killed(executable: Path, fault):
    with owner(executable, fault) as (process, mark):
        assert len(processes(mark)) == 3
        assert servers.orphans() == []  # its owner lives
        process.kill()
        process.wait()
        assert await until(lambda: not processes(mark)) < 5
    await until(lambda: not servers.records())
    assert servers.orphans() == []


def test_nothing_is_left_when_its_owner_ends_without_closing(executable: Path):
    with owner(executable, {"engine": True}, "end") as (process, mark):
        assert process.wait(10) == 0
        assert processes(mark) == []
        assert servers.records() == []


async def test_an_orphan_of_killed_owner_and_guardian_is_found_and_reaped(executable: Path):
    with owner(executable, {"engine": True, "stubborn": True}) as (process, mark):
        (record,) = servers.records()
        orphan_of_the_living = servers.Orphan(record=record, processes=(), memory=0)
        assert servers.reap(orphan_of_the_living) == 0
        os.kill(record.guardian.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        await until(lambda: not servers.alive(record.guardian))
        (orphan,) = servers.orphans()
        assert orphan.record.id == mark
        assert {one.pid for one in orphan.processes} == {one.pid for one in processes(mark)}
        assert len(orphan.processes) == 2
        assert orphan.memory > 1e6
        bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        assert servers.reap(orphan, grace=0.2) == 2
        assert processes(mark) == []
        assert servers.orphans() == servers.records() == []
        assert bystander.poll() is None
        bystander.kill()
        bystander.wait()


async def test_a_server_whose_guardian_alone_was_killed_ends_by_the_kernels_signal_and_is_started_again(make: Make):
    teacher = make({"engine": True})
    await teacher.ready()
    record = teacher._server.process.record
    os.kill(record.guardian.pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(record.server.pid))
    assert (await teacher.ask(chat("hello"), Sampling())).text == "HELLO"
    assert processes(record.id) == []  # the engine that was left


def test_a_number_that_another_process_has_now_is_no_owner(cache: Path):
    record = servers.new_record(("vllm",))
    assert servers.alive(record.owner)
    later = servers.ProcessId(record.owner.pid, record.owner.created - 60)
    assert not servers.alive(later)
    stale = servers.ServerRecord(id=record.id, command=("vllm",), log=record.log, started=record.started, owner=later)
    servers.write_record(stale)
    assert servers.records() == [stale]
    assert servers.orphans() == []
    assert servers.records() == []  # it spoke of nothing any more


def test_records_that_cannot_be_read_or_are_copies_are_passed_over(cache: Path):
    record = servers.new_record(("vllm",))
    servers.write_record(record)
    (cache / "torn.json").write_text('{"id": "torn"')
    (cache / "copy.json").write_bytes((cache / f"{record.id}.json").read_bytes())
    assert servers.records() == [record]


async def test_a_cache_that_cannot_be_written_is_said(make: Make, monkeypatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(TeacherError, match="set TUTELAGE_CACHE to a folder to write to"):
        await make().ready()
