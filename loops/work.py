"""What the stages of a run share: the folder, the recipe, the made parts, and the rule that a stage is done once."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TypeVar

from lessons.errors import InputError
from lessons.graders.base import Grader
from lessons.ids import seed_of
from lessons.jsonl import read_jsonl
from lessons.records import Problem, Record
from lessons.skills import Skill, SkillCatalog
from lessons.timing import counted, inside
from loops import resources
from loops.asking import NOTE_EVERY, asked, run_async
from loops.exams.index import ExamIndex
from loops.graders.base import Ask, AskingGrader
from loops.placing.card import Card
from loops.placing.table import Owner
from loops.placing.tenants import asking
from loops.recipe import Recipe
from loops.records import EXAMS, Clock, Marker
from loops.scores import Scores
from loops.store import RunFolder, Stopwatch, read_yaml
from loops.stored import records
from loops.tasks.base import Split, Task
from loops.tracking import Tracker
from loops.watching.progress import Listener
from loops.watching.stopping import Stop
from students.base import Student
from teachers.accounts import account, entries
from teachers.base import HoldingTeacher, Teacher
from teachers.budget import Budget
from teachers.calls import Caller
from teachers.pool_members import dearest
from teachers.prices import prices_of

T = TypeVar("T")
R = TypeVar("R", bound=Record)

PARTS = ("train", "pool", "warm_up", "gate", "final", "held_out")
"""The parts of a split, as files of the run folder's `problems`."""


class UpToHere(Exception):  # noqa: N818 - no error: the run was asked to go no further
    """The stage that a run was to stop before has been reached."""


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
    starting: float = 0.0
    """Seconds until its first stage began."""
    noted: float = 0.0
    """Seconds of it when they were last noted."""
    begins: Callable[[int, str], object] = lambda index, stage: None
    """Told the round and the name of a stage whose work begins."""
    opened: list[Scores] = field(default_factory=list[Scores])
    """What is to be closed when the run is over."""
    stop: Stop = field(default_factory=Stop)
    """Whether the run was asked to stop."""
    patient: Callable[[float], AbstractContextManager[None]] = lambda seconds: nullcontext()
    """Allows for so many seconds of silence while its block runs."""
    until: tuple[int, str] | None = None
    """Round and stage that this process stops before; None for the run's end."""
    labels: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Problem id -> skills, for tasks whose problems bring none."""

    @cached_property
    def task(self) -> Task:
        """The task."""
        return self.recipe.make_task()

    @cached_property
    def grader(self) -> Grader:
        """The task's grader, made once: a teacher of its own may hold memory."""
        return self.task.grader

    @property
    def judge(self) -> Teacher:
        """Who is asked by a grader that asks a teacher: its own, else the run's."""
        own = self.grader.teacher if isinstance(self.grader, AskingGrader) else None
        return own or self.teacher

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher."""
        return self.recipe.make_teacher()

    @cached_property
    def base(self) -> Student:
        """The student before any lesson."""
        from students.open import open_student

        with inside("load"):
            weights = open_student(self.recipe.student.model, threads=self.recipe.train.threads)
        return self.recipe.student.engine.student(weights, self.card)

    @cached_property
    def split(self) -> Split:
        """The frozen problems, with their skills."""
        from loops.catalog.writing import with_labels

        parts = {name: tuple(with_labels(self.read_problems(name), self.labels)) for name in PARTS}
        return Split(**parts)

    @cached_property
    def catalog(self) -> SkillCatalog:
        """The closed list of skills, from its file."""
        rows = read_yaml(self.folder.path / "catalog.yaml").get("skills") or []
        return SkillCatalog(skills=tuple(Skill(**row) for row in rows))

    @cached_property
    def exams(self) -> ExamIndex:
        """Every problem that no lesson may come near, by its words."""
        return ExamIndex({part: getattr(self.split, part) for part in EXAMS}, self.split.train)

    def read_problems(self, part: str) -> list[Problem]:
        """Return a part of the split as it was frozen; an absent part is empty."""
        path = self.folder.path / "problems" / f"{part}.jsonl"
        return list(read_jsonl(path, Problem)) if path.exists() else []

    def read(self, index: int, name: str, kind: type[R]) -> list[R]:
        """Return the records of a round's file."""
        return list(read_jsonl(self.folder.round(index) / name, kind, torn=self.listener.line))

    def records(self, index: int, name: str, kind: type[R]) -> Sequence[R]:
        """Return the records of a round's file: a list where they are few, else read from the file when asked for."""
        return records(self.folder.round(index) / name, kind, torn=self.listener.line)

    def scores(self, index: int, student: Student) -> Scores:
        """Return what tells how probable students find texts in a round; what was scored once is kept in the run."""
        from loops.history import student_after

        students = {
            "now": lambda: student,
            "base": lambda: self.base,
            "last": lambda: student_after(self, max(index - 2, 0)),
        }
        made = Scores(self.folder.path / "scores.sqlite", students)
        self.opened.append(made)
        return made

    def rng(self, index: int, stage: str) -> Random:
        """Return the random source of a stage: the same for every try at it."""
        return Random(self.seed(index, stage))

    def seed(self, index: int, stage: str) -> int:
        """Return the seed of a stage."""
        return seed_of(self.recipe.seed, index, stage)

    def once(
        self, index: int, stage: str, outputs: Sequence[str], do: Callable[[Path, Counter[str]], object]
    ) -> Marker:
        """Do a stage unless its marker is there; it is written when `do` has come back, which may add outputs."""
        done = self.folder.marker(index, stage)
        if done is not None:
            return done
        if self.until == (index, stage):
            raise UpToHere
        self.stop.check()
        watch = Stopwatch()
        counts: Counter[str] = Counter()
        if not self.working:
            self.working, self.starting = True, self.watch.seconds
        self.begins(index, stage)
        with counted() as times:
            resources.ready(self, index, stage)
            do(self.folder.round(index), counts)
        with suppress(InputError):  # a damaged ledger is said by the next stage that asks; this one is done
            counts["ledger/calls"] = entries(self.folder.path / "calls.sqlite")
        marker = self.folder.finish(index, stage, outputs, counts, watch.seconds, times.seconds)
        self.note_time(NOTE_EVERY)
        return marker

    @cached_property
    def budget(self) -> Budget:
        """What the run may spend, and has spent so far over every time that it was resumed.

        Raises:
            InputError: dollars are capped, and the teacher's prices are not known.
        """
        spent = account(self.folder.path / "calls.sqlite").paid
        prices = dearest([prices_of(self.teacher), prices_of(self.judge)])
        return Budget(self.recipe.budget, spent, prices=prices, hours=self._before.seconds / 3600)

    @cached_property
    def _before(self) -> Clock:
        return self.folder.clock

    @cached_property
    def tracker(self) -> Tracker:
        """Where the run's curves go beside its folder."""
        path = self.folder.path
        return Tracker(self.recipe.tracking, path / "tracking", path.name, self.recipe.lasting())

    def note_time(self, every: float = 0.0) -> None:
        """Note how long the run has worked, unless that was noted in the last seconds: a kill loses little of it."""
        if self.working and self.watch.seconds - self.noted >= every:
            self.noted = self.watch.seconds
            was = self._before
            self.folder.note_seconds(was.seconds + self.watch.seconds, was.starting + self.starting)

    @cached_property
    def card(self) -> Card:
        """Who has the memory that teacher and student share."""
        return self.recipe.student.engine.card(lambda line: self.listener.line(line), self.folder.path)

    def make_room(self, owner: Owner = "student") -> None:
        """Have nobody of another owner hold the card: a teacher that shares it sleeps or ends, and what the student
        holds here is given back before it is trained. The next call to a teacher has the student leave.

        Raises:
            TutelageError: somebody cannot be ended.
        """
        self.card.make_room(owner)

    def door(self, teacher: Teacher) -> AbstractAsyncContextManager[None]:
        """Return what each call to a teacher goes through: one that shares the card has it."""
        return asking(self.card, teacher)

    def close(self) -> None:
        """Give back all that the run held, and note how long it has worked."""
        self.card.close()
        for teacher in self._teachers():
            teacher.close()
        for scores in self.opened:
            scores.close()
        self.tracker.close()
        with suppress(OSError):  # a full disk: why the run stopped is said by what is on its way
            self.note_time()

    def _teachers(self) -> list[HoldingTeacher]:
        """Return the teachers that were made so far and hold memory or processes."""
        made = [self.__dict__.get("teacher"), getattr(self.__dict__.get("grader"), "teacher", None)]
        return [teacher for teacher in made if isinstance(teacher, HoldingTeacher)]

    def asking(
        self,
        title: str,
        counts: Counter[str],
        do: Callable[[Caller], Awaitable[T]],
        *,
        prefix: str = "teach",
        teacher: Teacher | None = None,
    ) -> T:
        """Run what asks the teacher, on the one path of a call, with its progress; what it cost goes into `counts`.

        `teacher`: who is asked where it is not the run's.

        Raises:
            BudgetError: a cap was reached, and `budget.at_cap` or the stage does not let it go on with what there is.
        """
        return run_async(asked(self, title, counts, do, prefix, teacher or self.teacher))

    def judging(self, title: str, counts: Counter[str]) -> Ask:
        """Return what gives a grader its teacher, on the one path of a call; its calls are counted as `judge/...`."""
        return lambda do: self.asking(title, counts, do, prefix="judge", teacher=self.judge)
