"""A student with a prompt memory: the same weights, and every chat rendered with what the memory holds.

Which skill a question needs is not known when the student answers it: nobody labels exam questions, and nothing peeks
at theirs. It is told by the labelled demonstrations that are nearest to the question by words.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lessons.errors import StudentError
from lessons.ids import content_id, seed_of
from lessons.memory import Demonstration, Memory, Rubric, numbered
from lessons.nearest import Nearest
from lessons.records import Lesson, Message
from students.base import Answer, Generation, Learned, Progress, Student, Training

VOTERS = 5
"""Labelled demonstrations that vote on the skill of a question, each with its similarity. Our own choice."""


def memory_of(student: Student | None) -> Memory:
    """Return what a student remembers; an empty memory for one of bare weights, and for none."""
    return student.memory if isinstance(student, MemoryStudent) else Memory()


def bare(student: Student) -> Student:
    """Return the student without its memory."""
    return student.weights if isinstance(student, MemoryStudent) else student


def remembering(student: Student, memory: Memory) -> Student:
    """Return the student with this memory in the place of its own; an empty one leaves bare weights."""
    return bare(student) if memory.empty else MemoryStudent(bare(student), memory)


def question_of(chat: Sequence[Message]) -> str:
    """Return what a chat is about: what the user says first; "" where no user speaks."""
    return next((turn["content"] for turn in chat if turn["role"] == "user"), "")


def rubric_text(rubric: Rubric) -> str:
    """Return a rubric as the student is shown it."""
    return "A good answer to this:\n" + "\n".join(f"- {criterion}" for criterion in rubric.criteria)


def revision_prompt(chat: Sequence[Message], rubric: Rubric | None, draft: str) -> tuple[Message, ...]:
    """Return the chat in which a student revises its own draft: what CITING trains on, and asks with (2310.02527).

    chat: what the draft answers; its last turn is the user's, and gets the rubric and the draft.
    """
    *before, last = chat
    parts = [
        last["content"],
        *([rubric_text(rubric)] if rubric else []),
        f"A draft of the answer:\n{draft}",
        "Write the answer anew: mend what falls short in the draft, and keep the rest as it is.",
    ]
    return (*before, Message(role=last["role"], content="\n\n".join(parts)))


class Rubrics:
    """Rubrics that are found for a question: the one with the question that is nearest to it by words."""

    def __init__(self, rubrics: Sequence[Rubric]) -> None:
        self._owners = [rubric for rubric in rubrics for _ in (rubric.questions or (rubric.name,))]
        self._nearest = Nearest([text for rubric in rubrics for text in (rubric.questions or (rubric.name,))])

    def of(self, question: str) -> Rubric | None:
        """Return a question's rubric, ties in their order; None where there are no rubrics."""
        found = self._nearest.to(question, 1)
        return self._owners[found[0]] if found else None


class Recall:
    """A memory made ready to be looked up: which rubric and demonstrations go with a chat, and how it is rendered."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.rubrics = Rubrics(memory.rubrics)
        self._keys = [_key(one.question) for one in memory.demonstrations]
        self._nearest = Nearest([one.question for one in memory.demonstrations])

    def render(self, chat: Sequence[Message]) -> tuple[Message, ...]:
        """Return a chat with the memory in it. A chat without any turn stays so.

        What the memory says goes behind the chat's own system message; demonstrations come before its first turn.
        """
        if not chat:
            return ()
        question = question_of(chat)
        rubric = self.rubrics.of(question) if self.memory.draft_with_rubric else None
        system = "\n\n".join(
            part
            for part in (
                *(turn["content"] for turn in chat if turn["role"] == "system"),
                self.memory.instructions,
                f"Principles:\n{numbered(self.memory.principles)}" if self.memory.principles else "",
                rubric_text(rubric) if rubric else "",
            )
            if part
        )
        shown = [
            turn
            for one in self.demonstrations(question)
            for turn in (
                Message(role="user", content=one.question),
                Message(role="assistant", content=one.completion),
            )
        ]
        rest = [turn for turn in chat if turn["role"] != "system"]
        return (*([Message(role="system", content=system)] if system else []), *shown, *rest)

    def demonstrations(self, question: str) -> list[Demonstration]:
        """Return the demonstrations that go with a question; the nearest one last, where it is read last.

        `fixed` ones keep their order. One that asks the very question is left out: it would hand over the answer.
        """
        held = self.memory.demonstrations
        asked = _key(question)
        others = [place for place, key in enumerate(self._keys) if key != asked]
        if self.memory.choose == "skill":
            skill = self.skill(question, others)
            others = [place for place in others if skill is None or skill in held[place].skills]
        if self.memory.choose != "fixed":
            others = self._nearest.to(question, len(others), others)
        chosen = [held[place] for place in others[: self.memory.shown or len(others)]]
        if self.memory.room:
            chosen = _fitting(chosen, self.memory.room)
        return chosen if self.memory.choose == "fixed" else chosen[::-1]

    def skill(self, question: str, among: Sequence[int]) -> str | None:
        """Return the main skill that most of the nearest labelled demonstrations have; None where none is labelled."""
        held = self.memory.demonstrations
        near = self._nearest.similarities(question)
        votes: dict[str, float] = {}
        for place in self._nearest.to(question, VOTERS, [place for place in among if held[place].skills]):
            votes[held[place].skills[0]] = votes.get(held[place].skills[0], 0.0) + near[place]
        return min(votes, key=lambda name: (-votes[name], name), default=None)


class MemoryStudent:
    """A student of bare weights with a memory that is not empty; see `remembering`."""

    def __init__(self, weights: Student, memory: Memory) -> None:
        self.weights = weights
        self.memory = memory
        self.recall = Recall(memory)

    @property
    def name(self) -> str:
        """The model's short name."""
        return self.weights.name

    @property
    def digest(self) -> str:
        """Content id of the weights and the memory."""
        return content_id("remembering student", weights=self.weights.digest, memory=self.memory.id)

    def answer(
        self,
        prompts: Sequence[Sequence[Message]],
        generation: Generation,
        *,
        samples: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:  # [prompt][sample]
        """Answer chats by the memory; where it says so, each draft is revised before it is the answer.

        A drawn revision depends on its draft's chat, the seed, the sample's number and how often it was revised.

        Raises:
            StudentError: a chat with the memory in it and its answer do not fit the model's positions.
        """
        passes, every = 1 + self.memory.revisions, len(prompts) * samples
        chats = [self.recall.render(prompt) for prompt in prompts]
        report = _part(progress, 0, every, every * passes)
        with self._room():
            answers = self.weights.answer(chats, generation, samples=samples, seed=seed, progress=report)
        if passes == 1:
            return answers
        rubrics = [self.recall.rubrics.of(question_of(prompt)) for prompt in prompts]
        for again in range(1, passes):
            revised: list[list[Answer]] = []  # [sample][prompt]
            for sample in range(samples):
                asked = [
                    revision_prompt(chat, rubric, drafts[sample].text) if chat else chat
                    for chat, rubric, drafts in zip(chats, rubrics, answers, strict=True)
                ]
                begun = again * every + sample * len(prompts)
                report = _part(progress, begun, len(prompts), every * passes)
                drawn = seed_of("revise", seed, again, sample)
                with self._room():
                    given = self.weights.answer(asked, generation, samples=1, seed=drawn, progress=report)
                revised.append([one for (one,) in given])
            answers = [list(row) for row in zip(*revised, strict=True)]
        return answers

    def score(
        self,
        rows: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Progress | None = None,
    ) -> list[list[float]]:  # [row][completion token]
        """Return the log-probabilities of completions as drafts: after the chats with the memory, without revision.

        Raises:
            StudentError: a row with the memory in it does not fit the model's positions.
        """
        with self._room():
            return self.weights.score([(self.recall.render(chat), text) for chat, text in rows], progress=progress)

    def learn(self, lessons: Sequence[Lesson], into: Path, training: Training, **more: Any) -> tuple[Student, Learned]:
        """Train the weights on lessons as they are; the next student has the same memory. See `Student.learn`."""
        weights, learned = self.weights.learn(lessons, into, training, **more)
        return remembering(weights, self.memory), learned

    def with_adapter(self, folder: Path) -> Student:
        """Return the student that `learn` saved in this folder, with this memory."""
        return remembering(self.weights.with_adapter(folder), self.memory)

    @contextmanager
    def _room(self) -> Generator[None]:
        """Say of a chat that is refused that the memory is part of it."""
        try:
            yield
        except StudentError as error:
            raise StudentError(
                f"{error}; its memory ({self.memory.told}) is part of every chat: let the method remember less"
            ) from error


def _key(question: str) -> str:
    return " ".join(question.split()).casefold()


def _fitting(chosen: Sequence[Demonstration], room: int) -> list[Demonstration]:
    """Return the first ones that fit together; what is too long is passed over, and a shorter one may still fit."""
    fitting: list[Demonstration] = []
    for one in chosen:
        size = len(one.question) + len(one.completion)
        if size <= room:
            fitting.append(one)
            room -= size
    return fitting


def _part(progress: Progress | None, begun: int, size: int, every: int) -> Callable[[int, int], None] | None:
    """Return what reports one of several passes as its part of the whole."""
    if progress is None:
        return None
    return lambda done, of: progress(begun + (size * done // of if of else size), every)
