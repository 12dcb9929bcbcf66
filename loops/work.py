"""What the stages of a run share: the folder, the recipe, the made parts, and the rule that a stage is done once."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from lessons.errors import BudgetError, InputError, TutelageError
from lessons.ids import seed_of
from lessons.jsonl import read_jsonl
from lessons.places import cache_folder
from lessons.records import Problem, Record
from lessons.skills import Skill, SkillCatalog
from loops.live import Live
from loops.progress import Listener
from loops.recipe import Recipe
from loops.records import Marker
from loops.store import RunFolder, Stopwatch, read_yaml
from loops.tasks.base import Split, Task
from students.base import Student
from teachers.accounts import account
from teachers.base import HoldingTeacher, Teacher
from teachers.budget import Budget
from teachers.calls import Caller, CallTotals
from teachers.ledger import Ledger
from teachers.prices import FREE, prices_of
from teachers.rescue import set_aside_if_damaged

T = TypeVar("T")
R = TypeVar("R", bound=Record)

NOTE_EVERY = 10.0
"""Seconds between two notes of how long a run has worked, while it asks."""

PARTS = ("train", "pool", "warm_up", "gate", "final", "held_out")
"""The parts of a split, as files of the run folder's `problems`."""


@dataclass(kw_only=True)
class Work:
    """One run while it runs. Everything heavy is made when it is first needed."""

    folder: RunFolder
    recipe: Recipe
    listener: Listener
    watch: Stopwatch = field(default_factory=Stopwatch)
    """Since this process took the run up."""
    working: bool = False
    """Whether this process has done any of the run's work, so that its time counts."""
    labels: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Problem id -> skills, for tasks whose problems bring none."""

    @cached_property
    def task(self) -> Task:
        """The task."""
        return self.recipe.make_task()

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher."""
        return self.recipe.make_teacher()

    @cached_property
    def base(self) -> Student:
        """The student before any lesson."""
        from students.open import open_student

        return open_student(self.recipe.student.model, threads=self.recipe.train.threads)

    @cached_property
    def split(self) -> Split:
        """The frozen problems, with their skills."""
        from loops.diagnosing import with_labels

        parts = {name: tuple(with_labels(self.read_problems(name), self.labels)) for name in PARTS}
        return Split(**parts)

    @cached_property
    def catalog(self) -> SkillCatalog:
        """The closed list of skills, from its file."""
        rows = read_yaml(self.folder.path / "catalog.yaml").get("skills") or []
        return SkillCatalog(skills=tuple(Skill(**row) for row in rows))

    def read_problems(self, part: str) -> list[Problem]:
        """Return a part of the split as it was frozen; an absent part is empty."""
        path = self.folder.path / "problems" / f"{part}.jsonl"
        return list(read_jsonl(path, Problem)) if path.exists() else []

    def read(self, index: int, name: str, kind: type[R]) -> list[R]:
        """Return the records of a round's file."""
        return list(read_jsonl(self.folder.round(index) / name, kind, torn=self.listener.line))

    def rng(self, index: int, stage: str) -> Random:
        """Return the random source of a stage: the same for every try at it."""
        return Random(self.seed(index, stage))

    def seed(self, index: int, stage: str) -> int:
        """Return the seed of a stage."""
        return seed_of(self.recipe.seed, index, stage)

    def once(
        self, index: int, stage: str, outputs: tuple[str, ...], do: Callable[[Path, Counter[str]], object]
    ) -> Marker:
        """Do a stage unless its marker is there; the marker is written when `do` has come back."""
        done = self.folder.marker(index, stage)
        if done is not None:
            return done
        watch = Stopwatch()
        counts: Counter[str] = Counter()
        self.working = True
        do(self.folder.round(index), counts)
        marker = self.folder.finish(index, stage, outputs, counts, watch.seconds)
        self.note_time()
        return marker

    @cached_property
    def budget(self) -> Budget:
        """What the run may spend, and has spent so far over every time that it was resumed.

        Raises:
            InputError: dollars are capped, and the teacher's prices are not known.
        """
        spent = account(self.folder.path / "calls.sqlite").paid
        return Budget(self.recipe.budget, spent, prices=prices_of(self.teacher), hours=self._worked_before / 3600)

    @cached_property
    def _worked_before(self) -> float:
        return self.folder.seconds_worked

    def note_time(self) -> None:
        """Note how long the run has worked, so that a kill loses little of it."""
        if self.working:
            self.folder.note_seconds(self._worked_before + self.watch.seconds)

    def make_room(self) -> None:
        """Let a teacher that needs the student's memory give it back; the next call to it takes it again."""
        teacher = self.__dict__.get("teacher")
        if isinstance(teacher, HoldingTeacher) and teacher.placement == "shared":
            teacher.close()

    def close(self) -> None:
        """Give back all that the run held, and note how long it has worked."""
        teacher = self.__dict__.get("teacher")
        if isinstance(teacher, HoldingTeacher):
            teacher.close()
        self.note_time()

    def asking(
        self, title: str, counts: Counter[str], do: Callable[[Caller], Awaitable[T]], *, prefix: str = "teach"
    ) -> T:
        """Run what asks the teacher, on the one path of a call, with its progress; what it cost goes into `counts`.

        Raises:
            BudgetError: a cap was reached, and `budget.at_cap` or the stage does not let it go on with what there is.
        """
        return run_async(asked(self, title, counts, do, prefix))


async def asked(work: Work, title: str, counts: Counter[str], do: Callable[[Caller], Awaitable[T]], prefix: str) -> T:
    """See `Work.asking`."""
    path, cache, teacher = (
        work.folder.path / "calls.sqlite",
        shared_cache(work.recipe.calls.cache, work.teacher),
        work.teacher,
    )
    for ledger_path in (path, cache):
        if ledger_path is not None:
            set_aside_if_damaged(ledger_path, work.listener.line)
    budget, noted = work.budget, work.watch.seconds
    try:
        budget.check()
    except BudgetError:
        raise spent_up(work) from None
    live = Live(budget=budget, limiters=lambda: getattr(teacher, "limiters", ()))
    with opened(work, path, cache) as ledger, work.listener.live(title) as told:

        def changed(totals: CallTotals) -> None:
            nonlocal noted
            told(totals.parsed + totals.lost.total(), totals.asked, lambda: live.line(totals))
            if work.watch.seconds - noted > NOTE_EVERY:
                noted = work.watch.seconds
                work.note_time()

        settings = work.recipe.calls
        caller = Caller(
            teacher,
            ledger,
            in_flight=settings.in_flight,
            seed=work.recipe.seed,
            budget=budget,
            on_change=changed,
        )
        try:
            found = await do(caller)
        except TutelageError:
            if caller.totals.lost["budget"]:  # what failed, failed for want of replies
                raise spent_up(work) from None
            raise
        finally:
            counts.update(counted(caller.totals, prefix))
            await teacher.aclose()
        finishes = work.recipe.budget.at_cap == "finish" and prefix == "teach" and caller.totals.parsed
        if caller.totals.lost["budget"] and not finishes:
            raise spent_up(work)
        return found


def opened(work: Work, path: Path, cache: Path | None) -> Ledger:
    """Open the run's ledger, with the cache that runs share where that can be opened too."""
    try:
        return Ledger.open(path, cache=cache)
    except InputError as error:
        if cache is None or str(cache) not in str(error):
            raise
        work.listener.line(f"{error}; the run goes on without the replies of other runs")
        return Ledger.open(path)


def spent_up(work: Work) -> BudgetError:
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
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()
