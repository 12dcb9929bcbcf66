"""The two-parameter logistic model against matrices whose truth is known."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loops.irt import fit, telling


def test_an_item_that_splits_able_from_less_able_discriminates_and_a_coin_does_not() -> None:
    ladder = [[float(row >= step) for step in (2, 4, 6)] for row in range(8)]
    coin = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    matrix = [[*row, coin[place]] for place, row in enumerate(ladder)]
    found = fit(matrix)
    assert min(found.discrimination[:3]) > 1.3 * found.discrimination[3] > 0
    assert found.difficulty[0] < found.difficulty[1] < found.difficulty[2]
    assert found.ability[0] < found.ability[3] < found.ability[7]
    assert telling(matrix, 3) == [0, 1, 2]


def test_what_everybody_gets_right_or_wrong_comes_last() -> None:
    matrix = [[1.0, 0.0, float(row > 1), float(row > 2)] for row in range(5)]
    assert telling(matrix, 2) == [2, 3]
    assert telling(matrix, 3) == [0, 2, 3]
    assert telling(matrix, 9) == [0, 1, 2, 3]


def test_it_ranks_discriminations_of_a_model_that_was_drawn_from() -> None:
    rng = Random(5)
    truth = [0.2 if item < 15 else 2.5 for item in range(30)]
    hard = [rng.gauss(0, 1) for _ in truth]
    rows = [rng.gauss(0, 1) for _ in range(200)]
    chance = [[1 / (1 + math.exp(-a * (able - b))) for a, b in zip(truth, hard, strict=True)] for able in rows]
    matrix = [[float(rng.random() < p) for p in row] for row in chance]
    assert sum(item >= 15 for item in telling(matrix, 15)) >= 14


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n), min_size=1, max_size=6)
    )
)
@settings(max_examples=30)
def test_any_matrix_is_fitted_the_same_way_twice(matrix: list[list[float]]) -> None:
    one, two = fit(matrix), fit(matrix)
    assert one == two
    assert all(math.isfinite(a) and a > 0 for a in one.discrimination)
    assert len(telling(matrix, 2)) == min(2, len(matrix[0]))


@pytest.mark.parametrize("matrix", [[], [[]], [[1.0], [1.0, 0.0]]])
def test_no_matrix(matrix: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="rows of one length"):
        fit(matrix)
