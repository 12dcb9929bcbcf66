"""Selective Reflection-Tuning by hand: what is asked, and every branch of the table by which the student chooses."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Lesson, Message
from loops.filters.base import Context
from loops.methods.reflection import Reflection, Scored, chosen
from loops.round import Round
from loops.scores import Scores
from students.base import Student
from teachers.prompts.reflected_answer import REFLECTED_ANSWER
from teachers.prompts.reflected_problem import REFLECTED_PROBLEM
from tests.loops.memory_methods import Numbers, attempt, problem, teach

PROBLEM = problem("Q0?", "4", "adding", solution="Four.")
OLD = "Four.\nAnswer: 4"
SAYS = {
    REFLECTED_PROBLEM: lambda f: json.dumps({"judgement": "easy", "question": "Q1?", "answer": "A1"}),
    REFLECTED_ANSWER: lambda f: json.dumps(
        {"judgement": "thin", "answer": {"Q0?": "A0+", "Q1?": "A1+"}[f["question"]]}
    ),
}
TEXTS = {"original": ("Q0?", OLD), "answer": ("Q0?", "A0+"), "question": ("Q1?", "A1"), "both": ("Q1?", "A1+")}


class Ratios:
    """A student that scores so that IFD and reverse IFD of each version are these."""

    name, digest = "ratios", "ratios"

    def __init__(self, ratios: Mapping[str, tuple[float, float]]) -> None:
        self.plain = {TEXTS[kind]: ratio for kind, (ratio, _) in ratios.items()}
        self.turned = {TEXTS[kind][::-1]: ratio for kind, (_, ratio) in ratios.items()}

    def score(self, rows: Sequence[tuple[Sequence[Message], str]], *, progress: Any = None) -> list[list[float]]:
        """A loss of 2 after nothing, and of 2 + ln(ratio) after a chat, over a token."""
        return [[-2 - math.log(self._ratio(chat, text))] if chat else [-2.0] for chat, text in rows]

    def _ratio(self, chat: Sequence[Message], text: str) -> float:
        asked = chat[-1]["content"].partition("\n\nWhat was asked")[0]
        return self.plain[asked, text] if (asked, text) in self.plain else self.turned[asked, text]


def reflect(
    method: Reflection, ratios: Mapping[str, tuple[float, float]], folder: Path, **says: Any
) -> tuple[list[Lesson], Round]:
    scores = Scores(None, {"base": lambda: cast(Student, Ratios(ratios))})
    context = Context(grader=cast(Any, Numbers()), scores=scores)
    lessons, round_, _ = teach(
        method, {**{p.system: rule for p, rule in SAYS.items()}, **says}, [attempt(PROBLEM, "Five.", "adding")], folder,
        scores=scores, context=context,
    )  # fmt: skip
    return lessons, round_


# Version -> (IFD, reverse IFD): the four branches of the table.
BRANCHES = {
    "both": {"original": (0.5, 0.5), "answer": (0.5, 0.1), "question": (0.6, 0.5), "both": (0.6, 0.4)},
    "question": {"original": (0.5, 0.5), "answer": (0.5, 0.1), "question": (0.6, 0.5), "both": (0.6, 0.5)},
    "answer": {"original": (0.5, 0.5), "answer": (0.5, 0.4), "question": (0.5, 0.1), "both": (0.9, 0.1)},
    "original": {"original": (0.5, 0.5), "answer": (0.5, 0.5), "question": (0.4, 0.1), "both": (0.9, 0.1)},
}


@pytest.mark.parametrize("kind", BRANCHES)
def test_every_branch_of_the_table(kind: str, tmp_path: Path) -> None:
    lessons, round_ = reflect(Reflection(), BRANCHES[kind], tmp_path)
    (lesson,) = lessons
    assert (lesson.problem.question, lesson.completion) == TEXTS[kind]
    assert lesson.prompt[-1]["content"] == TEXTS[kind][0]
    assert round_.counts[f"took {kind}"] == 1
    new = kind in ("question", "both")
    assert lesson.problem.parent == (PROBLEM.id if new else None)
    assert lesson.problem.answer == (None if new else "4")  # nobody has told a new question's reference
    assert lesson.problem.skills == ("adding",)
    assert len(lesson.provenance.calls) == {"original": 0, "answer": 1, "question": 1, "both": 2}[kind]


@pytest.mark.parametrize("kind", BRANCHES)
def test_the_released_code_leaves_two_branches_out(kind: str, tmp_path: Path) -> None:
    lessons, round_ = reflect(Reflection(released=True), BRANCHES[kind], tmp_path)
    assert [lesson.completion for lesson in lessons] == ([TEXTS[kind][1]] if kind in ("both", "answer") else [])
    assert round_.counts[f"took {kind}"] == 1


def test_what_is_taken_must_have_both_ratios_below_one(tmp_path: Path) -> None:
    high = {**BRANCHES["both"], "question": (1.0, 0.5), "both": (1.0, 0.4)}
    lessons, round_ = reflect(Reflection(), high, tmp_path / "a")
    assert lessons == []
    assert [drop.check.reason for drop in round_.dropped] == ["IFD too high"]
    turned = {**BRANCHES["question"], "question": (0.6, 1.2), "both": (0.6, 1.2)}
    _, round_ = reflect(Reflection(), turned, tmp_path / "b")
    assert [drop.check.reason for drop in round_.dropped] == ["reverse IFD too high"]
    lessons, _ = reflect(Reflection(bound=None), turned, tmp_path / "c")
    assert len(lessons) == 1


def test_a_lost_reply_leaves_the_versions_that_there_are(tmp_path: Path) -> None:
    lost = {REFLECTED_PROBLEM.system: lambda f: "no"}
    lessons, _ = reflect(Reflection(), BRANCHES["both"], tmp_path / "a", **lost)
    assert lessons[0].completion == "A0+"
    lessons, _ = reflect(Reflection(), BRANCHES["both"], tmp_path / "b", **{REFLECTED_ANSWER.system: lambda f: "no"})
    assert (lessons[0].problem.question, lessons[0].completion) == TEXTS["question"]


def test_three_calls_a_problem_the_last_on_the_new_question(tmp_path: Path) -> None:
    _, _, asked = teach(Reflection(), SAYS, [attempt(PROBLEM, "Five.", "adding")], tmp_path)
    assert [(f["question"], f["answer"]) for system, f in asked] == [("Q0?", OLD), ("Q0?", OLD), ("Q1?", "A1")]
    assert {f["instruction"] for _, f in asked} == {"Think."}


ratio = st.floats(0.01, 3) | st.just(math.nan)


@given(*(st.tuples(ratio, ratio) for _ in range(4)))
def test_the_table_for_any_scores(original: Any, answer: Any, question: Any, both: Any) -> None:
    scored = {
        kind: Scored(*pair)
        for kind, pair in zip(
            ("original", "answer", "question", "both"), (original, answer, question, both), strict=True
        )
    }
    kind = chosen(cast(Any, scored))
    harder = question[0] > original[0]
    assert (kind in ("question", "both")) == harder
    if harder:
        assert (kind == "both") == (both[1] < question[1])
    else:
        assert (kind == "answer") == (answer[1] < original[1])
