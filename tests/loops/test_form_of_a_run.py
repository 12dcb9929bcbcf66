"""Failures of form in a whole run: counted apart, said in one line, and never the end of a round."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lessons.demo.skills import solve
from lessons.jsonl import read_jsonl
from lessons.records import FORM_ERRORS, Attempt, Lesson, Message
from loops import stages
from loops.catalog import stages as catalog_stages
from loops.diagnosis.attempts import NEARLY_ALL
from loops.exams import freezing
from loops.lines import diagnose as diagnose_line
from loops.recipe import resolve
from loops.run import Run
from loops.store import RunFolder
from loops.views.diagnosis import Diagnosed
from loops.views.show import show
from loops.watching.progress import Silent
from loops.work import Work
from students.base import Answer
from teachers.ledger import read_calls

RECIPE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 2, "skills": ["carrying", "products", "change"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": "rule_tutor",
    "method": {"id": "stat_syn", "new": 1},
    "select": {"id": "profile", "budget": 20, "replay": 0},
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
    "examine": {"noise": False},
}


class Heard(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Pupil:
    """A student that answers as it is told, by the question; all that a diagnosis needs of one."""

    digest = name = "pupil"

    def __init__(self, says: Callable[[str], Answer]) -> None:
        self.says = says

    def answer(self, prompts: Sequence[Sequence[Message]], *_: object, **__: object) -> list[list[Answer]]:
        return [[self.says(prompt[-1]["content"])] for prompt in prompts]


def half_a_sentence(question: str) -> Answer:
    return Answer("First I take the numbers and then", cut=True)


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., tuple[Work, Heard]]:
    """A run that has examined a pupil in round 1, and is about to diagnose."""

    def begin(says: Callable[[str], Answer], **diagnosing: Any) -> tuple[Work, Heard]:
        heard = Heard()
        made = Work(
            folder=RunFolder(tmp_path / "run"), recipe=resolve({**RECIPE, "diagnose": diagnosing}), listener=heard
        )
        made.folder.start(made.recipe.plain(), lambda data: data)
        freezing.freeze(made)
        catalog_stages.catalogue(made)
        stages.examine(made, 1, Pupil(says))  # type: ignore[arg-type]
        return made, heard

    return begin


def found(work: Work) -> list[Attempt]:
    return list(read_jsonl(work.folder.round(1) / "attempts.jsonl", Attempt))


def test_where_all_is_of_form_the_round_goes_on_with_what_is_needed(work: Callable[..., tuple[Work, Heard]]) -> None:
    made, heard = work(half_a_sentence)
    marker = stages.diagnose(made, 1)
    diagnose_line(made, 1)
    attempts = found(made)
    assert marker.counts["diagnose/asked"] == 0
    assert marker.counts["error/truncated"] == marker.counts["diagnose/form alone"] == len(attempts) == 18
    assert marker.counts["diagnose/form taken for skills"] == 18
    assert all(a.missing == a.problem.skills and a.diagnosis and a.diagnosis.by == "needed" for a in attempts)
    said = "\n".join(heard.lines)
    assert "18 of 18 are of form alone (truncated 18): nearly all, so the skills that they need are taken" in said
    assert "raise student.answer.max_tokens (now 12)" in said


def test_where_some_are_of_form_the_gaps_are_those_of_the_others(work: Callable[..., tuple[Work, Heard]]) -> None:
    def says(question: str) -> Answer:
        return half_a_sentence(question) if "buys" in question or "costs" in question else Answer("2+2=5.\nAnswer: 5")

    made, heard = work(says)
    marker = stages.diagnose(made, 1)
    diagnose_line(made, 1)
    of_form = [a for a in found(made) if a.diagnosis and a.diagnosis.error in FORM_ERRORS]
    others = [a for a in found(made) if a not in of_form]
    assert 0 < len(of_form) <= NEARLY_ALL * 18
    assert all(a.missing == () for a in of_form)
    assert all(a.missing for a in others)
    assert marker.counts["diagnose/asked"] == len(others)
    assert marker.counts["diagnose/form taken for skills"] == 0
    said = f"{len(of_form)} of 18 are of form alone (truncated {len(of_form)}): no gap of a skill"
    assert said in "\n".join(heard.lines)
    profile = show(made.folder.path).rounds[-1].diagnosis
    assert profile is not None
    assert (profile.form, profile.form_as_skills) == (len(of_form), 0)


def test_needed_mode_keeps_form_apart_too(work: Callable[..., tuple[Work, Heard]]) -> None:
    def says(question: str) -> Answer:
        return half_a_sentence(question) if "times" in question or "costs" in question else Answer("Answer: 0")

    made, _ = work(says, by="needed")
    marker = stages.diagnose(made, 1)
    assert not (made.folder.path / "calls.sqlite").exists()
    assert marker.counts["diagnose/form alone"] == marker.counts["error/truncated"]
    for attempt in found(made):
        assert attempt.missing == (() if attempt.cut else attempt.problem.skills)


def test_the_demo_without_a_warm_up_goes_to_its_end(tmp_path: Path) -> None:
    """A student that knows no form fails nearly all by form; the run teaches all the same, and says what it does."""
    heard = Heard()
    Run.start(resolve(RECIPE), tmp_path / "run", listener=heard).to_the_end()
    folder = tmp_path / "run/rounds/01"
    attempts = list(read_jsonl(folder / "attempts.jsonl", Attempt))
    kinds = [a.diagnosis.error for a in attempts if a.diagnosis]
    assert sum(kind in FORM_ERRORS for kind in kinds) > 0.5 * len(attempts)
    assert any("of form alone" in line for line in heard.lines)
    assert list(read_jsonl(folder / "lessons.jsonl", Lesson))


def test_the_table_of_show(work: Callable[..., tuple[Work, Heard]]) -> None:
    def says(question: str) -> Answer:
        worked = solve(question)
        assert worked is not None
        match worked.skill:
            case "carrying":
                return Answer(worked.text)  # right
            case "products":
                return Answer("Answer: 3141592")
            case _:
                return half_a_sentence(question)

    made, _ = work(says, check_right=4)
    stages.diagnose(made, 1)
    row = show(made.folder.path).rounds[-1].diagnosis
    assert isinstance(row, Diagnosed)
    assert (row.missed, row.form, row.asked) == (12, 6, 10)
    assert {one.error: one.count for one in row.errors} == {"truncated": 6, "wrong plan": 6}
    assert row.verdicts is not None
    assert (row.verdicts.confirmed, row.verdicts.excused, row.verdicts.false_alarms, row.verdicts.passed) == (
        6,
        0,
        0,
        4,
    )
    assert (row.agrees_on_failures, row.agrees_on_right, row.kappa) == (1, 1, 1)
    told = show(made.folder.path).text()
    assert "12 missed: truncated 6, wrong plan 6" in told
    assert "6 of form alone" in told
    assert "takes 6 of 6 failures for wrong, 4 of 4 right attempts for right; kappa 1.00" in told
    data = json.loads(json.dumps(show(made.folder.path).data()))["rounds"][-1]["diagnosis"]
    assert data["verdicts"]["confirmed"] == 6
    assert data["kappa"] == 1


def test_a_round_that_is_not_diagnosed_yet_has_no_table(work: Callable[..., tuple[Work, Heard]]) -> None:
    made, _ = work(half_a_sentence)
    row = show(made.folder.path).rounds[-1]
    assert row.diagnosis is None
    assert "missed:" not in show(made.folder.path).text()


def test_what_a_privileged_teacher_saw_is_in_no_lessons_prompt(tmp_path: Path) -> None:
    canary = "the reference says heliotrope"
    rows = [
        {"question": f"Which word has number {n}?", "answer": f"heliotrope{n}", "solution": canary, "skills": ["words"]}
        for n in range(12)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "patient.py").write_text(
        "from dataclasses import dataclass\n"
        "from teachers.base import Reply\n"
        "from teachers.prices import FREE\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Patient:\n"
        "    name: str = 'patient'\n"
        "    prices = FREE\n"
        "    async def ask(self, messages, sampling):\n"
        "        seen = messages[-1]['content']\n"
        "        if 'heliotrope' in seen:\n"
        "            return Reply(text='Verdict: wrong\\nSkills: words\\nReason: It should be heliotrope.', usd=0.0)\n"
        "        return Reply(text='I look at the list.\\nAnswer: none', usd=0.0)\n"
        "    async def aclose(self):\n"
        "        pass\n"
    )
    recipe = {
        **RECIPE,
        "task": {"id": "jsonl", "train": str(tmp_path / "mine.jsonl"), "held_out": 3, "solution": "solution"},
        "teacher": {"kind": "patient:Patient"},
        "method": {"id": "critique", "of": "all"},
        "filters": [],
        "diagnose": {"privileged": True, "form": "skill"},
        "preflight": {"problems": 0},  # this teacher solves nothing
    }
    for method in ("rationale", {"id": "stat_sel", "references": 1, "rewrites": 1}):
        path = tmp_path / f"run-{len(str(method))}"
        Run.start(resolve({**recipe, "method": method}, folder=tmp_path), path).to_the_end()
        attempts = list(read_jsonl(path / "rounds/01/attempts.jsonl", Attempt))
        asked = [a for a in attempts if a.diagnosis and a.diagnosis.call]
        assert asked
        assert all(a.diagnosis.privileged for a in asked if a.diagnosis)
        calls = [call for call in read_calls(path / "calls.sqlite") if call.purpose == "missing_skills"]
        assert calls
        assert all(canary in call.messages[-1]["content"] for call in calls)
        lessons = list(read_jsonl(path / "rounds/01/lessons.jsonl", Lesson))
        assert lessons
        for lesson in lessons:
            assert "heliotrope" not in json.dumps(lesson.prompt)
            assert "heliotrope" not in lesson.completion


def test_records_of_older_runs_are_read(tmp_path: Path) -> None:
    """An attempt as it was written before errors, cuts and rewards were told."""
    old = (
        b'{"problem":{"question":"q","answer":"1"},"student":"s","text":"Answer: 2","score":0.0,"missing":["a"],'
        b'"diagnosis":{"by":"teacher","verdict":"wrong","call":"c"}}'
    )
    (tmp_path / "attempts.jsonl").write_bytes(old + b"\n")
    (attempt,) = read_jsonl(tmp_path / "attempts.jsonl", Attempt)
    assert attempt.missed
    assert (attempt.cut, attempt.rewards, attempt.difficult) == (False, (), None)
    assert attempt.diagnosis is not None
    assert (attempt.diagnosis.error, attempt.diagnosis.privileged) == (None, False)
