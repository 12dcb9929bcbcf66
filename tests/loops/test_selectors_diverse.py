"""Vectors, k-means and facility location beside the plain computation; the selectors `clusters` and `facility`."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from lessons.errors import InputError, StudentError
from lessons.records import Lesson, Message
from loops import vectors
from loops.selectors.base import Choice
from loops.selectors.clusters import Clusters, gaps_of
from loops.selectors.facility import Facility, after_example, with_self
from loops.selectors.kmeans import centres_of, nearest_centre
from loops.selectors.submodular import coverage, facility_location
from loops.store import read_yaml
from loops.vectors import WordSpace, nearest
from tests.loops.selecting import Told, attempt, lesson, profile, scores_of

WORDS = st.lists(
    st.lists(st.sampled_from(["two", "apples", "cost", "three", "pears", "4", "5"]), max_size=8).map(" ".join),
    min_size=1,
    max_size=14,
)


def choice(seed: int = 0, **more: Any) -> Choice:
    return Choice(**{"profile": profile({"a": (10, 5)}), "rng": Random(seed), **more})


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_word_vectors_by_hand() -> None:
    made = WordSpace(["a b", "a c", "a a"])
    found = made.vectors(["a b", "a c", "a a", "nothing known here"]).toarray()
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1, 1])
    # Pieces of "a b": a (in 3 of 3 texts), b (in 1), the pair (in 1). One letter has no pieces of its own.
    common, rare = 1.0, math.log(4 / 2) + 1
    length = math.sqrt(common**2 + 2 * rare**2)
    assert sorted(found[0][found[0] > 0]) == pytest.approx(sorted([common / length, rare / length, rare / length]))
    assert float(found[0] @ found[1]) == pytest.approx((common / length) ** 2)  # they share `a` alone


def test_texts_without_words_have_no_length() -> None:
    found = WordSpace(["one two"]).vectors(["", "  ", "one"])
    assert found.shape == (3, vectors.WIDTH)
    assert found[0].nnz == found[1].nnz == 0
    assert WordSpace([]).vectors([]).shape == (0, vectors.WIDTH)
    assert WordSpace([]).vectors(["\ud800 x"]).nnz > 0  # half a character harms nothing


@given(WORDS, st.integers(1, 6))
def test_neighbours_are_those_of_the_whole_matrix(texts: list[str], count: int) -> None:
    found = WordSpace(texts).vectors(texts)
    near = nearest(found, found, count).toarray()
    whole = np.asarray((found @ found.T).todense(), dtype=np.float64)
    for row in range(len(texts)):
        best = sorted(np.flatnonzero(whole[row] > 0), key=lambda c: (-whole[row][c], c))[:count]
        assert set(np.flatnonzero(near[row])) == set(best)
        assert near[row][best] == pytest.approx(whole[row][best])
    dense = nearest(found.toarray(), found.toarray(), count).toarray()
    assert np.sort(dense, axis=1) == pytest.approx(np.sort(near, axis=1), abs=1e-6)


def test_common_pieces_are_not_looked_for_but_do_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(0)
    texts = [f"what is the sum of {rng.randrange(40)} and {rng.randrange(40)} ?" for _ in range(600)]
    found = WordSpace(texts).vectors(texts)
    exact = nearest(found, found, 4)
    monkeypatch.setattr(vectors, "COMMON", 60)
    quick = nearest(found, found, 4)
    assert quick.nnz == exact.nnz
    # The cosines are whole ones, those of common pieces included, and nearly all neighbours are found.
    assert quick.sum(axis=1).mean() >= 0.98 * exact.sum(axis=1).mean()
    first = quick[0]
    for column, value in zip(first.indices, first.data, strict=True):
        assert value == pytest.approx(float((found[0] @ found[int(column)].T).toarray()[0, 0]), abs=1e-6)


# --- k-means ----------------------------------------------------------------------------------------------------------


def groups() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    middles = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    truth = np.repeat(np.arange(3), 30)
    return middles[truth] + rng.normal(0, 0.3, (90, 2)), truth


@pytest.mark.parametrize("sparse", [False, True])
def test_kmeans_finds_plain_groups(sparse: bool) -> None:
    points, truth = groups()
    given_ = csr_matrix(points) if sparse else points
    centres = centres_of(given_, 3, seed=1)
    labels = nearest_centre(given_, centres)
    assert len({(t, label) for t, label in zip(truth, labels, strict=True)}) == 3
    for label in range(3):
        assert centres[label] == pytest.approx(points[labels == label].mean(axis=0))
    assert centres_of(given_, 3, seed=1) == pytest.approx(centres)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    st.integers(1, 12),
    st.integers(0, 50),
)
def test_no_cluster_is_empty_and_there_are_as_many_as_can_be(
    points: list[tuple[int, int]], count: int, seed: int
) -> None:
    rows = np.array(points, dtype=np.float64)
    centres = centres_of(rows, count, seed)
    assert len(centres) == min(count, len(set(points)))
    labels = nearest_centre(rows, centres)
    assert set(labels) == set(range(len(centres)))


# --- facility location ------------------------------------------------------------------------------------------------


def brute_force(similarity: np.ndarray, count: int, names: Sequence[str], covered: np.ndarray) -> list[int]:
    best, chosen = covered.copy(), list[int]()
    while len(chosen) < min(count, similarity.shape[1]):
        left = [place for place in range(similarity.shape[1]) if place not in chosen]
        gains = {p: np.maximum(csr_matrix(similarity).tocsc()[:, [p]].toarray()[:, 0] - best, 0.0) for p in left}
        rows = {p: np.flatnonzero(similarity[:, p]) for p in left}
        place = min(left, key=lambda p: (-float(gains[p][rows[p]].sum()), names[p]))
        chosen.append(place)
        best = np.maximum(best, similarity[:, place])
    return chosen


SMALL = st.integers(1, 9).flatmap(
    lambda rows: st.integers(1, 9).flatmap(
        lambda columns: st.lists(
            st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), min_size=columns, max_size=columns),
            min_size=rows, max_size=rows,
        )
    )
)  # fmt: skip


@given(SMALL, st.integers(0, 10), st.booleans(), st.randoms(use_true_random=False))
def test_lazy_greedy_is_the_brute_force_greedy(matrix: list[list[float]], count: int, begun: bool, rng: Random) -> None:
    similarity = np.array(matrix)
    names = [f"{place}" for place in range(similarity.shape[1])]
    rng.shuffle(names)
    covered = np.array([rng.choice([0.0, 0.3, 0.9]) for _ in matrix]) if begun else np.zeros(len(matrix))
    chosen = facility_location(csr_matrix(similarity), count, names, covered)
    assert chosen == brute_force(similarity, count, names, covered)


def test_facility_location_by_hand() -> None:
    # Column 1 covers all three rows by 0.6 (1.8); 0 and 2 cover one wholly and one by 0.5 (1.5).
    similarity = csr_matrix([[1.0, 0.6, 0.0], [0.5, 0.6, 0.5], [0.0, 0.6, 1.0]])
    assert facility_location(similarity, 3, ["a", "b", "c"]) == [1, 0, 2]
    assert facility_location(similarity, 3, ["z", "b", "c"]) == [1, 2, 0]  # equal gains of 0.4 go by name
    # What covers row 0 already is worth nothing there: 0 brings 0.5, 1 brings 1.2, 2 brings 1.5.
    assert facility_location(similarity, 2, ["a", "b", "c"], np.array([1.0, 0.0, 0.0])) == [2, 1]
    assert coverage(similarity) == pytest.approx([1.0, 0.6, 1.0])
    assert coverage(csr_matrix((2, 0))) == pytest.approx([0.0, 0.0])


def copies() -> list[Lesson]:
    texts = ["What is 3 apples plus 4 apples?", "Spell the word horse backwards.", "How many days are two weeks?"]
    return [lesson(f"{text} {number}", f"answer {number}") for text in texts for number in range(6)]


def test_facility_takes_one_of_near_copies_first() -> None:
    chosen = Facility(fraction=3 / 18).select(copies(), 99, choice())
    assert len({one.problem.question[:12] for one in chosen}) == 3


@given(st.permutations(range(18)), st.integers(1, 6), st.integers(0, 20))
def test_facility_does_not_depend_on_how_the_candidates_came(order: list[int], neighbours: int, budget: int) -> None:
    candidates = copies()
    selector = Facility(fraction=0.5, neighbours=neighbours)
    chosen = selector.select([candidates[place] for place in order], budget, choice(seed=budget))
    assert chosen == selector.select(candidates, budget, choice())
    assert len(chosen) == len({one.id for one in chosen}) == min(budget, 9)


def test_with_all_neighbours_it_is_the_plain_greedy_over_all_pairs() -> None:
    candidates = sorted(copies(), key=lambda one: one.id)
    texts = [f"{one.problem.question}\n{one.completion}" for one in candidates]
    found = WordSpace(texts).vectors(texts)
    whole = np.asarray((found @ found.T).todense(), dtype=np.float64)
    np.fill_diagonal(whole, 1.0)
    wanted = brute_force(np.maximum(whole, whole.T), 6, [one.id for one in candidates], np.zeros(18))
    chosen = Facility(fraction=1 / 3, neighbours=18).select(candidates, 99, choice())
    assert [one.id for one in chosen] == [candidates[place].id for place in wanted]


def test_new_ground_comes_first_beside_earlier_lessons() -> None:
    candidates = copies()
    earlier = [one for one in candidates if not one.problem.question.startswith("Spell")]
    rest = [lesson(f"{one.problem.question} again", one.completion) for one in candidates]
    chosen = Facility(fraction=1 / 18, beside=True).select(rest, 99, choice(earlier=earlier))
    assert [one.problem.question[:5] for one in chosen] == ["Spell"]
    with pytest.raises(ValueError, match="beside goes with similarity: words"):
        Facility(beside=True, similarity="delift")


def test_a_worked_example_stands_before_the_question_and_after_the_system_turn() -> None:
    system = Message(role="system", content="Think.")
    one = Lesson(
        prompt=(system, Message(role="user", content="2 + 2?")), completion="4",
        problem=lesson("x").problem, provenance=lesson("x").provenance,
    )  # fmt: skip
    other = Lesson(
        prompt=(system, Message(role="user", content="1 + 1?")), completion="2",
        problem=lesson("y").problem, provenance=lesson("y").provenance,
    )  # fmt: skip
    assert [turn["content"] for turn in after_example(one, other)] == ["Think.", "1 + 1?", "2", "2 + 2?"]
    assert [turn["role"] for turn in after_example(one, other)] == ["system", "user", "assistant", "user"]


def test_delift_by_hand() -> None:
    """a helps b and c (probabilities 0.5 -> 0.9), each helps itself alike; nothing else helps."""
    names = ("a", "b", "c", "d")
    candidates = sorted((lesson(f"question {name}", name) for name in names), key=lambda one: one.id)

    def loss(prompt: Sequence[Message], text: str) -> float:
        shown = [turn["content"] for turn in prompt if turn["role"] == "assistant"]
        helped = shown and (shown == [text] or (shown == ["a"] and text in "bc"))
        return -math.log(0.9 if helped else 0.5)

    student = Told(loss)
    where = choice(scores=scores_of(now=student))
    selector = Facility(fraction=0.5, similarity="delift", neighbours=4)
    chosen = selector.select(candidates, 99, where)
    # a covers a, b and c (utility 0.5 - 0.1, scaled to 1); then d covers itself; b and c bring nothing more.
    assert [one.completion for one in chosen] == ["a", "d"]
    assert sum(student.asked) == 4 + 16


def test_delift_leaves_out_what_the_student_cannot_take() -> None:
    def loss(prompt: Sequence[Message], text: str) -> float:
        if len(prompt) > 1 and text == "b":
            raise StudentError("too long")
        return 1.0 if len(prompt) > 1 else 2.0

    candidates = [lesson("question a", "a"), lesson("question b", "b")]
    selector = Facility(fraction=0.5, similarity="delift")
    assert [one.completion for one in selector.select(candidates, 9, choice(scores=scores_of(now=Told(loss))))]

    def never(prompt: Sequence[Message], text: str) -> float:
        if len(prompt) > 1:
            raise StudentError("too long")
        return 1.0

    with pytest.raises(StudentError, match="the student can take no lesson with another one as an example"):
        selector.select(candidates, 9, choice(scores=scores_of(now=Told(never))))


def test_neighbours_are_made_mutual() -> None:
    near = with_self(csr_matrix([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.2, 0.0, 0.0]]))
    assert near.toarray() == pytest.approx(np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.0], [0.2, 0.0, 1.0]]))


def test_an_embedder_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no/such: is no folder of a transformers model"):
        Facility(embedder="no/such").select(copies(), 9, choice())


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_cluster_weights_by_hand() -> None:
    weigh = Clusters().weigh
    one, half = math.exp(1.0), math.exp(0.5)
    assert weigh([1.0, 0.5], None) == pytest.approx((one / (one + half), half / (one + half)))
    # A cluster that nothing was tried of has the mean gap, 0.75.
    mean = math.exp(0.75)
    whole = one + half + mean
    assert weigh([1.0, None, 0.5], None) == pytest.approx((one / whole, mean / whole, half / whole))
    assert weigh([None, None], None) == (0.5, 0.5)
    # Multiplied by the round before, as in the paper; not, as in its code.
    both = one * 0.2 + half * 0.8
    assert weigh([1.0, 0.5], (0.2, 0.8)) == pytest.approx((one * 0.2 / both, half * 0.8 / both))
    assert Clusters(multiply=False).weigh([1.0, 0.5], (0.2, 0.8)) == weigh([1.0, 0.5], None)
    sharp = Clusters(temperature=0.01).weigh([1.0, 0.5], None)
    assert sharp == pytest.approx((1.0, 0.0), abs=1e-9)
    assert gaps_of([attempt("x", 0.0), attempt("y", 0.5), attempt("z", None)], [2, 2, 0], 3) == [None, None, 0.75]


def two_kinds(count: int = 40) -> list[Lesson]:
    apples = [lesson(f"How many apples are {n} apples and {n + 1} apples?") for n in range(count)]
    return apples + [lesson(f"Spell the word number {n} backwards, letter by letter.") for n in range(count)]


def kinds(lessons: Sequence[Lesson]) -> dict[str, int]:
    return dict(Counter(one.problem.question.split()[0] for one in lessons))


def test_clusters_are_weighed_anew_in_each_round(tmp_path: Path) -> None:
    candidates = two_kinds()
    problems = [one.problem for one in two_kinds(8)]
    attempts = [attempt(p.question, float(p.question.startswith("How"))) for p in problems]  # spelling always fails
    selector = Clusters(clusters=2)
    folders = [tmp_path / f"0{index}" / "select" for index in (1, 2, 3)]

    def of_round(index: int) -> dict[str, int]:
        where = choice(
            index=index, problems=problems, attempts=attempts, folder=folders[index - 1], folders=folders[: index - 1]
        )
        return kinds(selector.select(candidates, 40, where))

    assert of_round(1) == {"How": 20, "Spell": 20}  # nothing was trained yet: alike
    odds = math.e
    assert of_round(2) == {"How": round(40 / (1 + odds)), "Spell": round(40 * odds / (1 + odds))}
    odds = math.e**2
    assert of_round(3) == {"How": round(40 / (1 + odds)), "Spell": round(40 * odds / (1 + odds))}
    noted = read_yaml(folders[2] / "cluster_weights.json")
    assert sorted(noted["weights"]) == pytest.approx([1 / (1 + odds), odds / (1 + odds)])
    assert sorted(noted["gaps"]) == [0.0, 1.0]
    measured = Clusters(clusters=2, first="measured").select(
        candidates, 40, choice(problems=problems, attempts=attempts)
    )
    assert kinds(measured) == {"How": round(40 / (1 + math.e)), "Spell": round(40 * math.e / (1 + math.e))}


def test_the_whole_budget_is_drawn_however_many_clusters_there_are() -> None:
    # The released code draws budget / K in later rounds; here the number of clusters changes nothing.
    candidates, problems = two_kinds(), [one.problem for one in two_kinds(8)]
    attempts = [attempt(problems[0].question, 0.0)]  # and one cluster alone was tried
    for clusters in (1, 3, 16, 512):
        where = choice(index=2, problems=problems, attempts=attempts)
        assert len(Clusters(clusters=clusters).select(candidates, 30, where)) == 30


def test_round_two_is_the_same_when_it_begins_again(tmp_path: Path) -> None:
    candidates, problems = two_kinds(), [one.problem for one in two_kinds(8)]
    attempts = [attempt(p.question, float(n % 3 == 0)) for n, p in enumerate(problems)]
    selector = Clusters(clusters=4)

    def of_round(index: int) -> list[Lesson]:
        folders = [tmp_path / str(one) for one in range(1, index + 1)]
        where = choice(problems=problems, attempts=attempts, index=index, folder=folders[-1], folders=folders[:-1])
        return selector.select(candidates, 20, where)

    of_round(1)
    assert of_round(2) == of_round(2)


def test_without_train_problems_the_candidates_make_the_clusters() -> None:
    assert len(Clusters(clusters=3).select(two_kinds(5), 4, choice())) == 4
