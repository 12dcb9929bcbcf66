"""ARTE: the teacher is trained on which examples its student does best with, then writes the lessons (2406.19227)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import ClassVar, NamedTuple

import msgspec

from lessons.errors import RoundError
from lessons.ids import seed_of
from lessons.jsonl import write_jsonl
from lessons.records import Lesson, Message, Problem, Provenance
from lessons.skills import by_skill
from loops.aligning import aligned, trainable
from loops.filters.base import normal
from loops.methods.base import together
from loops.preferring import Draft, extremes, means, preference_set, shares
from loops.round import Round, shown
from students.base import Training
from students.objectives.dpo import Dpo
from teachers.base import HoldingTeacher
from teachers.prompts.new_problems import MOST, NEW_PROBLEMS
from teachers.prompts.rationale import RATIONALE
from teachers.prompts.styled_rationale import STYLED_RATIONALE

__all__ = ["Arte"]

STYLES = (
    "Explain it simply, as to a child, in everyday words.",
    "Go step by step, one short sentence for each step.",
    "Use symbols and equations, with as few words as can be.",
    "Say only what decides the answer, on one line.",
)
"""The paper names simple, step-by-step and symbolic ones among its four; the wording and the fourth are ours."""


class Written(NamedTuple):
    """A new question, and the call that it is from."""

    task: str
    question: str
    call: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arte:
    """Draft questions and rationales are scored by how well the student does with each as its one example; the teacher
    learns by DPO to write what scores well, and writes the lessons with no chance in it.

    A task of the paper is a skill here. The preference set is of train problems, never of exams. The new problems have
    no reference answer, so leave the filter `verified` out (`agreement` and `judge` need none). The teacher must be of
    kind `local`: its weights are trained on this machine, afresh in each round, as a LoRA adapter.
    """

    paper: ClassVar[str] = "arXiv:2406.19227"
    teacher: ClassVar[str] = "new problems, solutions in several styles; its weights are trained"
    student: ClassVar[str] = "a greedy answer to each preference item behind each draft; token scores are not needed"
    cost: ClassVar[str] = "for each skill drafts / 5 + 4 x drafts calls, and 2 x drafts more once aligned"
    unverifiable: ClassVar[str] = "its new problems have no reference answer"
    drafts: int = 250
    """Draft questions for each skill: the paper's m of 250. As many are written by the aligned teacher."""
    seeds: int = 3
    """Questions of the pool in the prompt that asks for new ones; 3 as in the paper."""
    several: int = 5
    """Draft questions asked for in one request; the paper asks for several, without a number."""
    styles: tuple[str, ...] = STYLES
    """Styles of the draft rationales, one rationale in each for each question: the paper's n of 4."""
    temperature: float = 1.0
    """Of the drafts; 1.0 as in the paper."""
    preference: int = 40
    """Problems of each skill that the student answers behind a draft; 40 as in the paper, those that discriminate best
    between students (item response theory, two parameters)."""
    validation: int = 100
    """Train problems of each skill that they are chosen from; 100 as in the paper. No more than `preference` of them:
    all are taken, and no item response theory is needed."""
    models: tuple[str, ...] = ()
    """Further models that answer those, so that the choice rests on more than this student: ids as of a student. The
    paper has five small models; without any, the student and the student before any lesson, each behind 0 to 3
    examples."""
    extreme: float = 0.25
    """Share of the questions, in (0, 0.5], that a chosen one is drawn from (the best) and a rejected one (the worst);
    0.25 as in the paper."""
    question_pairs: int = 50
    """Pairs of questions for each skill; 50 as in the paper."""
    rationale_pairs: int = 250
    """Pairs of rationales for each skill, one for each question at most; 250 as in the paper."""
    align: bool = True
    """False trains nothing and asks nothing more: the lessons are the drafts, each question with the rationale that the
    student prefers. That is the paper's baseline, its original teacher."""
    learning_rate: float = 1e-7
    """Of the teacher; 1e-7 as in the paper, for all weights of a 70B model: an adapter on a small one wants more."""
    batch_size: int = 16
    """Pairs of one step; 16 as in the paper."""
    epochs: float = 1.0
    """Passes over the pairs; 1 as in the paper."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises; 0.1 as in the paper, then a cosine."""
    beta: float = 0.1
    """DPO's; the paper gives none, 0.1 is TRL's default."""
    rank: int = 16
    """Of the teacher's LoRA adapter, at least 1. Our own: the paper does not say how its 70B teacher was trained."""
    max_length: int = 2048
    """Tokens of a pair's longer text with its prompt; a longer one is refused."""

    def __post_init__(self) -> None:
        counts = (self.drafts, self.seeds, self.several, self.preference, self.validation, self.batch_size, self.rank)
        if min(counts) < 1 or min(self.question_pairs, self.rationale_pairs) < 0 or self.several > MOST:
            raise ValueError(
                "drafts, seeds, several, preference, validation, batch_size and rank must be at least 1, pairs at "
                f"least 0, several at most {MOST}"
            )
        if not 0 < self.extreme <= 0.5 or len(self.styles) < 2:
            raise ValueError("extreme must lie in (0, 0.5], and there must be at least 2 styles")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draft, score, pair, align, write again."""
        teacher = trainable(round) if self.align else None
        bank = {task: rows for task, rows in by_skill(round.pool).items() if task in round.catalog.names}
        first = {task: self.drawn(round, rows) for task, rows in bank.items()}
        later = [(task, self.drawn(round, rows)) for task, rows in bank.items() for _ in range(self.drafts)]
        items = {
            task: await preference_set(
                round, task, rows, self.preference, validation=self.validation, models=self.models
            )
            for task, rows in bank.items()
        }
        begun = [(task, first[task]) for task in bank if items[task] for _ in range(ceil(self.drafts / self.several))]
        questions = await self.asked(round, begun, self.several, self.temperature)
        drafts = await shares(round, await self.explained(round, questions), items, "drafts")
        if round.folder is not None:
            round.folder.mkdir(parents=True, exist_ok=True)
            write_jsonl(round.folder / "drafts.jsonl", drafts)
        if teacher is None:
            return [self.lesson(round, best) for best in extremes(drafts, best=True).values()]
        pairs = self.pairs(round, drafts, first)
        if not pairs:
            raise RoundError(
                f"round {round.index}: the student does as well behind each of {len(drafts):,} drafts, so there is "
                "nothing to train the teacher on: raise method.drafts or method.preference, or set method.align false"
            )
        after = aligned(round, teacher, pairs, self.training())
        try:
            there = round.asking(after)
            new = await self.asked(there, later, 1, 0.0)
            greedy = msgspec.structs.replace(RATIONALE.sampling, temperature=0.0)
            told = await together(there.ask(RATIONALE, sampling=greedy, question=one.question) for one in new)
        finally:
            await after.aclose()
            if isinstance(after, HoldingTeacher):
                after.close()
        return [
            self.lesson(round, Draft(task=one.task, question=one.question, rationale=said.value, calls=calls))
            for one, replies in zip(new, told, strict=True)
            for said in replies
            if (calls := (one.call, said.call))
        ]

    def training(self) -> Training:
        """Return how the teacher is trained."""
        return Training(
            objective=Dpo(beta=self.beta),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            micro_batch_size=min(2, self.batch_size),
            max_length=self.max_length,
            rank=self.rank,
            alpha=2 * self.rank,
            warmup=self.warmup,
        )

    def drawn(self, round_: Round, rows: Sequence[Problem]) -> list[Problem]:
        """Return the questions that a request for new ones shows."""
        return round_.rng.sample(list(rows), min(self.seeds, len(rows)))

    async def asked(
        self, round_: Round, requests: Sequence[tuple[str, list[Problem]]], count: int, temperature: float
    ) -> list[Written]:
        """Return the questions that are new, at most `drafts` for each task, in the order of the requests."""
        sampling = msgspec.structs.replace(NEW_PROBLEMS.sampling, temperature=temperature)
        seeds_of = [seed_of(round_.seed, "questions", place) if temperature else None for place in range(len(requests))]
        told = await together(
            round_.ask(
                NEW_PROBLEMS,
                sampling=msgspec.structs.replace(sampling, seed=seeds_of[place]),
                skill=task,
                examples=shown(seeds),
                count=count,
            )
            for place, (task, seeds) in enumerate(requests)
        )
        known = {normal(problem.question) for problem in (*round_.problems, *round_.pool)} | round_.context.held_out
        found: dict[str, list[Written]] = {}
        for (task, _), replies in zip(requests, told, strict=True):
            written = found.setdefault(task, [])
            for question, call in ((one, said.call) for said in replies for one in said.value[:count]):
                if len(written) >= self.drafts:
                    break
                if normal(question) in known:
                    round_.counts["problem not new"] += 1
                    continue
                known.add(normal(question))
                written.append(Written(task, question, call))
        return [one for written in found.values() for one in written]

    async def explained(self, round_: Round, questions: Sequence[Written]) -> list[Draft]:
        """Return a draft rationale in each style for each question."""
        sampling = msgspec.structs.replace(STYLED_RATIONALE.sampling, temperature=self.temperature)
        wanted = [(one, style) for one in questions for style in self.styles]
        told = await together(
            round_.ask(STYLED_RATIONALE, sampling=sampling, question=one.question, style=style) for one, style in wanted
        )
        return [
            Draft(task=one.task, question=one.question, rationale=said.value, style=style, calls=(one.call, said.call))
            for (one, style), replies in zip(wanted, told, strict=True)
            for said in replies
        ]

    def pairs(self, round_: Round, drafts: Sequence[Draft], seeds: Mapping[str, list[Problem]]) -> list[Lesson]:
        """Return what the teacher is trained on: pairs of questions, and of rationales of one question."""
        best, worst = extremes(drafts, best=True), extremes(drafts, best=False)
        scores = means(drafts)
        pairs: list[Lesson] = []
        for task in dict.fromkeys(draft.task for draft in drafts):
            of_task = sorted((one for one in scores if one[0] == task), key=lambda one: (-scores[one], one[1]))
            some = ceil(self.extreme * len(of_task))
            high, low = of_task[:some], of_task[len(of_task) - some :]
            rng = Random(seed_of(round_.seed, "question pairs", task))
            prompt = NEW_PROBLEMS.messages({"skill": task, "examples": shown(seeds[task]), "count": 1})
            for _ in range(self.question_pairs if high else 0):
                one, other = rng.choice(high), rng.choice(low)
                if scores[one] > scores[other]:
                    pairs.append(_pair(round_, best[one], prompt, f"Question: {one[1]}", f"Question: {other[1]}"))
                    round_.counts["pairs of questions for the teacher"] += 1
            some_pairs = 0
            for one in (one for one in best if one[0] == task):
                top, low_one = best[one], worst[one]
                if some_pairs < self.rationale_pairs and (top.score or 0.0) > (low_one.score or 0.0):
                    asked = RATIONALE.messages({"question": one[1]})
                    pairs.append(_pair(round_, top, asked, top.rationale, low_one.rationale))
                    some_pairs += 1
            round_.counts["pairs of rationales for the teacher"] += some_pairs
        return pairs

    def lesson(self, round_: Round, draft: Draft) -> Lesson:
        """Return a draft as a lesson."""
        source = f"{round_.method}, round {round_.index}"
        problem = Problem(question=draft.question, skills=(draft.task,), source=source)
        calls = [call for call in draft.calls if call]
        return round_.lesson(problem, draft.rationale, skill=draft.task, calls=calls)


def _pair(round_: Round, draft: Draft, prompt: Sequence[Message], chosen: str, rejected: str) -> Lesson:
    return Lesson(
        prompt=tuple(prompt),
        completion=chosen,
        rejected=rejected,
        problem=Problem(question=draft.question, skills=(draft.task,)),
        provenance=Provenance(method=round_.method, round=round_.index, skill=draft.task, calls=draft.calls),
    )
