"""How far an exam's figure moves when nothing was learned: the same student, examined twice."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lessons.jsonl import write_jsonl
from lessons.records import Attempt
from lessons.statistics import Z95
from loops.examining import sit
from loops.records import NoiseFloor, SkillNoise
from loops.store import write_record
from loops.work import Work
from students.base import Generation, Student

BORROWED = 10
"""Problems' worth of the whole exam's flip rate that each skill's own is mixed with: a skill of a few problems, none of
which happened to flip, is not free of noise. Our choice."""


def measure(work: Work, student: Student) -> None:
    """Examine the student of round 0 again -> noise.jsonl, noise.json: another order, other batches, another seed.

    Greedy answers (temperature 0) change only where a batch's shape decides between two nearly equal tokens; drawn ones
    change with every seed. Not measured where the recipe says so, and not in a run that has gone on without it.
    """
    if not work.recipe.examine.noise or work.folder.marker(1, "examine") is not None:
        return

    def do(folder: Path, counts: Counter[str]) -> None:
        first = work.read(0, "exam.jsonl", Attempt)
        problems = list(work.split.held_out)
        work.rng(0, "noise").shuffle(problems)
        how = otherwise(work.recipe.student.answer)
        second = sit(work, "noise", student, problems, counts, seed=work.seed(0, "noise"), generation=how)
        write_jsonl(folder / "noise.jsonl", second)
        noise = noise_floor(first, second, work.catalog.names)
        counts["noise/changed"], counts["noise/flipped"] = noise.changed, noise.flipped
        write_record(folder / "noise.json", noise)

    work.once(0, "noise", ("noise.jsonl", "noise.json"), do)


def otherwise(generation: Generation) -> Generation:
    """Return how to answer the same in other batches: of half the size."""
    return Generation(
        max_tokens=generation.max_tokens,
        temperature=generation.temperature,
        batch_tokens=max(1, generation.batch_tokens // 2),
    )


def noise_floor(first: Sequence[Attempt], second: Sequence[Attempt], skills: Sequence[str] = ()) -> NoiseFloor:
    """Compare two examinations of one student; pairs that both graded count.

    Where nothing was learned, each problem's verdict moves by -1, 0 or +1 with mean 0, and the chance q that it moves
    is the variance of one move. The difference of two accuracies over n problems then has the variance q / n, and stays
    within z * sqrt(q / n), z = 1.96, in 95 cases of 100: that is the floor. A verdict moves only where the answer's
    text does, so q = changed / n * (flipped + 1/2) / (changed + 1): the half and the one (Jeffreys' prior) keep a floor
    above 0 where answers differ and, by luck, no verdict did; where no answer differs it is 0. A skill's q is its flips
    and `BORROWED` times the whole exam's q, over its problems and `BORROWED`.
    """
    was = {(attempt.problem.id, attempt.sample): attempt for attempt in first if attempt.graded}
    pairs = [
        (was[key], attempt)
        for attempt in second
        if attempt.graded and (key := (attempt.problem.id, attempt.sample)) in was
    ]
    n = len(pairs)
    flipped = [one.right != other.right for one, other in pairs]
    moved = sum(other.right - one.right for one, other in pairs)
    changed = sum((one.text, one.turns) != (other.text, other.turns) for one, other in pairs)
    rate = changed / n * (sum(flipped) + 0.5) / (changed + 1) if n else 0.0
    of_skill: dict[str, SkillNoise] = {}
    for skill in skills:
        flips = [flip for (one, _), flip in zip(pairs, flipped, strict=True) if skill in one.problem.skills]
        mixed = (sum(flips) + BORROWED * rate) / (len(flips) + BORROWED)
        of_skill[skill] = SkillNoise(n=len(flips), flipped=sum(flips), floor=floor_of(mixed, len(flips)))
    return NoiseFloor(
        n=n,
        changed=changed,
        flipped=sum(flipped),
        difference=moved / n if n else 0.0,
        floor=floor_of(rate, n),
        skills=of_skill,
    )


def floor_of(rate: float, n: int) -> float:
    """Return the floor for a share of flips in [0, 1] over n problems; 1 where there are none to tell it by."""
    return min(1.0, Z95 * math.sqrt(rate / n)) if n else 1.0
