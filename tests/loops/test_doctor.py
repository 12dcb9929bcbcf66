import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lessons.sandbox.confine import Confinement
from loops import doctor
from loops.doctor import check_teacher, checks
from loops.recipe import resolve
from teachers.loopback import Fault, LoopbackServer
from teachers.scripted import ScriptedTeacher
from teachers.servers import MARK, ServerRecord, new_record, process_id, write_record

REST = {"task": "skills_demo", "student": "tiny", "method": "rationale"}
HELLO = ScriptedTeacher(replies=lambda messages, sampling: "Hello.")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def teacher(server: LoopbackServer, **more: object):
    spec = {"kind": "openai", "model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY", "attempts": 1}
    return resolve({**REST, "teacher": {**spec, **more}}).make_teacher()


async def test_a_recipes_teacher_is_asked_what_it_can(monkeypatch: pytest.MonkeyPatch):
    async with LoopbackServer(HELLO) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        found = {check.name: check for check in await check_teacher(teacher(server))}
    assert found["teacher model"].ok
    assert found["teacher can"].found == "n, json_schema"
    assert found["teacher answers"].ok
    assert "'Hello.'" in found["teacher answers"].found
    assert found["teacher prices"].found.startswith("unknown")


async def test_what_is_wrong_with_a_teacher_is_said(monkeypatch: pytest.MonkeyPatch):
    async with LoopbackServer(HELLO) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        wrong_model = await check_teacher(teacher(server, model="loopbakc"))
        assert any("check the model's name" in check.found and not check.ok for check in wrong_model)
        monkeypatch.setenv("LOOPBACK_KEY", "wrong-key-1234")
        (answers, _) = await check_teacher(teacher(server))
        assert not answers.ok
        assert "check the key" in answers.found
        assert "wrong-key-1234" not in str(answers)
    async with LoopbackServer(HELLO, fault=lambda seen: Fault(status=500)) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        assert not (await check_teacher(teacher(server)))[0].ok


async def test_a_vllm_that_is_not_there_is_said_with_what_to_do(tmp_path: Path):
    recipe = {**REST, "teacher": {"kind": "vllm", "model": str(tmp_path), "executable": str(tmp_path / "vllm")}}
    (check,) = await check_teacher(resolve(recipe).make_teacher())
    assert not check.ok
    assert "scripts/setup_vllm.sh" in check.advice


def left_behind() -> tuple[subprocess.Popen[bytes], ServerRecord]:
    """Start a process that carries a server's mark, and a record whose owner is a process that has ended."""
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    record = new_record(("vllm", "serve", "a-model"))
    marked = {**os.environ, MARK: record.id}
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=marked, start_new_session=True)
    dead = process_id(owner.pid)
    own = process_id(server.pid)
    assert dead is not None
    assert own is not None
    import msgspec

    record = msgspec.structs.replace(record, owner=dead, server=own)
    write_record(record)
    owner.kill()
    owner.wait()
    return server, record


def test_orphans_are_shown_and_ended_only_when_asked(capsys: pytest.CaptureFixture[str]):
    server, _ = left_behind()
    try:
        (check,) = [check for check in checks() if check.name == "orphaned servers"]
        assert not check.ok
        assert "vllm serve a-model" in check.found
        assert "doctor --reap" in check.advice
        assert server.poll() is None
        from loops import doctor

        assert doctor.reap() == 1
        deadline = time.monotonic() + 10
        while server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.poll() is not None
        (check,) = [check for check in checks() if check.name == "orphaned servers"]
        assert check.ok
    finally:
        if server.poll() is None:
            server.kill()
        server.wait()


def test_the_command_prints_json(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({**REST, "teacher": "rule_tutor"}))
    command = [sys.executable, "-c", "from loops.cli import main; main()", "doctor", str(recipe), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert found["teacher answers"]["ok"]
    assert found["orphaned servers"]["ok"]


def test_it_says_whether_code_can_be_confined(monkeypatch: pytest.MonkeyPatch):
    (check,) = [check for check in checks() if check.name == "confining code"]
    assert check.ok  # a run needs it for one grader only
    lacking = Confinement(False, "the kernel has no Landlock")
    monkeypatch.setattr(doctor, "confinement", lambda: lacking)
    (check,) = [check for check in checks() if check.name == "confining code"]
    assert check.found == "none, so that the grader 'code' refuses to run: the kernel has no Landlock"
