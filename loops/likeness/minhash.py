"""Near-duplicates among many texts: MinHash bands find candidates (rensa), the exact Jaccard index of the sets decides.

The chance that two sets agree in one MinHash value is their Jaccard index J. Of `permutations` values, bands of r are
taken; two texts are compared where they agree in all r of some band, which has the probability 1 - (1 - J^r)^b with b
bands. r is the largest with which that is at least `FOUND` at the threshold: wide bands spare comparisons. At 0.8 and
128 permutations, r = 7 and b = 18, hence 1 - (1 - 0.8^7)^18 = 0.986, and more above the threshold. What is compared is
told exactly: no pair below the threshold is ever taken for one (but for two equal 64-bit hashes, once in 10^19).
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from struct import unpack
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from loops.likeness.shingles import BITS, Shingles, Unit, shingles

FOUND = 0.98
"""Least probability with which a pair at the threshold is compared."""
SEED = 1
"""Of the permutations."""
_HELD = 16_000_000
"""Bytes of a temporary file that are held in memory."""
_WIDTH = BITS // 8
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

    Streams over the texts. What tells their sets apart lies in a temporary file past some 16 MB; memory takes about 60
    bytes for a text, and 12 for each band in which it agrees with another one.

    Args:
        texts: each as the parts that it consists of.
        threshold: Jaccard index in (0, 1] from which two texts are near.
        n: words or characters of a run.
        unit: what runs are of.
        permutations: MinHash values; more of them spare comparisons and take time themselves.
        known: so many texts at the beginning are kept whatever they are like.
    """
    nearest: list[int] = []
    with closing(_Index(texts, threshold, n, unit, permutations)) as index:
        for text in range(len(index)):
            near = next(index.near(text), -1) if text >= known else -1
            nearest.append(near)
            if near < 0:
                index.add(text)
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
    with closing(_Index(texts, threshold, n, unit, permutations)) as index:
        for text in range(len(index)):
            for near in index.near(text):
                yield near, text
            index.add(text)


class _Index:
    """The sets of all texts, and for each band the texts that agree in it. Close it: it holds a temporary file."""

    def __init__(self, texts: Iterable[Sequence[str]], threshold: float, n: int, unit: Unit, permutations: int) -> None:
        import numpy as np

        bands = bands_for(threshold, permutations)
        self._threshold = threshold
        self._runs_file = SpooledTemporaryFile(max_size=_HELD)  # noqa: SIM115 - closed by `close`
        self._starts, self._sketches = array("q", [0]), bytearray()
        blocks: list[int] = []  # texts of each block
        with SpooledTemporaryFile(max_size=_HELD) as keys_file:
            for part in shingles(texts, n=n, unit=unit):
                self._runs_file.write(np.ascontiguousarray(part.hashes, "<u8").tobytes())
                self._starts.extend((part.starts[1:] + self._starts[-1]).tolist())
                self._sketches += b"".join(sketch.to_bytes(_WIDTH, "little") for sketch in part.sketches)
                keys_file.write(np.ascontiguousarray(_keys(part, bands).T, "<u8").tobytes())  # band after band
                blocks.append(len(part.sketches))
            self._groups = _Groups(_bands(keys_file, blocks, bands.bands), sum(blocks))
        self._size = array("i", (end - start for start, end in pairwise(self._starts)))

    def __len__(self) -> int:
        return len(self._size)

    def close(self) -> None:
        """Let go of the file."""
        self._runs_file.close()

    def add(self, text: int) -> None:
        """Have later texts compared with this one."""
        self._groups.add(text)

    def near(self, text: int) -> Iterator[int]:
        """Yield the added texts that agree with this one in a band and are as near as the threshold, first to last."""
        others = self._groups.added(text)
        if not others:
            return
        sketch, size = self._sketch(text), self._size[text]
        share = self._threshold / (1 + self._threshold)  # J >= t means that this share of both sizes is in common
        own: set[int] | None = None
        for other in sorted(others):
            both = size + self._size[other]
            # A bit that one sketch has and the other has not stands for at least one run that they have not in common.
            most = min(size - (sketch & ~self._sketch(other)).bit_count(), both - size)
            if most < share * both - 1e-9:
                continue
            own = own or set(self._runs(text))
            common = len(own.intersection(self._runs(other)))
            if common >= self._threshold * (both - common) - 1e-9:
                yield other

    def _sketch(self, text: int) -> int:
        return int.from_bytes(self._sketches[text * _WIDTH : (text + 1) * _WIDTH], "little")

    def _runs(self, text: int) -> tuple[int, ...]:
        self._runs_file.seek(8 * self._starts[text])
        size = self._size[text]
        return unpack(f"<{size}Q", self._runs_file.read(8 * size))


class _Groups:
    """Which texts agree in which band: each group is the texts, two at least, of one value of one band.

    The groups of a text lie one after the other (an entry each); the entries of a group's added texts are chained, the
    last one first. All of it in flat arrays: as Python objects a million texts would take gigabytes.
    """

    def __init__(self, bands: Iterable[Any], count: int) -> None:
        """bands: of each band the keys of all texts."""
        import numpy as np

        found: list[tuple[Any, Any]] = []  # of each band: the texts that agree with another one, and their groups
        groups = 0
        for keys in bands:
            order = np.argsort(keys, kind="stable").astype(np.int32)
            ordered = keys[order]
            new = np.ones(len(keys), bool)
            new[1:] = ordered[1:] != ordered[:-1]
            shared = ~new | ~np.append(new[1:], True)  # like the one before it, or like the one after it
            begins = new[shared]
            found.append((order[shared], (np.cumsum(begins) - 1 + groups).astype(np.int32)))
            groups += int(begins.sum())
        self._starts = np.zeros(count + 1, np.int64)
        for texts, _ in found:
            self._starts[1:][texts] += 1  # a text stands in a band once at most
        np.cumsum(self._starts, out=self._starts)
        self._group = np.empty(int(self._starts[-1]), np.int32)
        free = self._starts[:-1].copy()
        while found:
            texts, of = found.pop()
            self._group[free[texts]] = of
            free[texts] += 1
        self._last = array("i", [-1]) * groups  # the entry of a group's last added text
        self._before = array("i", [-1]) * len(self._group)  # the entry of the group's text that was added before
        self._owner = np.repeat(np.arange(count, dtype=np.int32), np.diff(self._starts))

    def add(self, text: int) -> None:
        start, end = self._starts[text : text + 2].tolist()
        for entry, group in enumerate(self._group[start:end].tolist(), start):
            self._before[entry] = self._last[group]
            self._last[group] = entry

    def added(self, text: int) -> set[int]:
        """Return the added texts that stand in some group with this one."""
        start, end = self._starts[text : text + 2].tolist()
        entries: list[int] = []
        for group in self._group[start:end].tolist():
            entry = self._last[group]
            while entry >= 0:
                entries.append(entry)
                entry = self._before[entry]
        return set(self._owner[entries].tolist()) if entries else set()


def _bands(file: IO[bytes], blocks: Sequence[int], bands: int) -> Iterator[Any]:
    """Yield the keys of all texts, numpy uint64 [text], of one band after the other."""
    import numpy as np

    for band in range(bands):
        keys, place = np.empty(sum(blocks), np.uint64), 0
        for block, count in enumerate(blocks):
            file.seek(8 * (bands * sum(blocks[:block]) + band * count))
            keys[place : place + count] = np.frombuffer(file.read(8 * count), "<u8")
            place += count
        yield keys


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
