"""Drop a candidate that is too like an exam problem: by a run of words, or by meaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.exams.embedding import Meaning, TextEncoder
from loops.exams.index import ExamIndex, texts_of
from loops.filters.base import Context, Drop

__all__ = ["Contamination"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """Keeps candidates that share no run of 13 words with a problem of the held-out set, the gate or the final exam
    (GPT-3's check of its test sets, arXiv 2005.14165, appendix C), and that mean something else than each of them."""

    paper: ClassVar[str] = "arXiv:2005.14165"
    words: bool = True
    """Drop by runs of 13 words; an exam question of 8 to 12 words counts as a whole."""
    wording: bool = False
    """Drop also for runs that stand in a train problem too. They are how the task words its problems: dropping for them
    empties a round of a task that is written from templates."""
    model: str = ""
    """Folder of a local transformers model (safetensors) that tells meanings apart, or wheel:NAME; empty leaves meaning
    out. Sentence models do this far better than language models."""
    cosine: float = 0.9
    """Nearness in meaning, in (0, 1], from which a candidate is dropped. It is a model's own scale: look at the
    examples in contamination.json before trusting it."""

    def __post_init__(self) -> None:
        if not 0 < self.cosine <= 1:
            raise ValueError(f"cosine must be above 0 and at most 1, got {self.cosine}")

    @property
    def alone(self) -> bool:
        """Whether it judges some candidates at a time: by meaning it reads its model once for all of them."""
        return not self.model

    def check(self) -> None:
        """Refuse to begin without the model, where one is named.

        Raises:
            InputError: there is no such model.
        """
        if self.model:
            TextEncoder(self.model)

    def meaning(self, exams: ExamIndex) -> Meaning | None:
        """Return how nearness in meaning is told; None where no model is named.

        Raises:
            InputError: there is no such model.
        """
        return Meaning(TextEncoder(self.model), exams, self.cosine) if self.model and exams.problems else None

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        exams = context.exams
        if exams is None:
            return list(lessons)
        verdicts: list[Lesson | Drop] = [self._by_words(lesson, exams) for lesson in lessons]
        meaning = self.meaning(exams)
        if meaning is None:
            return verdicts
        left = [place for place, verdict in enumerate(verdicts) if isinstance(verdict, Lesson)]
        for place, near in zip(left, meaning.of_lessons(lessons[place] for place in left), strict=True):
            if near.cosine >= meaning.threshold:
                detail = f"{near.where}: cosine {near.cosine:.2f} to {near.owner.problem.id}"
                verdicts[place] = Drop("means nearly the same as an exam problem", detail)
        return verdicts

    def _by_words(self, lesson: Lesson, exams: ExamIndex) -> Lesson | Drop:
        if not self.words:
            return lesson
        for where, text in texts_of(lesson):
            for shared in exams.shared(text):
                if self.wording or not exams.is_wording(shared):
                    return Drop("shares a run of words with an exam problem", f"{where}: {' '.join(shared.words)}")
        return lesson
