"""`tutelage catalog`: the list of skills and the labels, written before any run, to be reviewed and edited."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar, cast

from lessons.errors import BudgetError, InputError
from lessons.ids import seed_of
from lessons.plain_yaml import read_yaml_file
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.asking import run_async, shared_cache
from loops.catalog.file import CatalogFile, Label, Stored, read_catalog, read_labels, write_catalog_file, write_labels
from loops.catalog.relabelling import relabelled
from loops.catalog.stages import described
from loops.catalog.writing import check_own_skills, joined, label, planned, write_catalog
from loops.exams.freezing import without_overlap
from loops.recipe import Recipe, load
from loops.records import CatalogInfo
from loops.views.catalog import CatalogView, catalog_view
from loops.watching.live import Live
from loops.watching.progress import Listener, Silent
from loops.work import PARTS
from teachers.accounts import account
from teachers.base import HoldingTeacher
from teachers.budget import Budget
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prices import prices_of
from teachers.rescue import set_aside_if_damaged
from teachers.totals import CallTotals

T = TypeVar("T")

DEFAULT = "skills.yaml"
"""The file, beside the recipe, where neither the recipe nor the user names one."""


class _Started(NamedTuple):
    """The list as it is before a label is asked for."""

    catalog: SkillCatalog
    info: CatalogInfo
    known: dict[str, Label]
    ask: dict[str, str]
    """Problem id -> why its label does not hold any more."""


def catalog(
    recipe: Path, out: Path | None = None, changes: Iterable[str] = (), listener: Listener | None = None
) -> CatalogView:
    """Write the catalogue of a recipe, or take the one that is there, and label what has no label that holds.

    Args:
        recipe: the recipe's file; it need not name the catalogue yet.
        out: the catalogue's file; else the one that the recipe names, else `skills.yaml` beside the recipe.
        changes: settings that replace the recipe's own.
        listener: told what goes on.

    Raises:
        InputError: the recipe, its data, the catalogue or its labels are not as they should be.
        RoundError: the teacher's replies cannot be used.
        BudgetError: a cap of the recipe is reached; what was replied is kept.
    """
    told = list(changes)
    named = _named(recipe, told)
    resolved = load(recipe, [change for change in told if not change.startswith("diagnose.catalog=")] + [_WITHOUT])
    path = out or recipe.resolve().parent / (named or DEFAULT)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: the catalogue's file must end in .yaml")
    return _Cataloguer(resolved, path, listener or Silent()).made()


_WITHOUT = "diagnose.catalog=''"


def _named(recipe: Path, changes: Iterable[str]) -> str:
    """Return the file that a recipe names, which need not be there yet."""
    for change in reversed(list(changes)):
        if change.startswith("diagnose.catalog="):
            return change.partition("=")[2].strip("'\"")
    try:
        data = read_yaml_file(recipe)
    except InputError:
        return ""  # `load` says what is wrong with it
    section: object = cast(Mapping[str, Any], data).get("diagnose") if isinstance(data, Mapping) else None
    value: object = cast(Mapping[str, Any], section).get("catalog") if isinstance(section, Mapping) else None
    return value if isinstance(value, str) else ""


class _Cataloguer:
    """One call of the command."""

    def __init__(self, recipe: Recipe, path: Path, listener: Listener) -> None:
        self.recipe, self.path, self.listener = recipe, path, listener
        self.task = recipe.make_task()
        self.split, _ = without_overlap(self.task.split(recipe.of_split))
        self.problems: list[Problem] = [problem for part in PARTS for problem in getattr(self.split, part)]
        self.totals = CallTotals()

    def made(self) -> CatalogView:
        """Do what is to be done, and return what came of it."""
        started = self._given() or self._written()
        if started.info.source != "task":
            check_own_skills(self.problems, started.catalog)
        settings = self.recipe.diagnose
        plan = planned(self.problems, started.catalog, started.known, settings.agreement_sample, self.recipe.seed)
        labels, name = started.known, ""
        if plan.first or plan.second:
            counts: Counter[str] = Counter()
            teacher = self.recipe.make_teacher()
            name = teacher.name
            made = self._asking(
                "label",
                lambda caller: label(
                    plan, caller, started.catalog, counts, by=name, max_lost=self.recipe.calls.max_lost
                ),
            )
            labels = joined(started.known, made)
        info = described(started.info, started.catalog, self.problems, labels, started.known, name)
        write_labels(self.path, labels, info)
        return catalog_view(
            self.path, info, self.problems, labels, ask=started.ask, totals=self.totals, asked=len(plan.first)
        )

    def _given(self) -> _Started | None:
        """Return the list that is there: in the file, perhaps edited, or brought by the task."""
        if self.path.exists():
            file, stored = read_catalog(self.path), read_labels(self.path)
            return _Started(file.catalog, _told(file.catalog, stored), *_kept(file, stored))
        own = self.task.catalog((*self.split.train, *self.split.pool))
        if not own.skills:
            return None
        write_catalog_file(self.path, CatalogFile(own, {}))
        return _Started(own, CatalogInfo(source="task"), {}, {})

    def _written(self) -> _Started:
        """Let the teacher write the list; it is on the disk before a label is asked for."""
        rng = Random(seed_of(self.recipe.seed, 0, "catalog"))  # as a run draws its sample
        made = self._asking(
            "skills",
            lambda caller: write_catalog(self.split.train, caller, self.recipe.diagnose.skill_sample, rng),
        )
        found = made.catalog
        info = CatalogInfo(source="teacher", sample=made.sample, names=made.names, cut=made.cut, skills=found.skills)
        write_catalog_file(self.path, CatalogFile(found, {}))
        write_labels(self.path, {}, info)
        return _Started(found, info, {}, {})

    def _asking(self, title: str, do: Callable[[Caller], Awaitable[T]]) -> T:
        return run_async(self._asked(title, do))

    async def _asked(self, title: str, do: Callable[[Caller], Awaitable[T]]) -> T:
        """Ask on the one path of a call. The replies are kept beside the catalogue, so that none is bought twice."""
        path = self.path.with_suffix(".calls.sqlite")
        teacher = self.recipe.make_teacher()
        cache = shared_cache(self.recipe.calls.cache, teacher)
        for ledger_path in (path, cache):
            if ledger_path is not None:
                set_aside_if_damaged(ledger_path, self.listener.line)
        budget = Budget(self.recipe.budget, account(path).paid, prices=prices_of(teacher))
        live = Live(budget=budget, limiters=lambda: getattr(teacher, "limiters", ()))
        try:
            with Ledger.open(path, cache=cache) as ledger, self.listener.live(title) as told:
                settings = self.recipe.calls
                caller = Caller(
                    teacher, ledger, in_flight=settings.in_flight, seed=self.recipe.seed, budget=budget,
                    on_change=lambda totals: told(
                        totals.parsed + totals.lost.total(), totals.asked, lambda: live.line(totals)
                    ),
                )  # fmt: skip
                found = await do(caller)
        finally:
            await teacher.aclose()
            if isinstance(teacher, HoldingTeacher):
                teacher.close()
        _add(self.totals, caller.totals)
        if caller.totals.lost["budget"]:
            raise BudgetError(f"{budget.reached}; what is paid for is kept: raise the cap and give the command again")
        return found


def _told(catalog: SkillCatalog, stored: Stored) -> CatalogInfo:
    """Return how a list that is there came to be: a teacher's that was edited is a person's from then on."""
    if stored.info is None:
        return CatalogInfo(source="file")
    info = stored.info
    edited = info.skills != catalog.skills
    return CatalogInfo(
        source="file" if edited and info.source == "teacher" else info.source,
        teacher=info.teacher,
        sample=info.sample,
        names=info.names,
        cut=0 if edited else info.cut,
    )


def _kept(file: CatalogFile, stored: Stored) -> tuple[dict[str, Label], dict[str, str]]:
    """Return the labels that hold under the list as it stands now, and why the others do not."""
    before = SkillCatalog(skills=stored.info.skills if stored.info else ())
    after = relabelled(before, file, stored.labels)
    return after.stay, after.ask


def _add(sums: CallTotals, more: CallTotals) -> None:
    sums.asked += more.asked
    sums.sent += more.sent
    sums.from_ledger += more.from_ledger
    sums.from_cache += more.from_cache
    sums.lost += more.lost
    sums.tokens += more.tokens
