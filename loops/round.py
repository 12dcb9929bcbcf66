"""All that a method sees of a round. A method asks, makes lessons, and lets a filter judge; it never writes a file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

from lessons.errors import RoundError
from lessons.records import Attempt, Dropped, Lesson, LostReply, Message, Problem, Provenance
from lessons.skills import SkillCatalog, SkillProfile
from loops.filters.base import Context, Filter, apply
from loops.tasks.base import Task, student_prompt
from students.base import Student
from teachers.base import Sampling
from teachers.calls import Asker
from teachers.prompts.base import Prompt

T = TypeVar("T")

LEAST_REPLIES = 20
"""Replies before the share of lost ones can stop a round: below, one bad reply would be a large share."""


class Said(NamedTuple, Generic[T]):
    """A parsed reply, and the call that paid for it."""

    value: T
    call: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One turn of the loop as a method sees it. Attempts are graded and diagnosed."""

    index: int
    task: Task
    caller: Asker
    student: Student
    method: str
    """Id of the method, for the lessons' provenance."""
    problems: Sequence[Problem]
    """The train problems."""
    pool: Sequence[Problem]
    """What lessons may be taken from."""
    attempts: Sequence[Attempt]
    catalog: SkillCatalog
    profile: SkillProfile
    context: Context
    rng: Random
    """Draw from it before awaiting anything, so that a resumed round draws the same."""
    max_lost: float = 0.5
    counts: Counter[str] = field(default_factory=Counter[str])
    """Anything a method wants counted; logged as `teach/<name>`."""
    lost: list[LostReply] = field(default_factory=list[LostReply])
    dropped: list[Dropped] = field(default_factory=list[Dropped])

    @property
    def missed(self) -> list[Attempt]:
        """The attempts that call for lessons, in the order of the problems: the failed ones, unless process rewards
        told which are difficult."""
        return [attempt for attempt in self.attempts if attempt.missed]

    async def ask(
        self, prompt: Prompt[T], n: int = 1, *, sampling: Sampling | None = None, **fields: object
    ) -> list[Said[T]]:
        """Ask for n replies; return those that could be parsed. A lost one is counted by its reason and kept."""
        answers = await self.caller.ask(prompt, fields, n=n, sampling=sampling)
        said: list[Said[T]] = []
        for answer in answers:
            if answer.value is not None and not answer.reason:
                said.append(Said(answer.value, answer.call or ""))
            else:
                self.lost.append(
                    LostReply(prompt=prompt.name, reason=answer.reason, call=answer.call, detail=answer.detail)
                )
        return said

    def prompt(self, problem: Problem) -> tuple[Message, ...]:
        """Return the chat that the student is examined with for a problem."""
        return student_prompt(self.task.instruction, problem)

    def lesson(
        self,
        problem: Problem,
        completion: str,
        *,
        attempt: Attempt | None = None,
        skill: str | None = None,
        seed: Problem | None = None,
        calls: Sequence[str] = (),
        prompt: Sequence[Message] | None = None,
        **more: Any,
    ) -> Lesson:
        """Make a candidate with its whole provenance; the prompt is the student's own unless another is given."""
        origin = seed or (attempt.problem if attempt else problem)
        return Lesson(
            prompt=tuple(prompt) if prompt is not None else self.prompt(problem),
            completion=completion.strip(),
            problem=problem,
            provenance=Provenance(
                method=self.method,
                round=self.index,
                seed=origin.id,
                attempt=attempt.id if attempt else None,
                skill=skill or (problem.skills[0] if problem.skills else None),
                calls=tuple(calls),
            ),
            **more,
        )

    def keep(self, lessons: Sequence[Lesson], judge: Filter, name: str) -> list[Lesson]:
        """Let a filter judge candidates within the method; what it drops is recorded as any filter's drops are."""
        kept, dropped = apply(name, judge, lessons, self.context)
        self.dropped.extend(dropped)
        return kept

    def check_replies(self) -> None:
        """Stop a round whose teacher mostly does not answer.

        Raises:
            RoundError: over `max_lost` of the replies were lost; names the leading reason.
        """
        lost_replies = [lost for lost in self.lost if lost.reason != "budget"]  # those were never asked
        replies = self.caller.totals.asked - (len(self.lost) - len(lost_replies))
        if replies < LEAST_REPLIES or len(lost_replies) <= self.max_lost * replies:
            return
        reasons = Counter(f"{lost.prompt}: {lost.reason}" for lost in lost_replies)
        leading, count = reasons.most_common(1)[0]
        example = next(lost for lost in lost_replies if f"{lost.prompt}: {lost.reason}" == leading)
        raise RoundError(
            f"round {self.index}: {len(lost_replies)} of {replies} replies of the teacher were lost, above the share "
            f"of {self.max_lost:.0%} (calls.max_lost); {count} of them {leading}"
            + (f" ({example.detail[:200]})" if example.detail else "")
        )


def shown(problems: Sequence[Problem]) -> str:
    """Return problems with their solutions as numbered text, for a prompt's examples."""
    return "\n\n".join(
        f"{number}. {problem.question}\n{problem.solution or problem.answer or ''}".strip()
        for number, problem in enumerate(problems, start=1)
    )
