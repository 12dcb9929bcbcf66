"""On-policy distillation: the student writes, and a local teacher says what it would have said at each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lessons.errors import StudentError
from lessons.records import Lesson
from students.objectives.base import Bench, Desk, refuse_spans
from students.preflight import Checked, preflight

__all__ = ["OnPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicy:
    """Generalised knowledge distillation: TRL's DistillationTrainer, with lessons beside what the student writes.

    With the probability `lmbda` a step's texts are the student's own answers to its lessons' prompts, drawn anew, else
    the lessons' completions; the loss is a divergence between the teacher's distribution and the student's over each of
    their tokens. The last step of an epoch is filled up from its first lessons. Lesson weights count.
    """

    paper: ClassVar[str] = "arXiv:2306.13649"
    trains: ClassVar[bool] = True
    teacher: str
    """The teacher's model, named as a student's is: a folder, a hub id, `wheel:NAME`. It must have the student's
    vocabulary; that is looked at by encoding probes."""
    lmbda: float = 0.5
    """Probability, in [0, 1], that a step trains on what the student writes; 0.5 as in TRL's GKD."""
    beta: float = 0.5
    """Which divergence, in [0, 1]: 0 is KL(teacher || student), 1 is KL(student || teacher), between them the
    generalised Jensen-Shannon divergence; 0.5 as in TRL's GKD."""
    temperature: float = 0.9
    """Of what the student writes; 0.9 as in TRL's GKD. The divergence is taken at temperature 1."""
    max_tokens: int = 128
    """Tokens that the student writes at most; 128 as in TRL's GKD."""

    def __post_init__(self) -> None:
        if not (0 <= self.lmbda <= 1 and 0 <= self.beta <= 1) or self.temperature <= 0 or self.max_tokens < 1:
            raise ValueError("lmbda and beta must lie in [0, 1], temperature above 0, max_tokens at least 1")

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse a teacher with another vocabulary, and prompts that leave no room to write."""
        from students.local_teacher import open_teacher

        for lesson in lessons:
            refuse_spans(lesson, "on_policy")
            if not lesson.desirable:
                raise StudentError(f"lesson {lesson.id}: it is not desirable, and on_policy would teach it; use kto")
        checked = preflight(
            desk.tokenizer, lessons, desk.stops, max_length=desk.training.max_length, context=desk.positions
        )
        most = max(len(row.prompt) for row in checked.rows)
        if desk.positions is not None and self.lmbda and most + self.max_tokens > desk.positions:
            raise StudentError(
                f"a prompt of {most} tokens and train.objective.max_tokens {self.max_tokens} are more than the "
                f"student's {desk.positions} positions"
            )
        open_teacher(self.teacher, checked, desk)
        return checked

    def trainer(self, bench: Bench) -> Any:
        """Return TRL's DistillationTrainer on our tokens, with lessons, weights and full steps."""
        from students.distilling import distillation_trainer

        return distillation_trainer(self, bench)
