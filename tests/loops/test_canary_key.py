"""The key is seen nowhere: not in logs, ledgers, run folders, reports, tracebacks or command lines, whatever fails.

Canary keys are run through the whole command at full logging, against an endpoint that echoes them with every kind of
fault; then everything that was written, and every command line that `ps` would have shown, is searched for them.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
import pytest
import yaml

from lessons.errors import InputError
from loops.recipe import load
from teachers.ledger import read_calls
from teachers.loopback import Fault, LoopbackServer, Seen
from teachers.rule_tutor import RuleTutor

ROOT = Path(__file__).parents[2]
KEY = "sk-canary+Zq7Wm2Xk9pLr4/TnVb6HdYc8Ug3="  # signs that queries, JSON and HTML each write in their own way
GATE = "gate-canary/Jw5Fs8Ke1BxQ+Rt6Mz9Pv2Nh4Dy"
SECRETS = (KEY, GATE)
CUT = 12
"""Characters of a key that are already too many."""


def base64_of(before: str, secret: str) -> str:
    """Base64 of something that ends in the secret, without what is not of the secret alone."""
    text = base64.b64encode((before + secret).encode()).decode().rstrip("=")
    return text[-(-len(before) * 8 // 6) : len(text) - 1]


def traces_of(secret: str) -> set[bytes]:
    """Every piece by which a secret would be known, in each way of writing it."""
    spelled = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], secret.replace("/", "\\/")}
    spelled |= {base64_of(before, secret) for before in ("", "Bearer ", "user:")}
    return {text[start : start + CUT].encode() for text in spelled for start in range(len(text) - CUT + 1)}


TRACES = {trace: secret for secret in SECRETS for trace in traces_of(secret)}


def traces_in(seen: bytes) -> list[bytes]:
    return [trace for trace in TRACES if trace in seen]


def echo() -> str:
    """What an endpoint may say of a key that it was sent, or half of it where a proxy cut its words."""
    said = [f"Authorization: Bearer {KEY}; X-Gateway: {GATE}", quote(KEY, safe=""), json.dumps({"got": [KEY, GATE]})]
    said += [base64.b64encode(text.encode()).decode() for text in (KEY, f"Bearer {KEY}", GATE)]
    return " | ".join([*said, KEY[: len(KEY) // 2]])


def completion(finish: str = "stop", **message: Any) -> bytes:
    said = {"choices": [{"message": message, "finish_reason": finish}], "model": echo(), "usage": {"prompt_tokens": 3}}
    return json.dumps(said).encode()


READABLE = f"Reason: {echo()}\nVerdict: wrong\nSkills: carrying\nThe sum of {echo()} it is.\nAnswer: 7"
"""A diagnosis and a rationale in one, so that it goes all the way into a lesson."""
ESCAPED = "".join(f"\\u{ord(sign):04x}" for sign in READABLE)
FAULTS = (
    Fault(status=429, message=echo(), headers={"Retry-After": "0"}),
    Fault(status=500, raw=f"<html><body><pre>{echo()}</pre></body></html>".encode()),
    Fault(status=503, raw=echo().encode() * 300),
    Fault(cut=True),
    Fault(delay=3.0),
    Fault(raw=f'{{"choices": [{{"message": "{echo()}'.encode()),
    Fault(raw=json.dumps({"error": {"message": echo(), "code": 500}}).encode()),
    Fault(status=400, message=f"{echo()} maximum context length", code="context_length_exceeded"),
    Fault(status=422, raw=json.dumps({"detail": [{"input": {"headers": [KEY, GATE]}, "msg": echo()}]}).encode()),
    Fault(raw=completion(content=None, refusal=f"I will not: {echo()}")),
    Fault(raw=completion(content=echo(), finish="content_filter")),
    Fault(raw=completion(content=echo(), finish=echo())),
    Fault(raw=completion(content=READABLE, reasoning_content=echo())),
    Fault(raw=completion(content=f"<think>{echo()}</think>{READABLE}"), headers={"X-Echo": KEY, "Set-Cookie": GATE}),
    Fault(raw=f'{{"choices": [{{"message": {{"content": "{ESCAPED}"}}, "finish_reason": "stop"}}]}}'.encode()),
    Fault(text=f"nothing that can be read {echo()}"),
    Fault(text=READABLE),
)
UNSAID = Fault(raw=json.dumps({"object": "list", "data": [{"id": "loopback"}, {"id": echo()}]}).encode())

LOUD = "import logging\nlogging.basicConfig(level=logging.DEBUG)\n"
"""Every library's log, from the first line on."""

CRASHING = '''
import teachers.wire
from loops.methods.rationale import Rationale

__all__ = ["Crash"]


class Crash(Rationale):
    """A bug deep in the path of a call, while the answer that echoes the key is at hand."""

    async def teach(self, round):
        teachers.wire._decoder = None
        return await super().teach(round)
'''


def recipe(server: LoopbackServer, **more: Any) -> dict[str, Any]:
    teacher = {
        "kind": "openai", "model": "loopback", "base_url": server.base_url, "key": "CANARY_KEY", "timeout": 1.0,
        "headers": {"X-Gateway-Token": "$CANARY_GATE"},
    }  # fmt: skip
    return {
        "task": {"id": "skills_demo", "train": 10, "held_out": 2, "skills": ["carrying", "products"]},
        "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
        "teacher": teacher,
        "method": "rationale",
        "filters": [],
        "calls": {"max_lost": 1.0, "in_flight": 4},
        "select": {"id": "uniform", "budget": 40, "replay": 0},
        "train": {"epochs": 1},
        "gate": {"rule": "always"},
        "diagnose": {"form": "skill"},  # so that the teacher is asked about the tiny student's scribbles
        "preflight": {"problems": 0},  # so that the faults fall on diagnoses and lessons
        **more,
    }


@dataclass
class Command:
    """A command line under way, with all that it writes in one folder, and all that `ps` shows of it."""

    folder: Path
    process: subprocess.Popen[bytes]
    lines: set[str] = field(default_factory=set)
    _watch: threading.Thread | None = None

    @classmethod
    def start(cls, folder: Path, server: LoopbackServer, *words: str, **more: Any) -> "Command":
        for name in ("home", "tmp", "loud"):
            (folder / name).mkdir(parents=True)
        (folder / "loud" / "sitecustomize.py").write_text(LOUD)
        (folder / "mine.py").write_text(CRASHING)
        (folder / "r.yaml").write_text(yaml.safe_dump(recipe(server, **more)))
        kept = {name: value for name, value in os.environ.items() if name != "TUTELAGE_CALLS"}
        own = {
            "CANARY_KEY": KEY, "CANARY_GATE": GATE, "PYTHONPATH": f"{folder / 'loud'}{os.pathsep}{ROOT}",
            "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "TUTELAGE_CACHE": str(folder / "cache"),
            "OPENAI_LOG": "debug", "PYTHONASYNCIODEBUG": "1", "PYTHONFAULTHANDLER": "1", "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip
        # A shell ignores SIGINT for what it runs in the background, and children inherit that.
        heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        program = [sys.executable, "-c", f"{heeding}; from loops.cli import main; main()", *words]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as errors:
            process = subprocess.Popen(program, cwd=folder, env={**kept, **own}, stdout=out, stderr=errors)
        command = cls(folder, process)
        command._watch = threading.Thread(target=command._look, daemon=True)
        command._watch.start()
        return command

    def _look(self) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(self.process.pid)
                for one in (root, *root.children(recursive=True)):
                    self.lines.add(f"{one.name()} {' '.join(one.cmdline())} {one.cwd()}")
            time.sleep(0.05)

    def end(self, code: int) -> None:
        """Wait for the end, then search everything."""
        found = self.process.wait(timeout=120)
        assert self._watch is not None
        self._watch.join()
        assert found == code, (self.folder / "stderr").read_text()[-3000:]
        assert any("loops.cli" in line for line in self.lines)
        self.search()

    def search(self) -> None:
        for line in self.lines:
            assert not traces_in(line.encode()), line
        searched = 0
        for path in self.folder.rglob("*"):
            if path.is_file():
                held = path.read_bytes() + str(path.relative_to(self.folder)).encode()
                searched += len(held)
                assert not (found := traces_in(held)), f"{path}: {context_of(found[0], held)}"
        assert searched > 1000


def context_of(trace: bytes, held: bytes) -> str:
    at = held.index(trace)
    return held[max(0, at - 200) : at + 60].decode("utf-8", "replace")


@pytest.fixture
def endpoint() -> Iterator[LoopbackServer]:
    server = LoopbackServer(RuleTutor())
    server.key = KEY
    with server:
        yield server


ALL_IN_TURN = (*FAULTS, *FAULTS, *FAULTS[9:], *FAULTS[9:])
"""Twice each kind, then those that are no reason to try again: diagnoses take the first, lessons the last."""


def in_turn(faults: tuple[Fault, ...], after: int) -> Callable[[Seen], Fault | None]:
    """Misbehave in each of these ways, one request after the other, after some good answers."""

    def fault(seen: Seen) -> Fault | None:
        if seen.path == "/v1/models":
            return UNSAID
        turn = seen.index - after
        return faults[turn] if 0 <= turn < len(faults) else None

    return fault


@pytest.mark.slow
def test_a_whole_run_among_faults_of_every_kind(tmp_path: Path, endpoint: LoopbackServer) -> None:
    endpoint.fault = in_turn(ALL_IN_TURN, after=2)
    command = Command.start(tmp_path, endpoint, "run", "r.yaml", "--into", "run")
    command.end(0)
    assert len(endpoint.requests) > 2 + len(ALL_IN_TURN)  # each fault came
    assert any(seen.authorized for seen in endpoint.requests)
    assert "DEBUG:asyncio" in (tmp_path / "stderr").read_text()  # the logs were on
    lessons = (tmp_path / "run" / "rounds" / "01" / "lessons.jsonl").read_text()
    assert "[key]" in lessons  # and what echoed the key went all the way
    for name in ("run", "cache"):
        calls = list(read_calls(tmp_path / name / "calls.sqlite"))
        assert sum("[key]" in call.reply.text for call in calls) >= 4
        assert any("[key]" in call.reply.reasoning for call in calls)
        assert any("[key]" in call.reply.detail for call in calls)
        assert any("[key]" in call.reply.model for call in calls)
        assert any(call.purpose.endswith("/repair") for call in calls)
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    lost = (tmp_path / "run" / "rounds" / "01" / "lost.jsonl").read_text()
    assert "[key]" in lost


FATAL: Mapping[str, Fault] = {
    "401": Fault(status=401, message=f"Incorrect API key provided: {echo()}", code="invalid_api_key"),
    "403": Fault(status=403, raw=f"<html>{echo()}</html>".encode()),
    "404": Fault(status=404, message=f"no model for {echo()}", code="model_not_found"),
}


@pytest.mark.parametrize("fault", FATAL.values(), ids=FATAL.keys())
def test_a_fault_that_ends_it_at_once(fault: Fault, tmp_path: Path, endpoint: LoopbackServer) -> None:
    endpoint.fault = lambda seen: fault
    command = Command.start(tmp_path, endpoint, "estimate", "r.yaml", "--calls", "1")
    command.end(1)
    said = (tmp_path / "stderr").read_text()
    assert f"the endpoint answered {fault.status}" in said
    assert "[key]" in said


def hanging(seen: Seen) -> Fault | None:
    """Echo the key a few times, then answer no more."""
    if seen.path == "/v1/models":
        return UNSAID
    return Fault(delay=float("inf")) if seen.index > 8 else Fault(text=READABLE) if seen.index > 2 else None


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_stopped_and_killed_and_crashed(tmp_path: Path, endpoint: LoopbackServer) -> None:
    endpoint.fault = hanging
    patient = {**recipe(endpoint)["teacher"], "timeout": 60.0, "features": ["n"]}
    run = ("run", "r.yaml", "--into", "run")
    stopped = Command.start(tmp_path / "stopped", endpoint, *run, teacher=patient)
    until(lambda: len(endpoint.requests) > 10)
    stopped.process.send_signal(signal.SIGINT)
    until(lambda: "stopping at the next safe point" in (stopped.folder / "stderr").read_text())
    stopped.process.send_signal(signal.SIGINT)
    stopped.end(130)
    assert "stopped by Ctrl-C; go on with tutelage resume" in (stopped.folder / "stderr").read_text()

    endpoint.requests.clear()
    endpoint.fault = lambda seen: Fault(delay=float("inf")) if len(endpoint.requests) > 8 else Fault(text=READABLE)
    killed = Command.start(tmp_path / "killed", endpoint, *run, teacher=patient)
    until(lambda: len(endpoint.requests) > 10)
    killed.process.kill()
    killed.end(-signal.SIGKILL)
    assert (killed.folder / "run" / "calls.sqlite-wal").stat().st_size > 0  # left as it was at that moment

    endpoint.fault = lambda seen: Fault(text=READABLE)
    crashed = Command.start(
        tmp_path / "crashed", endpoint, *run, teacher=patient, method="mine:Crash", diagnose={"by": "needed"}
    )
    crashed.end(1)
    said = (crashed.folder / "stderr").read_text()
    assert "Traceback (most recent call last)" in said
    assert "_decoder.decode(body)" in said


PLACES: Mapping[str, Callable[[str], Any]] = {
    "key": lambda key: {"key": key},
    "key in a list": lambda key: {"key": [key]},
    "address": lambda key: {"base_url": f"http://127.0.0.1:1/{key}/v1"},
    "query": lambda key: {"base_url": f"http://127.0.0.1:1/v1?key={key}"},
    "user": lambda key: {"base_url": f"http://user:{quote(key, safe='')}@127.0.0.1:1/v1"},
    "no address": lambda key: {"base_url": key},
    "header": lambda key: {"headers": {"X-Thing": key}},
    "named header": lambda key: {"headers": {"Authorization": f"Bearer {key}"}},
    "variable of a header": lambda key: {"headers": {"X-Thing": f"${key}"}},
    "header's own name": lambda key: {"headers": {key: "1"}},
    "member": lambda key: {"extra_body": {"metadata": {"list": [{"x": f"to {key}"}]}}},
    "member's own name": lambda key: {"extra_body": {"metadata": {key: {"secret": "x"}}}},
    "extra_body itself": lambda key: {"extra_body": key},
    "label": lambda key: {"label": f"mine {key}"},
    "model": lambda key: {"model": key},
    "number": lambda key: {"timeout": key},
    "choice": lambda key: {"token_parameter": key},
    "switch": lambda key: {"send_seed": key},
    "features": lambda key: {"features": [key]},
    "prices": lambda key: {"prices": {"prompt": key}},
    "unknown knob": lambda key: {"api_key": key},
    "unknown name": lambda key: {key: "x"},
    "kind": lambda key: {"kind": key},
    "pool": lambda key: {"kind": "pool", "members": [{"kind": "openai", "model": "m", "key": key}]},
    "pool's label": lambda key: {"kind": "pool", "label": key, "members": [{"kind": "openai", "model": "m"}]},
}
LIKE_A_KEY = "sk-canary-Zq7Wm2Xk9pLr4TnVb6HdYc8Ug3"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_key_in_a_recipe_is_refused_in_one_line_without_it(place: Callable[[str], Any], tmp_path: Path) -> None:
    given = place(LIKE_A_KEY)
    teacher = {"kind": "openai", "model": "m", **given} if given.get("kind") != "pool" else given
    path = tmp_path / "r.yaml"
    path.write_text(
        yaml.safe_dump({"task": "skills_demo", "student": "tiny", "teacher": teacher, "method": "rationale"})
    )
    with pytest.raises(InputError) as end:
        load(path)
    said = str(end.value)
    assert "\n" not in said
    pieces = [LIKE_A_KEY[start : start + CUT] for start in range(len(LIKE_A_KEY) - CUT + 1)]
    assert not [piece for piece in pieces if piece in said], said
    assert end.value.__cause__ is None or LIKE_A_KEY not in str(end.value.__cause__)


@pytest.mark.parametrize(
    "given",
    [
        {"label": "tutor of Ana, plain-secret-of-mine"},
        {"base_url": "http://127.0.0.1:1/plain-secret-of-mine/v1"},
        {"extra_body": {"a": ["plain-secret-of-mine"]}},
        {"extra_body": {"api_key": "anything"}},
        {"extra_body": {"auth": {"access_token": "anything"}}},
    ],
    ids=str,
)
def test_a_key_that_looks_like_none_is_known_by_its_variable(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from teachers.openai import OpenAITeacher

    monkeypatch.setenv("CANARY_KEY", "plain-secret-of-mine")
    with pytest.raises(InputError, match="looks like a key") as end:
        OpenAITeacher(model="m", key="CANARY_KEY", **given)
    assert "plain-secret" not in str(end.value)
    assert "anything" not in str(end.value)


@pytest.mark.parametrize(
    "given",
    [
        {"model": "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"},
        {"model": "ft:gpt-4o-mini-2024-07-18:acme::AbC123xY"},
        {"label": "Qwen3 32B, second server"},
        {"base_url": "https://gateway.ai.cloudflare.com/v1/0123456789abcdef0123456789abcdef/mine/openai"},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"}},
        {"extra_body": {"guided_json": {"properties": {"password": {"type": "string"}}}}},
        {"headers": {"X-Api-Key": "$MY_KEY", "X-Title": "Tutelage"}},
    ],
    ids=str,
)
def test_what_is_no_key_is_taken(given: Any) -> None:
    from teachers.openai import OpenAITeacher

    OpenAITeacher(**{"model": "m", **given})


@pytest.mark.parametrize("key", ["EMPTY", "none", "1234", "loopback", "12345678", "dummy"])
def test_a_placeholder_is_not_taken_out_of_replies(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from teachers.secrets import Secrets

    monkeypatch.setenv("CANARY_KEY", key)
    assert Secrets.read("CANARY_KEY", {}).hide(f"It is {key}.") == f"It is {key}."


def test_the_search_finds_what_it_is_to_find() -> None:
    for secret in SECRETS:
        said = [secret, quote(secret, safe=""), secret[:20], secret[-20:], json.dumps([secret]), repr(secret)]
        said += [base64.b64encode(f"{before}{secret}".encode()).decode() for before in ("", "Bearer ", "user:")]
        assert all(traces_in(f"before {text} behind".encode()) for text in said)
    assert not traces_in(b"sk-canary and other words, $CANARY_KEY")
