"""TPD by hand: instructions, the student tries them, principles by how often they are violated, corrected examples."""

import json
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lessons.memory import Demonstration, Memory
from lessons.records import Message
from loops.methods.tpd import Tpd
from loops.principles import by_violations
from students.memory import remembering
from teachers.prompts.merged_principles import MERGED_PRINCIPLES
from teachers.prompts.principles import PRINCIPLES
from teachers.prompts.problem_instructions import PROBLEM_INSTRUCTIONS
from teachers.prompts.rationale import RATIONALE
from tests.loops.memory_methods import RuleStudent, Says, attempt, problem, teach

PROBLEMS = [problem(f"Problem {n}?", str(n), "adding", solution=f"So {n}") for n in range(6)]
ATTEMPTS = [attempt(p, "Answer: 9", "adding") for p in PROBLEMS]
VIOLATED = {1: ["Carry."], 2: ["Carry.", "Read twice."], 3: ["carry "], 4: ["Name the unit."], 5: ["Do carry."]}
"""Problem -> the principles that its wrong answer violates, as the teacher says it; "Carry." in three spellings."""


def student(right: Sequence[int]) -> RuleStudent:
    """It knows nothing without instructions; with them it has these problems right."""

    def rule(chat: Sequence[Message]) -> str:
        number = int(chat[-1]["content"].split()[1].rstrip("?"))
        told = "Go slowly." in chat[0]["content"]
        return f"Tried {number}. Answer: {number if told and number in right else 'none'}"

    return RuleStudent(rule)


def merge(fields: dict[str, str]) -> str:
    lines = dict(line.split(". ", 1) for line in fields["principles"].splitlines())
    alike = [int(number) for number, text in lines.items() if "carry" in text.casefold()]
    return json.dumps({"principles": [{"principle": "Carry the ten.", "stands_for": [*alike, 77]}]})


def says(**more: Says) -> dict[str, Says]:
    return {
        PROBLEM_INSTRUCTIONS.system: lambda f: "Go slowly, refined." if "principles" in f else "Go slowly.",
        PRINCIPLES.system: lambda f: json.dumps(
            {"reason": "So.", "violated": [8], "new": VIOLATED[int(f["question"].split()[1].rstrip("?"))]}
        ),
        MERGED_PRINCIPLES.system: merge,
        RATIONALE.system: lambda f: f"{f['hint']}.\nAnswer: {f['hint'].split()[1]}",
        **more,
    }


def test_the_whole_way_by_hand(tmp_path: Path) -> None:
    weights = student(right=[0])
    lessons, round_, asked = teach(Tpd(demonstrations=2), says(), ATTEMPTS, tmp_path, student=weights)  # type: ignore[arg-type]
    assert lessons == []
    (memory,) = round_.remembered
    # Problem 0 is right with the instructions, so that five answers are looked at, in an order that is drawn.
    tried = [f["attempt"] for system, f in asked if system == PRINCIPLES.system]
    assert {text[:8] for text in tried} == {f"Tried {n}." for n in range(1, 6)}
    assert all("Go slowly." in chat[0]["content"] for chat in weights.chats)
    # "Carry.", "carry " and "Do carry." are one: violated by 1, 2, 3 and 5; the two others once each.
    assert memory.principles[0] == "Carry the ten."
    assert set(memory.principles[1:]) == {"Read twice.", "Name the unit."}
    # Problem 2 violates both the most frequent one and another: 4 + 1. Then 1, 3 or 5 with 4; problem 4 comes last.
    assert memory.demonstrations[0] == Demonstration(
        question="Problem 2?", completion="So 2.\nAnswer: 2", skills=("adding",), problem=PROBLEMS[2].id
    )
    assert len(memory.demonstrations) == 2
    assert memory.demonstrations[1].problem in {PROBLEMS[n].id for n in (1, 3, 5)}
    assert (memory.instructions, memory.choose, memory.shown) == ("Go slowly, refined.", "fixed", 0)
    refined = [f for system, f in asked if system == PROBLEM_INSTRUCTIONS.system][1]
    assert refined["principles"].splitlines() == list(memory.principles)
    assert refined["instructions"] == "Go slowly."
    assert round_.counts["wrong with the instructions"] == 5


def test_a_later_round_goes_on_from_the_memory_and_its_examination(tmp_path: Path) -> None:
    old = Demonstration(question="Old?", completion="Answer: 1")
    known = Memory(instructions="Go slowly.", principles=("Check.", "Carry."), demonstrations=(old,))
    weights = student(right=[])

    def violated(fields: dict[str, str]) -> str:
        assert fields["principles"] == "1. Check.\n2. Carry."
        new = ["Read twice."] if fields["question"] == "Problem 1?" else []
        return json.dumps({"reason": "So.", "violated": [2, 5], "new": new})

    attempts = [ATTEMPTS[1], attempt(PROBLEMS[2], "Answer: 2"), ATTEMPTS[3]]
    _, round_, asked = teach(
        Tpd(refine=False, demonstrations=3, principles=2),
        says(**{PRINCIPLES.system: violated, MERGED_PRINCIPLES.system: lambda f: "no"}),
        attempts, tmp_path, student=remembering(weights, known),  # type: ignore[arg-type]
    )  # fmt: skip
    (memory,) = round_.remembered
    assert weights.chats == []  # it was examined with its memory already
    assert memory.principles == ("Check.", "Carry.")  # those known stay, violated or not; a third has no room
    assert round_.counts["principles not merged"] == 3
    assert memory.instructions == "Go slowly."
    assert {one.question for one in memory.demonstrations} == {"Problem 1?", "Problem 3?", "Old?"}
    assert PROBLEM_INSTRUCTIONS.system not in {system for system, _ in asked}


def test_a_correction_that_is_not_right_is_not_shown(tmp_path: Path) -> None:
    wrong = says(**{RATIONALE.system: lambda f: "Somehow.\nAnswer: 77"})
    _, round_, _ = teach(Tpd(demonstrations=2), wrong, ATTEMPTS, tmp_path, student=student([0]))  # type: ignore[arg-type]
    assert round_.remembered[0].demonstrations == ()
    assert round_.counts["corrected solutions not right"] == 4


def test_practice_bounds_what_the_teacher_looks_at(tmp_path: Path) -> None:
    _, _, asked = teach(Tpd(practice=2), says(), ATTEMPTS, tmp_path, student=student([0]))  # type: ignore[arg-type]
    assert sum(system == PRINCIPLES.system for system, _ in asked) == 2


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple), max_size=8))
def test_answers_are_ranked_by_how_often_their_principles_are_violated(tags: list[tuple[str, ...]]) -> None:
    weights = [sum(sum(one in row for row in tags) for one in tag) for tag in tags]
    order = by_violations(tags)
    assert sorted(order) == list(range(len(tags)))
    assert order == sorted(range(len(tags)), key=lambda n: (-weights[n], n))
