"""TAPIR: what the judge finds hard for this student, more of it by a mixture of task types (arXiv 2405.13448)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Literal

import msgspec

from lessons.ids import seed_of
from lessons.records import Lesson, Problem
from loops.filters.base import normal
from loops.methods.base import together
from loops.model_fitting import Fit, fit
from loops.rolling import gold, one_each
from loops.round import Round
from loops.selectors.balance import TAPIR
from loops.task_types import OTHERS, style_of, types_of
from teachers.prompts.styled_answer import STYLED_ANSWER
from teachers.prompts.typed_problems import TYPED_PROBLEMS

__all__ = ["Tapir"]

Typed = tuple[Problem, str, Fit, tuple[str, ...]]
"""A problem, its type, the hard one that it is or was written from, and the calls so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapir:
    """Lessons on problems where the teacher's answer is rated far above the student's, and on new ones like them.

    Each is answered in the style of its type. Easy problems with their own references are mixed in, fewer in every
    round. Take the selector `balance` with `mixture: tapir` for the paper's resampling to its mixture of types; new
    problems have no reference, so that the filter `verified` would drop them. Formulas and constants are as recalled,
    the mixture is that of the authors' released operator, which has neither difficulty nor rounds.
    """

    paper: ClassVar[str] = "arXiv:2405.13448"
    teacher: ClassVar[str] = "answers, ratings of both sides' answers, task types, new problems"
    student: ClassVar[str] = "1 answer to each problem"
    cost: ClassVar[str] = "3 calls a problem; 2 calls a hard lesson, 1.5 a new one, 1 an easy one"
    unverifiable: ClassVar[str] = "its new problems have no reference answer"
    delta: float = 2.0
    """A problem is hard where its MFD is above this, on a scale of 1 to 10; 2 in the paper, as recalled."""
    expand: float = 1.0
    """New problems for each hard one; 0: none. The paper's number is not known: our own choice."""
    new: int = 2
    """Of them, asked for in one call."""
    references: int = 3
    """Hard problems of the type that the teacher is shown in a call."""
    types: Literal["tasks", "skills"] = "tasks"
    """`tasks` has the teacher name each problem's type, from the list of `target`; `skills` takes the main skill that a
    problem has, asks nobody, and without a `target` wants all skills alike."""
    target: dict[str, float] = field(default_factory=dict[str, float])
    """Type -> share of the new problems, at least 0; types without hard problems leave theirs to the others. Empty: the
    shares of the released operator (mathematics and reasoning 16.7 % each, code 8.3 % twice, 27 others 1.7 % each)."""
    hard_share: float = 0.3
    """Share of hard lessons in the first round, new ones included, in (0, 1]; 0.3 in the paper, as recalled. Where
    there are too few easy ones it is more."""
    hard_step: float = 0.2
    """Rise of that share with each round, up to 1; 0.2 in the paper, as recalled."""

    def __post_init__(self) -> None:
        if self.expand < 0 or self.new < 1 or self.references < 1:
            raise ValueError("expand must be at least 0, new and references at least 1")
        if not 0 < self.hard_share <= 1 or self.hard_step < 0:
            raise ValueError("hard_share must lie in (0, 1], and hard_step be at least 0")
        if any(share < 0 for share in self.target.values()):
            raise ValueError("target: every share must be at least 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Judge, expand the hard ones by type, answer in style, and mix easy ones in."""
        rng = Random(round.rng.getrandbits(64))  # what is drawn later does not depend on what comes back first
        found = [one for one in await together(fit(round, a) for a in one_each(round, "all")) if one]
        hard = [one for one in found if one.difficulty > self.delta]
        round.counts["hard problems"], round.counts["easy problems"] = len(hard), len(found) - len(hard)
        seeds = [
            (one.attempt.problem, kind, one, one.calls)
            for one, kind in zip(hard, await self._kinds(round, hard), strict=True)
        ]
        aimed = [*seeds, *await self._expanded(round, seeds, rng)]
        told = await together(
            round.ask(STYLED_ANSWER, question=p.question, instruction=round.task.instruction, style=style_of(kind))
            for p, kind, _, _ in aimed
        )
        lessons = [
            round.lesson(
                p, said.value, attempt=one.attempt, skill=kind, seed=one.attempt.problem, calls=(*calls, said.call)
            )
            for (p, kind, one, calls), replies in zip(aimed, told, strict=True)
            for said in replies
        ]
        share = min(1.0, self.hard_share + (round.index - 1) * self.hard_step)
        easy = [one for one in found if one.difficulty <= self.delta]
        mixed = rng.sample(easy, min(len(easy), int(len(lessons) * (1 - share) / share + 0.5)))
        for one, kind in zip(mixed, await self._kinds(round, mixed), strict=True):
            problem, own = one.attempt.problem, gold(round, one.attempt.problem)
            calls = one.calls if own is None else ()
            lessons.append(round.lesson(problem, own or one.answer, attempt=one.attempt, skill=kind, calls=calls))
        return lessons

    def shares(self, kinds: Sequence[str]) -> dict[str, float]:
        """Return each of these types' part of the new problems; sums to 1, or all 0 where none is wanted."""
        alike = self.types == "skills" and not self.target
        target: Mapping[str, float] = dict.fromkeys(kinds, 1.0) if alike else self.target or TAPIR
        known = {name.casefold(): share for name, share in target.items()}
        weights = {kind: known.get(kind.casefold(), 0.0) for kind in dict.fromkeys(kinds)}
        whole = sum(weights.values())
        return {kind: weight / whole if whole else 0.0 for kind, weight in weights.items()}

    async def _kinds(self, round: Round, fits: Sequence[Fit]) -> list[str]:  # noqa: A002  # [fit]
        problems = [one.attempt.problem for one in fits]
        if self.types == "skills":
            return [problem.skills[0] if problem.skills else OTHERS for problem in problems]
        return await types_of(round, problems, list(self.target or TAPIR))

    async def _expanded(self, round: Round, seeds: Sequence[Typed], rng: Random) -> list[Typed]:  # noqa: A002
        """Ask for new problems: each of a type drawn by the mixture, like hard ones of that type."""
        of_kind: dict[str, list[Typed]] = {}
        for seed in seeds:
            of_kind.setdefault(seed[1], []).append(seed)
        shares = {kind: share for kind, share in self.shares(list(of_kind)).items() if share}
        count = int(self.expand * len(seeds) + 0.5) if shares else 0
        drawn = Counter(rng.choices(list(shares), list(shares.values()), k=count)) if count else Counter[str]()
        asked = [
            (kind, rng.sample(of_kind[kind], min(self.references, len(of_kind[kind]))), min(self.new, wanted - start))
            for kind, wanted in drawn.items()
            for start in range(0, wanted, self.new)
        ]
        # Few hard problems make requests alike; each has a seed of its own, or all would have one reply.
        told = await together(
            round.ask(
                TYPED_PROBLEMS,
                sampling=msgspec.structs.replace(TYPED_PROBLEMS.sampling, seed=seed_of(round.seed, "tapir", place)),
                type=kind,
                examples="\n".join(f"- {' '.join(seed[0].question.split())}" for seed in shown),
                count=wanted,
            )
            for place, (kind, shown, wanted) in enumerate(asked)
        )
        known = {normal(problem.question) for problem in (*round.problems, *round.pool)} | round.context.held_out
        fresh: list[Typed] = []
        for (kind, shown, wanted), replies in zip(asked, told, strict=True):
            _, _, origin, _ = shown[0]
            for question, call in ((q, said.call) for said in replies for q in said.value[:wanted]):
                if normal(question) in known:
                    round.counts["problem not new"] += 1
                    continue
                known.add(normal(question))
                parent = origin.attempt.problem
                source = f"{round.method}, round {round.index}"
                problem = Problem(question=question, skills=parent.skills, source=source, parent=parent.id)
                fresh.append((problem, kind, origin, (*origin.calls, call)))
        return fresh
