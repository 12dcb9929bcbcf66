"""What scripts/synthesise_run.py makes runs of: stories, a student that gets better, a teacher's words, all made up."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec

from lessons.records import Attempt, Diagnosis, ErrorKind, Lesson, Message, Problem, Provenance
from teachers.base import Reply, Sampling, Usage
from teachers.ledger import Call, Ledger, call_key

STORIES = {
    "ratio": "{name} mixes paint for a wall. For every {a} cups of blue there are {b} cups of white, and {c} cups "
    "of blue are used. How many cups of white are needed, and how many cups is that in all?",
    "unit conversion": "A train leaves {town} and travels for {a} hours and {b} minutes at the same speed. It covers "
    "{c} metres every minute. How many kilometres has it covered when it arrives?",
    "multi-step change": "{name} buys {a} notebooks at {b} cents each and a bag for {c} cents, and pays with a note of "
    "fifty. The shop is out of coins below five cents. How much does {name} get back?",
    "percent": "A shop in {town} lowers the price of a coat from {c} by {a} per cent, and a week later by another {b} "
    "per cent of the new price. What does the coat cost in the end?",
    "average": "In five tests {name} reached {a}, {b}, {c}, {a} and {b} points. How many points are needed in the "
    "sixth test for an average that is one point better?",
    "rates of work": "One pump fills the basin in {a} hours and another in {b} hours. Both run for an hour, then the "
    "first stops. After how many minutes is a basin of {c} litres full?",
    "reading a table": "The library of {town} lent {a} books on Monday, {b} on Tuesday and {c} on Wednesday. On which "
    "day was it more than on the two others together, and by how many?",
    "dates and times": "{name} starts to read on day {a} of the year and reads {b} pages a day. The book has {c} "
    "pages. On which day of the year is the last page read?",
    "area and perimeter": "A field beside {town} is {a} metres long and {b} metres wide. A fence of {c} metres stands "
    "already. How many metres of fence are still missing, and how large is the field?",
    "comparing fractions": "{name} has read {a} of {c} pages and a friend {b} of {c}. Which fraction of the book has "
    "each read in lowest terms, and by how much do they differ?",
    "negative numbers": "The temperature in {town} was {a} degrees below zero in the morning, rose by {b} degrees "
    "until noon and fell by {c} degrees in the night. What was it then?",
    "counting arrangements": "{name} has {a} shirts, {b} trousers and {c} pairs of socks, and never wears the red "
    "shirt with the red trousers. How many ways are there to dress?",
}
NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Henry", "Julia", "Kevin", "Laura", "Oscar")
TOWNS = ("Lindau", "Oxford", "Bergen", "Toledo", "Ghent", "Cork", "Padua", "Turku")
SLIPS: dict[ErrorKind, str] = {
    "arithmetic slip": "The plan is right, but {b} and {c} are added wrongly: the ten is lost in the second step.",
    "wrong plan": "The answer multiplies where it has to compare: the quantities are of different kinds.",
    "misread question": "It answers how many there were, and the question asks how many are left.",
    "gave up": "The first step is right; then the answer repeats the question instead of going on.",
}
FORM: dict[ErrorKind, str] = {"format": "No final answer could be read.", "truncated": "Cut off at 256 tokens."}
PRICES = (0.4e-6, 1.6e-6)
"""Dollars a prompt token and a completion token."""
BATCH = 2_000
"""Calls that are written at once: memory does not grow with the run."""


@dataclass
class Maker:
    """Everything that a run of this size is made of; the same seed makes the same run."""

    rounds: int
    skills: int
    new: int
    """New lessons trained on, a round."""
    seed: int
    now: datetime = datetime(2026, 11, 20, 9, 58, 12, tzinfo=UTC)
    calls: list[Call] = field(default_factory=list[Call])

    def __post_init__(self) -> None:
        """Choose how good the student is at what, before and after every round."""
        bases = list(STORIES)
        self.names = [
            b if i < len(bases) else f"{b} {i // len(bases) + 1}"
            for i in range(self.skills)
            for b in [bases[i % len(bases)]]
        ]
        rng = Random(f"levels{self.seed}")
        self.levels: dict[str, list[float]] = {}
        for place, name in enumerate(self.names):
            levels = [rng.uniform(0.08, 0.62)]
            gain = -0.07 if place == 4 else rng.uniform(0.02, 0.14)
            for _ in range(self.rounds):
                levels.append(min(0.95, max(0.03, levels[-1] + gain * rng.uniform(0.3, 1.5))))
            self.levels[name] = levels

    def problem(self, rng: Random, skill: str, source: str, parent: str | None = None) -> Problem:
        """Return a new problem on a skill; three in ten need a second one."""
        a, b, c = rng.randint(3, 97), rng.randint(2, 89), rng.randint(120, 9_880)
        story = STORIES[skill if skill in STORIES else skill.rsplit(" ", 1)[0]]
        question = story.format(name=rng.choice(NAMES), town=rng.choice(TOWNS), a=a, b=b, c=c)
        second = rng.choice(self.names)
        skills = (skill,) if second == skill or rng.random() < 0.7 else (skill, second)
        return Problem(
            question=question,
            answer=str(a * b + c),
            skills=skills,
            solution=worked(a, b, c, a * b + c),
            source=source,
            parent=parent,
            data={"numbers": [a, b, c]},
        )

    def problems(self, part: str, count: int) -> list[Problem]:
        """Return a part of the split."""
        rng = Random(f"{part}{self.seed}")
        return [self.problem(rng, self.names[i % self.skills], f"{part}:{i}") for i in range(count)]

    def answers(self, asked: Sequence[Problem], level: int) -> list[Attempt]:
        """Return what the student of a level says: every problem has its own difficulty, the same at every level."""
        made: list[Attempt] = []
        for problem in asked:
            hard = Random(f"hard{problem.id}").random()
            luck = Random(f"luck{problem.id}{level}").gauss(0, 0.08)
            right = hard < self.levels[problem.skills[0]][level] + luck
            rng = Random(f"said{problem.id}{level}")
            truth = int(problem.answer or 0)
            said = truth if right else truth + rng.choice((-100, -10, -9, 9, 10, 90, 110))
            a, b, c = problem.data["numbers"]
            text = worked(a, b, c, said)
            cut = not right and rng.random() < 0.05
            made.append(
                Attempt(
                    problem=problem, student=f"{level:08x}", score=float(right), cut=cut,
                    text=text[: len(text) * 2 // 3] if cut else text, answer=None if cut else str(said),
                    note="no final answer" if cut else "",
                )
            )  # fmt: skip
        return made

    def diagnosed(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return the attempts, the failed ones diagnosed."""
        return [self.diagnosis(attempt) if attempt.failed else attempt for attempt in attempts]

    def diagnosis(self, attempt: Attempt) -> Attempt:
        """Return a failed attempt with how it went wrong and what it lacked; form is told without a call."""
        rng = Random(f"why{attempt.id}")
        if attempt.cut or rng.random() < 0.06:
            kind: ErrorKind = "truncated" if attempt.cut else "format"
            return msgspec.structs.replace(attempt, diagnosis=Diagnosis(by="program", reason=FORM[kind], error=kind))
        kind = rng.choices(list(SLIPS), weights=(5, 4, 2, 1))[0]
        reason = SLIPS[kind].format(b=rng.randint(3, 97), c=rng.randint(100, 999))
        call = self.call(
            "missing_skills", attempt.problem.question + "\n" + attempt.text, f"Verdict: wrong\nReason: {reason}"
        )
        verdict = "wrong" if rng.random() < 0.94 else "right"
        return msgspec.structs.replace(
            attempt,
            missing=attempt.problem.skills[: rng.randint(1, 2)],
            diagnosis=Diagnosis(by="teacher", verdict=verdict, reason=reason, call=call.id, error=kind),
        )

    def call(self, purpose: str, asked: str, reply: str) -> Call:
        """Return a call to the teacher, and keep it for the ledger."""
        system = (
            "You are a patient teacher. Look at the problem below, and do exactly what is asked; say nothing else. " * 6
        )
        messages = (
            Message(role="system", content=system),
            Message(role="user", content=f"<problem>\n{asked}\n</problem>"),
        )
        sampling = Sampling()
        key = call_key("qwen3-32b", messages, sampling, 0)
        rng = Random(key)
        prompt, completion = (len(system) + len(asked)) // 4, len(reply) // 4 + rng.randint(40, 300)
        used = Usage(prompt=prompt, completion=completion, reasoning=completion // 3)
        usd = prompt * PRICES[0] + completion * PRICES[1]
        self.now += timedelta(seconds=0.03)
        made = Call(
            id=key, teacher="qwen3-32b", purpose=purpose, messages=messages, sampling=sampling, sample=0,
            reply=Reply(text=reply, usage=used, usd=round(usd, 8)),
            seconds=round(rng.uniform(0.6, 4.0), 2), created=self.stamp(),
        )  # fmt: skip
        self.calls.append(made)
        return made

    def stamp(self) -> str:
        """Return the run's own time, ISO 8601 in UTC."""
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def candidates(self, missed: Sequence[Attempt], index: int, count: int) -> Iterator[Lesson]:
        """Yield so many lessons, each for a missing skill of a failed attempt, in turn."""
        for number in range(count):
            attempt = missed[number % len(missed)]
            skill = attempt.missing[0]
            rng = Random(f"new{attempt.id}{index}{number}")
            asked = self.call("new_problem", attempt.problem.question + str(number), f"A new problem on {skill}.")
            problem = self.problem(rng, skill, f"stat_syn:{asked.id}", parent=attempt.problem.id)
            solved = self.call("solution", problem.question, problem.solution or "")
            yield Lesson(
                prompt=(Message(role="user", content=problem.question),), completion=solved.reply.text, problem=problem,
                provenance=Provenance(
                    method="stat_syn", round=index, seed=attempt.problem.id, attempt=attempt.id, skill=skill,
                    calls=(asked.id, solved.id),
                ),
            )  # fmt: skip

    async def flush(self, path: Path) -> None:
        """Write the calls so far into the ledger."""
        with Ledger.open(path) as ledger:
            for start in range(0, len(self.calls), BATCH):
                await asyncio.gather(*(ledger.put(call) for call in self.calls[start : start + BATCH]))
        self.calls.clear()


def worked(a: int, b: int, c: int, answer: int) -> str:
    """Return a worked answer in the words that small models use."""
    return (
        f"First I write down what is given: {a}, {b} and {c}.\nStep 1: {a} times {b} is {a * b}.\n"
        f"Step 2: I add {c}, which belongs to the second part: {a * b} + {c} = {answer}.\n"
        f"Step 3: I check the unit, and that the question asks for the whole and not for a part.\nAnswer: {answer}"
    )
