"""Which of several solutions of one kind to keep: the one in the words most unlike the others'."""

from collections.abc import Iterable, Mapping, Sequence


def distance(text: str, others: Iterable[str]) -> int:
    """Return the total Levenshtein distance of a text to others, in characters."""
    from rapidfuzz.distance import Levenshtein

    return sum(Levenshtein.distance(text, other) for other in others)


def farthest(texts: Sequence[tuple[str, str]], kept: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return one text for each key, in order of the keys' first appearance: RFT's choice (arXiv 2308.01825).

    Of two texts with one key, the one whose total distance to the texts kept for the other keys is larger is kept; the
    earlier one where they are equal.

    Args:
        texts: (key, text), in the order in which they were drawn; the outcome depends on it.
        kept: what was kept before, by key.
    """
    chosen = dict(kept or {})
    for key, text in texts:
        standing = chosen.setdefault(key, text)
        if standing != text:
            others = [other for name, other in chosen.items() if name != key]
            if distance(text, others) > distance(standing, others):
                chosen[key] = text
    return chosen
