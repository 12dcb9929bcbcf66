"""Each method against a hand-worked case, with a scripted teacher."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from lessons.errors import RoundError
from lessons.records import Attempt, Diagnosis, Lesson, Message, Problem
from lessons.skills import SkillCatalog, SkillProfile
from loops.filters.base import Context
from loops.methods.critique import CritiqueFineTuning
from loops.methods.rationale import Rationale
from loops.methods.stat_sel import StatSel
from loops.methods.stat_syn import StatSyn
from loops.round import Round
from students.base import Student
from teachers.base import Reply, Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.scripted import ScriptedTeacher


class Numbers:
    """A grader whose rule the tests can see: what follows `Answer:`."""

    def read(self, text: str) -> str | None:
        return text.rpartition("Answer:")[2].strip() or None if "Answer:" in text else None

    def same(self, one: str, other: str) -> bool:
        return one == other


@dataclass(frozen=True)
class PlainTask:
    instruction: str = "Think."
    grader: Any = field(default_factory=Numbers)

    def reference(self, problem: Problem) -> str:
        return f"Answer: {problem.answer}"


SKILLS = ("adding", "ordering")
PROBLEMS = [
    Problem(question=f"{skill} problem {number}", answer=str(number), skills=(skill,), solution=f"so {number}")
    for skill in SKILLS
    for number in range(8)
]


def attempt(problem: Problem, *missing: str) -> Attempt:
    """A failed attempt with these skills missing, or a right one without."""
    return Attempt(
        problem=problem,
        student="s",
        text=f"the student's words on {problem.question}",
        score=0.0 if missing else 1.0,
        missing=missing,
        diagnosis=Diagnosis(by="teacher", verdict="wrong", call="diagnosis-call") if missing else None,
    )


def teach(
    method: Any,
    reply: Callable[[Sequence[Message], Sampling], str | Reply],
    attempts: Sequence[Attempt],
    folder: Path,
    **more: Any,
) -> tuple[list[Lesson], Round, ScriptedTeacher]:
    teacher = ScriptedTeacher(replies=reply)

    async def main() -> tuple[list[Lesson], Round]:
        with Ledger.open(folder / "calls.sqlite") as ledger:
            round_ = Round(
                index=1,
                task=cast(Any, PlainTask()),
                caller=Caller(teacher, ledger),
                student=cast(Student, None),
                method="the_method",
                problems=PROBLEMS,
                pool=PROBLEMS,
                attempts=attempts,
                catalog=SkillCatalog.of_names(SKILLS),
                profile=SkillProfile.of(attempts, SKILLS),
                context=Context(grader=cast(Any, Numbers()), held_out=frozenset({"new adding problem 99"})),
                rng=Random(0),
                **more,
            )
            return await method.teach(round_), round_

    lessons, round_ = asyncio.run(main())
    return lessons, round_, teacher


def said(messages: Sequence[Message]) -> str:
    return messages[-1]["content"]


ATTEMPTS = [attempt(PROBLEMS[0], "adding"), attempt(PROBLEMS[1]), attempt(PROBLEMS[8], "ordering", "adding")]


def test_rationale_asks_for_each_failure_and_never_shows_the_answer(tmp_path: Path) -> None:
    lessons, _, teacher = teach(Rationale(), lambda m, s: "Count on.\nAnswer: 7", ATTEMPTS, tmp_path)
    assert [lesson.problem.id for lesson in lessons] == [PROBLEMS[0].id, PROBLEMS[8].id]
    assert {lesson.completion for lesson in lessons} == {"Count on.\nAnswer: 7"}
    assert [lesson.provenance.skill for lesson in lessons] == ["adding", "ordering"]
    assert lessons[0].prompt == (
        {"role": "system", "content": "Think."},
        {"role": "user", "content": "adding problem 0"},
    )
    first = lessons[0].provenance
    assert (first.method, first.attempt, first.seed) == ("the_method", ATTEMPTS[0].id, PROBLEMS[0].id)
    assert first.calls[0] == "diagnosis-call"
    assert len(first.calls) == 2
    assert len(teacher.requests) == 2
    assert all("so 0" not in said(request.messages) for request in teacher.requests)


def test_rationale_draws_d_samples_and_can_take_all_problems(tmp_path: Path) -> None:
    lessons, _, teacher = teach(
        Rationale(samples=3, of="all"), lambda m, s: f"Seed {s.seed}.\nAnswer: 7", ATTEMPTS, tmp_path
    )
    assert len(lessons) == 9
    assert len({lesson.completion for lesson in lessons if lesson.problem.id == PROBLEMS[1].id}) == 3
    assert {request.sampling.temperature for request in teacher.requests} == {0.7}


def test_critique_trains_on_the_critique_given_question_and_attempt(tmp_path: Path) -> None:
    lessons, _, teacher = teach(
        CritiqueFineTuning(), lambda m, s: "The sum is off.\nConclusion: wrong", ATTEMPTS, tmp_path
    )
    assert [lesson.attempt_right for lesson in lessons] == [False, True, False]
    assert {lesson.verdict for lesson in lessons} == {"wrong"}
    assert lessons[0].completion == "The sum is off.\nConclusion: wrong"
    assert "adding problem 0" in lessons[0].prompt[0]["content"]
    assert "the student's words on adding problem 0" in lessons[0].prompt[0]["content"]
    assert len(teacher.requests) == 3
    only, _, _ = teach(CritiqueFineTuning(of="missed"), lambda m, s: "No.\nConclusion: wrong", ATTEMPTS, tmp_path)
    assert len(only) == 2


def test_stat_sel_draws_for_each_failure_and_missing_skill(tmp_path: Path) -> None:
    method = StatSel(references=5, rewrites=0)
    lessons, _, teacher = teach(method, lambda m, s: "unused", ATTEMPTS, tmp_path)
    # Two failures miss `adding`, one misses `ordering`: 10 and 5 draws; with eight problems a skill, the first
    # eight draws of a skill are distinct.
    counts = Counter(lesson.provenance.skill for lesson in lessons)
    assert counts == {"adding": 10, "ordering": 5}
    assert len({lesson.problem.id for lesson in lessons if lesson.provenance.skill == "adding"}) == 8
    assert all(lesson.provenance.skill in lesson.problem.skills for lesson in lessons)
    assert {lesson.completion for lesson in lessons} <= {f"Answer: {n}" for n in range(8)}
    assert teacher.requests == []


def test_stat_sel_asks_for_rewrites_with_the_reference_in_sight_and_keeps_it_out_of_the_prompt(tmp_path: Path) -> None:
    lessons, _, teacher = teach(
        StatSel(references=2, rewrites=3), lambda m, s: f"Way {s.seed}.\nAnswer: 1", ATTEMPTS[:1], tmp_path
    )
    assert len(lessons) == 2 * 3
    assert all("<hint>\nso " in said(request.messages) for request in teacher.requests)
    assert all("so " not in lesson.prompt[-1]["content"] for lesson in lessons)


def test_stat_sel_controls(tmp_path: Path) -> None:
    failures = [attempt(p, "adding") for p in PROBLEMS[:6]]
    aimed = StatSel(references=5, rewrites=0).draw(failures, PROBLEMS, Random(1))
    assert {skill for _, skill, _ in aimed} == {"adding"}
    uniform = StatSel(references=5, rewrites=0, target="uniform").draw(failures, PROBLEMS, Random(1))
    counts = Counter(problem.skills[0] for _, _, problem in uniform)
    assert len(uniform) == len(aimed) == 30
    assert abs(counts["adding"] - counts["ordering"]) <= 2  # decks of 16: 8 and 8, then a part of the second
    seen = {
        skill for seed in range(8) for _, skill, _ in StatSel(target="shuffled").draw(failures, PROBLEMS, Random(seed))
    }
    assert seen == {"adding", "ordering"}  # some permutations keep the name, some exchange it


def synthesis(answers: Sequence[str]) -> Callable[[Sequence[Message], Sampling], str]:
    """A teacher that writes two problems, one of them known, and solves by its samples' order."""
    order: Counter[str] = Counter()

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        text = said(messages)
        if "<examples>" in text:
            skill = text.partition("<skill>")[2].partition("</skill>")[0].strip()
            return f"Use: they add.\nQuestion: new {skill} problem 1\nQuestion: {skill} PROBLEM 3"
        order[text] += 1
        return f"I work it out, try {sampling.seed}.\nAnswer: {answers[(order[text] - 1) % len(answers)]}"

    return reply


def test_stat_syn_keeps_new_problems_whose_solutions_agree(tmp_path: Path) -> None:
    lessons, round_, teacher = teach(StatSyn(), synthesis(["5", "6", "5"]), ATTEMPTS, tmp_path)
    # Failures 0 and 8 miss adding, adding+ordering: three requests. The known problem is left out each time, and the
    # second "new adding problem 1" is not new any more: two problems, three solutions each, two of which agree.
    assert Counter(lesson.problem.question for lesson in lessons) == {
        "new adding problem 1": 2,
        "new ordering problem 1": 2,
    }
    assert {lesson.problem.answer for lesson in lessons} == {"5"}
    assert {lesson.problem.parent for lesson in lessons} == {PROBLEMS[0].id, PROBLEMS[8].id}
    assert [drop.check.reason for drop in round_.dropped] == ["outvoted", "outvoted"]
    assert round_.counts["problem not new"] == 4
    assert all(len(lesson.provenance.calls) == 2 for lesson in lessons)
    examples = [said(r.messages) for r in teacher.requests if "<examples>" in said(r.messages)]
    assert all(text.count("so ") == 3 for text in examples)  # three references with their solutions


def test_stat_syn_drops_problems_whose_solutions_disagree(tmp_path: Path) -> None:
    lessons, round_, _ = teach(StatSyn(), synthesis(["5", "6", "7"]), ATTEMPTS[:1], tmp_path)
    assert lessons == []
    assert [drop.check.reason for drop in round_.dropped] == ["solutions disagree"] * 3


def test_stat_syn_never_takes_a_question_of_the_exam(tmp_path: Path) -> None:
    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        if "<examples>" in said(messages):
            return "Use: so.\nQuestion: New adding  problem 99"
        return "It is one.\nAnswer: 1"

    lessons, round_, _ = teach(StatSyn(), reply, ATTEMPTS[:1], tmp_path)
    assert lessons == []
    assert round_.counts["problem not new"] == 1


def test_lost_replies_are_kept_with_their_reason_and_a_bad_round_stops(tmp_path: Path) -> None:
    def reply(messages: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply(text="I had", finish="length")

    attempts = [attempt(problem, "adding") for problem in PROBLEMS]
    lessons, round_, _ = teach(Rationale(samples=2), reply, attempts, tmp_path)
    assert lessons == []
    assert Counter(lost.reason for lost in round_.lost) == {"truncated": 32}
    with pytest.raises(RoundError, match=r"32 of 32 replies of the teacher were lost.*32 of them rationale: truncated"):
        round_.check_replies()


def test_few_lost_replies_do_not_stop_a_round(tmp_path: Path) -> None:
    count = Counter[str]()

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        count["all"] += 1
        return "" if count["all"] % 4 == 0 else "Look.\nAnswer: 1"

    _, round_, _ = teach(Rationale(samples=2), reply, [attempt(p, "adding") for p in PROBLEMS], tmp_path)
    assert Counter(lost.reason for lost in round_.lost) == {"empty": 8}
    round_.check_replies()
