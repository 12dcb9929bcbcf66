"""What a round trains on, held against every exam problem: counted each round, whatever the filters did."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import get_args

from lessons.records import Dropped, Lesson
from loops.exams.embedding import BATCH, Meaning, Near
from loops.exams.index import ExamIndex, ExamProblem, Where, texts_of
from loops.exams.records import Contamination, ContaminationKind, SharedText

KINDS: tuple[ContaminationKind, ...] = get_args(ContaminationKind)

EXAMPLES = 8
"""Examples kept of each kind."""

TEXT = 200
"""Signs of a lesson's text that an example of like meaning shows."""

REASONS: dict[str, ContaminationKind] = {
    "a question of the exam": "exact",
    "shares a run of words with an exam problem": "13-gram",
    "means nearly the same as an exam problem": "embedding",
}
"""The filters' reasons for dropping a candidate, and the kind that each is counted as."""


def audit(
    index: int,
    lessons: Iterable[Lesson],
    exams: ExamIndex,
    *,
    meaning: Meaning | None = None,
    dropped: Iterable[Dropped] = (),
) -> Contamination:
    """Hold the rows of round `index` against the exams. Streams: memory does not grow with the lessons.

    meaning: a local model's nearness with its threshold; None leaves the meaning out. dropped: what the round's filters
    dropped. A row may be counted under several kinds, under each once.
    """
    tally = _Tally()
    count = own = 0
    for lesson, near in _with_meaning(lessons, meaning):
        count += 1
        own += _runs_of(lesson, exams, tally)
        if (owner := exact(lesson, exams)) is not None:
            tally.add("exact", lesson, owner, "prompt", owner.problem.question)
        if near is not None and meaning is not None and near.cosine >= meaning.threshold:
            tally.add("embedding", lesson, near.owner, near.where, near.text[:TEXT], round(near.cosine, 4))
    asked: list[ContaminationKind] = [kind for kind in KINDS if kind != "embedding" or meaning is not None]
    return Contamination(
        round=index,
        lessons=count,
        problems=len(exams.problems),
        rows={kind: tally.rows[kind] for kind in asked},
        own=own,
        touched=dict(Counter(part for part, _ in sorted(tally.touched))),
        dropped=dict(Counter(kind for drop in dropped if (kind := REASONS.get(drop.check.reason)))),
        baseline=exams.baseline,
        short=exams.short,
        examples=tuple(example for kind in KINDS for example in tally.examples[kind]),
    )


def exact(lesson: Lesson, exams: ExamIndex) -> ExamProblem | None:
    """Return the exam problem whose question a lesson asks, in its own problem or in a message of its prompt."""
    asked = (lesson.problem.question, *(text for where, text in texts_of(lesson) if where == "prompt"))
    return next((owner for text in asked if (owner := exams.exact(text)) is not None), None)


class _Tally:
    """Counts rows by kind, each once, and the problems that they touch."""

    def __init__(self) -> None:
        self.rows: Counter[ContaminationKind] = Counter()
        self.touched: set[tuple[str, str]] = set()  # (part, problem id)
        self.examples: dict[ContaminationKind, list[SharedText]] = {kind: [] for kind in KINDS}
        self._runs: set[int] = set()

    def add(
        self,
        kind: ContaminationKind,
        lesson: Lesson,
        owner: ExamProblem,
        where: Where,
        text: str,
        similarity: float | None = None,
    ) -> None:
        """Count a row under a kind; call it once for each row and kind."""
        part, problem = owner
        self.rows[kind] += 1
        self.touched.add((part, problem.id))
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(
                SharedText(
                    lesson=lesson.id,
                    problem=problem.id,
                    part=part,
                    kind=kind,
                    where=where,
                    text=text,
                    similarity=similarity,
                )
            )

    def touch(self, number: int, owners: Iterable[ExamProblem]) -> None:
        """Count the problems of a run as touched; each run's once, so that the time stays linear."""
        if number not in self._runs:
            self._runs.add(number)
            self.touched.update((part, problem.id) for part, problem in owners)


def _runs_of(lesson: Lesson, exams: ExamIndex, tally: _Tally) -> bool:
    """Count a lesson's shared runs of words; return whether one of them is more than the task's wording."""
    told, own = False, False
    for where, text in texts_of(lesson):
        for shared in exams.shared(text):
            tally.touch(shared.number, exams.owners(shared))
            own = own or not exams.is_wording(shared)
            if not told:
                told = True
                tally.add("13-gram", lesson, next(exams.owners(shared)), where, " ".join(shared.words))
    return own


def _with_meaning(lessons: Iterable[Lesson], meaning: Meaning | None) -> Iterator[tuple[Lesson, Near | None]]:
    if meaning is None:
        yield from ((lesson, None) for lesson in lessons)
        return
    source = iter(lessons)
    while batch := list(islice(source, BATCH)):
        yield from zip(batch, meaning.of_lessons(batch), strict=True)
