"""TS-Align by hand: which pair the scorer picks, who orders it, what the scorer learns; then through the loop."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import ParseError
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Message, Problem
from lessons.skills import SkillCatalog, SkillProfile
from loops.filters.base import Context
from loops.methods import ts_align
from loops.methods.ts_align import TsAlign
from loops.recipe import resolve
from loops.round import Round
from loops.run import Run
from loops.store import RunFolder
from students.base import Answer, Generation
from teachers.base import Reply, Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.preference import PREFERENCE
from teachers.prompts.reading import sections
from teachers.scripted import ScriptedTeacher

PROBLEMS = [Problem(question=f"problem {number}", answer="1", skills=("a",)) for number in range(3)]
ATTEMPTS = [Attempt(problem=problem, student="s", text="x", score=0.0, missing=("a",)) for problem in PROBLEMS]


class Grading:
    def read(self, text: str) -> str | None:
        return text or None

    def same(self, one: str, other: str) -> bool:
        return one == other

    def grade(self, problem: Problem, text: str) -> Any:
        from lessons.graders.base import Grade

        return Grade(0.0, text)


class PlainTask:
    instruction = ""
    grader = Grading()


class Says:
    """A student whose k-th answer is the k-th of its words."""

    digest = "says"

    def __init__(self, *words: str) -> None:
        self.words = words

    def answer(self, prompts: Any, generation: Generation, *, samples: int = 1, **_: Any) -> list[list[Answer]]:
        return [[Answer(self.words[k % len(self.words)]) for k in range(samples)] for _ in prompts]


class Scorer:
    """Scores by length, the longer the better; an untaught one says 0 of all. Notes what it was taught."""

    taught: list[tuple[Any, ...]] = []

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    @classmethod
    def open(cls, base_model: str, folder: Path | None = None) -> "Scorer":
        cls.opened = (base_model, folder)
        return cls(folder)

    def score(self, rows: Sequence[tuple[Any, str]]) -> list[float]:
        return [float(len(text)) if self.folder else 0.0 for _, text in rows]

    def learn(self, pairs: Any, into: Path, *, seed: int, epochs: float, learning_rate: float, **_: Any) -> "Scorer":
        Scorer.taught.append((list(pairs), into.name, epochs, learning_rate))
        (into / "adapter-1").mkdir(parents=True)
        return Scorer(into / "adapter-1")


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "loop" not in request.node.name:
        monkeypatch.setattr(Scorer, "taught", [])
        monkeypatch.setattr(ts_align, "RewardModel", Scorer)


def teach(
    method: TsAlign, reply: Callable[[dict[str, str]], str], ledgers: Path, student: Any, **more: Any
) -> tuple[list[Lesson], Round, ScriptedTeacher]:
    def answer(messages: Sequence[Message], sampling: Sampling) -> str | Reply:
        return reply(sections(messages[-1]["content"]))

    teacher = ScriptedTeacher(replies=answer)

    async def main() -> tuple[list[Lesson], Round]:
        with Ledger.open(ledgers / "calls.sqlite") as ledger:
            round_ = Round(
                index=1,
                task=cast(Any, PlainTask()),
                caller=Caller(teacher, ledger),
                student=student,
                method="ts_align",
                problems=PROBLEMS,
                pool=PROBLEMS,
                attempts=ATTEMPTS,
                catalog=SkillCatalog.of_names(("a",)),
                profile=SkillProfile.of(ATTEMPTS),
                context=Context(grader=cast(Any, Grading())),
                rng=Random(0),
                model="the-student",
                **more,
            )
            return await method.teach(round_), round_

    lessons, round_ = asyncio.run(main())
    return lessons, round_, teacher


def shorter(fields: dict[str, str]) -> str:
    better = "first" if len(fields["first"]) < len(fields["second"]) else "second"
    return f"Reason: brevity.\nBetter: {better}"


def kept_before(tmp_path: Path) -> Path:
    (tmp_path / "before/scorer/adapter-0").mkdir(parents=True)
    return tmp_path / "before"


def test_the_scorers_best_and_worst_are_put_in_the_teachers_order(tmp_path: Path) -> None:
    student = Says("aa", "a", "aaaa", "aaa", "aaaa")
    lessons, round_, teacher = teach(
        TsAlign(samples=5), shorter, tmp_path, student, before=kept_before(tmp_path), folder=tmp_path / "now"
    )
    # Of a, aa, aaa, aaaa the scorer takes the longest for best; the teacher turns the pair round.
    assert [(lesson.completion, lesson.rejected) for lesson in lessons] == [("a", "aaaa")] * 3
    assert round_.counts == {"scorer and teacher disagree": 3}
    assert len(teacher.requests) == 6
    assert {len(lesson.provenance.calls) for lesson in lessons} == {2}
    assert [lesson.provenance.attempt for lesson in lessons] == [attempt.id for attempt in ATTEMPTS]
    assert Scorer.opened == ("the-student", tmp_path / "before/scorer/adapter-0")
    ((pairs, name, epochs, rate),) = Scorer.taught
    assert (name, epochs, rate) == ("scorer", 1.0, 1e-4)
    assert [(chosen, rejected) for _, chosen, rejected in pairs] == [("a", "aaaa")] * 3
    assert list((tmp_path / "now/scorer").iterdir()) == [tmp_path / "now/scorer/adapter-1"]


def test_an_untaught_scorer_begins_with_pairs_drawn_by_chance(tmp_path: Path) -> None:
    _, round_, _ = teach(
        TsAlign(samples=3, begin=2), shorter, tmp_path, Says("a", "aa", "aaa"), folder=tmp_path / "now"
    )
    assert [(name, len(pairs)) for pairs, name, _, _ in Scorer.taught] == [("begin", 2), ("scorer", 3)]
    assert all(len(chosen) < len(rejected) for pairs, _, _, _ in Scorer.taught for _, chosen, rejected in pairs)
    assert round_.counts["scorer and teacher disagree"] == 3  # it was taught before it chose
    by_chance, round_, _ = teach(
        TsAlign(samples=3, begin=0), shorter, tmp_path / "..", Says("a", "aa", "aaa"), folder=tmp_path / "later"
    )
    assert len(by_chance) == 3
    assert round_.counts == {}  # a scorer that tells nothing apart neither agrees nor disagrees
    again, _, _ = teach(TsAlign(samples=3, begin=0), shorter, tmp_path / "..", Says("a", "aa", "aaa"))
    assert again == by_chance


def test_pairs_without_a_verdict_are_counted(tmp_path: Path) -> None:
    replies = {
        "problem 0": "Better: first",  # the first place wins whatever stands there
        "problem 1": "Better: neither",
        "problem 2": "I like both",
    }
    lessons, round_, _ = teach(
        TsAlign(samples=2),
        lambda fields: replies.get(fields.get("question", ""), "I like both"),  # a repair turn has no fields
        tmp_path,
        Says("a", "b"),
        before=kept_before(tmp_path),
        folder=tmp_path / "now",
    )
    assert lessons == []
    assert round_.counts == {
        "pairs whose ranking changes with their order": 1,
        "pairs of which neither is better": 1,
        "pairs that the teacher did not rank": 1,
    }
    assert Scorer.taught == []
    assert (tmp_path / "now/scorer/adapter-0").is_dir()  # the next round finds the scorer as it was


def test_one_order_is_half_the_price(tmp_path: Path) -> None:
    lessons, _, teacher = teach(
        TsAlign(samples=2, both_orders=False), shorter, tmp_path, Says("a", "bb"), before=kept_before(tmp_path)
    )
    assert (len(lessons), len(teacher.requests)) == (3, 3)


def test_answers_that_are_all_alike_make_no_pair(tmp_path: Path) -> None:
    lessons, round_, teacher = teach(TsAlign(samples=4), shorter, tmp_path, Says("a", " a "), folder=tmp_path / "now")
    assert (lessons, teacher.requests) == ([], [])
    assert round_.counts["problems whose answers are all alike"] == 6  # of the beginning, and of the round


@pytest.mark.parametrize(
    ("reply", "better"),
    [
        ("Reason: so.\nBetter: first", "first"),
        ("**Better:** The second answer.", "second"),
        ("Better: 2\n", "second"),
        ("Better: tie", "neither"),
    ],
)
def test_preferences_are_read(reply: str, better: str) -> None:
    assert PREFERENCE.parse(reply).better == better


@given(st.text(max_size=60))
def test_any_preference_is_read_or_refused(text: str) -> None:
    for reply in (text, f"Better: {text}"):
        try:
            assert PREFERENCE.parse(reply).better in ("first", "second", "neither")
        except ParseError as error:
            assert str(error)


@pytest.mark.parametrize("knobs", [{"samples": 1}, {"temperature": 0}, {"begin": -1}, {"epochs": 0}])
def test_wrong_knobs(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        TsAlign(**knobs)


RECIPE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 3, "held_out": 2, "skills": ["carrying"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 10, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": {"kind": "scripted", "replies": ["Better: first", "Better: second"] * 40},
    "method": {"id": "ts_align", "samples": 3, "begin": 2},
    "filters": [],
    "select": "uniform",
    "train": {"objective": "dpo", "epochs": 1, "start": "last"},
    "diagnose": {"by": "needed"},
    "gate": {"rule": "always"},
    "calls": {"in_flight": 1},
    "rounds": 2,
}


def test_ts_align_runs_through_the_loop(tmp_path: Path) -> None:
    Run.start(resolve(RECIPE), tmp_path / "r").to_the_end()
    for index in (1, 2):
        folder = tmp_path / f"r/rounds/0{index}"
        lessons = list(read_jsonl(folder / "lessons.jsonl", Lesson))
        assert lessons
        assert all(lesson.rejected and lesson.rejected != lesson.completion for lesson in lessons)
        assert len(list((folder / "method/scorer").glob("adapter-*/adapter_model.safetensors"))) == 1
    marker = RunFolder(tmp_path / "r").marker(2, "teach")
    assert marker is not None
    agreed = [marker.counts.get(f"teach/scorer and teacher {word}", 0) for word in ("agree", "disagree")]
    assert sum(agreed) == len(list(read_jsonl(tmp_path / "r/rounds/02/candidates.jsonl", Lesson)))
