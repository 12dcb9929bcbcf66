"""The loop, top to bottom. This file reads like the box in the design; each line of it is one stage."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lessons.errors import InputError
from lessons.jsonl import write_jsonl, write_whole
from lessons.records import Lesson, Problem, Provenance
from lessons.skills import SkillProfile
from loops import diagnosing, lines, stages
from loops.filters.base import normal
from loops.progress import Listener, Silent
from loops.recipe import Recipe, differing_keys, load, resolve
from loops.records import ExamMetrics, Finished, RoundLearned, RunInfo
from loops.store import RunFolder, dump_yaml, now, read_record, read_yaml, write_record
from loops.tasks.base import Split, student_prompt
from loops.work import PARTS, Work
from students.base import Student


@dataclass(frozen=True, kw_only=True)
class RoundDone:
    """A finished round: what a caller of the loop gets. Round 0 is the student before any lesson."""

    index: int
    metrics: ExamMetrics
    profile: SkillProfile | None
    folder: Path


class Run:
    """One run: `for done in Run.start(recipe): done.profile`."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.folder = work.folder.path

    @classmethod
    def start(cls, recipe: Recipe | Path | str, into: Path | None = None, listener: Listener | None = None) -> "Run":
        """Start a run, or go on with the one of the same recipe in that folder.

        Raises:
            InputError: the recipe is wrong, or the folder holds a run of another recipe.
        """
        resolved = recipe if isinstance(recipe, Recipe) else load(Path(recipe))
        stem = "run" if isinstance(recipe, Recipe) else Path(recipe).stem
        folder = RunFolder(into or run_name(stem, resolved))
        work = Work(folder=folder, recipe=resolved, listener=listener or Silent())
        with work.listener.bar("student", 0):  # the first time, it is fetched and converted
            _ = work.base  # an unknown student is refused before anything is written
        folder.start(resolved.plain(), lambda data: resolve(data, folder=resolved.folder).lasting())
        _ = work.budget  # a cap that cannot be kept is refused before anything is paid for
        return cls(work)

    @classmethod
    def resume(cls, path: Path, listener: Listener | None = None, changes: Iterable[str] = ()) -> "Run":
        """Go on with a run where it stopped; `changes` may raise its budget, or set another key of the kind.

        Raises:
            InputError: there is no run in that folder, another process has it, or a change is of a key that results
                depend on.
        """
        saved = path / "recipe.yaml"
        if not saved.exists():
            raise InputError(f"{path}: is not a run folder (it has no recipe.yaml)")
        recipe = resolve(read_yaml(saved), folder=Path.cwd())
        folder = RunFolder(path)
        folder.acquire()
        if changes:
            recipe = _changed(path, recipe, changes)
            folder.save_recipe(recipe.plain())
        return cls(Work(folder=folder, recipe=recipe, listener=listener or Silent()))

    def __iter__(self) -> Iterator[RoundDone]:
        """Run to the end, a round at a time."""
        work = self.work
        try:
            freeze(work)
            student = warm_up(work)
            lines.header(work)
            stages.exam(work, 0, student, None)
            lines.exam(work, 0)
            yield self._done(0)
            before, ended = 0, ""
            for index in range(1, work.recipe.rounds + 1):
                lines.round_begins(work, index)
                marker = stages.examine(work, index, student)
                lines.examine(work, index)
                if not marker.counts.get("examine/failed"):
                    work.listener.line("  nothing is left to teach: the student fails none of the train problems")
                    break
                stages.diagnose(work, index)
                lines.diagnose(work, index)
                stages.teach(work, index, student)
                lines.teach(work, index)
                stages.sift(work, index)
                lines.sift(work, index)
                stages.select(work, index)
                lines.select(work, index)
                stages.learn(work, index, student)
                lines.learn(work, index)
                candidate = learned_student(work, index)
                stages.exam(work, index, candidate, before)
                lines.exam(work, index)
                if stages.metrics_of(work, index).promoted:
                    student, before = candidate, index
                yield self._done(index)
                if ended := budget_ended(work, index):
                    work.listener.line(f"  {ended}; the run ends with this round")
                    break
            finish(work, before, ended)
        finally:
            work.close()
            work.folder.release()

    def to_the_end(self) -> list[RoundDone]:
        """Run to the end and return every round."""
        return list(self)

    def _done(self, index: int) -> RoundDone:
        folder = self.work.folder.round(index)
        profile = read_record(folder / "profile.json", SkillProfile)
        return RoundDone(index=index, metrics=stages.metrics_of(self.work, index), profile=profile, folder=folder)


def freeze(work: Work) -> None:
    """Freeze the problems, the exam first; write the catalogue; label problems that have no skills."""

    def do(folder: Path, counts: Counter[str]) -> None:
        split, overlap = without_overlap(work.task.split(work.recipe.seed))
        for part in reversed(PARTS):  # the held-out set is frozen before anything else
            problems: tuple[Problem, ...] = getattr(split, part)
            if problems or part in ("train", "held_out"):
                counts[f"freeze/{part}"] = write_jsonl(work.folder.path / "problems" / f"{part}.jsonl", problems)
        counts["freeze/overlap"] = overlap
        catalog = work.task.catalog((*split.train, *split.pool))
        if not catalog.skills:
            sample = work.recipe.diagnose.skill_sample
            catalog = work.asking(
                "skills", counts,
                lambda caller: diagnosing.write_catalog(split.train, caller, sample, work.rng(0, "catalog")),
                prefix="catalog",
            )  # fmt: skip
        write_whole(work.folder.path / "catalog.yaml", dump_yaml(diagnosing.catalog_yaml(catalog)))

    def do_label(folder: Path, counts: Counter[str]) -> None:
        every = [problem for part in PARTS for problem in work.read_problems(part)]
        labels: dict[str, list[str]] = {}
        if any(not problem.skills for problem in every):
            labels = work.asking(
                "label", counts, lambda caller: diagnosing.label(every, caller, work.catalog, counts), prefix="label"
            )
        write_whole(folder / "labels.yaml", dump_yaml(labels))

    frozen = work.once(0, "freeze", (), do)
    work.once(0, "label", ("labels.yaml",), do_label)
    work.labels = read_yaml(work.folder.round(0) / "labels.yaml")
    if work.folder.info is None:
        write_record(work.folder.path / "run.json", _info(work, frozen.counts))


def without_overlap(split: Split) -> tuple[Split, int]:
    """Return the split without train, pool and warm-up problems whose question is in the exam; and how many went."""
    exams = {normal(problem.question) for problem in (*split.held_out, *split.gate)}
    clean = {
        part: tuple(p for p in getattr(split, part) if normal(p.question) not in exams)
        for part in ("train", "pool", "warm_up")
    }
    gone = sum(len(getattr(split, part)) - len(rows) for part, rows in clean.items())
    if not split.held_out or not clean["train"]:
        raise InputError("task: there must be at least one train and one held-out problem")
    return Split(held_out=split.held_out, gate=split.gate, **clean), gone


def warm_up(work: Work) -> Student:
    """Return the student that round 1 starts from: the base, taught the warm-up problems where the task has some."""
    if not work.split.warm_up:
        return work.base

    def do(folder: Path, counts: Counter[str]) -> None:
        lessons = [
            Lesson(
                prompt=student_prompt(work.task.instruction, problem),
                completion=work.task.reference(problem),
                problem=problem,
                provenance=Provenance(
                    method="warm_up", round=0, seed=problem.id, skill=next(iter(problem.skills), None)
                ),
            )
            for problem in work.split.warm_up
        ]
        write_jsonl(folder / "lessons.jsonl", lessons)
        into = work.folder.clear(0, "student")
        with work.listener.bar("warm-up", 0) as progress:
            taught, learned = work.base.learn(
                lessons, into, work.recipe.train, seed=work.seed(0, "learn"), progress=progress
            )
        record = RoundLearned(student=taught.digest, taught=work.base.digest, learned=learned)
        write_record(folder / "learned.json", record)
        counts["learn/lessons"], counts["learn/steps"] = len(lessons), learned.steps

    work.once(0, "learn", ("learned.json", "lessons.jsonl"), do)
    return learned_student(work, 0)


def learned_student(work: Work, index: int) -> Student:
    """Return the student that a round made, from its saved weights."""
    folder = work.folder.round(index)
    record = read_record(folder / "learned.json", RoundLearned)
    assert record is not None
    return work.base.with_adapter(folder / "student" / record.learned.adapter)


def budget_ended(work: Work, index: int) -> str:
    """Return which cap left this round's lessons incomplete, where it still holds; else ""."""
    marker = work.folder.marker(index, "teach")
    if marker is None or not marker.counts.get("lost/budget"):
        return ""
    finished = read_record(work.folder.path / "finished.json", Finished)
    if finished is not None and finished.caps != work.recipe.budget.given:
        return ""  # it was raised since
    return work.budget.reached or (finished.budget if finished else "") or "the budget is spent"


def finish(work: Work, best: int, ended: str) -> None:
    """Write that the run has come to its end, unless that stands there already."""
    path = work.folder.path / "finished.json"
    done = read_record(path, Finished)
    caps = work.recipe.budget.given if ended else {}
    if done is None or (done.best, done.budget != "", done.caps) != (best, ended != "", caps):
        write_record(path, Finished(best=best, finished=now(), budget=ended, caps=caps))


def _changed(path: Path, recipe: Recipe, changes: Iterable[str]) -> Recipe:
    changed = load(path / "recipe.yaml", changes)
    differing = differing_keys(recipe.lasting(), changed.lasting())
    if differing:
        may = ", ".join(sorted(changed.operational))
        raise InputError(f"{path}: --set {differing[0]}: results depend on it; a run may go on under other {may}")
    return changed


def _info(work: Work, counts: dict[str, int]) -> RunInfo:
    return RunInfo(
        id=work.folder.path.name,
        recipe_digest=work.recipe.digest,
        version=own_version(),
        created=now(),
        task=work.recipe.task["id"],
        student=work.base.name,
        teacher=work.teacher.name,
        method=work.recipe.method["id"],
        rounds=work.recipe.rounds,
        held_out=counts.get("freeze/held_out", 0),
        train=counts.get("freeze/train", 0),
        overlap=counts.get("freeze/overlap", 0),
    )


def own_version() -> str:
    """Return the installed version of tutelage, or "unknown" where it runs uninstalled."""
    try:
        return version("tutelage")
    except PackageNotFoundError:
        return "unknown"


def run_name(stem: str, recipe: Recipe) -> Path:
    """Return the folder that a run is made in where none is named: another recipe, another folder."""
    return Path("runs", f"{stem}-{recipe.digest[:6]}")
