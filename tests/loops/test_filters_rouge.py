"""ROUGE-L against seeds and earlier questions: the index is held to comparing every pair."""

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lessons.records import Problem
from loops.exams.index import words_of
from loops.filters.base import Context
from loops.filters.rouge import Rouge
from loops.likeness.rouge import Rouge as Index
from tests.loops.filtering import CONTEXT, lesson, reasons

texts_of_few_words = st.lists(st.sampled_from(("a", "b", "c", "d", "e")), max_size=12).map(" ".join)


def longest_common(one: list[str], other: list[str]) -> int:
    """The textbook's table."""
    row = [0] * (len(other) + 1)
    for word in one:
        last = 0
        for place, against in enumerate(other, start=1):
            last, row[place] = row[place], last + 1 if word == against else max(row[place], row[place - 1])
    return row[-1]


def is_near(one: str, other: str, threshold: float) -> bool:
    a, b = words_of(one), words_of(other)
    if not a or not b:
        return False
    return Fraction(2 * longest_common(a, b), len(a) + len(b)) > Fraction(str(threshold))


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(texts_of_few_words, max_size=14),
    threshold=st.sampled_from((0.0, 0.1, 0.5, 0.66, 0.7, 0.85, 0.9, 0.95, 1.0)),
)
@example(texts=["a a a a", "a a a a b"], threshold=0.85)  # words that stand several times
@example(texts=["", "a", ""], threshold=0.0)
def test_the_index_finds_what_comparing_every_pair_finds(texts: list[str], threshold: float) -> None:
    index, added = Index(texts, threshold), list[str]()
    for text in texts:
        expected = next((at for at, other in enumerate(added) if is_near(text, other, threshold)), None)
        assert index.near(text) == expected
        index.add(text)
        added.append(text)


def test_the_measure_is_the_rouge_package_s() -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    pairs = [
        ("Tom has 3 apples, and eats 1.", "Tom has 5 apples and he eats 2!"),
        ("A train_1 leaves at 10:30", "a TRAIN 1 leaves at ten"),
        ("x y z", "z y x"),
    ]
    for one, other in pairs:
        measured = scorer.score(one, other)["rougeL"].fmeasure
        for threshold in (round(measured - 0.01, 3), round(measured + 0.01, 3)):
            index = Index([one, other], threshold)
            index.add(other)
            assert (index.near(one) == 0) == (measured > threshold)


def test_a_measure_that_is_just_the_threshold_is_not_above_it_though_floats_would_say_so() -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    one = " ".join(f"w{n}" for n in range(40))
    other = one.replace("w7 ", "x ").replace("w8 ", "y ")
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    assert scorer.score(one, other)["rougeL"].fmeasure == 0.9500000000000001  # 38 of 40, by rounding
    assert not is_near(one, other, 0.95)
    assert reasons(Rouge(), [lesson(one), lesson(other)]) == ["kept", "kept"]


def test_by_hand() -> None:
    # 19 of 20 words in one order: F = 19/20, which is not above 0.95; of 21 and 21, 20: F = 0.952, above.
    twenty = " ".join(f"w{n}" for n in range(20))
    other = twenty.replace("w7", "x")
    assert reasons(Rouge(), [lesson(twenty), lesson(other)]) == ["kept", "kept"]
    found = reasons(Rouge(), [lesson(f"{twenty} end"), lesson(f"{other} end")])
    assert found == ["kept", "nearly the same as an earlier question of this round"]
    # The same words in another order have a short common subsequence.
    assert reasons(Rouge(threshold=0.5), [lesson("a b c d"), lesson("d c b a")]) == ["kept", "kept"]


SEED = "A farmer has forty eggs and sells nine of them at the market: how many eggs are left?"
OTHER = "A teacher has sixty pens and lends six of them to her class: how many pens are left?"
PROBLEMS = [Problem(question=question, answer="1") for question in (SEED, OTHER)]
CONTEXT_OF_TASK = Context(grader=CONTEXT.grader, problems=PROBLEMS)


def test_a_copy_of_its_seed_is_dropped_and_lessons_on_the_seed_itself_are_not() -> None:
    copied = lesson(SEED.replace("eggs are", "eggs then are"), seed=PROBLEMS[0].id)
    on_seed = lesson(SEED, answer="1", seed=PROBLEMS[0].id)
    assert reasons(Rouge(), [copied, on_seed], CONTEXT_OF_TASK) == ["nearly the same as a seed question", "kept"]
    assert reasons(Rouge(seeds="none"), [copied], CONTEXT_OF_TASK) == ["kept"]


def test_only_the_seeds_that_the_round_was_written_from_count_unless_all_are_to() -> None:
    copied = lesson(OTHER.replace("pens are", "pens then are"), seed=PROBLEMS[0].id)
    assert reasons(Rouge(), [copied], CONTEXT_OF_TASK) == ["kept"]
    assert reasons(Rouge(seeds="all"), [copied], CONTEXT_OF_TASK) == ["nearly the same as a seed question"]
    child = lesson("Something quite new about nothing at all", parent=PROBLEMS[1].id)
    assert reasons(Rouge(), [copied, child], CONTEXT_OF_TASK) == ["nearly the same as a seed question", "kept"]


def test_all_lessons_on_one_question_share_its_verdict() -> None:
    new = "A baker bakes ninety rolls a day and sells eighty: how many are left after a week?"
    lessons = [lesson(new, "One way.\nAnswer: 4"), lesson(new.upper(), "Another.\nAnswer: 4")]
    assert reasons(Rouge(), lessons) == ["kept", "kept"]
    copied = [lesson(f"{SEED} Now", f"Way {n}.", seed=PROBLEMS[0].id) for n in range(2)]
    assert reasons(Rouge(), copied, CONTEXT_OF_TASK) == ["nearly the same as a seed question"] * 2


def test_questions_of_earlier_rounds_count_where_asked_for() -> None:
    context = Context(grader=CONTEXT.grader, earlier=[lesson(SEED)])
    assert reasons(Rouge(), [lesson(f"{SEED} Now")], context) == ["kept"]
    found = reasons(Rouge(earlier=True), [lesson(f"{SEED} Now")], context)
    assert found == ["nearly the same as a question of an earlier round"]


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\]"):
        Rouge(threshold=1.5)
