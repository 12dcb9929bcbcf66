"""Which of some texts are nearest to a question by their words: what a student's memory is looked up with."""

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence

_WORD = re.compile(r"[^\W\d_]+|\d+")


def words(text: str) -> list[str]:
    """Return a text's words, case aside. All numbers are one word: which ones they are says nothing of the task."""
    return ["0" if word.isdecimal() else word for word in _WORD.findall(text.casefold())]


class Nearest:
    """Texts that are looked up by the cosine of their tf-idf vectors (1 + ln tf, 1 + ln((1 + n) / (1 + df)))."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words(text)) for text in texts]
        found = Counter(word for count in counts for word in count)
        self.size = len(texts)
        self._rarity = {word: 1 + math.log((1 + self.size) / (1 + texts_with)) for word, texts_with in found.items()}
        self._places: dict[str, list[tuple[int, float]]] = {}  # word -> (text, weight)
        for place, count in enumerate(counts):
            for word, weight in self._vector(count).items():
                self._places.setdefault(word, []).append((place, weight))

    def similarities(self, question: str) -> list[float]:  # [text]
        """Return how near each text is to the question, in [0, 1]: 0 where they share no word."""
        sums: dict[int, list[float]] = {}
        for word, weight in self._vector(Counter(words(question))).items():
            for place, other in self._places.get(word, ()):
                sums.setdefault(place, []).append(weight * other)
        return [min(1.0, math.fsum(sums[place])) if place in sums else 0.0 for place in range(self.size)]

    def to(self, question: str, k: int, among: Collection[int] | None = None) -> list[int]:
        """Return the places of the k nearest texts, nearest first, ties in their order; `among`: of these alone."""
        near = self.similarities(question)
        places = range(self.size) if among is None else sorted(among)
        return sorted(places, key=lambda place: (-near[place], place))[:k]

    def _vector(self, count: Counter[str]) -> dict[str, float]:
        weights = {word: (1 + math.log(n)) * self._rarity.get(word, 0.0) for word, n in count.items()}
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
        return {word: weight / length for word, weight in weights.items() if weight} if length else {}
