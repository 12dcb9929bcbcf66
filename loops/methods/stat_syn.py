"""STAT-Syn: new problems for each missing skill, kept where the teacher's solutions agree (arXiv 2510.10023, 3b)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Attempt, Lesson, Problem
from lessons.skills import by_skill
from loops.aiming import Target, every_pair, pairs_for
from loops.filters.agreement import Agreement
from loops.filters.base import normal
from loops.methods.base import together
from loops.round import Round, shown
from teachers.prompts.new_problems import NEW_PROBLEMS
from teachers.prompts.solution import SOLUTION

__all__ = ["StatSyn"]

CHUNK = 32
"""Pairs whose problems are written and then solved together, so that a cap leaves whole lessons of most pairs, not
problems without solutions."""

Asked = tuple[Attempt | None, str, list[Problem]]
"""A failed attempt, a skill that it lacked, and problems of the pool that need the skill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatSyn:
    """New problems for each skill a failed attempt lacked, kept where the teacher's solutions agree."""

    paper: ClassVar[str] = "arXiv:2510.10023"
    teacher: ClassVar[str] = "new problems for each missing skill, and `solutions` of each"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "(1 + new x solutions) calls for at most new x solutions lessons"
    compares: ClassVar[bool] = True
    """It needs a grader that can compare two answers."""
    references: int = 3
    """Pool problems on the skill that the teacher is shown, for each failed attempt and missing skill."""
    new: int = 2
    """Problems asked for, for each failed attempt and missing skill."""
    solutions: int = 3
    """Teacher solutions for each new problem."""
    agree: int = 2
    """Solutions that must end in one answer for the problem to be kept; only those that do are lessons."""
    pairs: int = 0
    """Pairs of a failed attempt and a missing skill that the teacher works on; 0 takes each one once, as in the paper.
    With a number, skills have the parts that the selector aims at, so that two aims cost the same."""
    target: Target = "profile"
    """With `pairs`: the aim, and its two controls: `shuffled` permutes the names of the skills in the aim, `uniform`
    takes all skills alike."""

    def __post_init__(self) -> None:
        if self.target != "profile" and not self.pairs:
            raise ValueError("target: a control needs pairs, so that as much is asked as for the aim")

    async def teach(self, round: Round) -> Sequence[Lesson]:  # noqa: A002 - the design's word
        """Ask for new problems, then for solutions of each that is new, and keep those that agree."""
        bank = by_skill(round.pool)
        pairs = every_pair(round.missed)
        if self.pairs:
            shares = round.aim(self.pairs * self.new) or round.profile.shares()
            pairs = pairs_for(self.pairs, round.missed, shares, self.target, round.rng)
        asked = [
            (attempt, skill, round.rng.sample(bank[skill], min(self.references, len(bank[skill]))))
            for attempt, skill in pairs
            if bank.get(skill)
        ]
        known = {normal(problem.question) for problem in (*round.problems, *round.pool)} | round.context.held_out
        candidates, judge = round.written(), Agreement(at_least=self.agree)
        for start in range(0, len(asked), CHUNK):  # a question stands in one chunk only
            written = await self._written(round, asked[start : start + CHUNK], known)
            candidates.extend(round.keep(written, judge, "agreement"))
        return candidates.records()

    async def _written(self, round: Round, asked: Sequence[Asked], known: set[str]) -> list[Lesson]:  # noqa: A002
        """Return the lessons on new problems for these pairs; `known` gets their questions."""
        drafts = await together(
            round.ask(NEW_PROBLEMS, skill=skill, examples=shown(examples), count=self.new)
            for _, skill, examples in asked
        )
        fresh: list[tuple[Attempt | None, str, Problem, str]] = []
        for (attempt, skill, _), replies in zip(asked, drafts, strict=True):
            for question, call in ((q, said.call) for said in replies for q in said.value[: self.new]):
                if normal(question) in known:
                    round.counts["problem not new"] += 1
                    continue
                known.add(normal(question))
                problem = Problem(
                    question=question,
                    skills=(skill,),
                    source=f"{round.method}, round {round.index}",
                    parent=attempt.problem.id if attempt else None,
                )
                fresh.append((attempt, skill, problem, call))
        solved = await together(round.ask(SOLUTION, self.solutions, question=p.question) for _, _, p, _ in fresh)
        return [
            round.lesson(problem, said.value.text, attempt=attempt, skill=skill, calls=(call, said.call))
            for (attempt, skill, problem, call), replies in zip(fresh, solved, strict=True)
            for said in replies
        ]
