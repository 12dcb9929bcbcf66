"""TPD: instructions, principles against the mistakes made, and examples that show them (arXiv 2401.13849)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from lessons.errors import GradeError
from lessons.memory import Demonstration, Memory
from lessons.records import Attempt, Lesson
from loops.insisting import insist
from loops.methods.base import together
from loops.principles import by_violations, tagged
from loops.rolling import one_each
from loops.round import Round, shown
from students.memory import remembering
from teachers.prompts.problem_instructions import PROBLEM_INSTRUCTIONS
from teachers.prompts.rationale import RATIONALE

__all__ = ["Tpd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpd:
    """All goes into the student's prompt. Nothing is trained: take `train.objective: none`.

    The teacher writes instructions; the student answers the round's problems with them; the teacher finds the
    principles that its wrong answers violate; the answers that violate the most frequent ones are shown corrected, and
    the instructions are refined with the principles. In later rounds the student has been examined with its memory,
    and the teacher goes on from that. Of the paper, only the abstract was read; the steps are as recalled.
    """

    paper: ClassVar[str] = "arXiv:2401.13849"
    teacher: ClassVar[str] = "instructions, the principles that each wrong answer violates, corrected solutions"
    student: ClassVar[str] = "1 answer to each problem with the instructions, in the first round"
    cost: ClassVar[str] = "1 call a wrong answer, 2 calls a demonstration at most, and 3 calls a round; no lessons"
    examples: int = 5
    """Train problems that the teacher sees to write instructions; "a few" in the paper, as recalled."""
    practice: int = 60
    """Wrong answers that the teacher looks at in a round, at most; 0: all. Our own bound."""
    principles: int = 20
    """Principles that the student is given, at most: those it has, then the most violated ones; 0: all. Our own bound:
    a small student heeds few."""
    demonstrations: int = 4
    """Corrected examples that the student is shown with every question; 0: none. The paper's number is not known."""
    room: int = 0
    """Characters that the examples may take together; 0 sets no bound."""
    refine: bool = True
    """Whether the instructions are rewritten with the principles, as recalled of the paper."""

    def __post_init__(self) -> None:
        if min(self.examples, self.practice, self.principles, self.demonstrations, self.room) < 0:
            raise ValueError("examples, practice, principles, demonstrations and room must be at least 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Write what the next student remembers; there are no lessons."""
        first = round.rng.sample(list(round.problems), min(self.examples, len(round.problems)))
        asked = round.rng.sample(examined := one_each(round, "all"), len(examined))
        told = {"task": round.task.instruction, "examples": shown(first)}
        memory, wrong = round.memory, [attempt for attempt in asked if attempt.missed]
        if not memory.instructions:
            written = await insist(round, PROBLEM_INSTRUCTIONS, **told)
            if written is None:
                return []
            memory = msgspec.structs.replace(memory, instructions=written.value)
            tried = remembering(round.student, memory)
            again = await round.roll_out([a.problem for a in asked], student=tried, draw="practice")
            wrong = [attempt for (attempt,) in again if attempt.failed]
        round.counts["wrong with the instructions"] = len(wrong)
        wrong = wrong[: self.practice or len(wrong)]
        found = await tagged(round, wrong, memory.principles)
        principles = (*found.known, *found.new)[: self.principles or None]
        memory = msgspec.structs.replace(memory, principles=principles)
        if self.demonstrations and wrong:
            memory = await self._with_demonstrations(round, memory, [wrong[n] for n in by_violations(found.tags)])
        if self.refine and principles:
            refined = await insist(
                round, PROBLEM_INSTRUCTIONS, instructions=memory.instructions, principles="\n".join(principles), **told
            )
            memory = msgspec.structs.replace(memory, instructions=refined.value if refined else memory.instructions)
        round.counts["principles"] = len(principles)
        round.remember(memory)
        return []

    async def _with_demonstrations(self, round: Round, memory: Memory, ranked: Sequence[Attempt]) -> Memory:  # noqa: A002
        """Return the memory with the first of these problems that are solved right; twice as many are asked for."""
        chosen = [attempt.problem for attempt in ranked[: 2 * self.demonstrations]]
        solved = await together(
            round.ask(RATIONALE, question=p.question, hint=p.solution or p.answer or "") for p in chosen
        )
        pairs = [(p, said.value) for p, replies in zip(chosen, solved, strict=True) for said in replies]
        verdicts = await round.verdicts(pairs)
        right = [
            Demonstration(question=p.question, completion=text, skills=p.skills, problem=p.id)
            for (p, text), verdict in zip(pairs, verdicts, strict=True)
            if not isinstance(verdict, GradeError) and verdict.score >= 1.0
        ]
        round.counts["corrected solutions not right"] = len(pairs) - len(right)
        held = {one.question: one for one in (*right, *memory.demonstrations)}  # those of earlier rounds fill up
        kept = tuple(held.values())[: self.demonstrations]
        return msgspec.structs.replace(memory, demonstrations=kept, choose="fixed", shown=0, room=self.room)
