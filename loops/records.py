"""What a run folder holds beside the lessons' own records. Everything that reports read is one of these."""

from typing import Literal, get_args

import msgspec

from lessons.agreement import RELIABLE, Agreement
from lessons.records import Record
from lessons.skills import Skill, SkillRow
from lessons.timing import Part
from students.base import Learned

STAGES = ("examine", "diagnose", "teach", "filter", "select", "learn", "exam")
"""The stages of a round, in order."""


class RunInfo(Record, frozen=True, kw_only=True):
    """`run.json`: what the run is."""

    id: str
    """Name of the run folder."""
    recipe_digest: str
    version: str
    """Version of tutelage that started the run."""
    created: str
    """ISO 8601, UTC."""
    task: str
    student: str
    teacher: str
    method: str
    rounds: int
    held_out: int
    train: int
    overlap: int
    """Training problems that were left out because they stand in the held-out set too."""
    notes: tuple[str, ...] = ()
    """What a reader of its figures must know, a sentence each."""
    gate: int = 0
    """Problems that decide on promotion alone; 0 where the held-out ones do."""
    final: int = 0
    """Problems of the final exam; 0 where there is none."""


class FrozenPart(Record, frozen=True, kw_only=True):
    """One file of `problems/`, as it was frozen."""

    problems: int
    sha256: str


class Frozen(Record, frozen=True, kw_only=True):
    """`problems/frozen.json`: what the parts of the split are, so that a changed file is refused."""

    parts: dict[str, FrozenPart]
    """Part -> its file; a part without problems has none."""


class Marker(Record, frozen=True, kw_only=True):
    """`rounds/NN/.done/STAGE.json`: written last, so a stage with a marker is whole."""

    stage: str
    round: int
    outputs: dict[str, str]
    """File name in the round's folder -> SHA-256 of the file."""
    counts: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """What the stage counted, `area/name`: teach/asked, teach/answered, teach/parsed, filter/kept, drop/duplicate."""
    seconds: float = 0.0
    times: dict[Part, float] = msgspec.field(default_factory=dict[Part, float])
    """Of these, seconds inside the student's engine, waiting for the teacher, and loading; the rest is the loop's."""
    finished: str = ""
    """ISO 8601, UTC."""


Test = Literal["McNemar exact", "paired bootstrap"]


class Change(Record, frozen=True, kw_only=True):
    """A paired comparison of two students on the same problems."""

    n: int
    """Problems that both exams graded."""
    gained: int
    """Problems that the student before had wrong and this one has right; in the bootstrap, whose mean score rose."""
    lost: int
    """The other way round."""
    difference: float
    """Mean over the problems of the score after less that before, in [-1, 1]; for McNemar's (gained - lost) / n."""
    low: float
    high: float
    """95 % interval of the difference, paired."""
    p: float
    """Of `test`, two-sided; for skills Holm-corrected over all of them."""
    test: Test = "McNemar exact"
    """McNemar's where every score is 0 or 1 and every problem has one sample, else the bootstrap over problems."""


class SkillExam(Record, frozen=True, kw_only=True):
    """One skill in an exam."""

    row: SkillRow
    low: float
    high: float
    """Wilson's 95 % interval of the accuracy."""
    change: Change | None = None
    """Against the student before; None in round 0."""


class ExamMetrics(Record, frozen=True, kw_only=True):
    """`rounds/NN/metrics.json`: how the student did on the held-out set. Round 0 is the student before any lesson."""

    round: int
    student: str
    """Digest of the student that was examined."""
    n: int
    """Graded answers."""
    right: int
    ungraded: int
    accuracy: float
    low: float
    high: float
    """Wilson's 95 % interval of the accuracy; samples of one problem count for as much as they say."""
    skills: dict[str, SkillExam]
    change: Change | None = None
    """Against the student that the round started with."""
    since_start: Change | None = None
    """Against round 0."""
    score: float | None = None
    """Mean score in [0, 1], where some score is neither 0 nor 1; None where it is the accuracy."""
    passes: dict[int, float] = msgspec.field(default_factory=dict[int, float])
    """k -> pass@k, in [0, 1]; empty with one sample a problem."""
    promoted: bool = True
    """Whether the next round starts from this student; round 0 is always."""
    verdict: str = ""
    """Why it was promoted or not, for people."""
    gate: Change | None = None
    """What the gate judged by, where it has problems of its own."""


class RoundLearned(Record, frozen=True, kw_only=True):
    """`rounds/NN/learned.json`: the training of a round."""

    student: str
    """Digest of the student it made."""
    taught: str
    """Digest of the student it started from."""
    learned: Learned
    memory: str | None = None
    """Id of what it remembers in its prompt; None where it has no memory."""


class Finished(Record, frozen=True, kw_only=True):
    """`finished.json`: written when a run has come to its end."""

    best: int
    """Round whose student the run ended with; 0 is the student before any lesson."""
    finished: str
    """ISO 8601, UTC."""
    budget: str = ""
    """Which cap ended it, as one line; "" where none did."""
    caps: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    """The caps that ended it; under others the run goes on."""


class Clock(Record, frozen=True, kw_only=True):
    """`clock.json`: how long processes have worked at the run, over every time that it was resumed."""

    seconds: float
    starting: float = 0.0
    """Of these, seconds until a process began its first stage, such as imports and the student's files."""


ChosenOn = Literal["held_out", "gate", "nothing"]
"""By what the gate decided which student a run ends with; "nothing" where it keeps every round's."""

ExamPart = Literal["held_out", "gate", "final"]
"""A part of the split that the student is graded on and no lesson may come near."""

EXAMS: tuple[ExamPart, ...] = get_args(ExamPart)


class FinalExam(Record, frozen=True, kw_only=True):
    """`final.json`: the exam on problems that nothing was chosen, tuned or learned on, taken when the run was over."""

    round: int
    """Round whose student the run ended with; 0 is the student before any lesson."""
    metrics: ExamMetrics
    """That student. `since_start` and each skill's `change` are against `base`, on the same problems."""
    base: ExamMetrics
    """The student of round 0."""
    looks: int = 1
    """How many rounds' students have sat it: above 1 where a run ended, was given more budget, and went on."""


class SkillNoise(Record, frozen=True, kw_only=True):
    """How far one skill's figure moves with nothing learned."""

    n: int
    flipped: int
    floor: float
    """As `NoiseFloor.floor`; see `loops/exams/noise.py` for its formula."""


class NoiseFloor(Record, frozen=True, kw_only=True):
    """`rounds/00/noise.json`: the student before any lesson, examined a second time on the same problems."""

    n: int
    """Problems that both examinations graded."""
    changed: int
    """Answers whose text differs."""
    flipped: int
    """Answers right in one examination and not in the other."""
    difference: float
    """Accuracy of the second examination less that of the first, in [-1, 1]."""
    floor: float
    """A difference between two exams of one student stays within plus and minus this, 95 times in 100; in [0, 1]."""
    skills: dict[str, SkillNoise] = msgspec.field(default_factory=dict[str, SkillNoise])


class CatalogInfo(Record, frozen=True, kw_only=True):
    """`catalog.json`: how the closed list of skills and the labels came to be, and how well the labels agree."""

    source: Literal["teacher", "file", "task"]
    """Who gave the list: the teacher wrote it, a file that people may have edited, or the task's own data."""
    teacher: str = ""
    """Who was asked; "" where nobody had to be."""
    prompts: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Name of each prompt that may have been asked -> content id of its wording."""
    skills: tuple[Skill, ...] = ()
    """The list as it was when the labels were made."""
    sample: int = 0
    """Problems whose skills the teacher named to write the list."""
    names: int = 0
    """Different fine names that it gave them, before they were merged."""
    cut: int = 0
    """Lists of names that it could not merge, so that the most frequent names stand as skills."""
    given: int = 0
    """Problems that brought their skills along."""
    labelled: int = 0
    """Problems that the teacher found skills of the list for."""
    unlabelled: int = 0
    """Problems that no skill of the list fits."""
    lost: int = 0
    """Problems whose reply was lost, so that they have no label."""
    kept: int = 0
    """Labels that stood already, and were not asked for."""
    agreement: Agreement | None = None
    """Of two independent passes over a sample of the problems; None where none was labelled twice."""

    @property
    def flagged(self) -> bool:
        """Whether the passes agree too little (kappa under 0.6) to build on the labels."""
        return self.agreement is not None and self.agreement.kappa is not None and not self.agreement.reliable

    @property
    def told(self) -> str:
        """How well the labels agree, a sentence; "" where that was not measured, or cannot be told."""
        it = self.agreement
        if it is None or it.kappa is None:
            return ""
        interval = f"[{it.low:.2f}, {it.high:.2f}]"
        return f"labels of skills: Cohen's kappa {it.kappa:.2f} {interval} of two passes over {it.n:,} problems"

    @property
    def note(self) -> str:
        """What a reader of any figure by skill must know, one line; "" where there is nothing."""
        told: list[str] = []
        if self.cut:
            told.append("the teacher could not merge its names of skills, so that the most frequent stand as they are")
        if self.flagged and self.agreement is not None:
            worst = ", ".join(self.agreement.worst(3))
            told.append(
                f"two passes of labels agree too little (Cohen's kappa {self.agreement.kappa:.2f}, under "
                f"{RELIABLE:g}) to trust figures by skill, least on: {worst}"
            )
        return f"{'; '.join(told)}: review the catalogue" if told else ""


class Prompts(Record, frozen=True, kw_only=True):
    """`prompts.json`: which wording of each prompt the run has asked its teachers with."""

    versions: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    """Name of the prompt -> content ids of its versions; several where a run went on under another version."""
