"""An example run, written through the project's own records: two rounds, one skill that gets worse, a full ledger."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from lessons.jsonl import write_jsonl
from lessons.records import Attempt, Check, Diagnosis, Dropped, Lesson, LostReply, Message, Problem, Provenance
from lessons.skills import SkillProfile
from loops.exams.gate import judge, sum_up
from loops.records import Finished, RoundLearned, RunInfo
from loops.store import RunFolder, write_record
from students.base import Learned
from teachers.base import Reply, Sampling, Usage
from teachers.ledger import Call, Ledger, call_key

Maker = Callable[[int, int], tuple[str, int, str]]

SKILLS: dict[str, tuple[Maker, tuple[float, ...]]] = {
    "carrying": (lambda a, b: (f"What is {a + 38} + {b + 27}?", a + b + 65, "Carry the ten."), (0.1, 0.5, 0.8)),
    "products": (lambda a, b: (f"What is {a} times {b}?", a * b, "Add the number to itself."), (0.85, 0.8, 0.45)),
    "unit conversion": (
        lambda a, b: (f"How many minutes are {a} h {b} min?", a * 60 + b, "Times 60."),
        (0.2, 0.3, 0.6),
    ),
    "percent": (lambda a, b: (f"What is {a * 10} % of {b * 10}?", a * b, "Take a tenth."), (0.15, 0.45, 0.5)),
    "multi-step change": (
        lambda a, b: (
            f"Ana pays {a} pens at {b} each with {a * b + 7}. What is her change?",
            7,
            "Price first, then subtract.",
        ),
        (0.05, 0.2, 0.6),
    ),
    "average": (
        lambda a, b: (f"What is the average of {a}, {a + b} and {a + 2 * b}?", a + b, "Add all, divide by three."),
        (0.3, 0.5, 0.7),
    ),
    "spelling backwards": (
        lambda a, b: (f"Write {a}{b} backwards.", int(str(f"{a}{b}")[::-1]), "Read from the end."),
        (0.0, 0.0, 0.05),
    ),
}
"""Skill -> a maker of question, answer and hint, and the accuracy of the student before and after each round."""


@dataclass(frozen=True)
class Example:
    """What an example run is like."""

    rounds: int = 2
    train: int = 20
    """Train problems a skill."""
    held_out: int = 30
    hostile: str = ""
    """Put into every text that a model or a task writes."""
    skills: tuple[str, ...] = tuple(SKILLS)
    name: str = "grade-school-7c1e2f"


def problems(example: Example, part: str, count: int) -> list[Problem]:
    rng = Random(part)
    made: list[Problem] = []
    for skill in example.skills:
        for number in range(count):
            question, answer, hint = SKILLS[skill][0](rng.randint(2, 90), rng.randint(2, 90))
            text, solution, skills = question + example.hostile, f"{hint} Answer: {answer}", (skill + example.hostile,)
            source = f"{part}:{number}"
            made.append(Problem(question=text, answer=str(answer), skills=skills, solution=solution, source=source))
    return made


def answers(example: Example, asked: Sequence[Problem], level: int, diagnosed: bool) -> list[Attempt]:
    made: list[Attempt] = []
    for problem in asked:
        skill = problem.skills[0].removesuffix(example.hostile)
        right = Random(f"{problem.id}{level}").random() < SKILLS[skill][1][level]
        said = problem.answer if right else str(int(problem.answer or 0) + 10)
        text, score = f"I add them up.{example.hostile} Answer: {said}", float(right)
        attempt = Attempt(problem=problem, student=f"student{level}", text=text, score=score, answer=said)
        if diagnosed and not right:
            call = call_of(example, "diagnose", problem.question, f"The ten is lost.{example.hostile}")
            attempt = msgspec.structs.replace(
                attempt,
                missing=problem.skills,
                diagnosis=Diagnosis(by="teacher", verdict="wrong", reason=call.reply.text, call=call.id),
            )
        made.append(attempt)
    return made


def call_of(example: Example, purpose: str, question: str, reply: str) -> Call:
    messages = (
        Message(role="system", content=f"You are a patient teacher. Task: {purpose}."),
        Message(role="user", content=f"<problem>\n{question}\n</problem>{example.hostile}"),
    )
    key = call_key("teacher-model", messages, Sampling(), 0)
    usage = Usage(prompt=80 + len(question) // 4, completion=len(reply) // 4)
    return Call(
        id=key,
        teacher="teacher-model",
        purpose=purpose,
        messages=messages,
        sampling=Sampling(),
        sample=0,
        reply=Reply(text=reply, usage=usage, reasoning="Let me see."),
        seconds=0.8,
        created="2026-11-20T10:00:00Z",
    )


def candidates_of(example: Example, missed: Sequence[Attempt], index: int) -> tuple[list[Lesson], list[Call]]:
    made: list[Lesson] = []
    calls: list[Call] = []
    for attempt in missed:
        parent = attempt.problem
        skill = parent.skills[0].removesuffix(example.hostile)
        rng = Random(f"{attempt.id}{index}")
        question, answer, hint = SKILLS[skill][0](rng.randint(100, 900), rng.randint(2, 90))  # none of the exam's
        problem = Problem(
            question=question + example.hostile, answer=str(answer), skills=parent.skills, parent=parent.id
        )
        asked = call_of(example, "new_problem", parent.question + attempt.text, question)
        solved = call_of(example, "solution", question, f"{hint}{example.hostile}\nAnswer: {answer}")
        assert attempt.diagnosis is not None
        calls += [call_of(example, "diagnose", parent.question, attempt.diagnosis.reason), asked, solved]
        made.append(
            Lesson(
                prompt=(Message(role="user", content=problem.question),),
                completion=solved.reply.text,
                problem=problem,
                provenance=Provenance(
                    method="stat_syn",
                    round=index,
                    seed=parent.id,
                    attempt=attempt.id,
                    skill=parent.skills[0],
                    calls=(asked.id, solved.id),
                ),
            )
        )
    return made, calls


def sift(example: Example, made: Sequence[Lesson]) -> tuple[list[Lesson], list[Dropped]]:
    verdicts = {
        1: ("verified", "wrong answer"),
        4: ("near_duplicate", "too like another lesson"),
        7: ("format", "no final answer"),
    }
    kept: list[Lesson] = []
    dropped: list[Dropped] = []
    passed = tuple(Check(filter=name, passed=True) for name in ("format", "verified", "near_duplicate", "overlap"))
    for number, lesson in enumerate(made):
        if number % 9 in verdicts:
            by, reason = verdicts[number % 9]
            check = Check(filter=by, passed=False, reason=reason + example.hostile, detail="13 is not 31")
            dropped.append(Dropped(lesson=lesson, check=check))
        else:
            kept.append(msgspec.structs.replace(lesson, checks=passed))
    return kept, dropped


async def fill(path: Path, calls: Sequence[Call]) -> None:
    with Ledger.open(path) as ledger:
        await asyncio.gather(*(ledger.put(call) for call in calls))


def write_round(run: RunFolder, example: Example, index: int, train: Sequence[Problem]) -> None:
    folder = run.round(index)
    attempts = answers(example, train, index - 1, diagnosed=True)
    write_jsonl(folder / "attempts.jsonl", attempts)
    run.finish(index, "examine", (), {"examine/attempts": len(attempts)}, 190.0)
    write_record(folder / "profile.json", SkillProfile.of(attempts))
    run.finish(index, "diagnose", ("attempts.jsonl", "profile.json"), {}, 61.5)
    made, calls = candidates_of(example, [attempt for attempt in attempts if attempt.failed], index)
    write_jsonl(folder / "candidates.jsonl", made)
    lost = [LostReply(prompt="solution", reason="truncated", detail="cut at 512 tokens")] * 5
    write_jsonl(folder / "lost.jsonl", [*lost, LostReply(prompt="new_problem", reason="refused" + example.hostile)])
    counts = {"teach/asked": len(made) + 9, "teach/answered": len(made) + 7, "teach/parsed": len(made) + 3}
    run.finish(index, "teach", ("candidates.jsonl", "lost.jsonl"), counts, 74.0)
    kept, dropped = sift(example, made)
    write_jsonl(folder / "kept.jsonl", kept)
    write_jsonl(folder / "dropped.jsonl", dropped)
    run.finish(index, "filter", ("kept.jsonl", "dropped.jsonl"), {"filter/kept": len(kept)}, 2.2)
    new = [msgspec.structs.replace(lesson, weight=1.5, share=0.25) for lesson in kept[: len(kept) - 3]]
    replay = [
        Lesson(
            prompt=(Message(role="user", content=attempt.problem.question),),
            completion=attempt.text,
            problem=attempt.problem,
            provenance=Provenance(method="replay", round=index, attempt=attempt.id, skill=attempt.problem.skills[0]),
        )
        for attempt in attempts
        if attempt.right
    ][:20]
    write_jsonl(folder / "lessons.jsonl", [*new, *replay])
    run.finish(index, "select", ("lessons.jsonl",), {"select/new": len(new), "select/replayed": len(replay)}, 0.4)
    learned = Learned(
        lessons=len(new) + len(replay),
        steps=30,
        trained_tokens=4200,
        loss_first=0.61,
        loss_last=0.34,
        seconds=362.0,
        adapter="a1b2",
        losses=tuple(round(0.3 + (0.5 - 0.1 * index) / (1 + step / 5) + 0.02 * (step % 3), 3) for step in range(30)),
    )
    write_record(
        folder / "learned.json", RoundLearned(student=f"student{index}", taught=f"student{index - 1}", learned=learned)
    )
    run.finish(index, "learn", ("learned.json",), {}, 365.0)
    asyncio.run(fill(run.path / "calls.sqlite", calls))


def write_exam(run: RunFolder, example: Example, index: int, exams: list[list[Attempt]]) -> bool:
    """Write the exam of a round and return whether its student was kept."""
    folder = run.round(index)
    skills = [skill + example.hostile for skill in example.skills]
    before = exams[index - 1] if index else None
    metrics = sum_up(
        index, f"student{index}", exams[index], skills=skills, before=before, start=exams[0] if index else None
    )
    if metrics.change is not None:
        promoted, verdict = judge(metrics.change, rule="significant", alpha=0.05)
        metrics = msgspec.structs.replace(metrics, promoted=promoted, verdict=verdict)
    write_jsonl(folder / "exam.jsonl", exams[index])
    write_record(folder / "metrics.json", metrics)
    run.finish(index, "exam", ("exam.jsonl", "metrics.json"), {}, 41.0)
    return metrics.promoted


def write_run(parent: Path, example: Example) -> Path:
    """Write a whole run and return its folder."""
    run = RunFolder(parent / example.name)
    recipe: dict[str, Any] = {
        "task": {"id": "arithmetic", "held_out": example.held_out},
        "student": {"model": "SmolLM2-135M-Instruct"},
        "method": {"id": "stat_syn", "new": 2},
        "rounds": example.rounds,
    }
    run.start(recipe)
    train = problems(example, "train", example.train)
    held_out = problems(example, "held_out", example.held_out)
    write_jsonl(run.path / "problems" / "train.jsonl", train)
    write_jsonl(run.path / "problems" / "held_out.jsonl", held_out)
    write_record(
        run.path / "run.json",
        RunInfo(
            id=example.name,
            recipe_digest="7c1e2f" + "0" * 58,
            version="0.1.0",
            created="2026-11-20T09:58:12Z",
            task="arithmetic",
            student="SmolLM2-135M-Instruct",
            teacher="Qwen3-32B" + example.hostile,
            method="stat_syn",
            rounds=example.rounds,
            held_out=len(held_out),
            train=len(train),
            overlap=3,
            notes=("seed 0",),
        ),
    )
    exams = [answers(example, held_out, level, diagnosed=False) for level in range(example.rounds + 1)]
    write_exam(run, example, 0, exams)
    best = 0
    for index in range(1, example.rounds + 1):
        write_round(run, example, index, train)
        best = index if write_exam(run, example, index, exams) else best
    write_record(run.path / "finished.json", Finished(best=best, finished="2026-11-20T10:31:40Z"))
    run.release()
    return run.path


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two rounds; read it, and write nothing into it."""
    return write_run(tmp_path_factory.mktemp("runs"), Example())


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """A run that a test may take apart."""
    return write_run(tmp_path, Example(held_out=8, train=6))


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a run of another kind: `make_run(hostile="<script>")`."""
    return lambda **knobs: write_run(tmp_path_factory.mktemp("runs"), replace(Example(), **knobs))
