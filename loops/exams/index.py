"""The problems of all exams, indexed so that a lesson that is like one of them is found in one pass over its words.

Memory grows with the exams alone; the time for a lesson grows with its words.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from lessons.records import Lesson, Problem
from loops.filters.base import normal
from loops.records import ExamPart

RUN = 13
"""Words in a row that make a lesson like an exam problem. GPT-3's check of its test sets (Brown et al. 2020, arXiv
2005.14165, appendix C): case, punctuation and white space do not count, and its runs were of 8 to 13 words."""

LEAST = 8
"""An exam question of 8 to 12 words is looked for as a whole, the least length of GPT-3's check; a shorter one would be
found everywhere, and is only ever compared with whole questions."""

# Scripts written without spaces have a sign for a word; elsewhere a word is a run of letters and digits.
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SIGNS}]|[^\W_{_SIGNS}]+")

Gram = tuple[str, ...]
Where = Literal["prompt", "completion"]


class Shared(NamedTuple):
    """A run of words that a text shares with exam problems."""

    words: Gram
    number: int
    """Which of the index's runs it is."""


class ExamProblem(NamedTuple):
    """A problem and the part of the split that it belongs to."""

    part: ExamPart
    problem: Problem


def words_of(text: str) -> list[str]:
    """Return a text's words: case, punctuation, white space and the form of a sign (NFKC) do not count."""
    return _WORD.findall(text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold())


class ExamIndex:
    """Finds what is like an exam problem. `exams`: part of the split -> its problems."""

    def __init__(self, exams: Mapping[ExamPart, Sequence[Problem]], train: Iterable[Problem] = ()) -> None:
        self.problems = [ExamProblem(part, problem) for part, problems in exams.items() for problem in problems]
        self._exact: dict[str, int] = {}
        self._runs: dict[Gram, dict[Gram, int]] = {}  # first LEAST words -> the others -> number of the run
        self._owners: list[list[int]] = []  # [run] -> places in `problems`
        self.short = 0
        """Problems whose question is too short for runs of words."""
        for place, (_, problem) in enumerate(self.problems):
            self._exact.setdefault(normal(problem.question), place)
            words = words_of(problem.question)
            self.short += len(words) < LEAST
            for run in (*_runs(words), *_runs(words_of(problem.solution or ""), whole=False)):
                self._add(run, place)
        self.baseline = self._learn_wording(train)
        """Share of the train problems with a run of an exam problem, in [0, 1]; None without train problems."""

    def exact(self, text: str) -> ExamProblem | None:
        """Return the exam problem whose question this text is, but for case and white space."""
        place = self._exact.get(normal(text))
        return None if place is None else self.problems[place]

    def shared(self, text: str) -> Iterator[Shared]:
        """Yield every run of words of the text that an exam problem has too, first to last."""
        words = words_of(text)
        shifts = [words[offset:] for offset in range(LEAST)]
        if self._runs.keys().isdisjoint(zip(*shifts, strict=False)):  # most texts end here, at the speed of C
            return
        for start, first in enumerate(zip(*shifts, strict=False)):
            for rest, number in self._runs.get(first, {}).items():
                if tuple(words[start + LEAST : start + LEAST + len(rest)]) == rest:
                    yield Shared(first + rest, number)

    def owners(self, shared: Shared) -> Iterator[ExamProblem]:
        """Yield the exam problems that have a run."""
        return (self.problems[place] for place in self._owners[shared.number])

    def is_wording(self, shared: Shared) -> bool:
        """Whether a train problem has this run too: then it is how the task words its problems, and no leak."""
        return shared.number in self._wording

    def _add(self, run: Gram, place: int) -> None:
        rest = self._runs.setdefault(run[:LEAST], {})
        number = rest.setdefault(run[LEAST:], len(self._owners))
        if number == len(self._owners):
            self._owners.append([place])
        elif self._owners[number][-1] != place:
            self._owners[number].append(place)

    def _learn_wording(self, train: Iterable[Problem]) -> float | None:
        self._wording: set[int] = set()
        seen = alike = 0
        for problem in train:
            found = {one.number for text in (problem.question, problem.solution or "") for one in self.shared(text)}
            self._wording |= found
            seen, alike = seen + 1, alike + bool(found)
        return alike / seen if seen else None


def _runs(words: Sequence[str], *, whole: bool = True) -> Iterator[Gram]:
    """Yield every run of `RUN` words; of 8 to 12 words, all of them at once where `whole` says so."""
    if len(words) >= RUN:
        yield from zip(*(words[offset:] for offset in range(RUN)), strict=False)
    elif whole and len(words) >= LEAST:
        yield tuple(words)


def texts_of(lesson: Lesson) -> Iterator[tuple[Where, str]]:
    """Yield what a student reads and learns of a lesson, with where it stands: "prompt" or "completion".

    The system message is the task's own and the same for exam and lessons, so it is left out.
    """
    for message in lesson.prompt:
        if message["role"] != "system":
            yield "prompt", message["content"]
    yield "completion", lesson.completion
    if lesson.rejected is not None:
        yield "completion", lesson.rejected
