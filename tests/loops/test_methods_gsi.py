"""GSI: the quota, the rounds of help and the four guides."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loops.hints import beginning
from loops.methods.gsi import GuidedSelfImprovement
from tests.loops.teaching import Chat, attempt, last, own_prompt, problem, teach, texts

EASY, HARD = problem("easy", "7"), problem("hard", "9", "Line one.\nLine two.\nLine three.")


def guided(chat: Chat) -> bool:
    """Whether the chat is more than the exam's own."""
    return "What is" not in last(chat) or "\n" in last(chat)


def say(chat: Chat, n: int) -> str:
    """The easy one is right 6 times in 8; the hard one twice, and with help always."""
    if any("What is easy" in turn["content"] for turn in chat):
        return f"Easy {n}.\nAnswer: {7 if n < 6 else 0}"
    if guided(chat):
        return f"Helped by {len(chat)} turns, {last(chat)[:20]}.\nAnswer: 9"
    return f"Hard {n}.\nAnswer: {9 if n < 2 else 0}"


def test_only_problems_short_of_the_quota_get_help_until_they_reach_it(tmp_path: Path) -> None:
    method = GuidedSelfImprovement(guide="answer")
    lessons, round_, teacher, student = teach(method, [attempt(EASY, score=1.0), attempt(HARD)], tmp_path, say=say)
    of_easy = [lesson for lesson in lessons if lesson.problem == EASY]
    of_hard = [lesson for lesson in lessons if lesson.problem == HARD]
    assert (len(of_easy), len(of_hard)) == (6, 4)  # 6 right ones are not capped; 2 right and 2 helped ones
    assert [(len(chats), samples) for chats, _, samples, _ in student.asked] == [(2, 8), (1, 1), (1, 1)]
    assert "The final answer is 9." in last(student.asked[1][0][0])
    assert student.asked[1][3] != student.asked[2][3]  # other rounds draw others
    assert all(lesson.prompt == own_prompt(lesson.problem) for lesson in lessons)  # stored without the help
    assert dict(round_.counts) == {
        "right without help": 8, "problems short of right answers": 1, "right with help": 2,
        "problems short after help": 0,
    }  # fmt: skip
    assert teacher.requests == []


def test_help_ends_after_so_many_rounds(tmp_path: Path) -> None:
    method = GuidedSelfImprovement(guide="answer", resample=3)
    lessons, round_, _, student = teach(method, [attempt(HARD)], tmp_path, say=lambda c, n: "Lost.\nAnswer: 0")
    assert lessons == []
    assert len(student.asked) == 1 + 3
    assert round_.counts["problems short after help"] == 1


def test_the_papers_numbers() -> None:
    method = GuidedSelfImprovement()
    assert (method.samples, method.min_correct, method.resample, method.temperature) == (8, 4, 8, 0.7)
    assert (method.gold, method.earlier, method.equations) == (False, False, False)


def test_rationale_shows_the_reference_and_asks_for_other_words(tmp_path: Path) -> None:
    method = GuidedSelfImprovement(guide="rationale", samples=1, min_correct=1, resample=1)
    lessons, _, _, student = teach(
        method, [attempt(HARD)], tmp_path, say=lambda c, n: "Mine.\nAnswer: 9" if guided(c) else "No."
    )
    assert "Line one.\nLine two.\nLine three.\nAnswer: 9" in last(student.asked[1][0][0])
    assert texts(lessons) == ["Mine.\nAnswer: 9"]
    assert lessons[0].prompt == own_prompt(HARD)


def test_interactive_has_the_teacher_name_the_wrong_step_of_the_last_wrong_answer(tmp_path: Path) -> None:
    drawn = iter(["First wrong.\nAnswer: 1", "Second wrong.\nAnswer: 2", "Third wrong.\nAnswer: 3", "Now.\nAnswer: 9"])
    method = GuidedSelfImprovement(samples=2, min_correct=1, resample=5)
    lessons, _, teacher, student = teach(
        method, [attempt(HARD)], tmp_path, say=lambda c, n: next(drawn), reply=lambda m, s: "Your first step is off."
    )
    asked = [last(request.messages) for request in teacher.requests]
    assert len(asked) == 2  # it stops as soon as the quota is reached
    assert "<attempt>\nSecond wrong." in asked[0]
    assert "<attempt>\nThird wrong." in asked[1]
    assert all("<reference>\nLine one." in text for text in asked)
    assert {(r.sampling.temperature, r.sampling.top_p) for r in teacher.requests} == {(1.0, 0.95)}
    chat = student.asked[1][0][0]
    assert chat[:2] == own_prompt(HARD)
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant", "user"]
    assert chat[2]["content"] == "Second wrong.\nAnswer: 2"
    assert "Your first step is off." in chat[3]["content"]
    assert "Line one" not in str(chat)  # the reference is the teacher's alone
    assert texts(lessons) == ["Now.\nAnswer: 9"]
    assert lessons[0].prompt == own_prompt(HARD)
    assert len(lessons[0].provenance.calls) == 1


def test_interactive_gives_up_on_a_problem_without_a_correction(tmp_path: Path) -> None:
    method = GuidedSelfImprovement(samples=1, min_correct=1, resample=3)
    lessons, round_, _, student = teach(
        method, [attempt(HARD)], tmp_path, say=lambda c, n: "Wrong.\nAnswer: 1", reply=lambda m, s: ""
    )
    assert (lessons, len(student.asked)) == ([], 1)
    assert [lost.reason for lost in round_.lost] == ["empty"]


def test_state_reset_goes_on_from_one_more_line_each_time_and_keeps_them(tmp_path: Path) -> None:
    method = GuidedSelfImprovement(guide="state_reset", samples=1, min_correct=8, resample=7)
    lessons, _, _, student = teach(
        method, [attempt(HARD)], tmp_path, say=lambda c, n: "Goes on.\nAnswer: 9" if len(c) == 3 else "No."
    )
    # Reference: three lines and the answer's line, which is never given: 1, 2, 3 lines, then 1 again.
    begun = [last(chats[0]) for chats, *_ in student.asked[1:]]
    lines = ["Line one.\n", "Line one.\nLine two.\n", "Line one.\nLine two.\nLine three.\n"]
    assert begun == [*lines, *lines, lines[0]]
    assert {chats[0][-1]["role"] for chats, *_ in student.asked[1:]} == {"assistant"}
    assert texts(lessons) == [f"{beginning}Goes on.\nAnswer: 9" for beginning in begun]
    assert all(lesson.prompt == own_prompt(HARD) for lesson in lessons)


def test_a_solution_of_one_line_begins_with_a_fifth_of_its_words_more_each_time() -> None:
    words = "a b c d e f g h i j"
    assert [beginning(words, time) for time in range(5)] == ["a b", "a b c d", "a b c d e f", "a b c d e f g h", "a b"]
    assert beginning("one", 3) == ""
    assert beginning("  \n ", 0) == ""


@given(st.text(max_size=60), st.integers(0, 20))
def test_a_beginning_never_has_the_last_line_or_word(solution: str, time: int) -> None:
    begun = beginning(solution, time)
    lines = [line for line in solution.strip().splitlines() if line.strip()]
    whole = "\n".join(lines)
    assert whole.startswith(begun.rstrip("\n"))
    assert len(begun.split()) < max(1, len(whole.split()))


def test_the_equation_check_and_the_references_are_choices(tmp_path: Path) -> None:
    drawn = ["3+4=8\nAnswer: 9", "5+4=9\nAnswer: 9"]
    method = GuidedSelfImprovement(guide="answer", samples=2, resample=0, equations=True, gold=True)
    lessons, *_ = teach(method, [attempt(HARD)], tmp_path, say=lambda c, n: drawn[n])
    assert texts(lessons) == ["Line one.\nLine two.\nLine three.\nAnswer: 9", drawn[1]]


def test_problems_without_a_solution_get_no_help_that_needs_one(tmp_path: Path) -> None:
    bare = problem("bare", "7", None)
    for guide in ("rationale", "state_reset", "interactive"):
        method = GuidedSelfImprovement(guide=guide, samples=1, min_correct=1)  # type: ignore[arg-type]
        _, _, teacher, student = teach(method, [attempt(bare)], tmp_path, say=lambda c, n: "No.\nAnswer: 1")
        assert (len(student.asked), teacher.requests) == (1, [])


def test_one_seed_gives_the_same_lessons(tmp_path: Path) -> None:
    method = GuidedSelfImprovement(guide="answer")
    runs = [teach(method, [attempt(EASY), attempt(HARD)], tmp_path, say=say, seed=5) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    assert runs[0][3].asked == runs[1][3].asked


def test_impossible_knobs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        GuidedSelfImprovement(samples=0)
