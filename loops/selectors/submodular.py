"""Facility location: the few columns of a similarity matrix that stand for all its rows. Lazy greedy, exact."""

import heapq
from collections.abc import Sequence
from typing import Any


def facility_location(similarity: Any, count: int, names: Sequence[str], covered: Any = None) -> list[int]:
    """Return `count` columns, chosen one by one so that each adds most to sum over rows of max over chosen columns.

    The same columns in the same order as a greedy choice that computes every gain anew: a gain can only fall while
    columns are added, so one that is still the largest when it is computed anew is the largest (Minoux 1978). Its value
    is at least 1 - 1/e of the best that any choice has, for similarities of at least 0.

    Args:
        similarity: a scipy sparse matrix [row][column], at least 0; what is not stored is 0.
        count: columns to choose, at most all.
        names: of the columns; equal gains go by them, so that the order of the columns does not matter.
        covered: how well each row is covered beforehand, [row]; None: not at all.
    """
    import numpy as np

    matrix = similarity.tocsc()
    matrix.sort_indices()
    best = np.zeros(matrix.shape[0]) if covered is None else np.asarray(covered, dtype=np.float64).copy()

    def column(place: int) -> tuple[Any, Any]:
        start, end = matrix.indptr[place], matrix.indptr[place + 1]
        return matrix.indices[start:end], matrix.data[start:end]

    def gain(place: int) -> float:
        rows, values = column(place)
        return float(np.maximum(values - best[rows], 0.0).sum())

    heap = [(-gain(place), names[place], place) for place in range(matrix.shape[1])]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        _, name, place = heapq.heappop(heap)
        now = (-gain(place), name, place)
        if heap and now > heap[0]:
            heapq.heappush(heap, now)
            continue
        chosen.append(place)
        rows, values = column(place)
        best[rows] = np.maximum(best[rows], values)
    return chosen


def coverage(similarity: Any) -> Any:
    """Return how well all columns together cover each row: the largest entry, at least 0; a numpy array [row]."""
    import numpy as np

    if not similarity.shape[1]:
        return np.zeros(similarity.shape[0])
    return np.asarray(similarity.max(axis=1).todense(), dtype=np.float64).ravel()
