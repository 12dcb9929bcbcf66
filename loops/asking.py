"""How a stage asks a teacher: the run's ledger, cache, budget and progress around one path of a call."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lessons.errors import BudgetError, InputError, TutelageError
from lessons.places import cache_folder
from lessons.timing import run, run_beside
from loops.watching.live import Live
from loops.watching.stalls import BATCH
from loops.watching.stopping import until_stopped
from teachers.base import GatheringTeacher, Teacher
from teachers.calls import Caller, CallTotals
from teachers.ledger import Ledger
from teachers.prices import FREE, prices_of
from teachers.rescue import set_aside_if_damaged

if TYPE_CHECKING:
    from loops.work import Work

T = TypeVar("T")

NOTE_EVERY = 10.0
"""Seconds between two notes of how long a run has worked, at least."""


async def asked(
    work: "Work",
    title: str,
    counts: Counter[str],
    do: Callable[[Caller], Awaitable[T]],
    prefix: str,
    teacher: Teacher,
) -> T:
    """See `Work.asking`."""
    path, cache = work.folder.path / "calls.sqlite", shared_cache(work.recipe.calls.cache, teacher)
    for ledger_path in (path, cache):
        if ledger_path is not None:
            set_aside_if_damaged(ledger_path, work.listener.line)
    budget = work.budget
    try:
        budget.check()
    except BudgetError:
        raise spent_up(work) from None
    live = Live(budget=budget, limiters=lambda: getattr(teacher, "limiters", ()))
    silent = BATCH if isinstance(teacher, GatheringTeacher) else 0.0
    with opened(work, path, cache) as ledger, work.listener.live(title) as told, work.patient(silent):

        def changed(totals: CallTotals) -> None:
            told(totals.parsed + totals.lost.total(), totals.asked, lambda: live.line(totals))
            work.note_time(NOTE_EVERY)

        settings = work.recipe.calls
        caller = Caller(
            teacher,
            ledger,
            in_flight=settings.in_flight,
            seed=work.recipe.seed,
            budget=budget,
            on_change=changed,
            door=work.door,
        )
        try:
            found = await until_stopped(work.stop, caller, do(caller))
        except TutelageError:
            if caller.totals.lost["budget"]:  # what failed, failed for want of replies
                raise spent_up(work) from None
            raise
        finally:
            counts.update(counted(caller.totals, prefix))
            await teacher.aclose()
            work.folder.note_prompts(caller.versions)
        finishes = work.recipe.budget.at_cap == "finish" and prefix == "teach" and caller.totals.parsed
        if caller.totals.lost["budget"] and not finishes:
            raise spent_up(work)
        return found


def opened(work: "Work", path: Path, cache: Path | None) -> Ledger:
    """Open the run's ledger, with the cache that runs share where that can be opened too."""
    try:
        return Ledger.open(path, cache=cache)
    except InputError as error:
        if cache is None or str(cache) not in str(error):
            raise
        work.listener.line(f"{error}; the run goes on without the replies of other runs")
        return Ledger.open(path)


def spent_up(work: "Work") -> BudgetError:
    """Return the error of a cap that was reached, with how to go on."""
    kind = work.budget.over
    cap = getattr(work.recipe.budget, kind)
    return BudgetError(
        f"{work.budget.reached}; what is paid for is kept: go on with tutelage resume {work.folder.path} "
        f"--set budget.{kind}={2 * cap:g}"
    )


def shared_cache(wanted: bool, teacher: Teacher) -> Path | None:
    """Return the file of the replies that the user's runs share; None where they are not to be shared.

    A program's replies are not: they cost nothing. The environment variable TUTELAGE_CALLS names another file, or is
    "off".
    """
    if not wanted or prices_of(teacher) is FREE:
        return None
    told = os.environ.get("TUTELAGE_CALLS", "")
    if told == "off":
        return None
    path = Path(told).expanduser() if told else cache_folder() / "calls.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent}: the cache of replies cannot be made ({error.strerror}): set calls.cache to false, or "
            "TUTELAGE_CALLS to another file"
        ) from error
    return path


def counted(totals: CallTotals, prefix: str) -> dict[str, int]:
    """Return what a stage's calls came to, as `area/name` counts."""
    counts = {
        f"{prefix}/asked": totals.asked,
        f"{prefix}/from ledger": totals.from_ledger,
        f"{prefix}/from cache": totals.from_cache,
        f"{prefix}/answered": totals.answered,
        f"{prefix}/parsed": totals.parsed,
    }
    counts |= {f"lost/{reason}": count for reason, count in totals.lost.items()}
    counts |= {f"tokens/{kind}": count for kind, count in totals.tokens.items()}
    return counts


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop runs already (a notebook): then in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(run_beside(work)).result()
