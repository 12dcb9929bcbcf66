"""Drop a candidate that means nearly the same as an earlier one, by a local model's vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lessons.records import Lesson
from loops.exams.embedding import BATCH, ENOUGH, TextEncoder
from loops.filters.base import Context, Drop
from loops.likeness.shingles import Of, parts_of

__all__ = ["SemanticDuplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticDuplicate:
    """Keeps the first of candidates whose vectors point nearly the same way: each drop is near a lesson that is kept.

    Vectors are taken less their mean, as for contamination: hidden states share one large direction (arXiv 1702.01417).
    Every candidate is compared with every kept one: 20,000 take seconds, and 4 bytes for each number of their vectors.
    """

    paper: ClassVar[str] = "our own: as SemDeDup (arXiv:2303.09540), without its clusters, and the first is kept"
    model: str
    """Folder of a local transformers model (safetensors), or wheel:NAME. Sentence models (bge, e5, MiniLM, gte) do this
    far better than language models. Nothing is fetched."""
    cosine: float = 0.95
    """Cosine in (0, 1] from which two lessons mean nearly the same. It is a model's own scale: look at what is dropped
    before trusting it. Our choice."""
    of: Of = "both"
    """Which text is compared, its first 512 tokens. With `prompt`, a second solution of one problem is a duplicate."""
    earlier: bool = True
    """Compare with the lessons of earlier rounds, too."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must name the folder of a local transformers model, or wheel:NAME")
        if not 0 < self.cosine <= 1:
            raise ValueError(f"cosine must be above 0 and at most 1, got {self.cosine}")

    def check(self) -> None:
        """Refuse to begin without the model.

        Raises:
            InputError: there is no such model.
        """
        TextEncoder(self.model)

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge the candidates in order.

        Raises:
            InputError: there is no such model, or it cannot be loaded.
        """
        known = [*context.earlier] if self.earlier else []
        every = [*known, *lessons]
        if not lessons:
            return []
        verdicts: list[Lesson | Drop] = []
        vectors = self._vectors(["\n\n".join(parts_of(lesson, self.of)) for lesson in every])
        for place, near, cosine in _nearest(vectors, self.cosine, len(known)):
            if near < 0:
                verdicts.append(lessons[place])
            else:
                whose = "a lesson of an earlier round" if near < len(known) else "an earlier candidate"
                verdicts.append(Drop(f"means nearly the same as {whose}", f"cosine {cosine:.3f} to {every[near].id}"))
        return verdicts

    def _vectors(self, texts: Sequence[str]) -> Any:  # numpy float32 [text][width], of length 1
        import numpy as np

        encoder = TextEncoder(self.model)
        rows = np.concatenate([encoder.encode(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)])
        if len(rows) >= ENOUGH:
            rows -= rows.mean(axis=0)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _nearest(vectors: Any, cosine: float, known: int) -> Iterator[tuple[int, int, float]]:
    """Yield for each vector behind the known ones its place among them, the first kept one that is so near, or -1."""
    import numpy as np

    kept = list(range(known))
    for start in range(known, len(vectors), BATCH):
        batch = vectors[start : start + BATCH]
        before = batch @ vectors[kept].T  # [vector][kept before this batch]
        within = batch @ batch.T
        held = list(kept)
        fresh: list[int] = []  # places in the batch that are kept
        for place in range(len(batch)):
            row = np.concatenate([before[place], within[place, fresh]])
            near = np.flatnonzero(row >= cosine - 1e-6)  # float32: a text is as near as can be to itself
            if len(near):
                first = int(near[0])
                other = held[first] if first < len(held) else start + fresh[first - len(held)]
                yield start + place - known, other, float(row[first])
            else:
                fresh.append(place)
                kept.append(start + place)
                yield start + place - known, -1, 0.0
