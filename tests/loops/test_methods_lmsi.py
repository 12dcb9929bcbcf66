"""LMSI: votes, pseudo-labels, forms of asking; no label is looked at."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loops.methods.lmsi import DIRECT, MajorityVote, stated_alone
from tests.loops.teaching import Chat, Numbers, attempt, last, own_prompt, problem, teach, texts

A, B = problem("a", "1"), problem("b", "1")


def say(chat: Chat, n: int) -> str:
    """On a: 5 5 6 none; on b: 3 3 3 3, two texts."""
    if "What is a" in last(chat):
        return ["Way one.\nAnswer: 5", "Way two.\nAnswer: 5", "Other.\nAnswer: 6", "No idea"][n]
    return f"So {n % 2}.\nAnswer: 3"


def test_every_path_of_the_majority_is_a_lesson_with_the_majoritys_answer(tmp_path: Path) -> None:
    method = MajorityVote(samples=4, formats=("steps",))
    lessons, round_, teacher, _ = teach(method, [attempt(A), attempt(B)], tmp_path, say=say)
    assert texts(lessons) == ["Way one.\nAnswer: 5", "Way two.\nAnswer: 5", "So 0.\nAnswer: 3", "So 1.\nAnswer: 3"]
    assert [lesson.problem.answer for lesson in lessons] == ["5", "5", "3", "3"]  # the labels say 1
    assert [lesson.problem.parent for lesson in lessons] == [A.id, A.id, B.id, B.id]
    assert [lesson.provenance.seed for lesson in lessons] == [A.id, A.id, B.id, B.id]
    assert all(lesson.problem.solution is None for lesson in lessons)
    assert [lesson.prompt for lesson in lessons] == [own_prompt(A)] * 2 + [own_prompt(B)] * 2
    assert round_.counts["problems"] == 2
    assert teacher.requests == []


def test_no_label_is_looked_at(tmp_path: Path) -> None:
    def unlabelled(of: Any) -> Any:
        return msgspec.structs.replace(of, answer=None, solution=None)

    method = MajorityVote(samples=4)
    with_labels, _, _, one = teach(method, [attempt(A), attempt(B)], tmp_path, say=say)
    without, _, _, other = teach(
        method, [attempt(unlabelled(A), score=None), attempt(unlabelled(B), score=None)], tmp_path, say=say
    )
    assert texts(with_labels) == texts(without)
    assert [lesson.prompt for lesson in with_labels] == [lesson.prompt for lesson in without]
    assert [lesson.problem.answer for lesson in with_labels] == [lesson.problem.answer for lesson in without]
    assert one.asked == other.asked


def test_the_share_of_a_vote_is_of_all_answers(tmp_path: Path) -> None:
    # On a the majority has 2 of 4, on b 4 of 4.
    for least, kept in ((0.5, {"5", "3"}), (0.51, {"3"}), (1.0, {"3"})):
        method = MajorityVote(samples=4, formats=("steps",), least_share=least)
        lessons, round_, *_ = teach(method, [attempt(A), attempt(B)], tmp_path, say=say)
        assert {lesson.problem.answer for lesson in lessons} == kept
        assert round_.counts["problems below the share"] == 2 - len(kept)


def test_four_forms_of_asking(tmp_path: Path) -> None:
    method = MajorityVote(samples=4, shots=1)
    lessons, *_ = teach(method, [attempt(A), attempt(B)], tmp_path, say=say)
    of_a = [(lesson.prompt, lesson.completion) for lesson in lessons if lesson.problem.answer == "5"]
    system, asked = own_prompt(A)
    direct = {"role": "user", "content": f"{A.question}\n\n{DIRECT}"}
    shown = ({"role": "user", "content": B.question}, {"role": "assistant", "content": "So 0.\nAnswer: 3"})
    shown_direct = (
        {"role": "user", "content": f"{B.question}\n\n{DIRECT}"},
        {"role": "assistant", "content": "Answer: 3"},
    )
    paths = ["Way one.\nAnswer: 5", "Way two.\nAnswer: 5"]
    assert of_a == [
        *(((system, *shown, asked), path) for path in paths),
        ((system, *shown_direct, direct), "Answer: 5"),
        *(((system, asked), path) for path in paths),
        ((system, direct), "Answer: 5"),
    ]


def test_examples_are_the_surest_other_problems(tmp_path: Path) -> None:
    # Shares: a 2/4, b 4/4, c 3/4. Beside a: b then c; beside b: c then a.
    c = problem("c", "1")

    def three(chat: Chat, n: int) -> str:
        return f"C.\nAnswer: {2 if n else 0}" if "What is c" in last(chat) else say(chat, n)

    method = MajorityVote(samples=4, shots=2, formats=("few_shot_steps",))
    lessons, *_ = teach(method, [attempt(A), attempt(B), attempt(c)], tmp_path, say=three)
    examples = {lesson.prompt[-1]["content"]: [t["content"] for t in lesson.prompt[1:-1:2]] for lesson in lessons}
    assert examples == {
        A.question: [B.question, c.question],
        B.question: [c.question, A.question],
        c.question: [B.question, A.question],
    }


def test_one_problem_alone_has_no_examples_to_show(tmp_path: Path) -> None:
    lessons, *_ = teach(MajorityVote(samples=4), [attempt(A)], tmp_path, say=say)
    assert [len(lesson.prompt) for lesson in lessons] == [2, 2, 2]  # two paths by steps, one direct answer


def test_a_problem_that_nobody_answers_is_counted(tmp_path: Path) -> None:
    lessons, round_, *_ = teach(MajorityVote(samples=2), [attempt(A)], tmp_path, say=lambda c, n: "No idea")
    assert lessons == []
    assert round_.counts["problems without a final answer"] == 1


def test_the_answer_alone_is_the_shortest_end_that_states_it() -> None:
    grader: Any = Numbers()
    assert stated_alone("One.\nTwo.\nAnswer: 5", "5", grader) == "Answer: 5"
    assert stated_alone("One, Answer: 5", "5", grader) == "One, Answer: 5"
    assert stated_alone("Answer: 5\nthat is it", "5\nthat is it", grader) == "Answer: 5\nthat is it"


def test_the_papers_numbers_and_impossible_ones() -> None:
    assert (MajorityVote().samples, MajorityVote().temperature, MajorityVote().least_share) == (32, 0.7, 0.0)
    for wrong in ({"samples": 0}, {"least_share": 1.5}, {"shots": 0}, {"formats": ()}):
        with pytest.raises(ValueError, match="must"):
            MajorityVote(**wrong)
