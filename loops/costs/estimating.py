"""What a recipe would ask of its teacher: requests, tokens, dollars, as ranges, before anything is paid for."""

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from lessons.errors import TeacherError, TutelageError
from lessons.records import Record
from lessons.skills import SkillCatalog
from loops.asking import run_async, shared_cache
from loops.catalog.stages import given_catalog
from loops.catalog.writing import joined, label, planned, with_labels, write_catalog
from loops.costs.rehearsing import STUDENT_SAYS, Setting, rehearse_round
from loops.exams.freezing import without_overlap
from loops.graders.base import AskingGrader
from loops.recipe import Recipe
from loops.tasks.base import Split, Task
from loops.views.text import View
from loops.work import PARTS
from teachers.base import HoldingTeacher, Usage
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prices import FREE, Prices, prices_of
from teachers.rehearsal import Need, Rehearsal, mean_completion

if TYPE_CHECKING:
    from rich.console import RenderableType

REHEARSED = 200
"""Attempts that a round is rehearsed on, at most; what it asks of more is taken to grow with their number."""
ROUNDS = 3
"""Rounds that are rehearsed, at most; what comes after is taken to be as the average of them."""
FAILING = (0.1, 1.0)
"""Share of the attempts that fail, where nobody says: a student that fails less has little to learn."""
PER_BYTE = (0.2, 0.45)
"""Tokens a byte of text. Measured with the tokenizers of Qwen2.5 and SmolLM2: 0.24 to 0.31 over five of the shipped
prompts on GSM8K, 0.43 on its worked formulas alone."""
PER_TURN = 8
"""Tokens that a chat template adds to a turn, about."""


class Range(NamedTuple):
    """At least and at most."""

    low: float
    high: float

    def plus(self, other: "Range") -> "Range":
        """Return both added up."""
        return Range(self.low + other.low, self.high + other.high)


class Row(Record, frozen=True, kw_only=True):
    """What one kind of prompt would take in the whole run."""

    stage: str
    prompt: str
    requests: Range
    """Replies asked for."""
    prompt_tokens: Range
    completion_tokens: Range
    usd: Range | None
    """None where the teacher's prices are not known."""


class Estimate(View, frozen=True, kw_only=True):
    """What `tutelage estimate` says."""

    teacher: str
    rows: tuple[Row, ...]
    requests: Range
    tokens: Range
    usd: Range | None
    how: tuple[str, ...]
    """How it was reckoned, and what is left out."""

    def render(self) -> "RenderableType":
        """Return the estimate for a terminal."""
        from loops.views.estimate_text import rendered

        return rendered(self)


class _Part(NamedTuple):
    """What one kind of prompt took in the rehearsal, and how often the run does as much."""

    stage: str
    prompt: str
    need: Need
    times: Range


class _Reckoner(NamedTuple):
    prices: Prices | None
    per_byte: Range

    def row(self, part: _Part) -> Row:
        stage, prompt, need, (low, high) = part
        requests = Range(math.floor(need.requests * low), math.ceil(need.requests * high))
        frame = PER_TURN * need.turns
        asked = Range(
            (need.prompt_bytes * self.per_byte.low + frame) * low,
            (need.prompt_bytes * self.per_byte.high + frame) * high,
        )
        each = _completion(need, self.per_byte.low)
        said = Range(math.floor(each.low * requests.low), math.ceil(each.high * requests.high))
        asked = Range(math.floor(asked.low), math.ceil(asked.high))
        usd = (
            None if self.prices is None else Range(*(_usd(self.prices, p, c) for p, c in zip(asked, said, strict=True)))
        )
        return Row(stage=stage, prompt=prompt, requests=requests, prompt_tokens=asked, completion_tokens=said, usd=usd)


def estimate(recipe: Recipe, *, failing: Range | None = None, calls: int = 0) -> Estimate:
    """Rehearse a recipe and reckon from it what a whole run would ask.

    Args:
        recipe: the recipe; its task's data is read, its student is not loaded.
        failing: share of the attempts that the student fails, in [0, 1].
        calls: requests of each kind of prompt that are sent to the teacher to learn its real lengths; 0 sends none.
            Their replies go into the cache that runs share, so that none is bought again.

    Raises:
        InputError: the recipe or its data is wrong.
        TeacherError: a sample call failed for good.
    """
    return run_async(_estimate(recipe, failing or Range(*FAILING), calls, told=failing is not None))


async def _estimate(recipe: Recipe, failing: Range, calls: int, *, told: bool) -> Estimate:
    teacher = recipe.make_teacher()
    prices = prices_of(teacher)
    async with AsyncExitStack() as held:
        held.push_async_callback(teacher.aclose)
        if isinstance(teacher, HoldingTeacher):
            held.callback(teacher.close)
        ledger: Ledger | None = None
        if calls:
            path = shared_cache(recipe.calls.cache, teacher)
            folder = held.enter_context(TemporaryDirectory())
            ledger = held.enter_context(Ledger.open(Path(folder) / "calls.sqlite", cache=path))
        real = Caller(teacher, ledger, in_flight=recipe.calls.in_flight, seed=recipe.seed) if ledger else None
        task = recipe.make_task()
        split, _ = without_overlap(task.split(recipe.of_split))
        how = [f"no call was made; {_share(failing, told)}"] if not real else [_share(failing, told)]
        askers = {stage: Rehearsal(real, ledger, calls) for stage in ("start", "diagnose", "teach")}
        split, catalog = await _labelled(recipe, task, split, askers["start"])
        parts = [_Part("start", name, need, Range(1, 1)) for name, need in askers["start"].needs.items()]
        parts += await _rounds(Setting(recipe, task, split, catalog), askers, failing, how)
        measured = next((ratio for asker in askers.values() if (ratio := asker.per_byte())), None)
        reckoner = _Reckoner(prices, Range(*PER_BYTE) if measured is None else Range(0.9 * measured, 1.1 * measured))
        if measured is not None:
            how.append(f"{calls} sample calls of each prompt: {measured:.2f} tokens a byte of prompt")
        rows = tuple(reckoner.row(part) for part in parts)
        judged = await _judged(recipe, task, split, how)
        of_judge = _Reckoner(_judge_prices(task, prices), reckoner.per_byte)
        rows += tuple(of_judge.row(part) for part in judged)
    how += _left_out(prices)
    known = prices if all(row.usd is not None for row in rows) else None
    return _summed(teacher.name, rows, known, how)


async def _judged(recipe: Recipe, task: Task, split: Split, how: list[str]) -> list[_Part]:
    """Rehearse a grader that asks a teacher: on each attempt at a train problem, and on each exam's."""
    grader, asker = task.grader, Rehearsal()
    if not isinstance(grader, AskingGrader):
        return []
    sample = split.train[:REHEARSED]
    await grader.grade_by_asking([(problem, problem.solution or STUDENT_SAYS) for problem in sample], asker)
    examined = min(recipe.examine.per_round or len(split.train), len(split.train)) * recipe.examine.samples
    exams = (recipe.rounds + 1) * (len(split.held_out) + len(split.gate)) + 2 * len(split.final)
    exams += len(split.held_out) if recipe.examine.noise else 0
    times = (recipe.rounds * examined + exams) / len(sample)
    how.append("the grader's judging of attempts and exams is in it; of lessons (the filter `verified`) it is not")
    return [_Part("judge", name, need, Range(times, times)) for name, need in asker.needs.items()]


def _judge_prices(task: Task, prices: Prices | None) -> Prices | None:
    own = task.grader.teacher if isinstance(task.grader, AskingGrader) else None
    return prices if own is None else prices_of(own)


async def _labelled(recipe: Recipe, task: Task, split: Split, asker: Rehearsal) -> tuple[Split, SkillCatalog]:
    """Rehearse the catalogue and the labels, where neither the recipe nor the task brings them."""
    given = given_catalog(recipe, task, (*split.train, *split.pool))
    catalog = given.catalog if given else None
    if catalog is None:
        catalog = (await write_catalog(split.train, asker, recipe.diagnose.skill_sample, Random(recipe.seed))).catalog
    parts = {name: getattr(split, name) for name in PARTS}
    known = given.labels if given else {}
    every = [problem for part in parts.values() for problem in part]
    plan = planned(every, catalog, known, recipe.diagnose.agreement_sample, recipe.seed)
    labels = joined(known, await label(plan, asker, catalog, Counter()))
    skills = {key: one.skills for key, one in labels.items()}
    return Split(**{name: tuple(with_labels(part, skills)) for name, part in parts.items()}), catalog


async def _rounds(setting: Setting, askers: Mapping[str, Rehearsal], failing: Range, how: list[str]) -> list[_Part]:
    """Rehearse a round with all attempts failed, and with half of them, and draw the line through both."""
    recipe, split = setting.recipe, setting.split
    examined = min(recipe.examine.per_round or len(split.train), len(split.train)) * recipe.examine.samples
    size, rounds = min(REHEARSED, examined), min(ROUNDS, recipe.rounds)
    found: list[_Part] = []
    for stage in ("diagnose", "teach"):
        if stage == "diagnose" and recipe.diagnose.by == "needed":
            continue
        whole, half = askers[stage], Rehearsal()
        try:
            for index in range(1, rounds + 1):
                await rehearse_round(setting, whole, index, size=size, failed=size, stage=stage)
                await rehearse_round(setting, half, index, size=size, failed=size // 2, stage=stage)
        except TeacherError:  # of a sample call, and fatal: a wrong key, an unknown model
            raise
        except (AttributeError, TypeError, ValueError, LookupError, TutelageError) as error:
            how.append(f"{stage} is not reckoned: it cannot be rehearsed ({type(error).__name__}: {error})")
            continue
        for name, need in whole.needs.items():
            other = half.needs.get(name, Need()).requests
            by_failure = (need.requests - other) / (size - size // 2)
            by_attempt = need.requests / size - by_failure
            asked = [examined * max(0.0, by_attempt + by_failure * share) for share in failing]
            if stage == "diagnose":
                asked = [
                    count + rounds * min(recipe.diagnose.check_right, examined * (1 - share))
                    for count, share in zip(asked, failing, strict=True)
                ]
            times = [recipe.rounds / rounds * count / max(1, need.requests) for count in asked]
            found.append(_Part(stage, name, need, Range(min(times), max(times))))
            if need.unread:
                how.append(f"{name}: it has no example, so what follows its replies is not counted")
    if recipe.diagnose.form == "apart":
        how.append("no failure is taken to be of form alone (cut off, no answer that can be read): those ask for less")
    if recipe.diagnose.difficult is not None:
        how.append("what fails is what its rewards call difficult; the scorer's own work is not in it")
    how.append(
        f"rehearsed on {size:,} attempts of {examined:,} a round and {rounds} of {recipe.rounds} rounds; what is asked "
        "is taken to grow with them"
    )
    return found


def _completion(need: Need, per_byte: float) -> Range:
    """Return tokens of one reply: as sampled, else from the example's length up to all that is allowed."""
    most = need.max_tokens / max(1, need.requests)
    sampled = mean_completion(need)
    if sampled is not None:
        mean, error = sampled
        return Range(max(1.0, mean - 2 * error), min(most, mean + 2 * error))
    return Range(need.example_bytes / max(1, need.requests) * per_byte, most)


def _usd(prices: Prices, prompt: float, completion: float) -> float:
    return prices.usd(Usage(prompt=int(prompt), completion=int(completion))) or 0.0


def _share(failing: Range, told: bool) -> str:
    whose = "as given" if told else "nobody knows yet; --failing narrows it"
    return f"{failing.low:.0%} to {failing.high:.0%} of the attempts are taken to fail ({whose})"


def _left_out(prices: Prices | None) -> list[str]:
    left = ["not in it: repair turns (one more request for each reply that cannot be read), and replies that break off"]
    if prices is None:
        left.append("dollars are unknown: the recipe has no teacher.prices")
    elif prices is not FREE:
        of_day = f" of {prices.as_of}" if prices.as_of else ""
        left.append(f"prices{of_day}: ${prices.prompt:g} a million prompt tokens, ${prices.completion:g} completion")
    return left


def _summed(name: str, rows: tuple[Row, ...], prices: Prices | None, how: list[str]) -> Estimate:
    requests, tokens, usd = Range(0, 0), Range(0, 0), Range(0, 0)
    for row in rows:
        requests = requests.plus(row.requests)
        tokens = tokens.plus(row.prompt_tokens).plus(row.completion_tokens)
        usd = usd.plus(row.usd or Range(0, 0))
    known = None if prices is None else usd
    return Estimate(teacher=name, rows=rows, requests=requests, tokens=tokens, usd=known, how=tuple(how))
