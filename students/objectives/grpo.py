"""Group relative policy optimisation: the task's grader rewards what the student answers, beside its own group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lessons.errors import GradeError, StudentError
from lessons.graders.base import Grade
from lessons.records import Lesson
from students.chats import Row, prompt_tokens
from students.objectives.base import Bench, Desk
from students.preflight import Checked, check_weight

__all__ = ["Grpo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpo:
    """Reinforcement by the task's own grader: TRL's GRPOTrainer, several answers to each lesson's prompt.

    A lesson is its prompt and its problem here; its completion is not read, and lessons of one prompt and problem are
    one. An answer that the grader cannot judge counts for nothing in its group. The reward's form is ReFT's
    (arXiv:2401.08967). STAT (arXiv:2510.10023) goes on with GRPO after its supervised lessons, which is `start: last`
    here: 6 epochs, constant rate 5e-7, no KL, no entropy bonus, 256 questions in a batch, 4 answers, at most 2048
    tokens, mini-batches of 64. A step is `train.batch_size` prompts, filled up from the epoch's first where it is not
    full; `train.micro_batch_size` answers go through the model at once. A lesson's weight multiplies its advantages.
    """

    paper: ClassVar[str] = "arXiv:2402.03300"
    trains: ClassVar[bool] = True
    rollouts: int = 4
    """Answers to each prompt, at least 2; 4 as in STAT."""
    partial: float = 0.1
    """Reward, in [0, 1], of a wrong answer that can be read; 0.1 as in ReFT. Right is 1, and 0 where no answer can be
    read; an answer that the grader finds right in part gets that score, where it is more."""
    temperature: float = 1.0
    """Of the answers; 1 is TRL's default."""
    max_tokens: int = 256
    """Tokens of an answer at most; STAT has 2048, for a task whose solutions are long."""
    kl: float = 0.0
    """Weight of the divergence from the student as it was when training began; 0 as in STAT."""
    clip: float = 0.2
    """Range of the probability ratio; 0.2 is TRL's default."""
    loss: Literal["grpo", "dapo", "dr_grpo"] = "grpo"
    """TRL's `loss_type`: `grpo` means over the tokens of an answer, then over answers; `dapo` means over all tokens;
    `dr_grpo` (arXiv:2503.20783) divides by `max_tokens`."""

    def __post_init__(self) -> None:
        if self.rollouts < 2 or self.max_tokens < 1 or self.temperature <= 0:
            raise ValueError("rollouts must be at least 2, max_tokens at least 1, temperature above 0")
        if not 0 <= self.partial <= 1 or self.kl < 0 or self.clip <= 0:
            raise ValueError("partial must lie in [0, 1], kl be at least 0, clip above 0")

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse a grader that cannot judge the lessons' problems, and prompts that leave no room to answer."""
        if not lessons:
            raise StudentError("there are no lessons to learn from; the selector kept none")
        grader = desk.grader
        if grader is None:
            raise StudentError("grpo rewards answers by the task's grader, and there is none that grades by rule here")
        kept = list({(tuple(map(repr, one.prompt)), one.problem.id): one for one in reversed(lessons)}.values())[::-1]
        rows: list[Row] = []
        for lesson in kept:
            check_weight(lesson)
            if not lesson.prompt or lesson.prompt[-1]["role"] == "assistant":
                raise StudentError(f"lesson {lesson.id}: its prompt must end with a turn that is not the assistant's")
            tokens = prompt_tokens(desk.tokenizer, lesson.prompt)
            if desk.positions is not None and len(tokens) + self.max_tokens > desk.positions:
                raise StudentError(
                    f"lesson {lesson.id}: its prompt of {len(tokens)} tokens and train.objective.max_tokens "
                    f"{self.max_tokens} are more than the student's {desk.positions} positions"
                )
            rows.append(Row(tokens, []))
        self._check_grader(kept, desk)
        return Checked(rows=tuple(rows), weights=tuple(lesson.weight for lesson in kept), lessons=tuple(kept))

    def _check_grader(self, lessons: Sequence[Lesson], desk: Desk) -> None:
        """Refuse where no reward would ever be given: the grader can judge none of the problems."""
        assert desk.grader is not None
        said = ""
        for lesson in lessons:
            try:
                desk.grader.grade(lesson.problem, lesson.completion or "0")
                return
            except GradeError as error:
                said = str(error)
        raise StudentError(f"grpo: the task's grader can judge none of the lessons' problems: {said}")

    def reward(self, grade: Grade | GradeError) -> float | None:
        """Return the reward of a graded answer; None where the grader could not tell."""
        if isinstance(grade, GradeError):
            return None
        return max(grade.score, self.partial if grade.answer is not None else 0.0)

    def trainer(self, bench: Bench) -> Any:
        """Return TRL's GRPOTrainer on our tokens, with the grader's rewards and full steps."""
        from students.reinforcing import grpo_trainer

        return grpo_trainer(self, bench)
