"""Lessons by an online mixture of skills: skills whose loss is high, and skills that help those (Skill-It)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from lessons.errors import InputError
from lessons.records import Lesson, Record
from lessons.skills import SkillProfile, by_skill
from loops.knobs import nearest
from loops.selectors.allocation import tempered
from loops.selectors.base import Budgeted, Choice, by_shares
from loops.store import read_record, write_record
from loops.tasks.base import student_prompt

__all__ = ["SkillIt"]

FILE = "skill_losses.json"


class SkillLosses(Record, frozen=True, kw_only=True):
    """`skill_losses.json` of a round: what its mixture was made of."""

    losses: dict[str, float]
    """Skill -> mean token loss on reference solutions, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillIt(Budgeted):
    """Draws lessons with p_i in proportion to exp(eta * sum_j A_ij L_j), L_j the loss of skill j over a window."""

    paper: ClassVar[str] = "arXiv:2307.14430"
    eta: float = 0.5
    """Step size, at least 0: 0.5 in the paper's LEGO runs, 0.8 for Spanish question generation. 0 is uniform."""
    window: int = 3
    """w: examinations, the last ones, whose losses are added up; 3 in the paper."""
    helps: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The graph A: skill -> the other skills that lessons on it help. Without it, A is the identity. The authors say
    that a graph that is nearly empty or nearly complete brings nothing."""
    edge: float = 0.5
    """Weight of an edge of the graph, at least 0; a skill helps itself with 1. 0.5 in the paper's code."""
    loss: Literal["miss", "tokens"] = "miss"
    """L_j. "miss": 1 - accuracy on the train problems that need the skill; asks for nothing more. "tokens": as in the
    paper, the mean token loss on reference solutions of train problems, scored in each round."""
    validation: int = 32
    """Train problems of each skill whose solutions are scored for "tokens"; 0 takes all."""
    targets: tuple[str, ...] = ()
    """Skills whose loss counts; empty: all. With one alone its losses are averaged over the window instead of added up,
    as in the paper's code."""
    first: Literal["even", "measured"] = "even"
    """What round 1 goes by. "even": every loss as 1, as in the paper, whose first step is made before any measurement;
    "measured": the first examination."""
    relative: bool = False
    """Whether losses are divided by those of round 1; an option of the paper's code."""
    growing: bool = False
    """Whether eta is divided by (sum of losses now / sum of losses in round 1); an option of the paper's code."""
    halving: bool = False
    """Whether `edge` is halved after every round; an option of the paper's code."""
    isolated: bool = False
    """Whether skills without edges keep 1 / (number of skills) each; an option of the paper's code."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if self.eta < 0 or self.window < 1 or self.edge < 0 or self.validation < 0:
            raise ValueError("eta, edge and validation must be at least 0, window at least 1")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Measure the losses, and draw by the mixture.

        Raises:
            InputError: the graph or `targets` names no skill; for "tokens": there is no student, or nothing to score.
        """
        self._check(choice.profile)
        losses = self._losses(choice)
        return by_shares(candidates, self.mixture(losses), budget, choice.rng)

    def mixture(self, losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return each skill's share of a round.

        losses: of rounds 1, 2, ... up to now, skill -> loss. The exponent is applied to equal starting weights in every
        round, so that what is remembered is the window alone, as in the paper's code.
        """
        skills = list(losses[-1])
        seen = [dict.fromkeys(skills, 1.0)] if len(losses) == 1 and self.first == "even" else self._seen(losses)
        targets = self.targets or tuple(skills)
        scale = 1 / len(seen) if len(self.targets) == 1 else 1.0
        whole = {skill: scale * math.fsum(one[skill] for one in seen) for skill in skills}
        edge = self.edge / 2 ** (len(losses) - 1) if self.halving else self.edge
        exponents = {
            skill: self._eta(losses)
            * math.fsum(
                whole[other] * (1.0 if other == skill else edge)
                for other in targets
                if other == skill or other in self.helps.get(skill, ())
            )
            for skill in skills
        }
        highest = max(exponents.values(), default=0.0)
        shares = tempered({skill: math.exp(value - highest) for skill, value in exponents.items()}, 1.0)
        return self._kept_apart(shares) if self.isolated else shares

    def _seen(self, losses: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        start = losses[0]
        return [
            {skill: loss / start[skill] if self.relative and start.get(skill) else loss for skill, loss in one.items()}
            for one in losses[-self.window :]
        ]

    def _eta(self, losses: Sequence[Mapping[str, float]]) -> float:
        start, now = math.fsum(losses[0].values()), math.fsum(losses[-1].values())
        return self.eta * start / now if self.growing and now > 0 else self.eta

    def _kept_apart(self, shares: Mapping[str, float]) -> dict[str, float]:
        linked = {skill for skill, others in self.helps.items() if any(other != skill for other in others)}
        linked |= {other for skill, others in self.helps.items() for other in others if other != skill}
        mass = math.fsum(share for skill, share in shares.items() if skill in linked)
        left = sum(skill in linked for skill in shares) / len(shares)
        return {s: share * left / mass if s in linked else 1 / len(shares) for s, share in shares.items()}

    def _losses(self, choice: Choice) -> list[dict[str, float]]:  # [round]
        skills = list(choice.profile.rows)
        if self.loss == "miss":
            profiles = choice.profiles or [choice.profile]
            missed = [
                {skill: 1 - row.accuracy for skill, row in one.rows.items() if row.accuracy is not None}
                for one in profiles
            ]
            return [_filled(one, skills) for one in missed]
        now = self._measured(choice)
        if choice.folder is not None:
            choice.folder.mkdir(parents=True, exist_ok=True)
            write_record(choice.folder / FILE, SkillLosses(losses=now))
        found = [read_record(folder / FILE, SkillLosses) for folder in choice.folders]
        return [*(_filled(one.losses, skills) for one in found if one is not None), _filled(now, skills)]

    def _measured(self, choice: Choice) -> dict[str, float]:
        """Return each skill's mean loss on the solutions of train problems, the same problems in every round."""
        scores = choice.asked("select: skill_it")
        if choice.task is None:
            raise InputError("select: skill_it scores reference solutions, and there is no task here")
        task = choice.task
        found: dict[str, float] = {}
        for skill, problems in sorted(by_skill(choice.problems).items()):
            told = sorted((p for p in problems if p.solution or p.answer is not None), key=lambda problem: problem.id)
            taken = told[: self.validation or None]
            texts = ((student_prompt(task.instruction, p), p.solution or task.reference(p)) for p in taken)
            losses = [score.loss for score in scores.of(texts)]
            if losses:
                found[skill] = math.fsum(losses) / len(losses)
        if not found:
            raise InputError("select: skill_it: no train problem has a reference answer to score")
        return found

    def _check(self, profile: SkillProfile) -> None:
        named = {
            "helps": [*self.helps, *(s for others in self.helps.values() for s in others)],
            "targets": self.targets,
        }
        for knob, skills in named.items():
            for skill in skills:
                if skill not in profile.rows:
                    raise InputError(f"select.{knob}: there is no skill {skill!r}; {nearest(skill, profile.rows)}")


def _filled(losses: Mapping[str, float], skills: Sequence[str]) -> dict[str, float]:
    """Return a loss for every skill: that of an unmeasured one is the mean of the others, 1 where there is none."""
    known = [losses[skill] for skill in skills if skill in losses]
    mean = math.fsum(known) / len(known) if known else 1.0
    return {skill: losses.get(skill, mean) for skill in skills}
