"""The records that pass between teacher and student. Frozen data, no behaviour; one record is one JSON line."""

from typing import Annotated, Any, Literal, TypedDict

import msgspec

from lessons.ids import content_id

Role = Literal["system", "user", "assistant"]

FolderName = Annotated[str, msgspec.Meta(pattern=r"^(?!\.\.?$)[^/\\\x00]*$")]
"""A folder's name in a record; read from a file, it leads nowhere else: no separator, no `.`, no `..`."""

ErrorKind = Literal["format", "arithmetic slip", "wrong plan", "misread question", "gave up", "truncated"]
"""How an attempt went wrong, beside which skills it lacked."""

FORM_ERRORS: frozenset[ErrorKind] = frozenset(("format", "truncated"))
"""Kinds of failure that say nothing about a skill: the answer could not be read, or was cut off."""


class Message(TypedDict):
    """One turn of a chat."""

    role: Role
    content: str


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of every record: immutable, compared by value, read strictly (an unknown or missing field is an error)."""


class Problem(Record, frozen=True, kw_only=True):
    """A question, its reference answer if it has one, the skills it needs, where it came from."""

    question: str
    answer: str | None = None
    """The reference answer; None where nobody has told it yet (a new problem before its solutions agree)."""
    skills: tuple[str, ...] = ()
    """Names from the task's catalogue of skills; the first is the main one."""
    solution: str | None = None
    """A worked reference solution, where the data has one."""
    choices: tuple[str, ...] = ()
    """The closed list of answers, for problems that have one."""
    subject: str = ""
    """The part of the catalogue that the problem's skills come from; "" where there is one list."""
    source: str = ""
    """Where it came from: a file and line, a generator and seed, or a method."""
    parent: str | None = None
    """Id of the problem that this one was written from; None for seed data."""
    data: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """What only the task's grader reads."""

    @property
    def id(self) -> str:
        """Content hash of question, answer and choices: labels and origins may change, the problem stays the same."""
        return content_id("problem", question=self.question, answer=self.answer, choices=list(self.choices))


class Diagnosis(Record, frozen=True, kw_only=True):
    """Why an attempt failed, as somebody sees it."""

    by: str
    """"teacher"; "needed" where the problem's own skills are taken; "program" where how it failed needs no reader."""
    verdict: Literal["right", "wrong"] | None = None
    """The teacher's own verdict, given without seeing the reference answer; None where it was not asked."""
    reason: str = ""
    call: str | None = None
    """Id of the teacher's call in the run's ledger."""
    error: ErrorKind | None = None
    """How the attempt went wrong; None where nobody could tell."""
    privileged: bool = False
    """Whether whoever diagnosed saw the reference answer."""


class Attempt(Record, frozen=True, kw_only=True):
    """One answer of the student to a problem, graded and perhaps diagnosed."""

    problem: Problem
    student: str
    """Digest of the student that answered."""
    text: str
    sample: int = 0
    score: float | None = None
    """In [0, 1]; None where the grader could not tell (then `note` says why), never a guessed 0."""
    answer: str | None = None
    """The final answer that the grader read in the text."""
    note: str = ""
    """What the grader has to say: "no final answer", or why it could not tell."""
    missing: tuple[str, ...] = ()
    """Skills found lacking, worst first; empty until diagnosed, and for a right attempt."""
    diagnosis: Diagnosis | None = None
    cut: bool = False
    """Whether the answer ended because it had as many tokens as it may have, not by itself."""
    rewards: tuple[float, ...] = ()
    """Process rewards of its steps, in [0, 1], first to last; empty where no scorer judged them."""
    turns: tuple[Message, ...] = ()
    """What passed between the problem's prompt and `text`, for an attempt of several turns: the student's earlier
    answers and what it was told after each."""
    difficult: bool | None = None
    """Whether its process rewards call for lessons (STAT, arXiv 2510.10023, step 1); None where the grader decides."""

    @property
    def id(self) -> str:
        """Content hash of who answered what with which words."""
        turns = {"turns": list(self.turns)} if self.turns else {}
        return content_id(
            "attempt", problem=self.problem.id, student=self.student, sample=self.sample, text=self.text, **turns
        )

    @property
    def graded(self) -> bool:
        """Whether a grader could tell."""
        return self.score is not None

    @property
    def right(self) -> bool:
        """Whether the attempt is wholly right (a score of 1)."""
        return self.score is not None and self.score >= 1.0

    @property
    def failed(self) -> bool:
        """Whether the attempt is graded and not wholly right."""
        return self.score is not None and self.score < 1.0

    @property
    def missed(self) -> bool:
        """Whether it calls for lessons: by its process rewards where those were told, else because it failed."""
        return self.failed if self.difficult is None else self.difficult


class Provenance(Record, frozen=True, kw_only=True):
    """Where a lesson comes from: enough to walk from the training row back to the failure and the call that paid."""

    method: str
    """Id of the method that made it; "replay" and "warm_up" are the loop's own."""
    round: int
    seed: str | None = None
    """Id of the seed problem that it was written from."""
    attempt: str | None = None
    """Id of the student's attempt that caused it."""
    skill: str | None = None
    """The missing skill that it aims at."""
    calls: tuple[str, ...] = ()
    """Ids of the teacher's calls that made it, first to last."""


class Check(Record, frozen=True, kw_only=True):
    """One filter's verdict on one candidate."""

    filter: str
    passed: bool
    reason: str = ""
    """Why it was dropped, as a short countable phrase; empty where it passed."""
    detail: str = ""


class Span(Record, frozen=True, kw_only=True):
    """A stretch of a completion whose tokens weigh more or less than the others."""

    start: int
    """First character, from 0."""
    end: int
    """The character after the last one; above `start`."""
    weight: float
    """Weight of its tokens in the loss, at least 0; elsewhere it is 1. The last span that holds a token counts."""


class Lesson(Record, frozen=True, kw_only=True):
    """One training row, with everything that led to it. A lesson is a candidate until the selector has kept it."""

    prompt: tuple[Message, ...]
    completion: str
    problem: Problem
    """What the lesson is about; its answer is what the filters check against."""
    provenance: Provenance
    rejected: str | None = None
    """With it, the lesson is a preference pair: `completion` is better than this."""
    verdict: Literal["right", "wrong"] | None = None
    """For a critique: what it says of the attempt it criticises."""
    attempt_right: bool | None = None
    """For a critique: what the grader said of that attempt."""
    weight: float = 1.0
    """Weight of this row in the loss; positive."""
    spans: tuple[Span, ...] = ()
    """Stretches of the completion with weights of their own, for objectives that weigh tokens."""
    reward: float | None = None
    """How good the completion is, for objectives that go by rewards; None where nobody said."""
    desirable: bool = True
    """Whether the completion is to be made more likely. False only for objectives that learn from bad examples."""
    privileged: tuple[Message, ...] | None = None
    """The chat that the teaching side sees in the place of `prompt`, for objectives that distil a prompt. Never
    trained on."""
    share: float | None = None
    """Probability with which the selector drew it, where it drew by chance."""
    checks: tuple[Check, ...] = ()
    """The filters that it passed, in order."""

    @property
    def id(self) -> str:
        """Content hash of what is trained on: the prompt and the completion (and the rejected one)."""
        return content_id("lesson", prompt=list(self.prompt), completion=self.completion, rejected=self.rejected)

    @property
    def skills(self) -> tuple[str, ...]:
        """The skills that it teaches: the one it aims at first, then the problem's others."""
        aimed = self.provenance.skill
        return tuple(dict.fromkeys(((aimed,) if aimed else ()) + self.problem.skills))


class Dropped(Record, frozen=True, kw_only=True):
    """A candidate that did not become a lesson, and why."""

    lesson: Lesson
    check: Check


class LostReply(Record, frozen=True, kw_only=True):
    """A teacher's reply that never became a candidate: empty, refused, truncated, invalid, or no reply at all."""

    prompt: str
    """Name of the prompt that was asked."""
    reason: str
    call: str | None = None
    detail: str = ""
