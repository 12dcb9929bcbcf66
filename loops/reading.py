"""A run folder, read for people: finished, running or killed. Nothing is loaded before it is asked for.

Any file of a stage may be missing; what is not there is None or an empty stream, never an error. A damaged file is one,
unless the run is opened forgivingly, as views do: then it is noted in `RunView.faults`, and the rest is still shown.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from lessons.errors import InputError
from lessons.formats import refuse_newer
from lessons.memory import Memory
from lessons.records import Attempt, Dropped, Lesson, LostReply, Problem, Record
from lessons.skills import SkillProfile
from loops.exams.records import Contamination
from loops.faults import Faults
from loops.formats import FORMAT, NAME, format_of
from loops.links import refuse_links
from loops.records import (
    STAGES,
    CatalogInfo,
    ChosenOn,
    ExamMetrics,
    FinalExam,
    Finished,
    Frozen,
    Marker,
    NoiseFloor,
    RoundLearned,
    RunInfo,
)
from loops.store import read_yaml
from teachers.accounts import Account, accounts
from teachers.ledger import Call, read_calls

R = TypeVar("R", bound=Record)

_NUMBER = re.compile(r"[0-9]{1,9}")
"""How a round's folder is called."""


@dataclass(frozen=True)
class RoundView:
    """One round of a run. Small files are read once, when first asked for; streams are read anew each time."""

    index: int
    folder: Path
    faults: Faults = field(default_factory=lambda: Faults(Path()), repr=False, compare=False)
    """Reads the files, and holds what could not be read."""

    @cached_property
    def markers(self) -> dict[str, Marker]:
        """Finished stages by name, in the order of `STAGES`; stages of another name come last."""
        found = {
            marker.stage: marker
            for path in sorted((self.folder / ".done").glob("*.json"))
            if (marker := self.faults.record(path, Marker)) is not None
        }
        names = [stage for stage in STAGES if stage in found]
        return {name: found[name] for name in (*names, *sorted(found.keys() - set(names)))}

    @cached_property
    def profile(self) -> SkillProfile | None:
        """What the student lacked when the round began; None before `diagnose`."""
        return self.faults.record(self.folder / "profile.json", SkillProfile)

    @cached_property
    def learned(self) -> RoundLearned | None:
        """The round's training; None before `learn`."""
        return self.faults.record(self.folder / "learned.json", RoundLearned)

    @cached_property
    def memory(self) -> Memory | None:
        """What the round's student remembers in its prompt; None before `learn`, and where it has no memory."""
        return self.faults.record(self.folder / "student" / "memory.json", Memory)

    @cached_property
    def metrics(self) -> ExamMetrics | None:
        """The round's exam; None before `exam`."""
        return self.faults.record(self.folder / "metrics.json", ExamMetrics)

    @cached_property
    def contamination(self) -> Contamination | None:
        """What the round trains on, held against the exams; None before `select`, and in runs of older versions."""
        return self.faults.record(self.folder / "contamination.json", Contamination)

    @cached_property
    def noise(self) -> NoiseFloor | None:
        """Round 0: how far its exam's figures move with nothing learned; None where that was not measured."""
        return self.faults.record(self.folder / "noise.json", NoiseFloor)

    @property
    def next_stage(self) -> str | None:
        """The stage that runs now or would run next; None once the exam is done. Round 0 has its exam only."""
        if self.metrics is not None:
            return None
        if self.index == 0:
            return "exam"
        return next((stage for stage in STAGES if stage not in self.markers), "exam")

    def has(self, name: str) -> bool:
        """Whether a file of the round is there."""
        return (self.folder / name).is_file()

    def attempts(self) -> Iterator[Attempt]:
        """Yield the student's answers to the train problems, diagnosed where that is done."""
        return self._stream("attempts.jsonl" if self.has("attempts.jsonl") else "answers.jsonl", Attempt)

    def exam(self) -> Iterator[Attempt]:
        """Yield the answers to the held-out problems."""
        return self._stream("exam.jsonl", Attempt)

    def final(self) -> Iterator[Attempt]:
        """Yield the answers to the final problems; only round 0 and the round that the run ended with have some."""
        return self._stream("final.jsonl", Attempt)

    def candidates(self) -> Iterator[Lesson]:
        """Yield what the method made."""
        return self._stream("candidates.jsonl", Lesson)

    def kept(self) -> Iterator[Lesson]:
        """Yield the candidates that every filter passed."""
        return self._stream("kept.jsonl", Lesson)

    def lessons(self) -> Iterator[Lesson]:
        """Yield what the student is trained on, replayed rows included."""
        return self._stream("lessons.jsonl", Lesson)

    def dropped(self) -> Iterator[Dropped]:
        """Yield what was dropped; before the filters have run, what the method itself dropped."""
        return self._stream("dropped.jsonl" if self.has("dropped.jsonl") else "dropped_by_method.jsonl", Dropped)

    def lost(self) -> Iterator[LostReply]:
        """Yield the teacher's replies that never became a candidate."""
        return self._stream("lost.jsonl", LostReply)

    def is_new(self, lesson: Lesson) -> bool:
        """Whether a trained row was written for this round; else it replays what the student knew or learned before."""
        return lesson.provenance.method != "replay" and lesson.provenance.round == self.index

    def _stream(self, name: str, kind: type[R]) -> Iterator[R]:
        return self.faults.stream(self.folder / name, kind)


@dataclass(frozen=True)
class RunView:
    """A run folder. Make it with `RunView.open`; it never writes."""

    path: Path
    faults: Faults = field(repr=False, compare=False)
    """Reads the files, and holds what could not be read."""

    @classmethod
    def open(cls, path: Path | str, *, forgiving: bool = False) -> "RunView":
        """Look at a run folder. Damaged files are errors, or with `forgiving` are noted and passed over.

        Raises:
            InputError: there is no run at this path, or a newer tool wrote it.
        """
        folder = Path(path)
        try:
            there = folder.is_dir()
        except OSError as error:
            raise InputError(f"{folder}: cannot be looked at ({error.strerror})") from error
        if not there:
            raise InputError(f"{folder}: there is no such folder; name the folder of a run")
        if not (folder / "run.json").is_file() and not (folder / "recipe.yaml").is_file():
            raise InputError(f"{folder}: is not a run (it holds neither run.json nor recipe.yaml)")
        refuse_links(folder)
        faults = Faults(folder, forgiving)
        refuse_newer(folder, faults.spare(folder / NAME, lambda: format_of(folder), FORMAT), FORMAT)
        return cls(folder, faults)

    @classmethod
    def of(cls, run: "RunView | Path | str") -> "RunView":
        """Return the run itself, or open the folder as views do: what is damaged is noted and passed over.

        Raises:
            InputError: there is no run at this path.
        """
        return run if isinstance(run, RunView) else cls.open(run, forgiving=True)

    @property
    def name(self) -> str:
        """The run's id, or the folder's name before it has one."""
        return self.info.id if self.info else self.path.resolve().name

    @cached_property
    def info(self) -> RunInfo | None:
        """What the run is; None where it was stopped before it knew."""
        return self.faults.record(self.path / "run.json", RunInfo)

    @cached_property
    def finished(self) -> Finished | None:
        """When the run came to its end, and with which round's student; None where it has not."""
        return self.faults.record(self.path / "finished.json", Finished)

    @cached_property
    def final(self) -> FinalExam | None:
        """The exam that nothing was chosen on: where it is there, it is the figure to report first."""
        return self.faults.record(self.path / "final.json", FinalExam)

    @property
    def noise(self) -> NoiseFloor | None:
        """How far the exam's figures move with nothing learned; None where that was not measured."""
        first = self.round(0)
        return first.noise if first else None

    @property
    def chosen_on(self) -> ChosenOn:
        """By what the gate decides which student the run ends with: a figure of these problems is not untouched."""
        gate = self.recipe.get("gate")
        if isinstance(gate, dict) and cast(dict[str, Any], gate).get("rule") == "always":
            return "nothing"
        return "gate" if (self.path / "problems" / "gate.jsonl").is_file() else "held_out"

    @cached_property
    def frozen(self) -> Frozen | None:
        """The parts of the split with the digests of their files; None in runs of older versions."""
        return self.faults.record(self.path / "problems" / "frozen.json", Frozen)

    @cached_property
    def catalog_info(self) -> CatalogInfo | None:
        """How the list of skills and the labels came to be, and how well they agree; None in older runs."""
        return self.faults.record(self.path / "catalog.json", CatalogInfo)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe with every default filled in; empty where the file is not there."""
        path = self.path / "recipe.yaml"
        return self.faults.spare(path, lambda: read_yaml(path), {}) if path.is_file() else {}

    @cached_property
    def rounds(self) -> tuple[RoundView, ...]:
        """The rounds that have begun, first to last; round 0 is the student before any lesson."""
        folder = self.path / "rounds"
        if not folder.is_dir():
            return ()
        names = [entry.name for entry in folder.iterdir() if entry.is_dir() and _NUMBER.fullmatch(entry.name)]
        return tuple(RoundView(int(name), folder / name, self.faults) for name in sorted(names, key=int))

    def round(self, index: int) -> RoundView | None:
        """Return a round by its number, or None where it has not begun."""
        return next((turn for turn in self.rounds if turn.index == index), None)

    @property
    def examined(self) -> tuple[RoundView, ...]:
        """The rounds whose exam is done."""
        return tuple(turn for turn in self.rounds if turn.metrics is not None)

    @property
    def state(self) -> str:
        """How far the run is, for people: "finished", or the round and stage. See `loops.watching.standing` too."""
        if self.finished is not None:
            return "finished"
        if not self.rounds:
            return "not begun"
        last = self.rounds[-1]
        if last.next_stage is not None:
            return f"in round {last.index}, {last.next_stage}" if last.index else "in the first exam"
        return f"after round {last.index}" if last.index else "after the first exam"

    def problems(self, part: str) -> Iterator[Problem]:
        """Yield the problems of a part: train, pool, warm_up, gate, held_out or final."""
        path = self.path / "problems" / f"{part}.jsonl"
        return self.faults.stream(path, Problem)

    def calls(self, ids: Iterable[str]) -> Iterator[Call]:
        """Yield the teacher's calls with these ids that the ledger holds."""
        path = self.path / "calls.sqlite"
        if not path.is_file():
            return iter(())
        return iter(self.faults.spare(path, lambda: list(read_calls(path, ids)), []))

    @cached_property
    def accounts(self) -> dict[str, Account]:
        """What the teacher's calls came to, by purpose; empty without a ledger."""
        path = self.path / "calls.sqlite"
        return self.faults.spare(path, lambda: dict(accounts(path)), {}) if path.is_file() else {}
