"""k-means over vectors: which of a few groups each text belongs to (Lloyd's steps from a k-means++ start)."""

from random import Random
from typing import Any

STEPS = 50
"""Most steps; it mostly stands still long before."""
ROWS = 4096
"""Vectors that are compared with all centres at once."""


def centres_of(vectors: Any, count: int, seed: int) -> Any:
    """Return the centres of up to `count` groups, a numpy array [group][width].

    No group is empty: one that loses all its vectors starts again at the vector that is farthest from its own centre.
    There are fewer groups than asked for only where there are fewer different vectors.

    vectors: a scipy CSR matrix or a numpy array, [text][width], at least one.
    """
    import numpy as np

    centres = _spread(vectors, count, Random(seed))
    labels = np.full(vectors.shape[0], -1)
    for _ in range(STEPS):
        found, far = _assigned(vectors, centres)
        sizes = np.bincount(found, minlength=len(centres))
        for empty in np.flatnonzero(sizes == 0):
            lonely = int(np.argmax(np.where(sizes[found] > 1, far, -1.0)))
            sizes[found[lonely]] -= 1
            found[lonely], far[lonely] = empty, 0.0
            sizes[empty] = 1
        if (found == labels).all():
            break
        labels = found
        centres = _means(vectors, labels, len(centres))
    return centres


def nearest_centre(vectors: Any, centres: Any) -> Any:
    """Return which centre each vector is nearest to, a numpy array [text] of whole numbers; ties to the lower one."""
    return _assigned(vectors, centres)[0]


def _assigned(vectors: Any, centres: Any) -> tuple[Any, Any]:
    """Return the nearest centre of each vector, and the squared distance to it."""
    import numpy as np

    lengths = np.einsum("ij,ij->i", centres, centres)
    labels, far = np.zeros(vectors.shape[0], dtype=np.int64), np.zeros(vectors.shape[0])
    for start in range(0, vectors.shape[0], ROWS):
        block = vectors[start : start + ROWS]
        distance = lengths - 2 * np.asarray(block @ centres.T)  # less the vector's own length, the same for each
        best = distance.argmin(axis=1)
        labels[start : start + ROWS] = best
        far[start : start + ROWS] = distance[np.arange(len(best)), best] + _lengths(block)
    return labels, np.maximum(far, 0.0)


def _spread(vectors: Any, count: int, rng: Random) -> Any:
    """Return starting centres: each next one drawn by its squared distance to the nearest one so far (k-means++)."""
    import numpy as np

    rows = vectors.shape[0]
    lengths = _lengths(vectors)
    chosen = [rng.randrange(rows)]
    far = np.full(rows, np.inf)
    while True:
        last = _dense(vectors[chosen[-1]])
        far = np.minimum(far, np.maximum(lengths + float(last @ last) - 2 * np.asarray(vectors @ last).ravel(), 0.0))
        far[far < 1e-6] = 0.0  # the same vector, but for rounding
        if len(chosen) == count or not far.any():
            return np.stack([_dense(vectors[place]) for place in chosen])
        sums = np.cumsum(far)
        chosen.append(min(int(np.searchsorted(sums, rng.random() * sums[-1], side="right")), rows - 1))


def _means(vectors: Any, labels: Any, count: int) -> Any:
    import numpy as np
    from scipy.sparse import csr_matrix

    rows = len(labels)
    member = csr_matrix((np.ones(rows), (labels, np.arange(rows))), shape=(count, rows))
    sums = member @ vectors
    sums = sums.toarray() if hasattr(sums, "toarray") else np.asarray(sums)
    return sums / np.bincount(labels, minlength=count)[:, None]


def _lengths(vectors: Any) -> Any:
    """Squared lengths [text]."""
    import numpy as np

    squares = vectors.multiply(vectors) if hasattr(vectors, "multiply") else vectors**2
    return np.asarray(squares.sum(axis=1), dtype=np.float64).ravel()


def _dense(row: Any) -> Any:
    import numpy as np

    return (row.toarray() if hasattr(row, "toarray") else np.asarray(row)).ravel().astype(np.float64)
