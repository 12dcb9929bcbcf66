"""Mistake tuning, RefAug and EIT."""

from pathlib import Path
from typing import Any

import pytest

from lessons.graders.math import MathGrader
from loops.methods.eit import EnrichedInstructions
from loops.methods.mistake_tuning import MistakeTuning
from loops.methods.refaug import ReflectiveAugmentation
from students.chats import until
from teachers.prompts.filled_steps import FILLED_STEPS
from teachers.prompts.looking_back import LOOKING_BACK
from teachers.prompts.plan import PLAN
from tests.loops.teaching import Chat, attempt, last, own_prompt, problem, teach, texts

P, Q = problem("p", "9"), problem("q", "7")
MARK = "[INCORRECT RATIONALE]"


def test_two_rows_for_each_missed_question_and_only_the_wrong_one_is_marked(tmp_path: Path) -> None:
    attempts = [attempt(P, "Wrong.\nAnswer: 1"), attempt(P, "Also.\nAnswer: 2"), attempt(Q, "Good.\nAnswer: 7", 1.0)]
    lessons, _, teacher, student = teach(MistakeTuning(), attempts, tmp_path)
    assert texts(lessons) == ["p comes first.\nAnswer: 9", "Wrong.\nAnswer: 1"]
    # The exam's own prompt stands for what is right: nothing is to be added there.
    assert lessons[0].prompt == own_prompt(P)
    assert last(lessons[1].prompt) == f"{P.question}\n\n{MARK}"
    assert all(MARK not in lesson.completion and lesson.desirable for lesson in lessons)
    assert (teacher.requests, student.asked) == ([], [])


def test_right_rows_may_have_a_mark_too_and_all_questions_a_row(tmp_path: Path) -> None:
    method = MistakeTuning(correct_mark="[CORRECT RATIONALE]", of="all")
    lessons, round_, *_ = teach(method, [attempt(P, "Wrong."), attempt(Q, "Good.", 1.0)], tmp_path)
    assert [last(lesson.prompt).rpartition("\n")[2] for lesson in lessons] == [
        "[CORRECT RATIONALE]", MARK, "[CORRECT RATIONALE]",
    ]  # fmt: skip
    assert round_.counts["questions without a wrong solution"] == 1


def test_a_teachers_mistakes_are_its_first_wrong_solutions(tmp_path: Path) -> None:
    said = iter(["Right.\nAnswer: 9", "Slip.\nAnswer: 8", "Other slip.\nAnswer: 5"])
    lessons, _, teacher, _ = teach(
        MistakeTuning(wrong="teacher", tries=3), [attempt(P)], tmp_path, reply=lambda m, s: next(said)
    )
    assert texts(lessons) == ["p comes first.\nAnswer: 9", "Slip.\nAnswer: 8"]
    assert [len(lesson.provenance.calls) for lesson in lessons] == [0, 1]
    assert len(teacher.requests) == 3
    assert all("p comes first" not in last(request.messages) for request in teacher.requests)


def test_a_question_without_a_reference_has_no_rows(tmp_path: Path) -> None:
    lessons, round_, *_ = teach(MistakeTuning(), [attempt(problem("x", None, None))], tmp_path)
    assert lessons == []
    assert round_.counts["problems without a reference"] == 1


def test_marks_that_do_not_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        MistakeTuning(correct_mark=MARK)


REFLECTION = (
    "Alternative reasoning: Count down from ten, which gives nine as well.\n"
    "Follow-up reasoning: For any n the result is n less one; for 30 that is 29."
)


def test_refaug_puts_the_reflection_behind_the_reference_solution(tmp_path: Path) -> None:
    attempts = [attempt(P), attempt(Q, score=1.0), attempt(problem("bare", "7", None))]
    lessons, round_, teacher, _ = teach(ReflectiveAugmentation(), attempts, tmp_path, reply=lambda m, s: REFLECTION)
    assert texts(lessons) == [
        f"{p}\n\nReflection:\n{REFLECTION}" for p in ("p comes first.\nAnswer: 9", "q comes first.\nAnswer: 7")
    ]
    assert [lesson.prompt for lesson in lessons] == [own_prompt(P), own_prompt(Q)]
    assert all(not lesson.spans for lesson in lessons)  # loss on both
    assert round_.counts["problems without a reference solution"] == 1
    assert [(r.sampling.temperature, r.sampling.max_tokens) for r in teacher.requests] == [(0.7, 512)] * 2
    assert "<solution>\np comes first.\nAnswer: 9" in last(teacher.requests[0].messages)


def test_refaug_is_graded_by_what_stands_before_the_marker(tmp_path: Path) -> None:
    lessons, *_ = teach(ReflectiveAugmentation(), [attempt(P)], tmp_path, reply=lambda m, s: REFLECTION)
    whole = lessons[0].completion
    assert until(whole, ("Reflection:",)) == ("p comes first.\nAnswer: 9\n\n", True)
    assert MathGrader().grade(P, whole).score == 1.0  # the 29 of the reflection is not read
    assert MathGrader().read(whole) == "9"


@pytest.mark.parametrize(
    "ending", ["Answer: 29", "So the answer is 29.", "That is \\boxed{29}.", "#### 29", "**Answer**: 29"]
)
def test_refaug_takes_no_reflection_that_states_a_final_answer(ending: str, tmp_path: Path) -> None:
    replies = iter([f"{REFLECTION} {ending}", REFLECTION])
    lessons, _, teacher, _ = teach(ReflectiveAugmentation(), [attempt(P)], tmp_path, reply=lambda m, s: next(replies))
    assert len(teacher.requests) == 2  # it is given back once, with what was wrong
    assert "states a final answer" in last(teacher.requests[1].messages)
    assert texts(lessons) == [f"p comes first.\nAnswer: 9\n\nReflection:\n{REFLECTION}"]


def enriching(answer: str) -> Any:
    """A teacher that plans, then fills in."""

    def reply(messages: Chat, sampling: Any) -> str:
        system = messages[0]["content"]
        assert system in (PLAN.system, FILLED_STEPS.system)
        return "Plan: First this, then that." if system == PLAN.system else f"This. That.\nAnswer: {answer}"

    return reply


def test_eit_trains_on_plan_and_steps_that_keep_the_answer(tmp_path: Path) -> None:
    lessons, round_, teacher, _ = teach(
        EnrichedInstructions(), [attempt(P), attempt(Q, score=1.0)], tmp_path, reply=enriching("9")
    )
    assert texts(lessons) == ["Plan: First this, then that.\nThis. That.\nAnswer: 9"]
    assert lessons[0].prompt == own_prompt(P)
    assert len(lessons[0].provenance.calls) == 2
    assert [(drop.check.filter, drop.check.reason) for drop in round_.dropped] == [("verified", "wrong answer")]
    filled = [last(r.messages) for r in teacher.requests if r.messages[0]["content"] == FILLED_STEPS.system]
    assert len(teacher.requests) == 4
    assert "<reference>\np comes first.\nAnswer: 9" in filled[0]
    assert "<plan>\nFirst this, then that." in filled[0]


def test_eit_may_leave_the_plan_out_of_the_lesson(tmp_path: Path) -> None:
    lessons, *_ = teach(EnrichedInstructions(plan=False), [attempt(P)], tmp_path, reply=enriching("9"))
    assert texts(lessons) == ["This. That.\nAnswer: 9"]


def test_eit_of_a_problem_without_reference_asks_nothing(tmp_path: Path) -> None:
    lessons, round_, teacher, _ = teach(EnrichedInstructions(), [attempt(problem("x", None, None))], tmp_path)
    assert (lessons, teacher.requests) == ([], [])
    assert round_.counts["problems without a reference"] == 1


def test_the_reflection_prompt_sends_the_question_and_its_solution_only() -> None:
    told = LOOKING_BACK.messages({"question": "Q", "solution": "S"})
    assert "<question>\nQ\n</question>" in told[1]["content"]
    assert "<solution>\nS\n</solution>" in told[1]["content"]
