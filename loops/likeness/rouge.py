"""ROUGE-L of many short texts against one another, exactly, without comparing every pair.

ROUGE-L's F-measure of two texts of a and b words with a longest common subsequence of L is 2L / (a + b). For it to be
above t, L > t (a + b) / 2. L is at most b, so b > a t / (2 - t), and hence L > a t / (2 - t) whatever b is: a text of a
words needs c(a) = floor(a t / (2 - t)) + 1 words in common with any text that it is near. L is at most the number of
words in common, counted as often as they stand in both. Sort the words of every text in one order, rare ones first, the
second "the" of a text being another word than its first: two texts with c words in common then have one of them among
the first a - c + 1 words of the one and the first b - c + 1 of the other (the prefix filter of Chaudhuri, Ganti and
Kaushik 2006). So it loses nothing to look up the first a - c(a) + 1 words of each text in an index of the others'.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from loops.exams.index import words_of

Word = tuple[int, int]
"""A word's number, and how often it stood in the text before."""


class Rouge:
    """Finds which of the texts that were added is near a text: an F-measure above the threshold.

    Words are runs of letters and digits, case aside: for texts in ASCII those of the rouge_score package without its
    stemmer, which knows no other letters. The arithmetic is exact, so that an F-measure equal to the threshold is not
    above it. texts: all that will be added or asked about; threshold: in [0, 1].
    """

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._threshold = Fraction(str(threshold))
        self._numbers: dict[str, int] = {}
        cut = [self._cut(text) for text in texts]
        seen = Counter(word for words in cut for word in _counted(words))
        self._rarity = {word: place for place, word in enumerate(sorted(seen, key=lambda word: (seen[word], word)))}
        self._texts: list[list[int]] = []
        self._index: dict[Word, list[int]] = {}

    def add(self, text: str) -> int:
        """Have later texts compared with this one; return its number, from 0."""
        words = self._cut(text)
        number = len(self._texts)
        self._texts.append(words)
        for word in self._first(words):
            self._index.setdefault(word, []).append(number)
        return number

    def near(self, text: str) -> int | None:
        """Return the first of the added texts that this one is near; None where it is near none."""
        from rapidfuzz.distance import LCSseq

        words = self._cut(text)
        found = {number for word in self._first(words) for number in self._index.get(word, ())}
        for number in sorted(found):
            other = self._texts[number]
            least = int(self._threshold * (len(words) + len(other)) / 2) + 1
            if least <= min(len(words), len(other)) and LCSseq.similarity(words, other, score_cutoff=least) >= least:
                return number
        return None

    def _cut(self, text: str) -> list[int]:
        return [self._numbers.setdefault(word, len(self._numbers)) for word in words_of(text)]

    def _first(self, words: Sequence[int]) -> list[Word]:
        """Return the words of a text of which every near text has one among its own."""
        common = int(len(words) * self._threshold / (2 - self._threshold)) + 1
        in_order = sorted(_counted(words), key=self._rarity.__getitem__)
        return in_order[: max(0, len(words) - common + 1)]


def _counted(words: Sequence[int]) -> list[Word]:
    met: Counter[int] = Counter()
    counted: list[Word] = []
    for word in words:
        counted.append((word, met[word]))
        met[word] += 1
    return counted
