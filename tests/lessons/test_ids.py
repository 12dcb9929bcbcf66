import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.ids import ID_LENGTH, canonical, content_id, digest, seed_of
from lessons.records import Attempt, Lesson, Message, Problem, Provenance

ROOT = Path(__file__).parents[2]

PROBLEM = Problem(question="What is 2 + 3?", answer="5", skills=("adding",))
ACCENTED = Problem(question="Wie groß ist ½ von 10 €? 😀", answer="5", choices=("5", "6"))
LESSON = Lesson(
    prompt=(Message(role="user", content="What is 2 + 3?"),),
    completion="Answer: 5",
    problem=PROBLEM,
    provenance=Provenance(method="replay", round=1),
)
ATTEMPT = Attempt(problem=PROBLEM, student="0" * 16, text="Answer: 6", sample=2)

# These must never change: run folders and ledgers of earlier versions are joined by them.
GOLDEN = {
    "problem": (PROBLEM.id, "bdbd6e3997903de4"),
    "accented": (ACCENTED.id, "6e2024ab8c8d6ebe"),
    "lesson": (LESSON.id, "3921b5bef26a9b79"),
    "attempt": (ATTEMPT.id, "3f2ec09fdbb0cc14"),
    "plain": (content_id("kind", a=1, b=[None, True, "x"]), "810cd3c11a254826"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_ids(name: str) -> None:
    found, golden = GOLDEN[name]
    assert found == golden


def test_golden_seed_and_digest() -> None:
    assert seed_of("round", 1, "teach") == 859628278
    assert digest({"b": 1, "a": [1, 2]}) == "94a786c3662bc7beeb598efa7d8cb58d7bea25d6c275ea9785a0230ff1f8c2ba"


def test_labels_and_origins_leave_a_problem_the_same() -> None:
    labelled = Problem(question=PROBLEM.question, answer="5", skills=("x", "y"), source="elsewhere", solution="2+3=5")
    assert labelled.id == PROBLEM.id
    assert Problem(question=PROBLEM.question, answer="6").id != PROBLEM.id
    assert Problem(question=PROBLEM.question, answer="5", choices=("5",)).id != PROBLEM.id
    assert Problem(question=PROBLEM.question).id != PROBLEM.id


def test_a_lesson_is_what_is_trained_on() -> None:
    import msgspec

    assert msgspec.structs.replace(LESSON, weight=2.0, share=0.5).id == LESSON.id
    assert msgspec.structs.replace(LESSON, rejected="Answer: 6").id != LESSON.id


def test_ids_are_the_same_in_a_fresh_process_with_another_hash_seed() -> None:
    program = (
        "from lessons.records import Problem; from lessons.ids import seed_of;"
        "print(Problem(question='What is 2 + 3?', answer='5').id, seed_of('a', 1))"
    )
    for hash_seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [PROBLEM.id, str(seed_of("a", 1))]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_canonical_is_json_and_says_the_same(value: object) -> None:
    assert json.loads(canonical(value).decode("utf-8", "surrogatepass")) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_lone_surrogates_have_an_id_and_nan_has_none() -> None:
    assert len(Problem(question="broken \ud800 text").id) == ID_LENGTH
    with pytest.raises(ValueError, match="JSON compliant"):
        digest(float("nan"))


@given(st.lists(st.text() | st.integers(), max_size=4))
def test_seeds_are_in_range(parts: list[str | int]) -> None:
    assert 0 <= seed_of(*parts) < 2**31
