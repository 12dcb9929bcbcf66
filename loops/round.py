"""All that a method sees of a round. A method asks, makes lessons, and lets a filter judge; it never writes a file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from lessons.errors import InputError, RoundError
from lessons.ids import seed_of
from lessons.memory import Memory
from lessons.records import Attempt, Dropped, Lesson, LostReply, Message, Problem, Provenance
from lessons.skills import SkillCatalog, SkillProfile
from loops.environments.base import EpisodicTask
from loops.episodes import play
from loops.filters.base import Context, Filter, apply
from loops.graders.base import AskingGrader, Verdict
from loops.grading import verdicts_of, with_verdict
from loops.placing.table import Owner
from loops.scores import Score, Scores, Text
from loops.stored import Spool
from loops.tasks.base import Task, student_prompt
from loops.watching.progress import Listener, Silent
from students.base import Generation, Student
from students.memory import memory_of
from teachers.base import Sampling, Teacher
from teachers.calls import Asker, Caller
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
    aim: Callable[[int], Mapping[str, float]] = lambda count: {}
    """From a number of lessons to each skill's part of them, as the selector has it; empty where it aims at none."""
    model: str = ""
    """The student's base model, as the recipe names it."""
    base: Student | None = None
    """The student before any lesson; None where there is none (an estimate)."""
    generation: Generation = field(default_factory=Generation)
    """How the student answers in examinations."""
    scores: Scores | None = None
    """How probable a student finds texts, each text scored once; None where there is no student (an estimate)."""
    seed: int = 0
    """Of this round's teaching; what is drawn outside of `rng` is seeded by it."""
    folder: Path | None = None
    """Where the method may keep what it makes for later rounds (a pool, a scorer's weights). Cleared when the stage
    begins; None where nothing is kept (an estimate)."""
    before: Path | None = None
    """That folder of the last round whose student was kept; None in the first."""
    store: Path | None = None
    """The file that `written` takes when it has many lessons; None where nothing is written (an estimate)."""
    make_room: Callable[[Owner], object] = lambda owner: None
    """Called before the student answers ("student"), scores ("scoring") or something is trained ("training"), so that a
    teacher that shares its memory gives it back."""
    listener: Listener = field(default_factory=Silent)
    counts: Counter[str] = field(default_factory=Counter[str])
    """Anything a method wants counted; logged as `teach/<name>`."""
    lost: list[LostReply] = field(default_factory=list[LostReply])
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    remembered: list[Memory] = field(default_factory=list[Memory])
    """What the next student is to remember; the last one counts. See `remember`."""

    @property
    def missed(self) -> list[Attempt]:
        """The attempts that call for lessons, in the order of the problems: the failed ones, unless process rewards
        told which are difficult."""
        return [attempt for attempt in self.attempts if attempt.missed]

    @property
    def memory(self) -> Memory:
        """What the student that is taught remembers; empty where it has no memory."""
        return memory_of(self.student)

    def remember(self, memory: Memory) -> None:
        """Give the next student this memory in the place of the one it has; it is examined with it, and kept or
        rejected with it. A round whose method says so may do without lessons: then the weights stay as they are."""
        self.remembered.append(memory)

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

    async def roll_out(
        self,
        problems: Sequence[Problem],
        samples: int = 1,
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        prompts: Sequence[Sequence[Message]] | None = None,
        student: Student | None = None,
        draw: object = "",
    ) -> list[list[Attempt]]:  # [problem][sample]
        """Let the student answer problems, and grade the answers; episodes are acted out unless `prompts` are given.

        Args:
            problems: what is asked, and graded against.
            samples: answers to each.
            temperature: None: as in examinations; 0 is greedy, and then all samples of a problem are one.
            max_tokens: of an answer; None: as in examinations.
            prompts: the chats, one for each problem, where they are not the examinations' own (a hint, earlier turns).
                One that ends in an assistant's turn begins the answer: the attempt's text is the whole, beginning
                included.
            student: who answers; None: the student that is taught.
            draw: a name for these roll-outs; other names draw other answers.

        Raises:
            InputError: the grader asks a teacher of its own, which roll-outs within a method cannot.
            TutelageError: the student or the teacher cannot go on.
        """
        who = student or self.student
        how = self.generation
        if temperature is not None:
            how = msgspec.structs.replace(how, temperature=temperature)
        if max_tokens is not None:
            how = msgspec.structs.replace(how, max_tokens=max_tokens)
        chats = [self.prompt(problem) for problem in problems] if prompts is None else prompts
        self.make_room("student")
        seed = seed_of(self.seed, "roll out", draw)
        with self.listener.bar("roll out", len(chats) * samples) as progress:
            if prompts is None and isinstance(self.task, EpisodicTask):
                return play(
                    self.task.environment, who, problems, how,
                    instruction=self.task.instruction, samples=samples, seed=seed, progress=progress,
                )  # fmt: skip
            given = who.answer(chats, how, samples=samples, seed=seed, progress=progress)
        attempts = [
            [
                Attempt(problem=problem, student=who.digest, text=begun + answer.text, sample=sample, cut=answer.cut)
                for sample, answer in enumerate(answers)
            ]
            for problem, begun, answers in zip(problems, map(_begun, chats), given, strict=True)
        ]
        verdicts = iter(await self.verdicts([(a.problem, a.text) for answers in attempts for a in answers]))
        return [[with_verdict(attempt, next(verdicts)) for attempt in answers] for answers in attempts]

    async def verdicts(self, asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Return what the task's grader says of answer texts, in order; the error where it cannot tell.

        Raises:
            InputError: the grader asks a teacher of its own, and not the run's.
        """
        grader = self.context.grader
        if isinstance(grader, AskingGrader):
            if grader.teacher is not None:
                raise InputError(
                    f"method {self.method!r} grades what the student answers while it teaches, and task.graded_by has "
                    "a teacher of its own: leave its teacher out (the run's is asked then), or name a grader by rule"
                )
            return await grader.grade_by_asking(asked, self.caller)
        return verdicts_of(grader, asked, None)

    def score(self, texts: Sequence[Text], student: str = "now") -> list[Score]:
        """Return how probable a student finds completions; see `Scores` for the students' names.

        Raises:
            InputError: there is no student here (an estimate), or none of this name.
        """
        if self.scores is None:
            raise InputError(f"method {self.method!r} scores texts with the student, and there is none here")
        self.make_room("scoring")
        return list(self.scores.of(texts, student))

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

    def written(self) -> Spool[Lesson]:
        """Return where a method puts many lessons, a few at a time; `teach` returns its `records()`. One a round."""
        return Spool(self.store, Lesson)

    def keep(self, lessons: Sequence[Lesson], judge: Filter, name: str) -> list[Lesson]:
        """Let a filter judge candidates within the method; what it drops is recorded as any filter's drops are."""
        kept, dropped = apply(name, judge, lessons, self.context)
        self.dropped.extend(dropped)
        return kept

    def asking(self, teacher: Teacher) -> "Round":
        """Return this round with another teacher in the place of the run's, on the same ledger and budget.

        Counts, lost replies and drops are this round's. Its name must differ from the run's teacher's.

        Raises:
            InputError: there is no real teacher here (an estimate).
        """
        if not isinstance(self.caller, Caller):
            raise InputError(f"method {self.method!r} asks a teacher of its own making, and nobody is asked here")
        return replace(self, caller=self.caller.to(teacher))

    @property
    def teacher(self) -> Teacher | None:
        """The teacher that is asked; None in an estimate."""
        return self.caller.teacher if isinstance(self.caller, Caller) else None

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


def _begun(chat: Sequence[Message]) -> str:
    """Return the beginning of the answer that a chat ends in; "" where it ends in a question."""
    return chat[-1]["content"] if chat and chat[-1]["role"] == "assistant" else ""


def shown(problems: Sequence[Problem]) -> str:
    """Return problems with their solutions as numbered text, for a prompt's examples."""
    return "\n\n".join(
        f"{number}. {problem.question}\n{problem.solution or problem.answer or ''}".strip()
        for number, problem in enumerate(problems, start=1)
    )
