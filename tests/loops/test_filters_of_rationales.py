"""Filters that look at the steps of a rationale, not only at its answer; and the script that measures filters."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.graders.math import MathGrader
from lessons.records import Lesson, Message, Problem, Provenance
from loops.filters.base import Context, Drop
from loops.filters.derived import Derived
from loops.filters.equations import Equations

CONTEXT = Context(grader=MathGrader())


def lesson(completion: str, **more: Any) -> Lesson:
    return Lesson(
        prompt=(Message(role="user", content="What?"),),
        completion=completion,
        problem=Problem(question="What?", answer="154"),
        provenance=Provenance(method="m", round=1),
        **more,
    )


def reason(judge: Any, completion: str, **more: Any) -> str:
    (found,) = judge.judge([lesson(completion, **more)], CONTEXT)
    return str(found) if isinstance(found, Drop) else ""


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        ("97 + 57 = 154.\nAnswer: 154", ""),
        ("97 + 57 = 144.\nAnswer: 144", "false calculation"),
        ("He has <<48/2=24>>24 left.\nAnswer: 24", ""),
        ("He has <<48/2=23>>23 left.\nAnswer: 23", "false calculation"),
        ("No number at all.", ""),
    ],
)
def test_equations_must_hold(completion: str, words: str) -> None:
    assert reason(Equations(), completion) == words


@pytest.mark.parametrize(
    ("completion", "parts", "whole"),
    [
        ("97 + 57 = 154.\nAnswer: 154", "", ""),
        ("97 + 57 = 144.\nAnswer: 154", "answer not in the steps", "answer not in the steps"),
        ("Ones: 7+7=14, write 4. Tens: 5+9+1=15.\nAnswer: 154", "", "answer not in the steps"),
        ("jacket: j, table: t, kitten: k.\nAnswer: jtk", "", "answer not in the steps"),
        ("55+45=100. 100-60=40. 9+1=10.\nAnswer: 10:40", "", "answer not in the steps"),
        ("Take 14, then 36.\nAnswer: 14, 36", "", "answer not in the steps"),
        ("It takes 1,250 of them.\nAnswer: 1250", "", ""),
        ("Answer: 154", "", ""),
        ("", "no final answer", "no final answer"),
    ],
)
def test_the_answer_must_come_from_the_steps(completion: str, parts: str, whole: str) -> None:
    assert reason(Derived(), completion) == parts
    assert reason(Derived(parts=False), completion) == whole


def test_an_answer_alone_is_dropped_where_steps_are_wanted() -> None:
    assert reason(Derived(bare=False), "Answer: 154") == "no steps"


def test_a_critique_ends_with_its_verdict_and_is_kept() -> None:
    assert reason(Derived(), "The sum is off.\nConclusion: wrong", verdict="wrong") == ""


@given(st.text(max_size=200))
def test_whatever_a_model_wrote_is_judged(text: str) -> None:
    for judge in (Derived(), Derived(parts=False, bare=False), Equations()):
        (found,) = judge.judge([lesson(text)], CONTEXT)
        assert isinstance(found, Lesson | Drop)


def test_the_script_finds_what_each_filter_catches(capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.measure_filters import main

    found = main(["--problems", "51", "--wrong", "0.2", "--unfaithful", "0.2"])
    assert capsys.readouterr().out.startswith("{")
    told = cast(dict[str, Any], found["rationales"])
    assert told["verified"]["precision"][0] == 1.0  # what ends wrong is wrong
    assert 0.2 < told["verified"]["recall"][0] < 0.8  # and about half of the wrong ones end right
    both = told["verified + equations + derived"]
    assert both["recall"][0] > told["verified"]["recall"][0]
    assert found["critiques"]["verified"]["recall"][0] == 1.0
    none = main(["--problems", "20", "--wrong", "0", "--unfaithful", "0"])
    assert none["rationales"]["verified"]["dropped"] == 0
    assert none["rationales"]["derived"]["dropped"] == 0
