"""Measure the profile of skills where the truth is known, on simulated students. Prints one JSON object.

    python scripts/simulate_profiles.py [--seeds 100] [--attempts 16] [--error-rate 0.2] [--only ranking regret]

A simulated student works a problem of the demo's skill right with that skill's true accuracy, and else makes the
skill's typical slip; the demo's grader grades it. Diagnoses come from the demo's teacher, a program that errs in the
given share of its replies, along the path that a run takes: the prompt, the ledger, the parser. Half of its errors on a
wrong attempt name another skill, half take the attempt for right. No model is involved: what is measured is the
statistics.

ranking   share of seeds in which the three weakest skills come first, for several distances between weak and strong,
          with the problems' true labels and with labels by the same teacher, wrong as often; and the share of the
          intervals that hold the truth. `grader, true labels` is what so many attempts can tell at best.
coverage  the same share for accuracies drawn by chance and 3 to 60 attempts a skill; and, for four samples a problem,
          of the interval that respects that samples of one problem are alike, beside one that does not.
regret    share of a budget, in [0, 1], that goes elsewhere than it would by the true gaps, with 3 to 60 attempts.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from lessons.bootstrap import paired
from lessons.demo.grader import DemoGrader
from lessons.demo.skills import catalog, generate, understand
from lessons.pooling import pool
from lessons.records import Attempt, Problem
from lessons.skills import SkillProfile
from lessons.statistics import wilson
from lessons.tally import CONTESTED, tallies
from loops.diagnosis.attempts import by_teacher
from loops.tasks.skills_demo import DEFAULT_SKILLS
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.skill_labels import skill_labels
from teachers.rule_tutor import RuleTutor

WEAK = (0.15, 0.20, 0.25)
"""True accuracies of the three weakest skills."""
DISTANCES = (0.6, 0.5, 0.4, 0.3, 0.2)
"""From the best of the weak to the worst of the strong."""
SPREAD = 0.03
"""From one strong skill to the next."""
FEWEST, MOST = 3, 60
"""Attempts a skill, where they are unequal."""
SAMPLES = 4
ALIKE = 0.4
"""Correlation of the samples of one problem in the simulation of several samples."""

Accuracies = Mapping[str, float]


def truths(distance: float, rng: Random) -> Accuracies:
    """Return true accuracies, dealt to the skills by chance."""
    strong = [min(0.97, WEAK[-1] + distance + SPREAD * place) for place in range(len(DEFAULT_SKILLS) - len(WEAK))]
    return dict(zip(rng.sample(DEFAULT_SKILLS, len(DEFAULT_SKILLS)), (*WEAK, *strong), strict=True))


def answered(accuracies: Accuracies, attempts: Mapping[str, int], rng: Random) -> list[Attempt]:
    """Return the student's graded attempts, each at a problem of its own."""
    grader = DemoGrader()
    made: list[Attempt] = []
    for skill, count in attempts.items():
        for number in range(count):
            question, answer = generate(skill, rng)
            problem = Problem(question=question, answer=answer, skills=(skill,), source=f"{skill} {number}")
            understood = understand(question)
            assert understood is not None
            steps, said = understood[0].work(understood[1], rng.random() >= accuracies[skill])
            text = f"{steps}\nAnswer: {said}"
            made.append(
                Attempt(problem=problem, student="simulated", text=text, score=grader.grade(problem, text).score)
            )
    return made


async def labelled(attempts: Sequence[Attempt], caller: Caller) -> list[Attempt]:
    """Return the attempts with their problems labelled by the teacher instead."""

    async def one(attempt: Attempt) -> Attempt:
        (answer,) = await caller.ask(skill_labels(catalog(*DEFAULT_SKILLS)), {"question": attempt.problem.question})
        skills = tuple(answer.value.skills) if answer.value else ()
        return msgspec.structs.replace(attempt, problem=msgspec.structs.replace(attempt.problem, skills=skills))

    return list(await asyncio.gather(*map(one, attempts)))


async def diagnosed(attempts: Sequence[Attempt], caller: Caller) -> list[Attempt]:
    """Return the attempts with the teacher's diagnoses."""
    return await by_teacher(attempts, caller, catalog(*DEFAULT_SKILLS), Counter())


def gaps_by(attempts: Sequence[Attempt]) -> dict[str, dict[str, float]]:
    """Return estimator -> skill -> gap."""
    profile = SkillProfile.of(attempts, DEFAULT_SKILLS)
    found = {
        "pooled": {skill: one.gap for skill, one in profile.pooled().items()},
        "raw": {skill: row.gap for skill, row in profile.rows.items()},
        "count": {skill: float(row.missing) for skill, row in profile.rows.items()},
    }
    for name, contested in (("pooled, diagnosis believed", 1.0), ("pooled, labels believed", 0.0)):
        counts = tallies(attempts, DEFAULT_SKILLS, contested)
        pooled = pool(tuple(c.lacking for c in counts.values()), tuple(c.trials for c in counts.values()))
        found[name] = {skill: one.gap for skill, one in zip(counts, pooled, strict=True)}
    return found


def first_three(gaps: Mapping[str, float]) -> list[str]:
    """Return the three widest gaps, ties in order of name."""
    return sorted(gaps, key=lambda skill: (-gaps[skill], skill))[: len(WEAK)]


class Hits:
    """How often something held."""

    def __init__(self) -> None:
        self.held, self.n = 0, 0

    def add(self, held: bool) -> None:
        """Count one case."""
        self.held += held
        self.n += 1

    @property
    def told(self) -> dict[str, Any]:
        """The share with Wilson's 95 % interval."""
        return {
            "share": round(self.held / self.n, 4),
            "n": self.n,
            "interval": [round(end, 4) for end in wilson(self.held, self.n)],
        }


async def ranking(seeds: int, attempts: int, caller: Caller) -> dict[str, Any]:
    """Return how often the three weakest skills come first, and how often the intervals hold the truth beside it."""
    told: dict[str, Any] = {}
    for distance in DISTANCES:
        hits: dict[str, dict[str, Hits]] = {"true labels": {}, "labels by the teacher": {}}
        held = {kind: {"accuracy, Wilson": Hits(), "pooled gap": Hits()} for kind in hits}
        for seed in range(seeds):
            rng = Random(f"ranking {seed}")  # the same problems for every distance
            accuracies = truths(distance, rng)
            weakest = set(sorted(accuracies, key=lambda skill: accuracies[skill])[: len(WEAK)])
            plain = answered(accuracies, dict.fromkeys(DEFAULT_SKILLS, attempts), rng)
            best = {skill: float(row.failures) for skill, row in SkillProfile.of(plain, DEFAULT_SKILLS).rows.items()}
            for kind in hits:
                given = plain if kind == "true labels" else await labelled(plain, caller)
                found = await diagnosed(given, caller)
                for name, gaps in {**gaps_by(found), "grader, true labels": best}.items():
                    hits[kind].setdefault(name, Hits()).add(set(first_three(gaps)) == weakest)
                count_coverage(held[kind], SkillProfile.of(found, DEFAULT_SKILLS), accuracies)
        told[f"{distance:g}"] = {
            kind: {
                "weakest three first": {name: one.told for name, one in hits[kind].items()},
                "coverage": {name: one.told for name, one in held[kind].items()},
            }
            for kind in hits
        }
    return told


def count_coverage(held: dict[str, Hits], profile: SkillProfile, accuracies: Accuracies) -> None:
    """Count which of a profile's intervals hold the truth."""
    pooled = profile.pooled()
    for skill, truth in accuracies.items():
        low, high = profile.rows[skill].interval
        held["accuracy, Wilson"].add(low <= truth <= high)
        held["pooled gap"].add(pooled[skill].low <= 1 - truth <= pooled[skill].high)


async def population(seeds: int, caller: Caller) -> dict[str, Any]:
    """Return coverage and regret for accuracies drawn evenly from [0.1, 0.95] and unequal attempts."""
    held = {"accuracy, Wilson": Hits(), "pooled gap": Hits()}
    regrets: dict[str, list[float]] = {}
    over: dict[str, list[float]] = {}
    for seed in range(seeds):
        rng = Random(f"population {seed}")
        accuracies = {skill: rng.uniform(0.1, 0.95) for skill in DEFAULT_SKILLS}
        attempts = {skill: rng.randint(FEWEST, MOST) for skill in DEFAULT_SKILLS}
        found = await diagnosed(answered(accuracies, attempts, rng), caller)
        profile = SkillProfile.of(found, DEFAULT_SKILLS)
        count_coverage(held, profile, accuracies)
        wanted = normal({skill: 1 - accuracy for skill, accuracy in accuracies.items()})
        raw = normal({skill: row.gap for skill, row in profile.rows.items()})
        for name, given in (
            ("raw gap", raw),
            ("count", profile.shares("count")),
            ("pooled gap", profile.shares("gap")),
        ):
            regrets.setdefault(name, []).append(sum(abs(given[s] - wanted[s]) for s in wanted) / 2)
            over.setdefault(name, []).append(max(given[s] - wanted[s] for s in wanted))
    pairs = {f"{name} less pooled": differing(regrets[name], regrets["pooled gap"]) for name in ("raw gap", "count")}
    return {
        "coverage": {name: one.told for name, one in held.items()},
        "regret": {name: round(math.fsum(each) / len(each), 4) for name, each in regrets.items()},
        "largest share too much": {name: round(max(each), 4) for name, each in over.items()},
        "paired": pairs,
    }


def normal(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights as shares that sum to 1."""
    total = math.fsum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}


def differing(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return the mean difference over the seeds, with its paired bootstrap interval."""
    shift = paired([a - b for a, b in zip(one, other, strict=True)])
    return {"mean": round(shift.mean, 4), "interval": [round(shift.low, 4), round(shift.high, 4)], "n": len(one)}


def several_samples(seeds: int, problems: int) -> dict[str, Any]:
    """Return coverage of the accuracy's interval with several samples a problem that are alike."""
    held = {"accuracy, effective n": Hits(), "accuracy, samples taken for independent": Hits()}
    for seed in range(seeds):
        rng = Random(f"samples {seed}")
        truth = {skill: rng.uniform(0.1, 0.9) for skill in DEFAULT_SKILLS}
        attempts: list[Attempt] = []
        for skill, accuracy in truth.items():
            weight = 1 / ALIKE - 1  # of a beta distribution whose draws correlate so
            for number in range(problems):
                problem = Problem(question=f"{skill} {number}", answer="1", skills=(skill,))
                own = rng.betavariate(accuracy * weight, (1 - accuracy) * weight)
                attempts += [
                    Attempt(problem=problem, student="simulated", text="", sample=s, score=float(rng.random() < own))
                    for s in range(SAMPLES)
                ]
        for skill, row in SkillProfile.of(attempts, DEFAULT_SKILLS).rows.items():
            plain = wilson(row.right, row.attempts)
            held["accuracy, effective n"].add(row.interval.low <= truth[skill] <= row.interval.high)
            held["accuracy, samples taken for independent"].add(plain.low <= truth[skill] <= plain.high)
    return {name: one.told for name, one in held.items()}


async def simulate(seeds: int, attempts: int, error_rate: float, parts: Sequence[str]) -> dict[str, Any]:
    """Return the figures of the parts."""
    told: dict[str, Any] = {
        "settings": {
            "seeds": seeds,
            "attempts": attempts,
            "skills": len(DEFAULT_SKILLS),
            "error_rate": error_rate,
            "weak": list(WEAK),
            "contested": CONTESTED,
        }
    }
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "calls.sqlite") as ledger:
        caller = Caller(RuleTutor(error_rate=error_rate), ledger, in_flight=256)
        if "ranking" in parts:
            told["ranking"] = await ranking(seeds, attempts, caller)
        if "coverage" in parts or "regret" in parts:
            told["population"] = await population(seeds, caller)
        await caller.teacher.aclose()
    if "coverage" in parts:
        told["several samples"] = several_samples(seeds, attempts)
    return told


def main() -> None:
    """Read the command line and print the figures."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="simulations of each kind")
    parser.add_argument("--attempts", type=int, default=16, help="attempts a skill")
    parser.add_argument("--error-rate", type=float, default=0.2, help="share of the teacher's replies that are wrong")
    parts = ("ranking", "coverage", "regret")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to measure")
    given = parser.parse_args()
    if given.seeds < 1 or given.attempts < 1 or not 0 <= given.error_rate <= 1:
        parser.error("--seeds and --attempts must be at least 1, --error-rate in [0, 1]")
    print(json.dumps(asyncio.run(simulate(given.seeds, given.attempts, given.error_rate, given.only)), indent=2))


if __name__ == "__main__":
    main()
