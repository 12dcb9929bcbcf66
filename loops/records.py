"""What a run folder holds beside the lessons' own records. Everything that reports read is one of these."""

import msgspec

from lessons.records import Record
from lessons.skills import SkillRow
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


class Marker(Record, frozen=True, kw_only=True):
    """`rounds/NN/.done/STAGE.json`: written last, so a stage with a marker is whole."""

    stage: str
    round: int
    outputs: dict[str, str]
    """File name in the round's folder -> SHA-256 of the file."""
    counts: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """What the stage counted, `area/name`: teach/asked, teach/answered, teach/parsed, filter/kept, drop/duplicate."""
    seconds: float = 0.0
    finished: str = ""
    """ISO 8601, UTC."""


class Change(Record, frozen=True, kw_only=True):
    """A paired comparison of two students on the same problems."""

    n: int
    gained: int
    """Problems that the student before had wrong and this one has right."""
    lost: int
    difference: float
    """(gained - lost) / n, in [-1, 1]."""
    low: float
    high: float
    """95 % interval of the difference, paired."""
    p: float
    """McNemar's exact test, two-sided; for skills Holm-corrected over all of them."""


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
    """Wilson's 95 % interval of the accuracy."""
    skills: dict[str, SkillExam]
    change: Change | None = None
    """Against the student that the round started with."""
    since_start: Change | None = None
    """Against round 0."""
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
