"""LLM2LLM: who is expanded, how often the teacher is asked, what is not taken."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessons.records import Problem
from loops.methods.llm2llm import Llm2Llm
from teachers.prompts.similar_problems import SIMILAR_PROBLEMS, Similar, shown
from tests.loops.teaching import Chat, attempt, last, own_prompt, problem, teach, texts

P, Q, R = problem("p", "9"), problem("q", "7"), problem("r", "5")
LONG = "A farmer has {} cows and buys two more on the market of the town. How many cows does the farmer have now?"


def made(*problems: tuple[str, str]) -> str:
    """A reply with these (question, answer)."""
    return shown([Similar(question, f"It is {answer}.", answer) for question, answer in problems])


def by_question(**replies: Any) -> Callable[[Chat, Any], str]:
    """Replies by the letter of the seed, one after the other."""
    order = Counter[str]()

    def reply(messages: Chat, sampling: Any) -> str:
        letter = last(messages).partition("What is ")[2][0]
        order[letter] += 1
        return replies[letter][order[letter] - 1]

    return reply


def test_one_new_problem_for_each_wrong_seed_and_none_for_the_others(tmp_path: Path) -> None:
    lessons, _, teacher, _ = teach(
        Llm2Llm(), [attempt(P), attempt(P, "again"), attempt(Q, score=1.0), attempt(R)], tmp_path,
        reply=by_question(p=[made(("How much is six?", "6"), ("How much is ten?", "10"))], r=[made(("Eight?", "8"))]),
    )  # fmt: skip
    new = [lesson for lesson in lessons if lesson.problem.parent]
    assert [(x.problem.question, x.problem.answer, x.problem.parent) for x in new] == [
        ("How much is six?", "6", P.id),
        ("Eight?", "8", R.id),
    ]
    assert texts(new) == ["It is 6.\nAnswer: 6", "It is 8.\nAnswer: 8"]
    assert new[0].prompt[-1]["content"] == "How much is six?"
    assert [lesson.provenance.seed for lesson in new] == [P.id, R.id]
    assert all(len(lesson.provenance.calls) == 1 for lesson in new)
    # Seeds and new problems are trained together.
    assert [lesson.problem for lesson in lessons[:3]] == [P, Q, R]
    assert texts(lessons)[:3] == [f"{n} comes first.\nAnswer: {a}" for n, a in (("p", 9), ("q", 7), ("r", 5))]
    assert len(teacher.requests) == 2
    assert {(r.sampling.temperature, r.sampling.top_p, r.sampling.max_tokens) for r in teacher.requests} == {
        (1.0, 1.0, 2149)
    }


def test_what_was_generated_is_never_expanded(tmp_path: Path) -> None:
    generated = problem("generated", "3", parent=P.id)
    foreign = problem("foreign", "4")
    lessons, round_, teacher, _ = teach(
        Llm2Llm(seeds="all"), [attempt(generated), attempt(foreign)], tmp_path, problems=[P, generated], pool=[P]
    )
    assert (lessons, teacher.requests) == ([], [])
    assert round_.counts["missed problems that are no seeds"] == 2


def test_the_students_error_is_shown_only_on_request(tmp_path: Path) -> None:
    for show_error in (False, True):
        _, _, teacher, _ = teach(
            Llm2Llm(show_error=show_error), [attempt(P, "My own blunder.")], tmp_path,
            reply=lambda m, s: made(("Six?", "6")),
        )  # fmt: skip
        asked = last(teacher.requests[0].messages)
        assert ("My own blunder." in asked) is show_error
        assert "<reference>\np comes first.\nAnswer: 9" in asked
    assert Llm2Llm().show_error is False


def test_requests_grow_and_every_second_shows_what_was_taken(tmp_path: Path) -> None:
    replies = [
        made(("First new one?", "1")),
        made(("First  NEW one?", "1")),  # known by now
        made(("Second new one is quite another?", "2")),
        made(("Third one, of a different kind again?", "3")),
    ]
    lessons, round_, teacher, _ = teach(
        Llm2Llm(new=3, seeds="none"), [attempt(P)], tmp_path, reply=by_question(p=replies)
    )
    assert len(lessons) == 3
    asked = [last(request.messages) for request in teacher.requests]
    assert [text.partition("<count>\n")[2][0] for text in asked] == ["3", "4", "5", "6"]
    assert ["<written>" in text for text in asked] == [False, True, False, True]
    assert "Question: First new one?" in asked[1]
    assert "Second new one" in asked[3]
    assert round_.counts["problem not new"] == 1
    assert round_.counts["seeds short of new problems"] == 0


def test_the_request_never_grows_past_ten_and_the_tries_are_bounded(tmp_path: Path) -> None:
    _, round_, teacher, _ = teach(
        Llm2Llm(new=9, tries=5), [attempt(P)], tmp_path, reply=lambda m, s: made((P.question, "9"))
    )
    assert [last(r.messages).partition("<count>\n")[2].split()[0] for r in teacher.requests] == [
        "9", "10", "10", "10", "10",
    ]  # fmt: skip
    assert round_.counts["seeds short of new problems"] == 1
    assert len({r.sampling.seed for r in teacher.requests}) == 5  # else one reply would be given again


def test_near_copies_of_missed_seeds_and_of_new_problems_are_not_taken(tmp_path: Path) -> None:
    # 23 words, one changed: an F-measure of 22/23 = 0.957, above 0.95; the seed has three words more.
    assert len(LONG.format(1).split()) == 23
    seed = Problem(question=f"What is p? {LONG.format(3)}", answer="5", skills=("adding",))
    replies = [made((seed.question.replace("3", "4"), "6"), ("Something else entirely?", "1"))]
    lessons, round_, *_ = teach(Llm2Llm(seeds="none"), [attempt(seed)], tmp_path, reply=by_question(p=replies))
    assert [lesson.problem.question for lesson in lessons] == ["Something else entirely?"]
    assert [(d.check.filter, d.check.reason) for d in round_.dropped] == [
        ("rouge", "nearly the same as a seed question")
    ]
    # Two seeds get the same text, but for one word: the second is not taken, and is asked for again.
    both = by_question(p=[made((LONG.format(7), "9"))], r=[made((LONG.format(8), "10")), made(("Quite another?", "2"))])
    lessons, round_, teacher, _ = teach(Llm2Llm(seeds="none"), [attempt(P), attempt(R)], tmp_path, reply=both)
    assert [lesson.problem.question for lesson in lessons] == [LONG.format(7), "Quite another?"]
    assert [d.check.reason for d in round_.dropped] == ["nearly the same as an earlier question of this round"]
    assert len(teacher.requests) == 3
    # At the threshold of 1 nothing is above it.
    loose = by_question(p=[made((LONG.format(7), "9"))], r=[made((LONG.format(8), "10"))])
    lessons, *_ = teach(Llm2Llm(seeds="none", rouge=1.0), [attempt(P), attempt(R)], tmp_path, reply=loose)
    assert len(lessons) == 2


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Écoles: combien?", "problem not of the form"),
        ("(a) How many?", "problem not of the form"),
        ("Now Write  a program that adds.", "problem not of the form"),
        (P.question.upper(), "problem not new"),
        ("What is the exam's?", "problem not new"),
    ],
)
def test_what_is_not_taken(question: str, reason: str, tmp_path: Path) -> None:
    lessons, round_, *_ = teach(
        Llm2Llm(seeds="none", tries=1), [attempt(P)], tmp_path, reply=lambda m, s: made((question, "1"))
    )
    assert lessons == []
    assert round_.counts[reason] == 1


def test_the_rules_of_form_can_be_set(tmp_path: Path) -> None:
    method = Llm2Llm(seeds="none", plain_start=False, forbidden=())
    lessons, *_ = teach(method, [attempt(P)], tmp_path, reply=lambda m, s: made(("Écoles: write a program?", "1")))
    assert len(lessons) == 1


def test_answers_from_a_closed_list(tmp_path: Path) -> None:
    intent = problem("the intent of 'play it'", "Play", None, choices=("Play", "Book"))
    replies = iter(["Question: What of 'sing it'?\nAnswer: Sing", "Question: What of 'book it'?\nAnswer: Book"])
    lessons, round_, *_ = teach(Llm2Llm(seeds="missed"), [attempt(intent)], tmp_path, reply=lambda m, s: next(replies))
    assert texts(lessons) == ["Answer: Play", "Answer: Book"]  # in the task's form: the reference has no steps
    assert lessons[1].problem.choices == ("Play", "Book")
    assert round_.counts["answer not in the list"] == 1


def test_one_seed_gives_the_same_lessons(tmp_path: Path) -> None:
    def reply(messages: Chat, sampling: Any) -> str:
        return made((f"New {sampling.seed}?", "1"))

    runs = [teach(Llm2Llm(), [attempt(P), attempt(R)], tmp_path, reply=reply)[0] for _ in range(2)]
    assert runs[0] == runs[1]
    assert own_prompt(P) == runs[0][0].prompt


def test_the_prompt_holds_no_error_and_no_list_unless_given() -> None:
    told = SIMILAR_PROBLEMS.messages({"question": "Q", "reference": "R", "count": 1, "attempt": "", "written": ""})
    assert "<attempt>" not in told[1]["content"]
    assert "<written>" not in told[1]["content"]
