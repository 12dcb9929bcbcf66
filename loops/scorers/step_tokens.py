"""A local process reward model: how likely it finds "+" against "-" after each step (as RLHFlow's and Math-Shepherd's
models are read)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from lessons.errors import InputError
from lessons.knobs import operational
from lessons.records import Message
from loops.scorers.base import Solution
from students.base import Progress
from students.judging import TokenJudge

__all__ = ["StepTokens"]


@dataclass(frozen=True, kw_only=True)
class StepTokens:
    """A causal language model on this machine that was trained to say `good` or `bad` after each step.

    A reward is the probability of `good` when only the two may follow. Weights are read from safetensors alone, and no
    code of the model's folder runs.
    """

    paper: ClassVar[str] = "arXiv:2405.07863"
    model: str
    """A folder with *.safetensors, or the hub's id: RLHFlow/Llama3.1-8B-PRM-Mistral-Data is STAT's own choice."""
    form: Literal["chat", "tagged"] = "chat"
    """`chat` shows each step as a user's turn, the question before the first, and reads the assistant's next token, as
    RLHFlow's models are asked; `tagged` is plain text, the question and the steps with `tag` behind each, and reads
    the token that follows a tag, as Math-Shepherd's (arXiv 2312.08935)."""
    good: str = "+"
    """The token of a good step."""
    bad: str = "-"
    """The token of a bad one."""
    tag: str = "ки"
    """What stands behind each step in the form `tagged`: Math-Shepherd's own sign."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the weights while they compute; auto is bfloat16 where the processor or GPU computes in it."""
    threads: int = operational(0)
    """CPU threads; 0 leaves the number to torch."""

    def __post_init__(self) -> None:
        if not self.model.strip() or not self.good or not self.bad or self.good == self.bad:
            raise ValueError("model, good and bad must be given, and good must differ from bad")
        if self.form == "tagged" and not self.tag.strip():
            raise ValueError("the form 'tagged' needs a tag")

    async def score(
        self, solutions: Sequence[Solution], *, progress: Progress | None = None
    ) -> list[list[float]]:  # [solution][step]
        """Return the rewards of each solution's steps; an empty list where it does not fit the model's positions.

        Raises:
            InputError: there is no such model, or its tokenizer lacks a token.
            StudentError: the model cannot be loaded, or has no chat template where `chat` needs one.
        """
        judge = self.judge
        good, bad = judge.token(self.good), judge.token(self.bad)
        if good == bad:
            raise InputError(f"{self.model}: {self.good!r} and {self.bad!r} end in the same token; choose others")
        asked = [self._prefixes(judge, solution) for solution in solutions]
        return judge.chances(asked, good, bad, progress=progress)

    def close(self) -> None:
        """Give back the model's memory."""
        if "judge" in self.__dict__:
            self.judge.close()

    @cached_property
    def judge(self) -> TokenJudge:
        """The model, loaded when it is first asked.

        Raises:
            InputError: there is no such model.
        """
        from students.open import open_base

        base = open_base(self.model)
        return TokenJudge(base, chat=self.form == "chat", precision=self.precision, threads=self.threads)

    def _prefixes(self, judge: TokenJudge, solution: Solution) -> list[list[int]]:  # [step][token]
        if self.form == "chat":
            turns = conversation(solution, self.good)
            return [judge.after_chat(turns[: 2 * number + 1]) for number in range(len(solution.steps))]
        text, prefixes = f"{solution.question} ", list[list[int]]()
        for step in solution.steps:
            text += f"{step} {self.tag}"
            prefixes.append(judge.after_text(text))
            text += "\n"
        return prefixes


def conversation(solution: Solution, good: str) -> list[Message]:
    """Return the chat that a process reward model of RLHFlow's kind is asked with: a user's turn for each step, the
    question before the first, and `good` as the assistant's word after each, whatever was thought of it."""
    turns: list[Message] = []
    for number, step in enumerate(solution.steps):
        turns.append(Message(role="user", content=step if number else f"{solution.question} {step}"))
        turns.append(Message(role="assistant", content=good))
    return turns
