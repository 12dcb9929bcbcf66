"""The demo's program on prompts that improve, and what their parsers make of replies that are not as they should be."""

import asyncio
import json
from typing import Any

import pytest

from lessons.demo.skills import SKILLS, solve
from lessons.errors import ParseError
from lessons.skills import SkillCatalog
from teachers.prompts.base import Prompt
from teachers.prompts.merged_principles import MERGED_PRINCIPLES
from teachers.prompts.principles import PRINCIPLES
from teachers.prompts.problem_instructions import LONGEST, PROBLEM_INSTRUCTIONS
from teachers.prompts.reflected_answer import REFLECTED_ANSWER
from teachers.prompts.reflected_problem import REFLECTED_PROBLEM
from teachers.prompts.revision import REVISION
from teachers.prompts.styled_answer import STYLED_ANSWER
from teachers.prompts.task_rubrics import TASK_RUBRICS
from teachers.prompts.task_type import task_type
from teachers.prompts.typed_problems import TYPED_PROBLEMS
from teachers.rule_tutor import REFUSAL, RuleTutor

QUESTION = "What is 72 - 45?"
RIGHT, WRONG = "12-5=7. 6-4=2.\nAnswer: 27", "70-40=30. 5-2=3.\nAnswer: 33"
TYPES = task_type(SkillCatalog.of_names(["history", "Math", "others"]))


def ask(prompt: Prompt[Any], error_rate: float = 0.0, **fields: object) -> Any:
    tutor = RuleTutor(error_rate=error_rate)
    return prompt.parse(asyncio.run(tutor.ask(prompt.messages(fields), prompt.sampling)).text)


def answer_of(text: str) -> str:
    return text.rpartition("Answer: ")[2]


def test_it_groups_questions_by_skill() -> None:
    kinds = ask(TASK_RUBRICS, questions=f"1. {QUESTION}\n2. Who was Ada?\n3. What is 88 - 69?").groups
    assert [(kind.name, kind.questions) for kind in kinds] == [("borrowing", [1, 3])]
    assert kinds[0].criteria[0] == SKILLS["borrowing"].description


def test_it_gives_a_right_draft_back_and_solves_for_a_wrong_one() -> None:
    fields = {"question": QUESTION, "criteria": "- It is right."}
    assert ask(REVISION, attempt=RIGHT, **fields) == RIGHT
    assert answer_of(ask(REVISION, attempt=WRONG, **fields)) == "27"
    assert answer_of(ask(REVISION, 1.0, attempt=RIGHT, **fields)) != "27"


def test_it_names_principles_known_and_new() -> None:
    fields = {"question": QUESTION, "reference": "27", "attempt": WRONG}
    new = ask(PRINCIPLES, principles="(none yet)", **fields)
    assert (new.violated, new.new) == ([], [SKILLS["borrowing"].description])
    known = ask(PRINCIPLES, principles=f"1. Sit up.\n2. {new.new[0]}", **fields)
    assert (known.violated, known.new) == ([2], [])


def test_it_merges_what_is_the_same_but_for_case() -> None:
    merged = ask(MERGED_PRINCIPLES, principles="1. Carry.\n2. Check.\n3. carry.").principles
    assert [(one.principle, one.stands_for) for one in merged] == [("Carry.", [1, 3]), ("Check.", [2])]


def test_it_writes_instructions_and_keeps_principles_in_them() -> None:
    told = {"task": "Solve.", "examples": "1. x"}
    assert "final answer" in ask(PROBLEM_INSTRUCTIONS, **told)
    assert ask(PROBLEM_INSTRUCTIONS, instructions="x", principles="Carry.", **told).endswith("Carry.")


def test_it_types_writes_and_answers() -> None:
    assert ask(TYPES, question=QUESTION) == "Math"
    assert ask(TYPES, 1.0, question=QUESTION) != "Math"
    written = ask(TYPED_PROBLEMS, type="math", examples=f"- {QUESTION}", count=3)
    assert len(written) == 3
    assert {worked.skill for worked in map(solve, written) if worked} == {"borrowing"}
    answered = ask(STYLED_ANSWER, question=QUESTION, instruction="", style="")
    assert answer_of(answered) == "27"


def test_it_reflects() -> None:
    fields = {"question": QUESTION, "answer": "27", "instruction": ""}
    assert answer_of(ask(REFLECTED_ANSWER, **fields).answer) == "27"
    better = ask(REFLECTED_PROBLEM, **fields)
    worked = solve(better.question)
    assert worked is not None
    assert (worked.skill, answer_of(better.answer)) == ("borrowing", worked.answer)


@pytest.mark.parametrize("prompt", [REVISION, STYLED_ANSWER], ids=lambda prompt: prompt.name)
def test_what_it_does_not_know_it_refuses(prompt: Prompt[Any]) -> None:
    fields = {"question": "Who was Ada?", "criteria": "x", "attempt": "x", "instruction": "", "style": ""}
    assert ask(prompt, **fields) == REFUSAL


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Type: math", "Math"), ("**Type:** Math.", "Math"), ("It is a matter of history, not of sums", "history"),
        ("Type: sport\nType: history", "history"), ("mathematics", ""), ("", ""), ("Type: none", ""),
    ],
)  # fmt: skip
def test_a_type_is_read_from_its_line_else_from_the_words(reply: str, said: str) -> None:
    assert TYPES.parse(reply) == said


def test_rubrics_without_criteria_are_left_out() -> None:
    group = {"name": " ", "questions": [2, 2, 1], "criteria": [" a  b ", "a b", ""]}
    found = TASK_RUBRICS.parse(json.dumps({"groups": [{**group, "criteria": [" "]}, group]})).groups
    assert [(kind.name, kind.questions, kind.criteria) for kind in found] == [("kind 1", [2, 1], ["a b"])]
    with pytest.raises(ParseError, match="no group with a criterion"):
        TASK_RUBRICS.parse('{"groups": []}')


def test_an_old_principle_belongs_to_the_first_that_claims_it() -> None:
    rows = [("A.", [1, 2, 2]), ("B.", [2, 3]), ("C.", [1]), (" ", [4])]
    reply = json.dumps({"principles": [{"principle": p, "stands_for": n} for p, n in rows]})
    assert [(one.principle, one.stands_for) for one in MERGED_PRINCIPLES.parse(reply).principles] == [
        ("A.", [1, 2]), ("B.", [3]),
    ]  # fmt: skip
    with pytest.raises(ParseError, match="no principle that stands for an old one"):
        MERGED_PRINCIPLES.parse('{"principles": []}')


def test_new_principles_are_few_short_and_different() -> None:
    new = ["a  b", "a b", " ", "x" * 301, "c", "d"]
    assert PRINCIPLES.parse(json.dumps({"reason": "", "violated": [3, 3], "new": new})).new == ["a b", "c"]


def test_empty_texts_are_refused() -> None:
    for prompt in (REVISION, STYLED_ANSWER, PROBLEM_INSTRUCTIONS):
        with pytest.raises(ParseError):
            prompt.parse(" --- ")
    with pytest.raises(ParseError, match="at most"):
        PROBLEM_INSTRUCTIONS.parse("a" * (LONGEST + 1))
    with pytest.raises(ParseError, match="'answer' has no words"):
        REFLECTED_ANSWER.parse('{"judgement": "", "answer": " "}')
    with pytest.raises(ParseError, match="'question' has no words"):
        REFLECTED_PROBLEM.parse('{"judgement": "", "question": "?", "answer": "a"}')
