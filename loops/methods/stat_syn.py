"""STAT-Syn: new problems for each missing skill, kept where the teacher's solutions agree (arXiv 2510.10023, 3b)."""

from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson, Problem
from lessons.skills import by_skill
from loops.aiming import Target, every_pair, pairs_for
from loops.filters.agreement import Agreement
from loops.filters.base import normal
from loops.methods.base import together
from loops.round import Round, shown
from teachers.prompts.new_problems import NEW_PROBLEMS
from teachers.prompts.solution import SOLUTION

__all__ = ["StatSyn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatSyn:
    """New problems for each skill a failed attempt lacked, kept where the teacher's solutions agree."""

    paper: ClassVar[str] = "arXiv:2510.10023"
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

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Ask for new problems, then for solutions of each that is new, and keep those that agree."""
        bank = by_skill(round.pool)
        pairs = every_pair(round.missed)
        if self.pairs:
            shares = round.aim or round.profile.shares()
            pairs = pairs_for(self.pairs, round.missed, shares, self.target, round.rng)
        asked = [
            (attempt, skill, round.rng.sample(bank[skill], min(self.references, len(bank[skill]))))
            for attempt, skill in pairs
            if bank.get(skill)
        ]
        drafts = await together(
            round.ask(NEW_PROBLEMS, skill=skill, examples=shown(examples), count=self.new)
            for _, skill, examples in asked
        )
        known = {normal(problem.question) for problem in (*round.problems, *round.pool)} | round.context.held_out
        fresh: list[tuple[int, Problem, str]] = []
        for index, replies in enumerate(drafts):
            attempt, skill, _ = asked[index]
            for question, call in ((q, said.call) for said in replies for q in said.value[: self.new]):
                if normal(question) in known:
                    round.counts["problem not new"] += 1
                    continue
                known.add(normal(question))
                source = f"{round.method}, round {round.index}"
                parent = attempt.problem.id if attempt else None
                fresh.append((index, Problem(question=question, skills=(skill,), source=source, parent=parent), call))
        solved = await together(round.ask(SOLUTION, self.solutions, question=p.question) for _, p, _ in fresh)
        candidates = [
            round.lesson(p, said.value.text, attempt=asked[i][0], skill=asked[i][1], calls=(call, said.call))
            for (i, p, call), replies in zip(fresh, solved, strict=True)
            for said in replies
        ]
        return round.keep(candidates, Agreement(at_least=self.agree), "agreement")
