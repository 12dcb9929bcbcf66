"""What each filter catches of a teacher's errors: precision and recall against the truth, which the demo's rules know.

    python scripts/measure_filters.py [--problems 1000] [--wrong 0.15] [--unfaithful 0.15] [--seed 0]

RuleTutor writes a rationale for each of the demo's problems. `--wrong` of them have wrong steps and a wrong answer,
`--unfaithful` of them wrong steps under the right answer. It also criticises attempts, `--wrong` + `--unfaithful` of
the critiques with the wrong verdict. Each filter sees the candidates alone; a drop is right where the steps or the
verdict were wrong. Prints JSON: for each filter what it dropped, precision and recall with Wilson's 95 % intervals.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lessons.demo import skills as demo
from lessons.demo.form import misread
from lessons.demo.marking import mark
from lessons.graders.math import MathGrader
from lessons.ids import seed_of
from lessons.records import Lesson, Message, Problem, Provenance
from lessons.statistics import wilson
from loops.filters.agreement import Agreement
from loops.filters.base import Context, Drop, Filter
from loops.filters.derived import Derived
from loops.filters.equations import Equations
from loops.filters.format import Format
from loops.filters.verified import Verified
from loops.together import together
from teachers.base import Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.critique import CRITIQUE
from teachers.prompts.rationale import RATIONALE
from teachers.rule_tutor import RuleTutor

SAMPLES = 3
"""Rationales of each problem, for `agreement`: 2 of 3 as in STAT (arXiv 2510.10023, step 3b)."""


def problems_of(count: int, seed: int) -> list[Problem]:
    """Return different problems of all of the demo's skills in turn."""
    rng, found = Random(seed_of("measure_filters", seed)), dict[str, Problem]()
    while len(found) < count:
        skill = list(demo.SKILLS)[len(found) % len(demo.SKILLS)]
        question, answer = demo.generate(skill, rng)
        found.setdefault(question, Problem(question=question, answer=answer, skills=(skill,)))
    return list(found.values())


def attempts_of(problems: Sequence[Problem], seed: int) -> list[tuple[Problem, str, bool]]:
    """Return an attempt at each problem, every second one with a typical slip: (problem, text, whether it is right)."""
    rng = Random(seed_of("measure_filters attempts", seed))
    found: list[tuple[Problem, str, bool]] = []
    for place, problem in enumerate(problems):
        understood = demo.understand(problem.question)
        assert understood is not None
        skill, facts = understood
        wrong = place % 2 == 1
        slip = (misread(skill, facts, rng) if rng.random() < 0.5 else None) or skill.work(facts, True)
        steps, answer = slip if wrong else skill.work(facts, False)
        found.append((problem, f"{steps}\nAnswer: {answer}", not wrong))
    return found


def lesson(problem: Problem, completion: str, **more: Any) -> Lesson:
    """Return a candidate."""
    prompt = (Message(role="user", content=problem.question),)
    return Lesson(
        prompt=prompt, completion=completion, problem=problem, provenance=Provenance(method="measured", round=1), **more
    )


async def candidates(
    problems: Sequence[Problem], attempts: Sequence[tuple[Problem, str, bool]], solver: RuleTutor, critic: RuleTutor
) -> tuple[list[Lesson], list[Lesson]]:  # (rationales, critiques)
    """Ask for all that is measured."""
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "calls.sqlite") as ledger:
        asker, other = Caller(solver, ledger, in_flight=64), Caller(critic, ledger, in_flight=64)
        drawn = Sampling(max_tokens=RATIONALE.sampling.max_tokens, temperature=0.7)
        told = await together(
            asker.ask(RATIONALE, {"question": problem.question}, n=SAMPLES, sampling=drawn) for problem in problems
        )
        rationales = [
            lesson(problem, str(answer.value))
            for problem, answers in zip(problems, told, strict=True)
            for answer in answers
            if answer.value is not None
        ]
        judged = await together(
            other.ask(CRITIQUE, {"question": problem.question, "attempt": text}) for problem, text, _ in attempts
        )
        critiques = [
            lesson(problem, answer.value.text, verdict=answer.value.verdict, attempt_right=right)
            for (problem, _, right), (answer,) in zip(attempts, judged, strict=True)
            if answer.value is not None
        ]
    return rationales, critiques


def sound(candidate: Lesson) -> bool:
    """Whether a rationale's steps are those of the demo's own solution, and its answer too."""
    marked = mark(candidate.problem.question, candidate.completion)
    assert marked is not None
    return marked.right and candidate.completion.strip() == marked.worked.text


def measured(judge: Filter, lessons: Sequence[Lesson], good: Callable[[Lesson], bool]) -> dict[str, Any]:
    """Return what a filter drops of which lessons."""
    context = Context(grader=MathGrader())
    verdicts = judge.judge(lessons, context)
    truth = [good(one) for one in lessons]
    dropped = [isinstance(verdict, Drop) for verdict in verdicts]
    hit = sum(gone and not fine for gone, fine in zip(dropped, truth, strict=True))
    return {
        "candidates": len(lessons),
        "wrong": len(truth) - sum(truth),
        "dropped": sum(dropped),
        "wrong among what is kept": share(len(truth) - sum(truth) - hit, len(lessons) - sum(dropped)),
        "precision": share(hit, sum(dropped)),
        "recall": share(hit, len(truth) - sum(truth)),
    }


def share(part: int, whole: int) -> list[float] | None:
    """Return a share with its interval: [share, low, high]; None of nothing."""
    return [round(x, 4) for x in (part / whole, *wilson(part, whole))] if whole else None


class Chain:
    """Several filters, one after the other."""

    def __init__(self, *filters: Filter) -> None:
        self.filters = filters

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge what the filters before have kept."""
        found: list[Lesson | Drop] = list(lessons)
        for one in self.filters:
            places = [place for place, kept in enumerate(found) if not isinstance(kept, Drop)]
            verdicts = one.judge([lessons[place] for place in places], context)
            for place, verdict in zip(places, verdicts, strict=True):
                found[place] = verdict
        return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--wrong", type=float, default=0.15, help="share with wrong steps and a wrong answer")
    parser.add_argument("--unfaithful", type=float, default=0.15, help="share with wrong steps and a right answer")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args(arguments)
    problems = problems_of(told.problems, told.seed)
    solver = RuleTutor(error_rate=told.wrong, unfaithful=told.unfaithful, seed=told.seed)
    critic = RuleTutor(error_rate=told.wrong + told.unfaithful, seed=told.seed)
    rationales, critiques = asyncio.run(candidates(problems, attempts_of(problems, told.seed), solver, critic))
    filters: dict[str, Filter] = {
        "format": Format(),
        "verified": Verified(),
        "agreement (2 of 3)": Agreement(at_least=2),
        "equations": Equations(),
        "derived": Derived(),
        "derived, in one piece": Derived(parts=False),
        "verified + equations + derived": Chain(Verified(), Equations(), Derived()),
        "agreement + equations + derived": Chain(Agreement(at_least=2), Equations(), Derived()),
    }
    found = {
        "problems": told.problems, "wrong": told.wrong, "unfaithful": told.unfaithful, "seed": told.seed,
        "rationales": {name: measured(judge, rationales, sound) for name, judge in filters.items()},
        "critiques": {
            name: measured(filters[name], critiques, lambda one: (one.verdict == "right") == one.attempt_right)
            for name in ("format", "verified", "equations")
        },
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
