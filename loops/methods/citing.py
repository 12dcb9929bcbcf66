"""CITING: rubrics for kinds of questions, and the student's own answers revised under them (arXiv 2310.02527)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import msgspec

from lessons.memory import Memory, Rubric, numbered
from lessons.records import Lesson, Problem
from loops.insisting import insist
from loops.methods.base import together
from loops.rolling import aimed
from loops.round import Round
from students.memory import Rubrics, revision_prompt
from teachers.prompts.revision import REVISION
from teachers.prompts.task_rubrics import TASK_RUBRICS, Kinds

__all__ = ["Citing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citing:
    """The student learns to revise its own drafts: (question, rubric, draft) -> what the teacher made of the draft.

    The teacher groups questions by kind and writes a rubric for each, once in a run; they become part of the student's
    memory. A question without a label gets the rubric of the labelled one that is nearest by words (the paper: by
    embeddings, as recalled). In examinations and exams the student drafts, and revises its draft by the rubric. What
    it answers so in round m + 1 is what is revised there.
    """

    paper: ClassVar[str] = "arXiv:2310.02527"
    teacher: ClassVar[str] = "rubrics once in a run, a revision of each answer"
    student: ClassVar[str] = "a draft of each answer, and its revisions"
    cost: ClassVar[str] = "1 call a lesson, and 1 call a run"
    labelled: int = 40
    """Train problems that the teacher groups to write the rubrics. The paper's number is not known: our own choice,
    what one prompt holds."""
    of: Literal["all", "missed"] = "all"
    """`all` revises every answer of the round, as in the paper, which asks nobody whether it is right; `missed` those
    that call for lessons."""
    revisions: int = 2
    """How often the student revises its draft when it is examined; "several" in the paper, as recalled. 0: never."""
    draft_with_rubric: bool = False
    """Whether the student sees the rubric while it drafts too. In the paper it drafts by the question, as recalled."""

    def __post_init__(self) -> None:
        if self.labelled < 1 or self.revisions < 0:
            raise ValueError(
                f"labelled must be at least 1 and revisions at least 0, got {self.labelled} and {self.revisions}"
            )

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Have rubrics written where there are none, and each answer revised under its own."""
        sample = round.rng.sample(list(round.problems), min(self.labelled, len(round.problems)))
        attempts = [a for a in (round.missed if self.of == "missed" else round.attempts) if a.text.strip()]
        memory, written = round.memory, ()
        if not memory.rubrics:
            said = await insist(round, TASK_RUBRICS, questions=numbered(problem.question for problem in sample))
            if said is None:
                return []
            memory, written = self.with_rubrics(memory, said.value, sample), (said.call,)
            round.counts["rubrics written"] = len(memory.rubrics)
        rubrics = Rubrics(memory.rubrics)
        fitting = [rubrics.of(a.problem.question) for a in attempts]
        told = await together(
            round.ask(
                REVISION,
                question=a.problem.question,
                criteria="\n".join(f"- {criterion}" for criterion in rubric.criteria) if rubric else "",
                attempt=a.text,
                instruction=round.task.instruction,
            )
            for a, rubric in zip(attempts, fitting, strict=True)
        )
        round.remember(memory)
        return [
            round.lesson(
                a.problem,
                said.value,
                attempt=a,
                skill=aimed(a),
                calls=(*written, said.call),
                prompt=revision_prompt(round.prompt(a.problem), rubric, a.text),
            )
            for a, rubric, replies in zip(attempts, fitting, told, strict=True)
            for said in replies
        ]

    def with_rubrics(self, memory: Memory, kinds: Kinds, sample: Sequence[Problem]) -> Memory:
        """Return the memory with a rubric for each kind, and the student's habit of revising by it."""
        rubrics = tuple(
            Rubric(
                name=kind.name,
                criteria=tuple(kind.criteria),
                questions=tuple(sample[n - 1].question for n in kind.questions if 1 <= n <= len(sample)),
            )
            for kind in kinds.groups
        )
        return msgspec.structs.replace(
            memory, rubrics=rubrics, revisions=self.revisions, draft_with_rubric=self.draft_with_rubric
        )
