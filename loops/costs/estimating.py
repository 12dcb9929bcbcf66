"""What a recipe would ask of its teacher: requests, tokens, dollars, as ranges, before anything is paid for."""

import math
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from lessons.records import Record
from loops.asking import run_async, shared_cache
from loops.costs.parts import Part, Range, examined_teacher, judged, labelled, rounds
from loops.costs.rehearsing import Setting
from loops.exams.freezing import without_overlap
from loops.graders.base import AskingGrader
from loops.recipe import Recipe
from loops.tasks.base import Task
from loops.views.text import View
from teachers.base import HoldingTeacher, Usage
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prices import FREE, Prices, prices_of
from teachers.rehearsal import Need, Rehearsal, mean_completion

if TYPE_CHECKING:
    from rich.console import RenderableType

FAILING = (0.1, 1.0)
"""Share of the attempts that fail, where nobody says: a student that fails less has little to learn."""
PER_BYTE = (0.2, 0.45)
"""Tokens a byte of text. Measured with the tokenizers of Qwen2.5 and SmolLM2: 0.24 to 0.31 over five of the shipped
prompts on GSM8K, 0.43 on its worked formulas alone."""
PER_TURN = 8
"""Tokens that a chat template adds to a turn, about."""


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


class _Reckoner(NamedTuple):
    prices: Prices | None
    per_byte: Range

    def row(self, part: Part) -> Row:
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
        askers = {stage: Rehearsal(real, ledger, calls) for stage in ("start", "preflight", "diagnose", "teach")}
        split, catalog = await labelled(recipe, task, split, askers["start"])
        setting = Setting(recipe, task, split, catalog)
        of_teacher = await examined_teacher(setting, teacher, askers["preflight"], how)
        once = ("start", "preflight")
        parts = [Part(stage, name, need, Range(1, 1)) for stage in once for name, need in askers[stage].needs.items()]
        parts += await rounds(setting, askers, failing, how)
        measured = next((ratio for asker in askers.values() if (ratio := asker.per_byte())), None)
        reckoner = _Reckoner(prices, Range(*PER_BYTE) if measured is None else Range(0.9 * measured, 1.1 * measured))
        if measured is not None:
            how.append(f"{calls} sample calls of each prompt: {measured:.2f} tokens a byte of prompt")
        of_judge = _Reckoner(_judge_prices(task, prices), reckoner.per_byte)
        parts += await judged(setting, of_teacher, how)
        rows = tuple((of_judge if part.stage in ("judge", "filter") else reckoner).row(part) for part in parts)
    how += _left_out(prices)
    known = prices if all(row.usd is not None for row in rows) else None
    return _summed(teacher.name, rows, known, how)


def _judge_prices(task: Task, prices: Prices | None) -> Prices | None:
    own = task.grader.teacher if isinstance(task.grader, AskingGrader) else None
    return prices if own is None else prices_of(own)


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
