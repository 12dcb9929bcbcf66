"""Prompt distillation: what the student knows with something in its prompt, it is to know without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from lessons.errors import StudentError
from lessons.records import Lesson
from students.chats import Row, prompt_tokens
from students.objectives.base import REPLAYED, Desk
from students.objectives.tokens import Lens, TokenObjective
from students.preflight import Checked

if TYPE_CHECKING:
    import torch

__all__ = ["PromptDistillation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDistillation(TokenObjective):
    """Draws the student's distribution over each completion token to that of a teaching side that sees more.

    The teaching side has the same weights as they were when training began (the adapter switched off) and sees the
    lesson's privileged chat in the place of its prompt; the loss is the forward divergence KL(teaching || student). A
    replayed lesson without a privileged chat keeps the student near what it was on it.
    """

    paper: ClassVar[str] = "arXiv:2412.14964"
    dense: ClassVar[int] = 3
    temperature: float = 1.0
    """Of both distributions; about 1 in the paper."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature:g}")

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse lessons without a privileged chat, or whose privileged chat tells nothing more, too."""
        checked = TokenObjective.check(self, lessons, desk)
        taught: list[Row] = []
        for lesson, row in zip(lessons, checked.rows, strict=True):
            name, more = f"lesson {lesson.id}", lesson.privileged
            if more is None and lesson.provenance.method in REPLAYED:
                more = lesson.prompt
            elif more is None:
                raise StudentError(f"{name}: it has no privileged chat, so there is nothing to distil; use sft")
            elif more == lesson.prompt:
                raise StudentError(f"{name}: its privileged chat is its prompt, so there is nothing to distil")
            elif not more or more[-1]["role"] == "assistant":
                raise StudentError(f"{name}: its privileged chat must end with a turn that is not the assistant's")
            one = Row(prompt_tokens(desk.tokenizer, more), row.completion)
            if len(one) > desk.training.max_length:
                raise StudentError(
                    f"{name}: its privileged chat and completion are {len(one)} tokens, and train.max_length is "
                    f"{desk.training.max_length}; raise it, or drop long lessons"
                )
            taught.append(one)
        return replace(checked, others=tuple(taught))

    def token_losses(self, lens: Lens) -> "torch.Tensor":
        """Return KL(teaching || student) [asked]."""
        import torch

        from students.divergence import forward_kl
        from students.scoring import IGNORED, padded

        checked = lens.bench.checked
        padding = int(lens.bench.desk.tokenizer.pad_token_id)
        inputs, labels = padded([checked.others[place] for place in lens.places], padding)
        for row, place in enumerate(lens.places):  # tokens without a weight are asked about on neither side
            begin, size = len(checked.others[place].prompt), len(checked.others[place].completion)
            own = len(checked.rows[place].prompt)
            labels[row, begin : begin + size] = lens.labels[row, own : own + size].cpu()
        where = lens.labels.device
        inputs = {name: value.to(where) for name, value in inputs.items()}
        assert int((labels != IGNORED).sum()) == int((lens.labels != IGNORED).sum())
        teaching = torch.log_softmax(lens.logits_before(inputs, labels.to(where)) / self.temperature, -1)
        return forward_kl(teaching, torch.log_softmax(lens.logits / self.temperature, -1))
