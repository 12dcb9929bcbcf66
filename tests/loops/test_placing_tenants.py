"""The tenants of a run's card: teachers that share it, the student's weights here, and what dead runs left."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lessons.errors import InputError, TutelageError
from lessons.records import Message
from loops.engines.transformers import Transformers
from loops.placing.card import Card
from loops.placing.tenants import TeacherEngine, asking, beside, reap
from loops.recipe import resolve
from loops.run import Run
from students.base import Generation
from students.hf import HFStudent
from students.residents import residents
from students.tiny import tiny
from teachers import servers
from teachers.base import Reply, Sampling
from teachers.pool import PoolTeacher
from teachers.rule_tutor import RuleTutor
from teachers.servers import ProcessId
from teachers.vllm import VLLMTeacher

FAKE = Path(__file__).parents[1] / "teachers" / "fake_vllm.py"
RECIPE = {
    "task": {"id": "skills_demo", "train": 4, "held_out": 2, "skills": ["carrying", "products"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
    "train": {"epochs": 1},
    "diagnose": {"form": "skill"},
    "preflight": {"problems": 2},
    "examine": {"per_round": 4, "noise": False},
    "gate": {"rule": "always"},
    "rounds": 2,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


class Sharing(RuleTutor):
    """A teacher in this process that takes the card with its first call and has it until it is closed."""

    placement = "shared"

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["seen"] = seen = []
        self.__dict__["has"] = has = []
        self.seen: list[tuple[str, bool]]
        """(who works, whether the other one had the card)."""
        self.has: list[bool]
        assert seen == has == []

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        if not self.has:
            self.has.append(True)
        self.seen.append(("teacher", bool(residents())))
        await asyncio.sleep(0)
        return await super().ask(messages, sampling)

    def close(self) -> None:
        self.has.clear()


def watched(monkeypatch: pytest.MonkeyPatch, teacher: Sharing) -> None:
    """Note at each of the student's works whether the teacher has the card."""
    for name in ("answer", "score", "learn"):
        real = getattr(HFStudent, name)

        def noting(*given, _real=real, _name=name, **more):
            teacher.seen.append((_name, bool(teacher.has)))
            return _real(*given, **more)

        monkeypatch.setattr(HFStudent, name, noting)


def test_in_a_run_teacher_and_student_are_never_on_the_card_together(tmp_path, monkeypatch):
    run = Run.start(resolve({**RECIPE, "filters": ["format", {"id": "ifd", "below": None}]}), tmp_path / "run")
    teacher = Sharing()
    run.work.teacher = teacher
    watched(monkeypatch, teacher)
    run.to_the_end()
    assert [who for who, other in teacher.seen if other] == []
    turns = [who for who, before in zip(teacher.seen, [("", False), *teacher.seen], strict=False) if who != before]
    assert [who for who, _ in turns].count("teacher") >= 3  # its exam, and each round's lessons
    assert {who for who, _ in turns} == {"teacher", "answer", "score", "learn"}
    assert run.work.card.owner == "idle"
    assert teacher.has == []


def test_a_teacher_elsewhere_leaves_the_student_loaded(tmp_path):
    run = Run.start(resolve({**RECIPE, "rounds": 1}), tmp_path / "run")
    run.up_to(1, "learn")
    assert [tenant.owner for tenant in run.work.card.state] == ["student", "training"]
    assert {move.act for move in run.work.card.moves} <= {"start", "stop"}


def test_what_the_student_holds_here_is_given_back_before_it_is_trained(tmp_path, monkeypatch):
    loaded: list[int] = []
    real = HFStudent.learn

    def learn(self, *given, **more):
        loaded.append(len(residents()))
        return real(self, *given, **more)

    monkeypatch.setattr(HFStudent, "learn", learn)
    Run.start(resolve(RECIPE), tmp_path / "run").to_the_end()
    assert loaded == [0, 0]


def test_who_holds_a_model_is_known_until_it_is_closed():
    student = tiny()
    before = len(residents())
    student.answer([(Message(role="user", content="hello"),)], Generation(max_tokens=2))
    assert student in residents()
    assert len(residents()) == before + 1
    student.close()
    assert student not in residents()


# ----------------------------------------------------------------------------------------- a vLLM server


@pytest.fixture
def teachers(tmp_path: Path) -> Iterator:
    """Makes vLLM teachers that share the card, on a program that stands in for vLLM."""
    command = tmp_path / "vllm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    command.chmod(0o755)
    made: list[VLLMTeacher] = []

    def make(fault: dict[str, object] | None = None, **knobs: object) -> VLLMTeacher:
        env = {"FAKE_VLLM": json.dumps({"requests": str(tmp_path / "requests"), **(fault or {})})}
        given = {"model": "some/model", "executable": str(command), "stop_timeout": 1.0, "attempts": 2, "env": env}
        made.append(VLLMTeacher(**{"placement": "shared", **given, **knobs}))
        return made[-1]

    yield make
    for teacher in made:
        teacher.close()


def asked_of(tmp_path: Path) -> list[str]:
    return [json.loads(line)["path"] for line in (tmp_path / "requests").read_text().splitlines()]


def chat(card: Card, teacher, text: str = "hello") -> str:
    async def call() -> str:
        async with asking(card, teacher):
            reply = await teacher.ask([Message(role="user", content=text)], Sampling())
        await teacher.aclose()
        return reply.text

    return asyncio.run(call())


def acts(card: Card) -> list[tuple[str, str]]:
    return [(move.act, move.outcome) for move in card.moves if move.tenant.startswith("the teacher")]


def test_a_server_that_can_sleep_sleeps_while_the_student_works_and_wakes_when_it_is_asked(teachers, tmp_path):
    card, teacher = Transformers().card(print, Path()), teachers(sleep_mode=True)
    for _ in range(2):
        card.make_room("student")
        assert chat(card, teacher) == "HELLO"
        assert card.owner == "teacher"
    card.make_room("training")
    assert card.owner == "training"
    assert acts(card) == [("start", "done"), ("sleep", "done"), ("wake", "done"), ("sleep", "done")]
    assert [path for path in asked_of(tmp_path) if not path.startswith("/v1")] == [
        "/sleep?level=1", "/wake_up", "/sleep?level=1",
    ]  # fmt: skip
    assert len(servers.records()) == 1
    card.close()
    assert servers.records() == []
    assert acts(card)[-1] == ("stop", "done")


def test_a_server_that_cannot_sleep_is_ended_and_started_again(teachers):
    card, teacher = Transformers().card(print, Path()), teachers()
    for _ in range(2):
        chat(card, teacher)
        card.make_room("student")
        assert servers.records() == []
    assert acts(card) == [("start", "done"), ("stop", "done")] * 2


def test_a_server_that_died_between_two_stages_is_cleared_away_and_started_again(teachers):
    said: list[str] = []
    card, teacher = Transformers().card(said.append, Path()), teachers(sleep_mode=True)
    chat(card, teacher)
    card.make_room("student")  # it sleeps
    process = teacher._server.process
    os.kill(process.record.server.pid, 9)
    while process.exit_code is None:
        process._process.wait(5)
    assert chat(card, teacher) == "HELLO"
    assert acts(card)[-3:] == [("look", "failed"), ("stop", "done"), ("start", "done")]
    assert said == [f"the teacher {teacher.name} has ended by itself; what is left of it is ended"]


def test_a_server_that_cannot_be_started_leaves_the_card_idle(teachers):
    card, teacher = Transformers().card(print, Path()), teachers({"end": "ValueError: no such thing"})
    card.make_room("student")
    with pytest.raises(TutelageError, match="no such thing"):
        chat(card, teacher)
    assert card.owner == "idle"
    assert servers.records() == []
    card.make_room("student")


def test_what_a_server_leaves_behind_is_killed_before_the_student_comes(teachers):
    said: list[str] = []
    card, teacher = Transformers().card(said.append, Path()), teachers()
    chat(card, teacher)
    record = teacher._server.process.record
    words = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    left = subprocess.Popen(
        [sys.executable, "-c", words], env={**os.environ, servers.MARK: record.id}, stdout=subprocess.PIPE
    )
    left.stdout.readline()
    card.make_room("student")
    assert servers.processes_of(record) == 0
    assert acts(card)[1:] == [("stop", "failed"), ("kill", "done")]
    assert said == [f"the teacher {teacher.name} has not ended; it is killed (1 of its processes are still there)"]
    assert card.owner == "student"


def test_separate_and_remote_teachers_are_no_tenants(teachers):
    card = Transformers().card(print, Path())
    chat(card, teachers(placement="separate"))
    assert [tenant.owner for tenant in card.state] == ["student", "training"]


def test_of_a_pool_those_members_that_share_are_tenants(teachers):
    card = Transformers().card(print, Path())
    one, other = teachers(), teachers(placement="separate", max_model_len=77)
    pool = PoolTeacher(members=(one, other), route="by_problem")
    for text in "abcd":  # to both of them, by chance
        chat(card, pool, text)
    assert [tenant.name for tenant in card.state if tenant.owner == "teacher"] == [f"the teacher {one.name}"]
    card.make_room("student")
    assert (one.running, other.running) == (False, True)


def test_two_teachers_of_one_name_are_two_tenants(teachers):
    card, one, other = Transformers().card(print, Path()), teachers(), teachers()
    chat(card, one)
    chat(card, other)
    assert len({tenant.name for tenant in card.state if tenant.owner == "teacher"}) == 2
    assert (one.running, other.running) == (True, True)


def test_the_student_may_not_work_while_the_teacher_is_asked(teachers):
    card, teacher = Transformers().card(print, Path()), teachers()

    async def both() -> None:
        async with asking(card, teacher):
            card.make_room("student")

    with pytest.raises(InputError, match=r"the teacher vllm:.* is at work, and would have to leave the card"):
        asyncio.run(both())
    card.make_room("student")


def test_a_teacher_without_a_server_has_nothing_to_start_or_kill():
    class Loaded:
        placement = "shared"
        closed = 0

        def close(self) -> None:
            self.closed += 1

    teacher = Loaded()
    engine = TeacherEngine(teacher)

    async def every() -> None:
        await engine.start()
        await engine.sleep()
        await engine.wake()
        await engine.stop()
        await engine.kill()

    asyncio.run(every())
    assert (engine.alive, engine.sleeps, teacher.closed) == (True, False, 1)


# ----------------------------------------------------------------------------------------- dead runs


def test_a_server_of_a_dead_run_is_ended_before_anybody_comes(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    owner = ProcessId(dead.pid, 1.0)
    dead.wait()
    record = servers.new_record(("vllm",))
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
        env={**os.environ, servers.MARK: record.id}, stdout=subprocess.PIPE,
    )  # fmt: skip
    left.stdout.readline()
    import msgspec

    servers.write_record(msgspec.structs.replace(record, owner=owner))
    said: list[str] = []
    card = Transformers().card(said.append, Path())
    assert left.poll() is None
    card.make_room("student")
    assert servers.processes_of(record) == 0
    assert len(said) == 1
    assert said[0].startswith("a server of a run that is gone was still there (1 processes, 0.0 GiB")
    reap(said.append)
    assert len(said) == 1
    left.wait()


async def test_what_is_done_beside_comes_back_with_its_result_or_its_error():
    assert await beside(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await beside(lambda: 1 // 0)
