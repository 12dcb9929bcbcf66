"""The loop, top to bottom. This file reads like the box in the design; each line of it is one stage."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lessons.errors import InputError
from lessons.jsonl import write_jsonl
from lessons.records import Lesson, Provenance
from lessons.skills import SkillProfile
from loops import formats, history, lines, stages, tracking
from loops.catalog import stages as catalog_stages
from loops.changing import differing_keys
from loops.exams import freezing, noise, teacher
from loops.exams.final import final_exam
from loops.fitting import check_filters
from loops.grading import check_machine
from loops.links import refuse_links
from loops.recipe import Recipe, load, resolve
from loops.records import ExamMetrics, Finished, RoundLearned, RunInfo
from loops.store import RunFolder, now, read_record, read_yaml, write_record
from loops.tasks.base import student_prompt
from loops.watching.heartbeat import Pulse, Watched
from loops.watching.progress import Listener, Silent
from loops.watching.stalls import Watchdog
from loops.work import UpToHere, Work
from students.base import Student
from students.objectives.sft import Sft

DECIDED = (
    "the exam that is reported also decides which student is kept, so its figure may flatter: give the task gate or "
    "final problems"
)


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
        tracking.check(resolved.tracking)
        stem = "run" if isinstance(recipe, Recipe) else Path(recipe).stem
        folder = RunFolder(into or run_name(stem, resolved))
        work = Work(folder=folder, recipe=resolved, listener=listener or Silent())
        with work.listener.bar("student", 0):  # the first time, it is fetched and converted
            _ = work.base  # an unknown student is refused before anything is written
        check_machine(work.grader)
        check_filters(work.recipe)
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
        refuse_links(path)  # before anything of it is read
        formats.check(path)
        recipe = resolve(read_yaml(saved), folder=Path.cwd())
        folder = RunFolder(path)
        folder.acquire()
        formats.claim(path)
        if changes:
            recipe = _changed(path, recipe, changes)
            tracking.check(recipe.tracking)
            folder.save_recipe(recipe.plain())
        work = Work(folder=folder, recipe=recipe, listener=listener or Silent())
        check_machine(work.grader)
        check_filters(work.recipe)
        return cls(work)

    def __iter__(self) -> Iterator[RoundDone]:
        """Run to the end, a round at a time."""
        work = self.work
        try:
            with (
                Pulse(self.folder) as pulse,
                Watchdog(
                    self.folder, 60 * work.recipe.stalls.minutes, pulse, work.stop, work.listener.line
                ) as watchdog,
                work.stop.named(),
            ):
                work.begins, work.patient = pulse.begins, watchdog.patient
                work.listener = Watched(work.listener, pulse, work.stop.check)
                if work.folder.taken_over:
                    work.listener.line(work.folder.taken_over)
                with closing(self._rounds(work)) as rounds:
                    for done in rounds:
                        with watchdog.paused():
                            yield done
        finally:
            work.folder.release()

    def _rounds(self, work: Work) -> Generator[RoundDone]:
        try:
            frozen = freezing.freeze(work)
            catalog_stages.catalogue(work)
            if work.folder.info is None:
                write_record(work.folder.path / "run.json", _info(work, frozen.counts))
            base = student = warm_up(work)
            lines.header(work)
            lines.catalog(work)
            stages.exam(work, 0, student, None)
            noise.measure(work, student)
            lines.exam(work, 0)
            yield self._done(0)
            lines.preflight(work, exempt := teacher.examine_teacher(work))
            if not exempt:
                teacher.check_teacher(work)
            before, ended = 0, ""
            for index in range(1, work.recipe.rounds + 1):
                lines.round_begins(work, index)
                marker = stages.examine(work, index, student)
                lines.examine(work, index)
                by_rewards = work.recipe.diagnose.difficult is not None
                if not by_rewards and not marker.counts.get("examine/failed"):
                    work.listener.line("  nothing is left to teach: the student fails none of the train problems")
                    break
                marker = stages.diagnose(work, index)
                lines.diagnose(work, index)
                if by_rewards and not marker.counts.get("diagnose/missed"):
                    work.listener.line("  nothing is left to teach: by their rewards none of the attempts is difficult")
                    break
                stages.teach(work, index, student)
                lines.teach(work, index)
                stages.sift(work, index, student)
                lines.sift(work, index)
                stages.select(work, index, student)
                lines.select(work, index)
                stages.learn(work, index, student)
                lines.learn(work, index)
                candidate = history.learned_student(work, index)
                stages.exam(work, index, candidate, before)
                lines.exam(work, index)
                if history.metrics_of(work, index).promoted:
                    student, before = candidate, index
                yield self._done(index)
                if ended := budget_ended(work, index):
                    work.listener.line(f"  {ended}; the run ends with this round")
                    break
            final_exam(work, base, before, student)
            lines.final(work)
            finish(work, before, ended)
        finally:
            work.close()

    def to_the_end(self) -> list[RoundDone]:
        """Run to the end and return every round."""
        return list(self)

    def up_to(self, index: int, stage: str) -> list[RoundDone]:
        """Run until a stage of a round is about to begin, or to the end; return the rounds that are done by then."""
        self.work.until = (index, stage)
        done: list[RoundDone] = []
        with suppress(UpToHere):
            done.extend(self)
        return done

    def _done(self, index: int) -> RoundDone:
        tracking.round_done(self.work, index)
        folder = self.work.folder.round(index)
        profile = read_record(folder / "profile.json", SkillProfile)
        return RoundDone(index=index, metrics=history.metrics_of(self.work, index), profile=profile, folder=folder)


def warm_up(work: Work) -> Student:
    """Return the student that round 1 starts from: the base, taught the warm-up problems where the task has some.

    Their reference answers are taught by `sft`, whatever the objective of the rounds is.
    """
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
        work.make_room("training")
        with work.listener.bar("warm-up", 0) as progress:
            taught, learned = work.base.learn(
                lessons, work.folder.clear(0, "student"), msgspec.structs.replace(work.recipe.train, objective=Sft()),
                seed=work.seed(0, "learn"), progress=progress, tracking=tracking.tracked(work, 0),
                keep=folder / "training",
            )  # fmt: skip
        record = RoundLearned(student=taught.digest, taught=work.base.digest, learned=learned)
        write_record(folder / "learned.json", record)
        counts["learn/lessons"], counts["learn/steps"] = len(lessons), learned.steps

    work.once(0, "learn", ("learned.json", "lessons.jsonl"), do)
    return history.learned_student(work, 0)


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
        version=formats.own_version(),
        created=now(),
        task=work.recipe.task["id"],
        student=work.base.name,
        teacher=work.teacher.name,
        method=work.recipe.method["id"],
        rounds=work.recipe.rounds,
        held_out=counts.get("freeze/held_out", 0),
        gate=counts.get("freeze/gate", 0),
        final=counts.get("freeze/final", 0),
        train=counts.get("freeze/train", 0),
        overlap=counts.get("freeze/overlap", 0),
        notes=tuple(note for note in (_decided(work), catalog_stages.catalog_note(work)) if note),
    )


def _decided(work: Work) -> str:
    return DECIDED if decided_by_what_is_reported(work) else ""


def decided_by_what_is_reported(work: Work) -> bool:
    """Whether the gate chooses the student by the same problems that its reported figure is of."""
    return work.recipe.gate.rule != "always" and not work.split.gate and not work.split.final


def run_name(stem: str, recipe: Recipe) -> Path:
    """Return the folder that a run is made in where none is named: another recipe, another folder."""
    return Path("runs", f"{stem}-{recipe.digest[:6]}")
