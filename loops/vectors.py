"""Texts as vectors: by the words in them, or by a local model; and which of them are near each other.

Words: weights of hashed pieces (words, pairs of words, three letters of a word), term frequency times inverse document
frequency, each text of length 1, so that a product of two is their cosine. Sparse: memory grows with the pieces.
"""

import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

WIDTH = 1 << 15
"""Numbers that pieces are hashed to. Our choice: of 650 different pieces about 2 in 100 share one with another."""
LETTERS = 3
"""Letters of a word's pieces; the ends of a word count as letters."""
ROWS = 256
"""Texts that are compared with all others at once."""
COMMON = 1000
"""Texts from which a piece counts as common. Neighbours are looked for by rarer pieces, and compared by all."""
SPARE = 4
"""Neighbours by rare pieces that are compared by all, for each one that is wanted."""

_PIECES = re.compile(r"\w+|[^\w\s]")


class Space(Protocol):
    """Makes vectors of texts; each has length 1, or 0 for a text without words."""

    def vectors(self, texts: Sequence[str]) -> Any:
        """Return one row a text: a scipy CSR matrix or a numpy array, [text][width], float32."""
        ...


class WordSpace:
    """Vectors by words; how rare a piece is, the given texts tell."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._seen: dict[str, tuple[int, ...]] = {}
        self._texts = 0
        self._with: Counter[int] = Counter()
        for text in texts:
            self._texts += 1
            self._with.update(self._counts(text).keys())

    def vectors(self, texts: Sequence[str]) -> Any:
        """Return a scipy CSR matrix [text][WIDTH], float32."""
        import numpy as np
        from scipy.sparse import csr_matrix

        values, columns, starts = array("f"), array("i"), array("q", [0])
        for text in texts:
            counts = self._counts(text)
            weights = {piece: (1 + math.log(count)) * self._rarity(piece) for piece, count in sorted(counts.items())}
            length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
            columns.extend(weights)
            values.extend(weight / length for weight in weights.values())
            starts.append(len(columns))
        parts = (np.frombuffer(values, np.float32), np.frombuffer(columns, np.int32), np.frombuffer(starts, np.int64))
        return csr_matrix(parts if len(columns) else (np.zeros(0, np.float32), [], starts), shape=(len(texts), WIDTH))

    def _rarity(self, piece: int) -> float:
        return math.log((1 + self._texts) / (1 + self._with[piece])) + 1

    def _counts(self, text: str) -> Counter[int]:
        words = _PIECES.findall(text.casefold())
        counts: Counter[int] = Counter()
        for word in words:
            counts.update(self._of_word(word))
        counts.update(_hashed(f"{one} {other}") for one, other in pairwise(words))
        return counts

    def _of_word(self, word: str) -> tuple[int, ...]:
        known = self._seen.get(word)
        if known is None:
            padded = f"<{word}>"
            parts = {padded[at : at + LETTERS] for at in range(len(padded) - LETTERS + 1)} if len(word) > 1 else ()
            known = (_hashed(word), *sorted(map(_hashed, parts)))
            if len(self._seen) < WIDTH * 4:  # words are few; made-up ones must not fill the memory
                self._seen[word] = known
        return known


class ModelSpace:
    """Vectors by a local model (see `TextEncoder`), less the mean of the given texts' own."""

    def __init__(self, model: str, texts: Sequence[str]) -> None:
        """Name a model.

        Raises:
            InputError: there is no such folder.
        """
        from loops.exams.embedding import TextEncoder

        self._encoder = TextEncoder(model)
        self._mean: Any = 0.0
        self._mean = self._raw(texts).mean(axis=0) if texts else 0.0

    def vectors(self, texts: Sequence[str]) -> Any:
        """Return a numpy array [text][width], float32."""
        import numpy as np

        rows = self._raw(texts) - self._mean
        return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def _raw(self, texts: Sequence[str]) -> Any:
        import numpy as np

        blocks = [self._encoder.encode(texts[start : start + ROWS]) for start in range(0, len(texts), ROWS)]
        return np.concatenate(blocks) if blocks else self._encoder.encode([])


def space(embedder: str, texts: Sequence[str]) -> Space:
    """Return what makes vectors: `embedder` "" goes by words, else by the model in that folder (or `wheel:NAME`).

    texts: what tells which words are rare, or where the middle of the vectors is.

    Raises:
        InputError: there is no such model.
    """
    return ModelSpace(embedder, texts) if embedder else WordSpace(texts)


def nearest(rows: Any, columns: Any, count: int) -> Any:
    """Return the cosines of each row's nearest columns, 0 elsewhere: a scipy CSR matrix [row][column], float64.

    At most `count` a row, ties by the lower column; none of 0 or below. Exact for arrays, and for sparse matrices
    without common pieces (see `COMMON`). Memory: ROWS x columns at a time.
    """
    from scipy.sparse import csr_matrix, issparse, vstack

    blocks = _by_words(rows, columns, count) if issparse(rows) else _by_model(rows, columns, count)
    return vstack([csr_matrix((0, columns.shape[0])), *blocks], format="csr")


def _by_model(rows: Any, columns: Any, count: int) -> Iterator[Any]:
    for start in range(0, rows.shape[0], ROWS):
        yield _largest(_whole_rows(rows[start : start + ROWS] @ columns.T), count, columns.shape[0])


def _by_words(rows: Any, columns: Any, count: int) -> Iterator[Any]:
    rare_rows, rare = _rare(rows, columns)
    across = rare.T.tocsr()
    for start in range(0, rows.shape[0], ROWS):
        near = _stored_rows(rare_rows[start : start + ROWS] @ across)
        found = _largest(near, count if rare is columns else count * SPARE, columns.shape[0])
        if rare is not columns:
            found = _largest(_stored_rows(_compared(rows[start : start + ROWS], columns, found)), count, found.shape[1])
        yield found


def _compared(rows: Any, columns: Any, near: Any) -> Any:
    """Return a matrix with the stored places of `near` and the whole cosines there."""
    import numpy as np
    from scipy.sparse import csr_matrix

    at = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
    exact = np.asarray(rows[at].multiply(columns[near.indices]).sum(axis=1)).ravel()
    return csr_matrix((exact, near.indices, near.indptr), shape=near.shape)


def _rare(rows: Any, columns: Any) -> tuple[Any, Any]:
    """Return both without the pieces that are in more than COMMON columns; the very same where there are none."""
    import numpy as np
    from scipy.sparse import diags

    holding = np.bincount(columns.indices, minlength=columns.shape[1])
    if not (holding > COMMON).any():
        return rows, columns
    kept = diags((holding <= COMMON).astype(np.float32))
    return (rows @ kept).tocsr(), (columns @ kept).tocsr()


def _stored_rows(matrix: Any) -> Iterator[tuple[Any, Any]]:
    """Yield values and columns of each row of a CSR matrix, lower columns first."""
    matrix.sort_indices()
    for start, end in pairwise(matrix.indptr):
        yield matrix.data[start:end], matrix.indices[start:end]


def _whole_rows(matrix: Any) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    columns = np.arange(matrix.shape[1])
    for row in matrix:
        yield row, columns


def _largest(rows: Iterable[tuple[Any, Any]], count: int, width: int) -> Any:
    """Return a CSR matrix of the largest `count` values above 0 of each row, ties by the lower column; float64."""
    import numpy as np
    from scipy.sparse import csr_matrix

    data: list[Any] = [np.zeros(0)]
    places: list[Any] = [np.zeros(0, np.int32)]
    ends = [0]
    for values, columns in rows:
        kept = np.flatnonzero(values > 0)
        if len(kept) > count:
            least = np.partition(values[kept], len(kept) - count)[len(kept) - count]
            above, level = kept[values[kept] > least], kept[values[kept] == least]
            kept = np.sort(np.concatenate((above, level[: count - len(above)])))
        data.append(values[kept].astype(np.float64))
        places.append(columns[kept])
        ends.append(ends[-1] + len(kept))
    return csr_matrix((np.concatenate(data), np.concatenate(places), ends), shape=(len(ends) - 1, width))


def _hashed(piece: str) -> int:
    return zlib.crc32(piece.encode("utf-8", "surrogatepass")) % WIDTH
