"""The engine `vllm`: the student's server from start to end, on a program that stands in for vLLM."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from lessons.errors import InputError, StudentError
from lessons.records import Lesson, Message, Problem, Provenance
from loops.engines.transformers import Transformers
from loops.engines.vllm import VLLMEngine
from loops.placing.server import NAME, StudentServer
from loops.recipe import resolve
from loops.run import Run
from students.base import Generation, Training
from students.served import ServedStudent
from students.tiny import tiny
from teachers import servers

FAKE = Path(__file__).parents[1] / "teachers" / "fake_vllm.py"
RED = (Message(role="user", content="say red"),)
SHORT = Generation(max_tokens=8)
Make = Callable[..., ServedStudent]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def command(tmp_path: Path) -> str:
    path = tmp_path / "vllm"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def make(command: str, tmp_path: Path) -> Iterator[Make]:
    """Makes the tiny student behind a server that misbehaves as `fault` says."""
    made: list[ServedStudent] = []

    def student(fault: dict[str, object] | None = None, **knobs: object) -> ServedStudent:
        env = {"FAKE_VLLM": json.dumps({"requests": str(tmp_path / "requests"), **(fault or {})})}
        engine = VLLMEngine(**{"executable": command, "env": env, "stop_timeout": 1.0, **knobs})
        said: list[str] = []
        card = engine.card(said.append, tmp_path / "run")
        served = engine.student(tiny(), card)
        assert isinstance(served, ServedStudent)
        served.desk.said = said
        made.append(served)
        return served

    yield student
    for one in made:
        one.desk.card.close()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters of the tiny student, of one rank."""
    lesson = Lesson(
        prompt=RED, completion="red", problem=Problem(question="say red"), provenance=Provenance(method="t", round=1)
    )
    into = tmp_path_factory.mktemp("learned")
    found: list[Path] = []
    for seed in (1, 2):
        training = Training(epochs=1, batch_size=1, micro_batch_size=1, rank=4, precision="float32")
        found.append(tiny().learn([lesson], into, training, seed=seed)[0].adapter)
    assert found[0] != found[1]
    return found


def answer(student: ServedStudent) -> int:
    """Return how many tokens the stand-in answers with: one, and one more where it has an adapter."""
    return len(student.answer([RED], SHORT)[0][0].text)


def asked_of(tmp_path: Path, path: str) -> list[dict]:
    told = [json.loads(line) for line in (tmp_path / "requests").read_text().splitlines()]
    return [one for one in told if one["path"].endswith(path)]


def acts(student: ServedStudent) -> list[tuple[str, str]]:
    return [(move.act, move.outcome) for move in student.desk.card.moves if move.tenant == NAME]


def line(student: ServedStudent) -> list[str]:
    return psutil.Process(student.desk.engine.server.process.record.server.pid).cmdline()


def test_the_base_is_served_alone_and_its_adapters_on_a_server_that_the_base_is_not_asked_on(
    make: Make, adapters: list[Path], tmp_path: Path
):
    student = make(dtype="float32", max_model_len=512)
    assert answer(student) == 1
    alone = line(student)
    assert "--enable-lora" not in alone
    assert alone[alone.index("--served-model-name") + 1] == "student"
    assert alone[alone.index("--generation-config") + 1] == "vllm"
    assert alone[alone.index("--dtype") + 1] == "float32"
    first, second = (student.with_adapter(folder) for folder in adapters)
    assert answer(first) == 2
    beside = line(first)
    assert [beside[beside.index(flag) + 1] for flag in ("--max-lora-rank", "--max-loras")] == ["8", "2"]
    assert answer(second) == 2  # one adapter at a time: the first has left
    assert answer(second) == answer(first) == 2
    answer(student)
    assert acts(student) == [("start", "done"), ("stop", "done")] * 2 + [("start", "done")]
    names = [adapter.name for adapter in adapters]
    assert [one["lora_name"] for one in asked_of(tmp_path, "/load_lora_adapter")] == [names[0], names[1], names[0]]
    assert [one["lora_name"] for one in asked_of(tmp_path, "/unload_lora_adapter")] == [names[0], names[1]]
    asked = asked_of(tmp_path, "/v1/completions")
    base, beside_base = {asked[0]["pid"], asked[-1]["pid"]}, {one["pid"] for one in asked[1:-1]}
    assert not base & beside_base
    assert {one["model"] for one in asked[1:-1]} == set(names)
    assert {one["model"] for one in (asked[0], asked[-1])} == {"student"}


def test_scoring_and_learning_have_the_server_leave(make: Make, tmp_path: Path):
    student = make()
    card = student.desk.card
    answer(student)
    assert card.owner == "student"
    assert len(servers.records()) == 1
    assert len(student.score([(RED, "red")])) == 1
    assert (card.owner, servers.records()) == ("scoring", [])
    answer(student)
    lesson = Lesson(
        prompt=RED, completion="red", problem=Problem(question="say red"), provenance=Provenance(method="t", round=1)
    )
    during: list[tuple[str, int]] = []
    after, _ = student.learn(
        [lesson], tmp_path / "into", Training(epochs=1, batch_size=1, micro_batch_size=1, rank=4),
        progress=lambda *_: during.append((card.owner, len(servers.records()))),
    )  # fmt: skip
    assert set(during) == {("training", 0)}
    assert (answer(after), answer(student)) == (2, 1)


def test_models_that_are_written_are_gone_with_their_server(make: Make, adapters: list[Path], tmp_path: Path):
    student = make(merge=True)
    served = tmp_path / "run" / "served"
    answer(student)
    (base,) = served.iterdir()
    assert (base / "model.safetensors").is_file()
    answer(student.with_adapter(adapters[0]))
    (merged,) = served.iterdir()
    assert merged != base
    student.desk.card.close()
    assert not served.exists()


def test_a_server_that_falls_is_started_again_and_asked_again(make: Make, adapters: list[Path], tmp_path: Path):
    dies_of = tiny().tokenizer("say red")["input_ids"][0]
    student = make({"dies_of": dies_of, "once": str(tmp_path / "once")}).with_adapter(adapters[0])
    others = [(Message(role="user", content=f"say {word}"),) for word in ("red", "blue", "green")]
    texts = [row[0].text for row in student.answer(others, SHORT)]
    assert len(set(texts)) == 1
    assert len(texts[0]) > 1
    assert acts(student) == [("start", "done"), ("look", "failed"), ("stop", "done"), ("start", "done")]
    assert student.desk.said == [f"{NAME} has ended by itself; what is left of it is ended"]
    assert len(asked_of(tmp_path, "/load_lora_adapter")) == 2  # a new server knows no adapter


def test_a_server_that_falls_too_often_stops_the_run_with_its_log(make: Make, tmp_path: Path):
    student = make({"dies_of": tiny().tokenizer("say red")["input_ids"][0]}, restarts=1)
    with pytest.raises(StudentError, match=r"was killed.*its log .*student\.engine\.restarts allows"):
        answer(student)
    student.desk.card.close()
    assert servers.records() == []


def test_a_server_that_cannot_be_started_is_said_in_the_student_s_words(make: Make, tmp_path: Path):
    with pytest.raises(StudentError, match=r"student\.engine\.executable: there is no vLLM at 'nothing'"):
        answer(make(executable="nothing"))
    failing = make({"end": "ValueError: no such thing"})
    with pytest.raises(StudentError, match="no such thing"):
        answer(failing)
    assert failing.desk.card.owner == "idle"


def test_an_adapter_that_the_server_does_not_take_is_said(make: Make, adapters: list[Path], tmp_path: Path):
    student = make().with_adapter(adapters[0])
    (adapters[0] / "adapter_config.json").rename(tmp_path / "kept")
    try:
        with pytest.raises(StudentError, match=rf"did not load_lora_adapter {adapters[0].name}: .*No adapter found"):
            answer(student)
    finally:
        (tmp_path / "kept").rename(adapters[0] / "adapter_config.json")


@pytest.mark.parametrize(("cpu", "told", "sent"), [(False, None, True), (True, None, False), (True, True, True)])
def test_a_cpu_build_gets_no_seed_unless_it_is_told_to(make: Make, tmp_path: Path, cpu, told, sent):
    student = make({"cpu": cpu}, send_seed=told)
    student.answer([RED], Generation(max_tokens=4, temperature=1.0))
    assert ("seed" in asked_of(tmp_path, "/v1/completions")[-1]) is sent


def test_nothing_is_left_when_the_run_s_process_is_killed(command: str, tmp_path: Path):
    """The guardian ends the student's server as it ends a teacher's."""
    import signal
    import subprocess
    import time

    words = f"""
import sys, time
from pathlib import Path
from loops.engines.vllm import VLLMEngine
from students.serving import Serving
from loops.placing.server import NAME
engine = VLLMEngine(executable={command!r}, stop_timeout=1.0)
card = engine.card(print, Path({str(tmp_path / "run")!r}))
card.engines[NAME].serving = Serving(model=Path("some/model"))
import asyncio
asyncio.run(card.take(NAME))
print(card.engines[NAME].server.process.record.id, flush=True)
time.sleep(60)
"""
    run = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True, cwd=FAKE.parents[2])
    mark = run.stdout.readline().strip()
    (record,) = servers.records()
    assert record.id == mark
    assert servers.processes_of(record) == 2
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    until = time.monotonic() + 10
    while servers.processes_of(record) and time.monotonic() < until:
        time.sleep(0.05)
    assert servers.processes_of(record) == 0


# ------------------------------------------------------------------------------------------ the recipe


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"flags": {"enable_lora": True}}, r"student\.engine\.flags\.enable_lora cannot be set: .*wrong weights"),
        ({"flags": {"max_loras": 4}}, r"student\.engine\.flags\.max_loras cannot be set"),
        ({"flags": {"port": 1}}, r"student\.engine\.flags\.port cannot be set"),
        ({"flags": {"dtype": "half"}}, r"use the knob student\.engine\.dtype"),
        ({"env": {"HF_TOKEN": "hush"}}, r"student\.engine\.env\.HF_TOKEN holds a secret"),
        ({"at_once": 0}, r"student\.engine: .*at_once.* must be at least 1"),
        ({"timeout": 0}, r"student\.engine: .*every timeout more than 0"),
        ({"kind": "other"}, r"student\.engine.*no engine 'other'"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(knobs: dict[str, object], words: str):
    recipe = {
        "task": "skills_demo", "student": {"model": "tiny", "engine": {"kind": "vllm", **knobs}},
        "teacher": {"kind": "rule_tutor"}, "method": "rationale",
    }  # fmt: skip
    with pytest.raises(InputError, match=words) as caught:
        resolve(recipe)
    assert "hush" not in str(caught.value)


def test_a_rank_that_vllm_cannot_serve_is_refused():
    from students.serving import Serving

    with pytest.raises(InputError, match="LoRA ranks up to 512, not 600: set merge"):
        VLLMEngine().launch(Serving(model=Path("m"), rank=600))
    assert dict(VLLMEngine().launch(Serving(model=Path("m"), rank=9)).flags)["max_lora_rank"] == 16


def test_the_engine_is_part_of_what_a_run_is_and_how_it_is_started_is_not():
    def recipe(**engine: object):
        return resolve(
            {
                "task": "skills_demo", "student": {"model": "tiny", "engine": engine},
                "teacher": {"kind": "rule_tutor"}, "method": "rationale",
            }
        )  # fmt: skip

    plain = recipe(kind="transformers")
    assert isinstance(plain.student.engine, Transformers)
    assert plain.digest == resolve({**plain.plain(), "student": {"model": "tiny"}}).digest
    vllm = recipe(kind="vllm")
    assert vllm.digest != plain.digest
    assert recipe(kind="vllm", dtype="float32").digest != vllm.digest
    assert recipe(kind="vllm", merge=True).digest != vllm.digest
    assert recipe(kind="vllm", executable="elsewhere", at_once=3, kv_cache_gib=1).digest == vllm.digest
    assert resolve(vllm.plain()).digest == vllm.digest
    assert "student.engine.executable" in vllm.operational


def test_a_run_through_the_server(command: str, tmp_path: Path):
    """Two rounds: no server is there while lessons are trained; each exam asks the adapter that was just trained."""
    env = {"FAKE_VLLM": json.dumps({"requests": str(tmp_path / "requests")})}
    recipe = {
        "task": {"id": "skills_demo", "train": 4, "held_out": 2, "skills": ["carrying", "products"]},
        "student": {
            "model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4},
            "engine": {"kind": "vllm", "executable": command, "env": env, "stop_timeout": 1.0},
        },
        "teacher": {"kind": "rule_tutor"},
        "method": "rationale",
        "train": {"epochs": 1},
        "examine": {"per_round": 4, "noise": False},
        "diagnose": {"form": "skill"},
        "gate": {"rule": "always"},
        "rounds": 2,
    }  # fmt: skip
    run = Run.start(resolve(recipe), tmp_path / "run")
    done = run.to_the_end()
    assert [one.index for one in done] == [0, 1, 2]
    engine = run.work.card.engines[NAME]
    assert isinstance(engine, StudentServer)
    assert [(m.act, m.outcome) for m in run.work.card.moves if m.tenant == NAME] == [
        ("start", "done"), ("stop", "done"),
    ] * 3  # fmt: skip
    models = list(dict.fromkeys(one["model"] for one in asked_of(tmp_path, "/v1/completions")))
    learned = [json.loads((tmp_path / "run/rounds" / index / "learned.json").read_text()) for index in ("01", "02")]
    assert models == ["student", *(one["learned"]["adapter"] for one in learned)]
    assert servers.records() == []
    assert not (tmp_path / "run" / "served").exists()


async def test_sleeping_is_no_way_for_a_server_with_adapters(make: Make):
    student = make()
    engine = student.desk.engine
    assert not engine.sleeps
    await student.desk.up(student.serving)
    await engine.sleep()
    assert not engine.alive
    await engine.wake()
    assert engine.alive
    await asyncio.to_thread(student.desk.card.close)


def test_the_recipe_of_the_page_can_be_used():
    page = (FAKE.parents[2] / "docs" / "placement.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    recipe = resolve({"task": "skills_demo", "method": "rationale", **yaml.safe_load(block)})
    assert isinstance(recipe.student.engine, VLLMEngine)
    assert (recipe.teacher["placement"], recipe.teacher["sleep_mode"]) == ("shared", True)
    for place in ("remote", "separate", "shared"):
        assert f"| `{place}` |" in page
