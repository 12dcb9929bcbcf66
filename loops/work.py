"""What the stages of a run share: the folder, the recipe, the made parts, and the rule that a stage is done once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from lessons.ids import seed_of
from lessons.jsonl import read_jsonl
from lessons.records import Problem, Record
from lessons.skills import Skill, SkillCatalog
from loops.progress import Listener
from loops.recipe import Recipe
from loops.records import Marker
from loops.store import RunFolder, Stopwatch, read_yaml
from loops.tasks.base import Split, Task
from students.base import Student
from teachers.base import Teacher
from teachers.calls import Caller, CallTotals
from teachers.ledger import Ledger

T = TypeVar("T")
R = TypeVar("R", bound=Record)

PARTS = ("train", "pool", "warm_up", "gate", "held_out")
"""The parts of a split, as files of the run folder's `problems`."""


@dataclass(kw_only=True)
class Work:
    """One run while it runs. Everything heavy is made when it is first needed."""

    folder: RunFolder
    recipe: Recipe
    listener: Listener
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
        do(self.folder.round(index), counts)
        return self.folder.finish(index, stage, outputs, counts, watch.seconds)

    def asking(
        self, title: str, counts: Counter[str], do: Callable[[Caller], Awaitable[T]], *, prefix: str = "teach"
    ) -> T:
        """Run what asks the teacher, on the one path of a call, with its progress; what it cost goes into `counts`."""

        async def main() -> T:
            with Ledger.open(self.folder.path / "calls.sqlite") as ledger, self.listener.bar(title, 0) as progress:

                def told(totals: CallTotals) -> None:
                    progress(totals.parsed + sum(totals.lost.values()), totals.asked)

                caller = Caller(
                    self.teacher,
                    ledger,
                    in_flight=self.recipe.calls.in_flight,
                    seed=self.recipe.seed,
                    on_change=told,
                )
                try:
                    return await do(caller)
                finally:
                    counts.update(counted(caller.totals, prefix))
                    await self.teacher.aclose()

        return run_async(main())


def counted(totals: CallTotals, prefix: str) -> dict[str, int]:
    """Return what a stage's calls came to, as `area/name` counts."""
    counts = {
        f"{prefix}/asked": totals.asked,
        f"{prefix}/from ledger": totals.from_ledger,
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
