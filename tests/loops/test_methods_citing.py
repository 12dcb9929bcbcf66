"""CITING by hand: rubrics once, each draft revised under its own, pairs of (question, rubric, draft) -> revision."""

import json
from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.memory import Memory, Rubric
from lessons.records import Message
from loops import plugins
from loops.methods.citing import Citing
from students.memory import remembering, revision_prompt
from teachers.prompts.revision import REVISION
from teachers.prompts.task_rubrics import TASK_RUBRICS
from tests.loops.memory_methods import RuleStudent, attempt, problem, teach

SUMS = [problem(f"Add {n} and 4 plums.", str(n + 4), "adding") for n in range(3)]
TIMES = [problem(f"How many hours are {n} days?", str(24 * n), "units") for n in range(3)]
ATTEMPTS = [
    attempt(SUMS[0], "It is 5.", "adding"),
    attempt(TIMES[1], "Answer: 24"),
    attempt(SUMS[2], "  ", "adding"),
    attempt(TIMES[2], "It is 40.", "units"),
]


def rubrics(fields: dict[str, str]) -> str:
    """Two groups, by the words; a number that no question has, a blank criterion."""
    numbers: dict[str, list[int]] = {"Sums": [99], "Times": []}
    for line in fields["questions"].splitlines():
        number, _, question = line.partition(". ")
        numbers["Sums" if "plums" in question else "Times"].append(int(number))
    criteria = {"Sums": ["It adds.", " "], "Times": ["It says the unit.", "It is short."]}
    return json.dumps({"groups": [{"name": k, "questions": v, "criteria": criteria[k]} for k, v in numbers.items()]})


SAYS = {TASK_RUBRICS: rubrics, REVISION: lambda f: f"{f['attempt']} Mended."}


def test_each_draft_becomes_a_lesson_whose_prompt_holds_rubric_and_draft(tmp_path: Path) -> None:
    lessons, round_, asked = teach(Citing(labelled=6), SAYS, ATTEMPTS, tmp_path, problems=[*SUMS, *TIMES])
    (memory,) = round_.remembered
    sums, times = memory.rubrics
    assert (sums.name, sums.criteria, set(sums.questions)) == ("Sums", ("It adds.",), {p.question for p in SUMS})
    assert (times.criteria, len(times.questions)) == (("It says the unit.", "It is short."), 3)
    assert (memory.revisions, memory.draft_with_rubric) == (2, False)
    # The blank draft is left out; the right one is revised too, as in the paper.
    assert [lesson.problem for lesson in lessons] == [SUMS[0], TIMES[1], TIMES[2]]
    assert [lesson.completion for lesson in lessons] == ["It is 5. Mended.", "Answer: 24 Mended.", "It is 40. Mended."]
    bare = (Message(role="system", content="Think."), Message(role="user", content=TIMES[1].question))
    assert lessons[1].prompt == revision_prompt(bare, times, "Answer: 24")
    assert "A good answer to this:\n- It says the unit.\n- It is short." in lessons[1].prompt[-1]["content"]
    assert [lesson.provenance.skill for lesson in lessons] == ["adding", "units", "units"]
    assert [len(lesson.provenance.calls) for lesson in lessons] == [2, 2, 2]
    assert [f["criteria"] for s, f in asked if s == REVISION.system] == [
        "- It adds.", "- It says the unit.\n- It is short.", "- It says the unit.\n- It is short.",
    ]  # fmt: skip
    assert all("72" not in json.dumps(f) and "48" not in json.dumps(f) for _, f in asked)  # no reference is shown


def test_rubrics_are_written_once_and_questions_without_a_label_find_theirs_by_words(tmp_path: Path) -> None:
    known = Memory(
        rubrics=(Rubric(name="Sums", criteria=("It adds.",), questions=("Add 7 and 8 plums.",)),), revisions=1
    )
    student = remembering(RuleStudent(lambda chat: "x"), known)  # type: ignore[arg-type]
    lessons, round_, asked = teach(Citing(of="missed"), SAYS, ATTEMPTS, tmp_path, student=student)
    assert round_.memory == known
    assert round_.remembered == [known]  # kept as it is, in the next student too
    assert {system for system, _ in asked} == {REVISION.system}
    assert [lesson.problem for lesson in lessons] == [SUMS[0], TIMES[2]]
    assert [len(lesson.provenance.calls) for lesson in lessons] == [1, 1]


def test_without_a_readable_rubric_there_is_no_lesson_and_no_memory(tmp_path: Path) -> None:
    lessons, round_, asked = teach(
        Citing(), {**SAYS, TASK_RUBRICS: lambda f: "I would rather not."}, ATTEMPTS, tmp_path
    )
    assert (lessons, round_.remembered) == ([], [])
    assert [lost.reason for lost in round_.lost] == ["invalid"] * 3
    assert all(system == TASK_RUBRICS.system for system, _ in asked)


def test_knobs_are_checked() -> None:
    with pytest.raises(InputError, match="method: labelled must be at least 1 and revisions at least 0, got 0 and 2"):
        plugins.build("method", {"id": "citing", "labelled": 0}, where="method")
