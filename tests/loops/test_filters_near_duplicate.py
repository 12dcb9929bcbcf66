"""Near-duplicates: the bands' promise, and the whole filter held to comparing every pair."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.errors import InputError
from loops import plugins
from loops.exams.index import words_of
from loops.filters.base import Context
from loops.filters.near_duplicate import NearDuplicate
from loops.likeness.minhash import FOUND, bands_for, near_duplicates, near_pairs
from loops.likeness.shingles import BITS, shingles
from tests.loops.filtering import CONTEXT, lesson, reasons

LONG = "the farmer sells nine of her forty eggs at the market and then packs the others evenly into small boxes"


def grams(text: str, n: int = 3) -> set[tuple[str, ...]]:
    """The definition, by hand: the runs of n words."""
    words = words_of(text)
    return {tuple(words[at : at + n]) for at in range(len(words) - n + 1)}


def jaccard(one: str, other: str, n: int = 3) -> float:
    a, b = grams(one, n), grams(other, n)
    return len(a & b) / len(a | b)


def test_the_widest_bands_that_find_enough() -> None:
    bands = bands_for(0.8, 128)
    assert (bands.bands, bands.rows) == (18, 7)
    assert bands.found(0.8) == pytest.approx(1 - (1 - 0.8**7) ** 18)
    assert FOUND <= bands.found(0.8) < 0.99
    assert bands_for(1.0, 64).rows == 64
    for threshold in (0.3, 0.5, 0.7, 0.9):
        chosen = bands_for(threshold, 256)
        assert chosen.found(threshold) >= FOUND
        wider = type(chosen)(256 // (chosen.rows + 1), chosen.rows + 1)
        assert wider.found(threshold) < FOUND


def test_sets_of_runs_are_those_of_the_definition() -> None:
    texts = [LONG, "a b a b a b", "a b", "...", "Über-groß 1,000 言葉 x"]
    (found,) = shingles([[text] for text in texts], n=3)
    sizes = [found.starts[at + 1] - found.starts[at] for at in range(len(texts))]
    assert sizes == [len(grams(LONG)), 2, 1, 1, len(grams(texts[4]))]
    assert all(sketch.bit_count() <= min(size, BITS) for sketch, size in zip(found.sketches, sizes, strict=True))
    (alone,) = shingles([[LONG]], n=3)
    assert alone.hashes.tolist() == found.hashes[: sizes[0]].tolist()  # what stands beside it does not matter
    assert int(alone.hashes[0]) == 310089864601550395  # the same in every process and on every machine


def test_a_run_never_goes_from_one_part_into_the_next() -> None:
    (found,) = shingles([["one two three", "four five six"], ["one two three four five six"]], n=3)
    assert found.starts.tolist() == [0, 2, 6]


def test_characters_count_with_spaces_and_case_evened_out() -> None:
    (found,) = shingles([["Ab  c"], ["ab c"], ["x"]], n=3, unit="characters")
    assert found.starts.tolist() == [0, 2, 4, 5]  # "ab ", "b c"; a part of fewer than n is one
    assert found.hashes[:2].tolist() == found.hashes[2:4].tolist()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from((0.5, 0.8, 1.0)), n=st.integers(1, 4))
def test_what_is_near_is_what_comparing_every_pair_finds(seed: int, threshold: float, n: int) -> None:
    rng = Random(seed)
    vocabulary = [f"w{number}" for number in range(30)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(n, 25))) for _ in range(12)]
    for _ in range(12):
        words = rng.choice(texts).split()
        for _ in range(rng.randint(0, 3)):
            words[rng.randrange(len(words))] = rng.choice(vocabulary)
        texts.append(" ".join(words))
    every = {(a, b) for b in range(len(texts)) for a in range(b) if jaccard(texts[a], texts[b], n) >= threshold - 1e-9}
    rows = [[text] for text in texts]
    found = set(near_pairs(rows, threshold=threshold, n=n))
    assert found <= every  # never one too many; one too few at most by chance, which the next test bounds
    assert {pair for pair in every if jaccard(texts[pair[0]], texts[pair[1]], n) == 1} <= found
    kept: list[int] = []
    for place, near in enumerate(near_duplicates(rows, threshold=threshold, n=n)):
        expected = next((other for other in kept if (other, place) in found), -1)
        assert near == expected
        if near < 0:
            kept.append(place)


def test_of_pairs_just_above_the_threshold_nearly_all_are_found() -> None:
    # 34 words are 32 runs of 3; the last two words changed leave 30 of 34 in common: J = 0.882; the last four: 28 of
    # 36 = 0.778, below; words 0, 1, 2 changed: 29 of 35 = 0.829.
    rng = Random(3)
    texts: list[list[str]] = []
    for _ in range(1500):
        words = [f"w{rng.randrange(10**6)}" for _ in range(34)]
        texts += [[" ".join(words)], [" ".join([*(f"x{rng.randrange(10**6)}" for _ in range(3)), *words[3:]])]]
    assert {round(jaccard(*texts[0], *texts[1]), 3)} == {0.829}
    pairs = set(near_pairs(texts))
    assert pairs <= {(at, at + 1) for at in range(0, 3000, 2)}
    assert len(pairs) >= 0.98 * 1500


def test_below_the_threshold_nothing_is_dropped() -> None:
    # 20 words are 18 runs; one word in the middle changed leaves 15 of 21 = 0.714.
    other = LONG.replace("eggs", "hens")
    assert jaccard(LONG, other) == pytest.approx(15 / 21)
    assert reasons(NearDuplicate(of="prompt"), [lesson(LONG), lesson(other)]) == ["kept", "kept"]
    assert reasons(NearDuplicate(of="prompt", threshold=0.7), [lesson(LONG), lesson(other)]) == [
        "kept",
        "nearly the same as an earlier candidate",
    ]


def test_the_first_is_kept_and_each_drop_names_a_lesson_that_is_kept() -> None:
    # b is near a, c is near b and not near a: c stays, because b does not.
    words = LONG.split()
    b = " ".join([*words[:-2], "big", "bags"])
    c = " ".join(["a", "man", *words[2:-2], "big", "bags"])
    assert (jaccard(LONG, b), jaccard(b, c), jaccard(LONG, c)) == (16 / 20, 16 / 20, 14 / 22)
    lessons = [lesson(text, completion="x y z") for text in (LONG, b, c, LONG.upper() + "!")]
    judge = NearDuplicate(of="prompt")
    dropped = "nearly the same as an earlier candidate"
    assert reasons(judge, lessons) == ["kept", dropped, "kept", dropped]
    verdicts = judge.judge(lessons, CONTEXT)
    assert [getattr(one, "detail", None) for one in verdicts] == [None, lessons[0].id, None, lessons[0].id]


def test_a_second_solution_of_one_problem_is_no_duplicate_unless_prompts_alone_count() -> None:
    one = lesson("How many eggs?", "First she sells nine of forty eggs, so there are thirty-one.\nAnswer: 31")
    two = lesson("How many eggs?", "Forty less nine leaves what we look for, and that is it.\nAnswer: 31")
    assert reasons(NearDuplicate(), [one, two]) == ["kept", "kept"]
    assert reasons(NearDuplicate(of="prompt"), [one, two])[1] == "nearly the same as an earlier candidate"
    system = ({"role": "system", "content": "Think."}, {"role": "user", "content": LONG})
    with_system = [lesson(LONG, prompt=system, completion="x y z"), lesson(LONG, completion="x y z")]
    assert reasons(NearDuplicate(), with_system)[1] != "kept"  # the task's own message does not count


def test_lessons_of_earlier_rounds_count_and_are_themselves_left_alone() -> None:
    context = Context(grader=CONTEXT.grader, earlier=[lesson(LONG), lesson(LONG, "Once more.\nAnswer: 4")])
    again = [lesson(LONG.title()), lesson("Another question that nobody has asked before")]
    assert reasons(NearDuplicate(), again, context) == ["nearly the same as a lesson of an earlier round", "kept"]
    assert reasons(NearDuplicate(earlier=False), again, context) == ["kept", "kept"]
    assert reasons(NearDuplicate(), [], context) == []


def test_texts_without_words_are_only_like_themselves() -> None:
    lessons = [lesson("+", "-"), lesson("*", "-"), lesson("+", "-"), lesson("", ""), lesson(" ", "")]
    dropped = "nearly the same as an earlier candidate"
    assert reasons(NearDuplicate(of="prompt"), lessons) == ["kept", "kept", dropped, "kept", dropped]


def test_very_long_texts_are_told_apart_exactly() -> None:
    rng = Random(1)
    words = [f"w{rng.randrange(10**6)}" for _ in range(3000)]
    other = [*words[:2300], *(f"x{rng.randrange(10**6)}" for _ in range(700))]
    near = [*words[:2800], *(f"x{rng.randrange(10**6)}" for _ in range(200))]
    texts = [[" ".join(one)] for one in (words, other, near)]
    assert near_duplicates(texts) == [-1, -1, 0]  # 0.62 and 0.87


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0"),
        ({"n": 0}, "n must be at least 1"),
        ({"threshold": 0.3, "permutations": 4}, "permutations must be more than 4"),
        ({"of": "question"}, "of"),
    ],
)
def test_wrong_knobs_are_refused_in_one_line(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plugins.build("filter", {"id": "near_duplicate", **knobs}, where="filters[0]")
