"""Records of a round's contamination (what it trains on, held against every exam problem) and of the teacher's exam."""

from typing import Literal

from lessons.records import Record
from loops.records import ExamPart

ContaminationKind = Literal["exact", "13-gram", "embedding"]
"""How a lesson and an exam problem are alike: the same question; a run of 13 words; a near meaning."""


class SharedText(Record, frozen=True, kw_only=True):
    """One lesson that is like a problem of an exam."""

    lesson: str
    """Id of the lesson."""
    problem: str
    """Id of the exam's problem."""
    part: ExamPart
    kind: ContaminationKind
    where: Literal["prompt", "completion"]
    """Where in the lesson."""
    text: str
    """What they share, normalised; for an embedding, the beginning of the lesson's text."""
    similarity: float | None = None
    """Cosine in [-1, 1], for an embedding."""


class Contamination(Record, frozen=True, kw_only=True):
    """`rounds/NN/contamination.json`: the rows that a round trains on, held against every exam problem."""

    round: int
    lessons: int
    """Rows that are trained on, replayed ones included."""
    problems: int
    """Problems of the exams: held-out, gate and final."""
    rows: dict[ContaminationKind, int]
    """Kind -> rows that are like some exam problem. Without a local model there is no "embedding"."""
    own: int
    """Rows with a run of 13 words that an exam problem has and no train problem: more than the task's wording."""
    touched: dict[str, int]
    """Part of the exam -> its problems that some row is like, by any kind."""
    dropped: dict[ContaminationKind, int]
    """Kind -> candidates that the filters dropped for it this round."""
    baseline: float | None
    """Share of the train problems that a run of 13 words makes like an exam problem, in [0, 1]: what the wording of
    the task does by itself. None without train problems."""
    short: int = 0
    """Exam problems with too few words for the 13-gram check; they are looked for by their whole question."""
    examples: tuple[SharedText, ...] = ()
    """Some of them, at most `loops.exams.contamination.EXAMPLES` of each kind."""

    @property
    def share(self) -> float:
        """Share of the rows with a run of 13 words of an exam problem, in [0, 1]; to be read beside `baseline`."""
        return self.rows.get("13-gram", 0) / self.lessons if self.lessons else 0.0


class TeacherSkill(Record, frozen=True, kw_only=True):
    """How a teacher did on the problems of one skill."""

    graded: int
    right: int
    low: float
    high: float
    """Wilson's 95 % interval of the share that is right."""


class TeacherExam(Record, frozen=True, kw_only=True):
    """`rounds/00/teacher.json`: how the teacher did on train problems that it solved itself, before it taught any."""

    teacher: str
    """Its name."""
    asked: int
    """Problems that it was to solve."""
    graded: int
    """Of these, those whose reply could be graded."""
    right: int
    low: float
    high: float
    """Wilson's 95 % interval of the share of the graded ones that is right."""
    skills: dict[str, TeacherSkill]
    """By the first skill that a problem needs; "" where it has none."""
    lost: dict[str, int]
    """Why there was nothing to grade (empty, refused, truncated, failed) -> replies."""
    student: float
    """What the student of round 0 had on such problems: its accuracy in the exam by skill, each skill as often as it is
    among the graded problems; in [0, 1]."""

    @property
    def share(self) -> float:
        """Share of the graded ones that is right, in [0, 1]; 0 where none was graded."""
        return self.right / self.graded if self.graded else 0.0

    @property
    def behind(self) -> bool:
        """Whether it is not better than the student that it is to teach."""
        return self.graded > 0 and self.share <= self.student
