"""Texts as sets of runs of words or characters (shingles), each run a 64-bit hash; many texts in one flat array."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, Literal, NamedTuple

from lessons.records import Lesson
from loops.exams.index import texts_of, words_of
from loops.filters.base import normal

Of = Literal["prompt", "completion", "both"]
"""Which text of a lesson: what the student is shown (without the system message, which is the task's own), what it
learns to say, or both."""
Unit = Literal["words", "characters"]

CHUNK = 10_000
"""Texts that are cut up at once."""
BITS = 256
"""Bits of a sketch: about six times the runs of a short lesson, so that few runs share a bit."""

_MOST_WORDS = 1_000_000
"""Words whose hash is remembered, at most."""
_MULTIPLY = 0x9E3779B97F4A7C15
_MIX = 0xBF58476D1CE4E5B9  # with its shifts, the end of SplitMix64 (Steele, Lea and Flood 2014)


class Shingles(NamedTuple):
    """The sets of many texts. The same text gives the same hashes in every process, whatever stands beside it."""

    hashes: Any
    """numpy uint64, [all runs]: text after text, each one's sorted and distinct."""
    starts: Any
    """numpy int64, [texts + 1]: where a text's runs begin; never as many as one text without any."""
    sketches: list[int]
    """For each text, a number with one bit of `BITS` set for each of its runs."""


def parts_of(lesson: Lesson, of: Of) -> list[str]:
    """Return the texts of a lesson that are looked at; a run never goes from one into the next."""
    if of == "completion":
        return [lesson.completion]
    prompt = [text for where, text in texts_of(lesson) if where == "prompt"]
    return prompt if of == "prompt" else [*prompt, lesson.completion]


def shingles(texts: Iterable[Sequence[str]], *, n: int, unit: Unit = "words") -> Iterator[Shingles]:
    """Yield the sets of `CHUNK` texts at a time; a text comes as the parts it consists of.

    Case, white space and (for words) punctuation do not count. A part of fewer than n words or characters is one run; a
    text without any word is the run of its signs, so that it is like nothing but itself. n: at least 1.
    """
    rest = iter(texts)
    cut = _words(n) if unit == "words" else _characters(n)
    while chunk := list(islice(rest, CHUNK)):
        codes, lengths, owners = cut(chunk)
        yield _sets(codes, lengths, owners, n)


class _Codes(dict[str, int]):
    """Word -> its hash, worked out when the word is first seen."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MOST_WORDS:
            self.clear()
        code = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        self[word] = code
        return code


def _words(n: int) -> Any:
    codes = _Codes()

    def cut(texts: Sequence[Sequence[str]]) -> tuple[Any, Any, Any]:
        import numpy as np

        words: list[list[str]] = []
        owners: list[int] = []
        for place, parts in enumerate(texts):
            found = [some for part in parts if (some := words_of(part))] or [[normal(" ".join(parts))]]
            words += [some + [""] * (n - len(some)) for some in found]
            owners += [place] * len(found)
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        flat = np.fromiter(map(codes.__getitem__, chain.from_iterable(words)), np.uint64, int(lengths.sum()))
        return flat, lengths, np.array(owners, np.int64)

    return cut


def _characters(n: int) -> Any:
    def cut(texts: Sequence[Sequence[str]]) -> tuple[Any, Any, Any]:
        import numpy as np

        signs: list[str] = []
        owners: list[int] = []
        for place, parts in enumerate(texts):
            found = [some for part in parts if (some := normal(part))] or [""]
            signs += [some.ljust(n, "\0") for some in found]
            owners += [place] * len(found)
        lengths = np.fromiter(map(len, signs), np.int64, len(signs))
        raw = "".join(signs).encode("utf-32-le", "surrogatepass")
        return np.frombuffer(raw, np.uint32).astype(np.uint64), lengths, np.array(owners, np.int64)

    return cut


def _sets(codes: Any, lengths: Any, owners: Any, n: int) -> Shingles:
    """Return the sets, from each part's codes one after the other, the parts' lengths (at least n), and their texts."""
    import numpy as np

    ends = np.cumsum(lengths)
    texts = int(owners[-1]) + 1
    count = len(codes) - n + 1
    runs = codes[:count].copy()
    for further in range(1, n):
        runs *= np.uint64(_MULTIPLY)
        runs ^= runs >> np.uint64(29)
        runs += codes[further : further + count]
    runs ^= runs >> np.uint64(30)
    runs *= np.uint64(_MIX)
    runs ^= runs >> np.uint64(31)
    inside = np.arange(count) + n <= np.repeat(ends, lengths)[:count]  # a run that does not go into the next part
    of_text = np.repeat(owners, lengths)[:count][inside]
    runs = runs[inside]
    order = np.lexsort((runs, of_text))
    runs, of_text = runs[order], of_text[order]
    first = np.ones(len(runs), bool)
    first[1:] = (runs[1:] != runs[:-1]) | (of_text[1:] != of_text[:-1])
    runs, of_text = runs[first], of_text[first]
    starts = np.zeros(texts + 1, np.int64)
    np.cumsum(np.bincount(of_text, minlength=texts), out=starts[1:])
    bits = np.zeros((texts, BITS), bool)
    bits[of_text, (runs & np.uint64(BITS - 1)).astype(np.int64)] = True
    packed = np.packbits(bits, axis=1).tobytes()
    width = BITS // 8
    sketches = [int.from_bytes(packed[at : at + width], "little") for at in range(0, len(packed), width)]
    return Shingles(runs, starts, sketches)
