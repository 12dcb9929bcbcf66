"""TS-Align: a small scorer picks the student's best and worst answer, the teacher ranks the pair (arXiv 2405.20215)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, NamedTuple

from lessons.ids import seed_of
from lessons.records import Attempt, Lesson
from loops.methods.base import together
from loops.ranking import ranked
from loops.rolling import Of, aimed, one_each, rolled
from loops.round import Round
from students.reward import RewardModel

__all__ = ["TsAlign"]

KEPT = "scorer"
"""Folder of the scorer within what a method keeps for later rounds."""


class Drawn(NamedTuple):
    """A candidate pair: the scorer's best and worst answer, or two drawn by chance where it cannot tell them apart."""

    asked: Attempt
    best: str
    worst: str
    told: bool
    """Whether the scorer told them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TsAlign:
    """Pairs of the student's own answers: of many to a problem, the best and the worst by a small scorer, put in order
    by the teacher. The scorer learns the teacher's order, and chooses better in the next round.

    The lessons are pairs, for the objective `dpo` or `kto`; the filter `verified` would ask more of them than the paper
    does. The teacher is the run's own, asked with a prompt, where the paper has a large reward model.
    """

    paper: ClassVar[str] = "arXiv:2405.20215"
    teacher: ClassVar[str] = "which of two answers is better, in both orders"
    student: ClassVar[str] = "k answers to each problem"
    cost: ClassVar[str] = "2 calls a lesson, and 2 for each pair that the scorer begins with"
    unverifiable: ClassVar[str] = "its pairs are what the teacher prefers, right or wrong"
    samples: int = 16
    """Answers to each problem: the paper's K of 16 (recalled)."""
    temperature: float = 1.0
    """Of the answers: they must differ. Our own."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""
    both_orders: bool = True
    """Ask the teacher in both orders, and drop a pair whose ranking changes with them. The paper's teacher scores each
    answer by itself and has no order; this is what a prompt needs instead (arXiv 2306.05685, section 3.4)."""
    scorer: str = ""
    """The scorer's base model, named as a student's; "" is the student's own. The paper's is of DeBERTa-v3-large's size
    (recalled)."""
    begin: int = 64
    """Pairs drawn by chance, one a problem, that the teacher ranks for a scorer that has learned nothing yet, before it
    chooses; the paper begins with a scorer trained on preferences (recalled). 0: the first round's pairs are drawn by
    chance."""
    epochs: float = 1.0
    """Passes of the scorer over a round's pairs. Our own."""
    learning_rate: float = 1e-4
    """Of the scorer; TRL's default for reward models."""

    def __post_init__(self) -> None:
        if self.samples < 2 or self.temperature <= 0:
            raise ValueError("samples must be at least 2 and temperature above 0: a pair is of two different answers")
        if self.begin < 0 or self.epochs <= 0 or self.learning_rate <= 0:
            raise ValueError("begin must be at least 0, epochs and learning_rate above 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw, score, rank the best against the worst, and teach the scorer the ranking."""
        scorer = self.opened(round)
        problems = one_each(round, self.of)
        if scorer.folder is None and self.begin:
            places = sorted(round.rng.sample(range(len(problems)), min(self.begin, len(problems))))
            pairs = await self.drawn(round, [problems[place] for place in places], None, "begin")
            scorer = self.taught(round, scorer, await self.ranked(round, pairs), "begin")
        pairs = await self.drawn(round, problems, scorer, "pairs")
        lessons = await self.ranked(round, pairs)
        by_scorer = {(pair.asked.id, pair.best) for pair in pairs if pair.told}
        told = {pair.asked.id for pair in pairs if pair.told}
        for lesson in lessons:
            if lesson.provenance.attempt in told:
                agrees = (lesson.provenance.attempt, lesson.completion) in by_scorer
                round.counts["scorer and teacher agree" if agrees else "scorer and teacher disagree"] += 1
        self.taught(round, scorer, lessons, KEPT)
        return lessons

    def opened(self, round_: Round) -> RewardModel:
        """Return the scorer as the last kept round left it; an untaught one in the first."""
        kept = sorted((round_.before / KEPT).glob("adapter-*")) if round_.before else []
        return RewardModel.open(self.scorer or round_.model, kept[-1] if kept else None)

    async def drawn(
        self, round_: Round, problems: Sequence[Attempt], scorer: RewardModel | None, draw: str
    ) -> list[Drawn]:
        """Return a pair of two different answers for each problem that has them; without a scorer, by chance."""
        pairs: list[Drawn] = []
        answers = rolled(
            round_, problems, self.samples, temperature=self.temperature, max_tokens=None, draw=f"ts_align {draw}"
        )
        async for asked, given in answers:
            texts = list(dict.fromkeys(text for one in given if (text := one.text.strip())))
            if len(texts) < 2:
                round_.counts["problems whose answers are all alike"] += 1
                continue
            scores = scorer.score([(round_.prompt(asked.problem), text) for text in texts]) if scorer else [0.0]
            if min(scores) < max(scores):
                best, worst = (texts[scores.index(extreme)] for extreme in (max(scores), min(scores)))
            else:
                best, worst = Random(seed_of(round_.seed, draw, asked.id)).sample(texts, 2)
            pairs.append(Drawn(asked, best, worst, min(scores) < max(scores)))
        return pairs

    async def ranked(self, round_: Round, pairs: Sequence[Drawn]) -> list[Lesson]:
        """Return the pairs as lessons, in the teacher's order; those that it does not order are counted."""
        told = await together(
            ranked(round_, pair.asked.problem, pair.best, pair.worst, both_orders=self.both_orders) for pair in pairs
        )
        lessons: list[Lesson] = []
        for pair, said in zip(pairs, told, strict=True):
            if said.better is not None:
                chosen, rejected = (pair.best, pair.worst) if said.better == 0 else (pair.worst, pair.best)
                lessons.append(
                    round_.lesson(
                        pair.asked.problem, chosen,
                        attempt=pair.asked, skill=aimed(pair.asked), calls=said.calls, rejected=rejected,
                    )
                )  # fmt: skip
        return lessons

    def taught(self, round_: Round, scorer: RewardModel, pairs: Sequence[Lesson], name: str) -> RewardModel:
        """Return the scorer that has learned the pairs, and keep it; the same one where there are none."""
        into: Path | None = round_.folder / name if round_.folder else None
        if into is None:
            return scorer
        if not pairs:
            if scorer.folder is not None and name == KEPT:
                copied(scorer.folder, into)
            return scorer
        round_.make_room("training")
        with round_.listener.bar("scorer", 0) as progress:
            return scorer.learn(
                [(lesson.prompt, lesson.completion, lesson.rejected or "") for lesson in pairs],
                into,
                seed=seed_of(round_.seed, "scorer", name),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                progress=progress,
            )


def copied(folder: Path, into: Path) -> None:
    """Copy a scorer's folder under its own name."""
    from shutil import copytree

    copytree(folder, into / folder.name, dirs_exist_ok=True)
