"""Which items tell able from less able: item response theory's two-parameter logistic model of a score matrix."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

SPREAD = 0.5
"""Standard deviation of the prior of an item's log discrimination; abilities and difficulties have 1. Our own: a score
matrix of a few models and 100 items would else be fitted by infinite discriminations."""


class Fit(NamedTuple):
    """A fitted model: the chance that a row is right on an item is 1 / (1 + exp(-a (ability - difficulty)))."""

    discrimination: list[float]  # [item], above 0
    difficulty: list[float]  # [item]
    ability: list[float]  # [row]


def fit(matrix: Sequence[Sequence[float]]) -> Fit:  # [row][item], each in [0, 1]
    """Return the most probable parameters under normal priors. The same matrix gives the same fit.

    Raises:
        ValueError: the matrix is empty, or its rows have different lengths.
    """
    import numpy as np
    from scipy.optimize import minimize

    if not matrix or not matrix[0] or len({len(row) for row in matrix}) > 1:
        raise ValueError("the score matrix must have rows of one length, at least one")
    scores = np.array(matrix, dtype=float)
    rows, items = scores.shape

    def loss(packed: Any) -> tuple[float, Any]:
        ability, difficulty, logs = np.split(packed, [rows, rows + items])
        steep = np.exp(logs)
        apart = ability[:, None] - difficulty[None, :]
        logit = steep[None, :] * apart
        chance = 1.0 / (1.0 + np.exp(-logit))
        unlikely = np.logaddexp(0.0, logit) - scores * logit
        prior = 0.5 * (np.square(ability).sum() + np.square(difficulty).sum() + np.square(logs / SPREAD).sum())
        pull = (chance - scores) * steep[None, :]
        gradient = np.concatenate(
            [
                pull.sum(1) + ability,
                -pull.sum(0) + difficulty,
                ((chance - scores) * logit).sum(0) + logs / SPREAD**2,
            ]
        )
        return float(unlikely.sum() + prior), gradient

    start = np.concatenate([scores.mean(1) - scores.mean(), scores.mean() - scores.mean(0), np.zeros(items)])
    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B")
    ability, difficulty, logs = np.split(found.x, [rows, rows + items])
    return Fit(
        cast("list[float]", np.exp(logs).tolist()),
        cast("list[float]", difficulty.tolist()),
        cast("list[float]", ability.tolist()),
    )


def telling(matrix: Sequence[Sequence[float]], most: int) -> list[int]:
    """Return the places of the `most` items that discriminate best, in the matrix's order.

    Items on which all rows score alike tell nobody apart, and come last; of equals the first ones are taken.
    """
    steep = fit(matrix).discrimination
    alike = [len({row[item] for row in matrix}) == 1 for item in range(len(steep))]
    ranked = sorted(range(len(steep)), key=lambda item: (alike[item], -steep[item], item))
    return sorted(ranked[:most])
