"""RISE: turns, their rewards, and which of them are examples."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loops.methods.rise import FEEDBACK, Rise
from loops.turns import chat, worth
from tests.loops.teaching import attempt, last, own_prompt, problem, teach, texts

P, Q = problem("p", "9"), problem("q", "7")


def test_which_turns_are_examples() -> None:
    rewards = [0.2, 0.1, 0.2, 0.5, 0.4, 1.0]
    assert worth(rewards, "all") == [True] * 6
    assert worth(rewards, "better") == [True, False, True, True, False, True]
    assert worth(rewards, "best") == [True, False, False, True, False, True]
    assert worth(rewards, "success") == [False] * 5 + [True]
    assert worth([0.0, 0.0, 1.0], "better") == worth([0.0, 0.0, 1.0], "best") == [False, False, True]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_the_criteria_are_nested(rewards: list[float]) -> None:
    best, better = worth(rewards, "best"), worth(rewards, "better")
    assert all(not one or other for one, other in zip(best, better, strict=True))
    assert len(best) == len(rewards)


def test_the_chat_of_a_turn() -> None:
    told = chat(own_prompt(P), ["A", "B"], "Again.")
    assert told == (
        *own_prompt(P),
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "Again."},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "Again."},
    )


def test_every_prefix_is_an_example_with_its_reward_and_a_success_ends_it(tmp_path: Path) -> None:
    said = iter(["Better.\nAnswer: 8", "Best.\nAnswer: 9", "Never.\nAnswer: 9"])
    attempts = [attempt(P, "Mine.\nAnswer: 1"), attempt(Q, "Good.\nAnswer: 7", 1.0)]
    lessons, round_, teacher, _ = teach(Rise(turns=5), attempts, tmp_path, reply=lambda m, s: next(said))
    assert texts(lessons) == ["Mine.\nAnswer: 1", "Better.\nAnswer: 8", "Best.\nAnswer: 9", "Good.\nAnswer: 7"]
    assert [lesson.reward for lesson in lessons] == [0.0, 0.0, 1.0, 1.0]
    first, second = "Mine.\nAnswer: 1", "Better.\nAnswer: 8"
    assert [lesson.prompt for lesson in lessons] == [
        own_prompt(P),
        chat(own_prompt(P), [first], FEEDBACK),
        chat(own_prompt(P), [first, second], FEEDBACK),
        own_prompt(Q),
    ]
    assert [len(lesson.provenance.calls) for lesson in lessons] == [0, 1, 2, 0]
    assert len(teacher.requests) == 2
    shown = last(teacher.requests[1].messages)
    assert "Attempt 1:\nMine." in shown
    assert "Attempt 2:\nBetter." in shown
    assert "p comes first" not in shown  # the improver never sees the reference
    assert round_.counts["turn 1"] == 2
    assert round_.counts["turn 1 right"] == 1
    assert round_.counts["turn 3 right"] == 1


def test_iteration_k_has_one_turn_more_than_k(tmp_path: Path) -> None:
    for index in (1, 2, 3):
        order = Counter[str]()

        def reply(messages: object, sampling: object, order: Counter[str] = order) -> str:
            order["n"] += 1
            return f"Try {order['n']}.\nAnswer: 0"

        lessons, *_ = teach(Rise(), [attempt(P)], tmp_path / str(index), reply=reply, index=index)
        assert len(lessons) == index + 1


@pytest.mark.parametrize(("keep", "kept"), [("all", 3), ("better", 1), ("best", 1), ("success", 1)])
def test_what_is_kept(keep, kept: int, tmp_path: Path) -> None:
    said = iter(["Try.\nAnswer: 8", "Best.\nAnswer: 9"])
    lessons, *_ = teach(Rise(turns=4, keep=keep), [attempt(P)], tmp_path, reply=lambda m, s: next(said))
    assert len(lessons) == kept
    assert texts(lessons)[-1] == "Best.\nAnswer: 9"


def test_an_answer_that_was_given_before_is_left_out_and_ends_it(tmp_path: Path) -> None:
    lessons, round_, teacher, _ = teach(
        Rise(turns=4), [attempt(P, "Mine.\nAnswer: 1")], tmp_path, reply=lambda m, s: "MINE.\nAnswer:  1"
    )
    assert len(lessons) == 1
    assert round_.counts["turns that repeat an earlier one"] == 1
    assert len(teacher.requests) == 1


def test_a_lost_reply_ends_it(tmp_path: Path) -> None:
    lessons, round_, *_ = teach(Rise(turns=4), [attempt(P)], tmp_path, reply=lambda m, s: "")
    assert len(lessons) == 1
    assert [lost.reason for lost in round_.lost] == ["empty"]


def test_the_student_improves_itself_by_the_best_of_its_answers(tmp_path: Path) -> None:
    def say(given: object, n: int) -> str:
        return f"Own {n}.\nAnswer: {9 if n == 11 else n}"  # 9 by chance (n = 9), and n = 11: the first of them is taken

    lessons, _, teacher, student = teach(
        Rise(improver="self", turns=3), [attempt(P, "Mine.\nAnswer: 1")], tmp_path, say=say
    )
    assert texts(lessons) == ["Mine.\nAnswer: 1", "Own 9.\nAnswer: 9"]
    (chats, generation, samples, _), = student.asked  # fmt: skip
    assert chats == [chat(own_prompt(P), ["Mine.\nAnswer: 1"], FEEDBACK)]
    assert (samples, generation.temperature) == (16, 1.0)
    assert teacher.requests == []


def test_an_example_stands_before_every_chat(tmp_path: Path) -> None:
    method = Rise(turns=2, example=("What is 1 + 1?", "Two.\nAnswer: 2"))
    lessons, *_ = teach(method, [attempt(P)], tmp_path, reply=lambda m, s: "Try.\nAnswer: 9")
    for lesson in lessons:
        assert [turn["role"] for turn in lesson.prompt[:4]] == ["system", "user", "assistant", "user"]
        assert lesson.prompt[1]["content"] == "What is 1 + 1?"
        assert lesson.prompt[3]["content"] == P.question


def test_attempts_that_nobody_could_grade_are_left_out(tmp_path: Path) -> None:
    assert teach(Rise(turns=1), [attempt(P, score=None)], tmp_path)[0] == []
