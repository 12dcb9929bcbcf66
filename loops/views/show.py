"""`tutelage show RUN`: the funnel of every round, from what the teacher was asked to what was trained on."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lessons.records import Lesson, Record
from loops.exams.records import Contamination, TeacherExam
from loops.reading import RoundView, RunView
from loops.records import Change
from loops.views.diagnosis import Diagnosed, diagnosed
from loops.views.missing import missing
from loops.views.text import View
from loops.watching.standing import State, standing

if TYPE_CHECKING:
    from rich.console import RenderableType


class Drop(Record, frozen=True, kw_only=True):
    """How many candidates one filter dropped for one reason, or how many replies one prompt lost."""

    by: str
    """The filter, or the name of the prompt."""
    reason: str
    count: int


class Stage(Record, frozen=True, kw_only=True):
    """A finished stage."""

    name: str
    seconds: float


class Loss(Record, frozen=True, kw_only=True):
    """The training of a round."""

    lessons: int
    steps: int
    trained_tokens: int
    first: float
    last: float
    """Mean loss over the first and the last tenth of the steps."""
    seconds: float


class Outcome(Record, frozen=True, kw_only=True):
    """The exam of a round. Shares in [0, 1]."""

    n: int
    accuracy: float
    low: float
    high: float
    change: Change | None
    promoted: bool
    verdict: str


class Funnel(Record, frozen=True, kw_only=True):
    """One round, from asked to trained. A count is None where the stage has not been reached."""

    round: int
    asked: int | None
    from_ledger: int | None
    """Of these, calls that an earlier try had paid for."""
    answered: int | None
    parsed: int | None
    lost: tuple[Drop, ...]
    """Replies that never became a candidate, most frequent first."""
    candidates: int | None
    """All that the method made, those that it dropped itself included."""
    dropped: tuple[Drop, ...]
    """Most frequent first."""
    kept: int | None
    new: int | None
    """Lessons of this round that were chosen."""
    replayed: int | None
    """The student's own right answers, trained again to keep what it knows."""
    trained: int | None
    contamination: Contamination | None
    """What is trained on, held against the exams."""
    diagnosis: Diagnosed | None
    stages: tuple[Stage, ...]
    next_stage: str | None
    """The stage that runs now or would run next; None where the round is done."""
    loss: Loss | None
    memory: str | None
    """What the student that the round made remembers in its prompt, for people; None where it has no memory."""
    outcome: Outcome | None


class Spent(Record, frozen=True, kw_only=True):
    """The teacher's calls of one purpose. Tokens are None where no reply told any."""

    purpose: str
    calls: int
    prompt: int | None
    completion: int | None
    reasoning: int | None
    """Tokens of thoughts; most endpoints count them among the completion's."""
    unmeasured: int
    """Calls whose reply did not tell its tokens: the sums lack them."""
    saved: int
    """Calls among them that the cache which runs share had: nothing was paid for them."""
    usd: float | None
    """Paid for the others; None where no price is known."""
    unpriced: int
    """Calls paid for whose price is not known: `usd` lacks them."""
    saved_usd: float | None
    """What the calls from the cache cost whoever bought them."""


class Show(View, frozen=True, kw_only=True):
    """What `show` shows."""

    run: str
    state: str
    standing: State
    """Whether a process works at it, and if not, how it ended."""
    missing: tuple[str, ...]
    """What the folder lacks, a sentence each; empty for a whole finished run."""
    rounds: tuple[Funnel, ...]
    teacher: tuple[Spent, ...]
    teacher_exam: TeacherExam | None = None
    """How the teacher did on train problems that it solved itself; null where it sat no exam."""

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from loops.views.show_text import rendered

        return rendered(self)


def show(path: Path | str | RunView) -> Show:
    """Count what became of everything in every round of a run.

    Raises:
        InputError: there is no run at this path.
    """
    run = RunView.of(path)
    spent = tuple(
        Spent(
            purpose=purpose,
            calls=row.used.calls,
            prompt=row.used.tokens.prompt,
            completion=row.used.tokens.completion,
            reasoning=row.used.tokens.reasoning,
            unmeasured=row.used.unmeasured,
            saved=row.saved.calls,
            usd=row.paid.usd,
            unpriced=row.paid.unpriced,
            saved_usd=row.saved.usd,
        )
        for purpose, row in run.accounts.items()
    )
    rounds = tuple(funnel(turn) for turn in run.rounds)
    return Show(
        run=run.name,
        state=run.state,
        standing=standing(run).state,
        missing=missing(run),  # after the files are read: what is damaged is known by then
        rounds=rounds,
        teacher=spent,
        teacher_exam=teacher_exam(run),
    )


def teacher_exam(run: RunView) -> TeacherExam | None:
    """Return how the run's teacher did in its exam; None where it sat none, and in runs of older versions."""
    first = run.round(0)
    return run.faults.record(first.folder / "teacher.json", TeacherExam) if first else None


def funnel(turn: RoundView) -> Funnel:
    """Count one round. Streams its files; memory does not grow with them."""
    taught = turn.markers["teach"].counts if "teach" in turn.markers else {}
    drops = Counter((row.check.filter, row.check.reason) for row in turn.dropped())
    kept = sum(1 for _ in turn.kept()) if turn.has("kept.jsonl") else None
    candidates: int | None = None
    if kept is not None:
        candidates = kept + drops.total()
    elif turn.has("candidates.jsonl"):
        candidates = sum(1 for _ in turn.candidates()) + drops.total()
    rows = Counter(_kind(turn, lesson) for lesson in turn.lessons()) if turn.has("lessons.jsonl") else None
    return Funnel(
        round=turn.index,
        asked=taught.get("teach/asked"),
        from_ledger=taught.get("teach/from ledger"),
        answered=taught.get("teach/answered"),
        parsed=taught.get("teach/parsed"),
        lost=_most_first(Counter((row.prompt, row.reason) for row in turn.lost())),
        candidates=candidates,
        dropped=_most_first(drops),
        kept=kept,
        new=rows["new"] if rows is not None else None,
        replayed=rows["replayed"] if rows is not None else None,
        trained=rows.total() if rows is not None else None,
        contamination=turn.contamination,
        diagnosis=diagnosed(turn),
        stages=tuple(Stage(name=name, seconds=marker.seconds) for name, marker in turn.markers.items()),
        next_stage=turn.next_stage,
        loss=loss_of(turn),
        memory=turn.memory.told if turn.memory is not None else None,
        outcome=_outcome(turn),
    )


def _kind(turn: RoundView, lesson: Lesson) -> str:
    if turn.is_new(lesson):
        return "new"
    return "replayed" if lesson.provenance.method == "replay" else "earlier"


def _most_first(counts: Counter[tuple[str, str]]) -> tuple[Drop, ...]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Drop(by=by, reason=reason, count=number) for (by, reason), number in ordered)


def loss_of(turn: RoundView) -> Loss | None:
    """Return the training of a round; None before it is done."""
    if turn.learned is None:
        return None
    learned = turn.learned.learned
    return Loss(
        lessons=learned.lessons,
        steps=learned.steps,
        trained_tokens=learned.trained_tokens,
        first=learned.loss_first,
        last=learned.loss_last,
        seconds=learned.seconds,
    )


def _outcome(turn: RoundView) -> Outcome | None:
    exam = turn.metrics
    if exam is None:
        return None
    return Outcome(
        n=exam.n,
        accuracy=exam.accuracy,
        low=exam.low,
        high=exam.high,
        change=exam.change,
        promoted=exam.promoted,
        verdict=exam.verdict,
    )
