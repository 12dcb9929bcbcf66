from dataclasses import dataclass

import pytest

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.records import Lesson, Problem, Provenance
from loops.filters.agreement import Agreement
from loops.filters.base import Context, Filter, apply, normal
from loops.filters.duplicate import Duplicate
from loops.filters.format import Format
from loops.filters.overlap import Overlap
from loops.filters.verified import Verified


@dataclass(frozen=True)
class AfterColon:
    """A grader whose rules the tests can see: the answer is what follows the last colon."""

    def read(self, text: str) -> str | None:
        return text.rpartition(":")[2].strip() or None if ":" in text else None

    def grade(self, problem: Problem, text: str) -> Grade:
        if problem.answer is None:
            raise GradeError("no reference answer")
        answer = self.read(text)
        return Grade(score=float(answer == problem.answer), answer=answer, note="" if answer else "no final answer")

    def same(self, one: str, other: str) -> bool:
        return one == other


CONTEXT = Context(grader=AfterColon(), held_out=frozenset({"in the exam?"}))


def lesson(completion: str, question: str = "2+2?", answer: str | None = "4", **more) -> Lesson:
    method = more.pop("method", "rationale")
    return Lesson(
        prompt=({"role": "user", "content": question},),
        completion=completion,
        problem=Problem(question=question, answer=answer),
        provenance=Provenance(method=method, round=1),
        **more,
    )


def reasons(judge: Filter, *lessons: Lesson, context: Context = CONTEXT) -> list[str]:
    kept, dropped = apply("f", judge, lessons, context)
    of = {id(drop.lesson): drop.check.reason for drop in dropped}
    assert len(kept) + len(dropped) == len(lessons)
    return [of.get(id(one), "kept") for one in lessons]


def test_a_kept_candidate_carries_the_check() -> None:
    kept, _ = apply("format", Format(), [lesson("so: 4")], CONTEXT)
    assert [(check.filter, check.passed) for check in kept[0].checks] == [("format", True)]
    assert kept[0].id == lesson("so: 4").id


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("so: 4", "kept"),
        ("", "too short"),
        ("x" * 5000, "too long"),
        ("four", "no final answer"),
        ("<think>hm</think> so: 4", "left-over of the chat format"),
        ("so: 4<|im_end|>", "left-over of the chat format"),
    ],
)
def test_format(completion: str, reason: str) -> None:
    assert reasons(Format(), lesson(completion)) == [reason]


def test_format_asks_a_critique_for_a_verdict() -> None:
    good = lesson("it adds wrongly", verdict="wrong", method="critique")
    assert reasons(Format(), good, lesson("it adds wrongly", method="critique")) == ["kept", "no verdict"]


def test_duplicate_keeps_the_first_and_knows_earlier_rounds() -> None:
    context = Context(grader=AfterColon(), trained=frozenset({lesson("old: 4").id}))
    found = reasons(
        Duplicate(earlier=True),
        *(lesson("so: 4"), lesson("So:   4"), lesson("so: 4", "3+1?"), lesson("old: 4")),
        context=context,
    )
    assert found == ["kept", "same as an earlier candidate", "kept", "trained in an earlier round"]
    assert reasons(Duplicate(), lesson("old: 4"), context=context) == ["kept"]


def test_duplicate_bounds_lessons_on_one_question() -> None:
    found = reasons(Duplicate(per_question=1), lesson("so: 4"), lesson("thus: 4"), lesson("thus: 4", "3+1?"))
    assert found == ["kept", "enough on this question", "kept"]


def test_overlap_with_the_exam_is_dropped_whatever_its_case_and_spaces() -> None:
    assert reasons(Overlap(), lesson("so: 4", "In  the EXAM?"), lesson("so: 4")) == ["a question of the exam", "kept"]


def test_verified_answers_and_verdicts() -> None:
    found = reasons(
        Verified(),
        lesson("so: 4"),
        lesson("so: 5"),
        lesson("so: 4", answer=None),
        lesson("bad", verdict="wrong", attempt_right=False),
        lesson("good", verdict="right", attempt_right=False),
        lesson("good", verdict="right"),
    )
    assert found == ["kept", "wrong answer", "cannot be verified", "kept", "wrong verdict", "attempt not graded"]


def test_agreement_two_of_three_keeps_the_agreeing_and_fills_the_answer() -> None:
    lessons = [lesson("a: 4", answer=None), lesson("b: 5", answer=None), lesson("c: 4", answer=None)]
    kept, dropped = apply("agreement", Agreement(at_least=2), lessons, CONTEXT)
    assert [(k.completion, k.problem.answer) for k in kept] == [("a: 4", "4"), ("c: 4", "4")]
    assert [(d.lesson.completion, d.check.reason) for d in dropped] == [("b: 5", "outvoted")]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["4", "5", "6"], ["solutions disagree"] * 3),
        (["4"], ["solutions disagree"]),
        (["4", "4", "5", "5"], ["solutions disagree"] * 4),
        (["4", "", "4"], ["kept", "no final answer", "kept"]),
    ],
)
def test_agreement_counts_groups(answers: list[str], expected: list[str]) -> None:
    lessons = [lesson(f"{i}: {a}" if a else "none", answer=None) for i, a in enumerate(answers)]
    assert reasons(Agreement(at_least=2), *lessons) == expected


def test_agreement_judges_each_question_by_itself() -> None:
    lessons = [lesson("a: 4", "q1", None), lesson("b: 4", "q2", None), lesson("c: 4", "Q1 ", None)]
    assert reasons(Agreement(at_least=2), *lessons) == ["kept", "solutions disagree", "kept"]


def test_normal() -> None:
    assert normal("  A\n b ") == normal("a B") == "a b"
