"""Near-duplicates among many texts: MinHash bands find candidates (rensa), the exact Jaccard index of the sets decides.

The chance that two sets agree in one MinHash value is their Jaccard index J. Of `permutations` values, bands of r are
taken; two texts are compared where they agree in all r of some band, which has the probability 1 - (1 - J^r)^b with b
bands. r is the largest with which that is at least `FOUND` at the threshold: wide bands spare comparisons. At 0.8 and
128 permutations, r = 7 and b = 18, hence 1 - (1 - 0.8^7)^18 = 0.986, and more above the threshold. What is compared is
told exactly: no pair below the threshold is ever taken for one (but for two equal 64-bit hashes, once in 10^19).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from loops.likeness.shingles import Shingles, Unit, shingles

FOUND = 0.98
"""Least probability with which a pair at the threshold is compared."""
SEED = 1
"""Of the permutations."""
_BLOCK = 20_000
_GOLDEN = 0x9E3779B97F4A7C15


class Bands(NamedTuple):
    """How the MinHash values are put together."""

    bands: int
    rows: int
    """Values of one band."""

    def found(self, jaccard: float) -> float:
        """Return the probability that two sets of this Jaccard index are compared."""
        return 1 - (1 - jaccard**self.rows) ** self.bands


def bands_for(threshold: float, permutations: int) -> Bands:
    """Return the widest bands with which a pair at the threshold is compared with a probability of `FOUND`.

    Raises:
        ValueError: there are too few permutations for it.
    """
    for rows in range(permutations, 0, -1):
        bands = Bands(permutations // rows, rows)
        if bands.found(threshold) >= FOUND:
            return bands
    raise ValueError(f"permutations must be more than {permutations} to find {FOUND:.0%} of pairs at {threshold}")


def near_duplicates(
    texts: Iterable[Sequence[str]],
    *,
    threshold: float = 0.8,
    n: int = 3,
    unit: Unit = "words",
    permutations: int = 128,
    known: int = 0,
) -> list[int]:  # [text]
    """Return for each text the first earlier one that is kept and as near as the threshold, or -1: then it is kept.

    Streams over the texts; memory takes 8 bytes for each distinct run of each text and about 300 for the text.

    Args:
        texts: each as the parts that it consists of.
        threshold: Jaccard index in (0, 1] from which two texts are near.
        n: words or characters of a run.
        unit: what runs are of.
        permutations: MinHash values; more of them spare comparisons and take time themselves.
        known: so many texts at the beginning are kept whatever they are like.
    """
    index = _Index(texts, threshold, n, unit, permutations)
    nearest: list[int] = []
    for text, groups in index.rows():
        near = next(index.near(text, groups), -1) if text >= known else -1
        nearest.append(near)
        if near < 0:
            index.add(text, groups)
    return nearest


def near_pairs(
    texts: Iterable[Sequence[str]],
    *,
    threshold: float = 0.8,
    n: int = 3,
    unit: Unit = "words",
    permutations: int = 128,
) -> Iterator[tuple[int, int]]:
    """Yield every pair of texts that was compared and is as near as the threshold, the earlier one first.

    Where many texts are like one another the pairs grow with their square: `near_duplicates` does not.
    """
    index = _Index(texts, threshold, n, unit, permutations)
    for text, groups in index.rows():
        for near in index.near(text, groups):
            yield near, text
        index.add(text, groups)


class _Index:
    """The sets of all texts, and for each band the texts that agree in it."""

    def __init__(self, texts: Iterable[Sequence[str]], threshold: float, n: int, unit: Unit, permutations: int) -> None:
        import numpy as np

        bands = bands_for(threshold, permutations)
        made = [(part, _keys(part, bands)) for part in shingles(texts, n=n, unit=unit)]
        self._threshold = threshold
        self._sketches = [sketch for part, _ in made for sketch in part.sketches]
        sizes = [np.diff(part.starts) for part, _ in made]
        self._starts: list[int] = [0, *np.cumsum(np.concatenate(sizes)).tolist()] if made else [0]
        self._groups = _groups(np.concatenate([keys for _, keys in made])) if made else np.zeros((0, 1), np.int32)
        self._hashes = np.concatenate([part.hashes for part, _ in made]) if made else np.zeros(0, np.uint64)
        self._members: dict[int, list[int]] = {}  # group -> the texts in it that were added

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each text, in order, with the groups of two or more texts that it belongs to."""
        for start in range(0, len(self._groups), _BLOCK):
            for text, groups in enumerate(self._groups[start : start + _BLOCK].tolist(), start):
                yield text, [group for group in groups if group >= 0]

    def add(self, text: int, groups: Sequence[int]) -> None:
        """Have later texts compared with this one."""
        for group in groups:
            self._members.setdefault(group, []).append(text)

    def near(self, text: int, groups: Sequence[int]) -> Iterator[int]:
        """Yield the added texts of these groups that are as near as the threshold, first to last."""
        others = set[int]().union(*[self._members[group] for group in groups if group in self._members])
        if not others:
            return
        sketch, size = self._sketches[text], self._size(text)
        share = self._threshold / (1 + self._threshold)  # J >= t means that this share of both sizes is in common
        own: set[int] | None = None
        for other in sorted(others):
            both = size + self._size(other)
            # A bit that one sketch has and the other has not stands for at least one run that they have not in common.
            most = min(size - (sketch & ~self._sketches[other]).bit_count(), both - size)
            if most < share * both - 1e-9:
                continue
            own = own or set(self._runs(text))
            common = len(own.intersection(self._runs(other)))
            if common >= self._threshold * (both - common) - 1e-9:
                yield other

    def _size(self, text: int) -> int:
        return self._starts[text + 1] - self._starts[text]

    def _runs(self, text: int) -> list[int]:
        return self._hashes[self._starts[text] : self._starts[text + 1]].tolist()


def _keys(part: Shingles, bands: Bands) -> Any:
    """Return one number for each text and band, numpy uint64 [text][band]; equal where all values of the band are."""
    import numpy as np
    import rensa

    wanted = bands.bands * bands.rows
    offsets = part.starts.astype(np.uint64)
    library: Any = rensa  # it has no types
    matrix = library.RMinHash.digest_matrix_from_flat_token_hashes(part.hashes, offsets, wanted, SEED)
    values = np.array(matrix.to_rows(), np.uint64).reshape(-1, bands.bands, bands.rows)
    keys = values[:, :, 0].copy()
    for further in range(1, bands.rows):
        keys *= np.uint64(_GOLDEN)
        keys ^= keys >> np.uint64(32)
        keys += values[:, :, further]
    return keys


def _groups(keys: Any) -> Any:
    """Return a number for each text and band, int64 [text][band]: equal for texts that agree, -1 for one alone."""
    import numpy as np

    groups = np.full(keys.shape, -1, np.int64)
    known = 0
    for band in range(keys.shape[1]):
        _, inverse, counts = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        shared = counts > 1
        numbers = np.where(shared, np.cumsum(shared) - 1 + known, -1)
        groups[:, band] = numbers[inverse]
        known += int(shared.sum())
    return groups
