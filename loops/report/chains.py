"""The lessons of a page: what its list shows of each, and the chain behind each in blocks that are read when opened.

The newest round comes first, and in it the trained rows. What the student says later to the question behind a lesson is
looked up in the rounds after: where one examined the same problem again, the chain has both answers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lessons.records import Attempt, Check, Problem, Record
from loops.reading import RoundView, RunView
from loops.records import SkillExam
from loops.report.blocks import packed, short
from loops.report.choosing import STANDINGS, Choice, Row, choose, rows_of
from loops.views.show import loss_of
from loops.views.text import one_line
from loops.views.why import prompt_text
from teachers.ledger import Call

BLOCK = 250
"""Chains in one block: some 50 kB, read in a few milliseconds."""
TITLE = 96
"""Characters of a lesson in the list."""

Said = dict[str, Any]
"""What the student said to a question in a later round."""
Tried = tuple[dict[str, Any], str, str | None]
"""An attempt as the page shows it, the id of its problem, and that of the call that diagnosed it."""


class Lessons(Record, frozen=True, kw_only=True):
    """The lessons of a page. Blocks are compressed (see `loops.report.blocks`)."""

    counted: dict[str, int]
    """Rows of the run by where they stand."""
    shown: dict[str, int]
    """Rows of the page by where they stand."""
    index: str
    """Block of what the list shows."""
    chains: tuple[str, ...]
    """Blocks of `BLOCK` chains each, in the list's order."""

    @property
    def whole(self) -> bool:
        """Whether the page carries every row."""
        return self.counted == self.shown


class _Index:
    """What the list shows of every row, as columns; names are numbers into lists, first come first."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, int]] = {"skill": {}, "reason": {}}
        self.columns: dict[str, list[Any]] = {
            name: [] for name in ("id", "round", "standing", "skill", "reason", "title")
        }

    def add(self, name: str, row: Row, index: int) -> None:
        last = row.checks[-1] if row.checks else None
        reason = f"{last.filter}: {last.reason}" if last is not None and not last.passed else ""
        self.columns["id"].append(name)
        self.columns["round"].append(index)
        self.columns["standing"].append(STANDINGS.index(row.standing))
        self.columns["skill"].append(self._number("skill", short(row.skill, 200)))
        self.columns["reason"].append(self._number("reason", short(reason, 200)))
        self.columns["title"].append(one_line(row.lesson.problem.question or prompt_text(row.lesson.prompt), TITLE))

    def _number(self, kind: str, name: str) -> int:
        return self.names[kind].setdefault(name, len(self.names[kind]))

    def data(self) -> dict[str, Any]:
        return {
            "standings": STANDINGS,
            "skills": list(self.names["skill"]),
            "reasons": list(self.names["reason"]),
            "rows": self.columns,
        }


def lessons(run: RunView, choice: Choice | None = None) -> Lessons:
    """Gather the lessons of a page. Memory holds one round's chosen rows, and otherwise what is compressed.

    Raises:
        InputError: a file of the run is damaged.
    """
    chosen = choice or choose(run)
    index, blocks, waiting = _Index(), list[str](), list[dict[str, Any]]()
    later: dict[str, Said] = {}
    parts = ("train", "pool", "warm_up")
    seeds = {problem.id: problem for part in parts for problem in run.problems(part)} if chosen.places else {}
    for turn in reversed(run.rounds):
        places = chosen.places.get(turn.index, frozenset())
        rows = sorted(
            (row for row in rows_of(turn) if row.place in places),
            key=lambda row: (STANDINGS.index(row.standing), row.skill, row.place),
        )
        attempts, now = _attempts(turn, rows)
        calls = _calls(run, rows, attempts)
        for row in rows:
            name = row.lesson.id
            index.add(name, row, turn.index)
            waiting.append(_chain(name, row, attempts, calls, seeds, later))
            if len(waiting) == BLOCK:
                blocks.append(packed(waiting))
                waiting.clear()
        later |= now
    if waiting:
        blocks.append(packed(waiting))
    return Lessons(
        counted={name: chosen.counted[name] for name in STANDINGS if chosen.counted.get(name)},
        shown={name: chosen.chosen[name] for name in STANDINGS if chosen.counted.get(name)},
        index=packed(index.data() | {"block": BLOCK, "rounds": _rounds(run), "exams": _exams(run)}),
        chains=tuple(blocks),
    )


def _attempts(turn: RoundView, rows: Sequence[Row]) -> tuple[dict[str, Tried], dict[str, Said]]:
    """Return the attempts behind the rows by id, and what the student says in this round to every question."""
    wanted = {row.lesson.provenance.attempt for row in rows} - {None}
    tried: dict[str, Tried] = {}
    said: dict[str, Said] = {}
    for attempt in turn.attempts():
        problem = attempt.problem.id
        if attempt.sample == 0:
            said[problem] = {"round": turn.index, "text": short(attempt.text), "score": attempt.score}
        if wanted and (name := attempt.id) in wanted:
            tried[name] = (attempt_data(name, attempt), problem, attempt.diagnosis.call if attempt.diagnosis else None)
    return tried, said


def _calls(run: RunView, rows: Iterable[Row], attempts: dict[str, Tried]) -> dict[str, dict[str, Any]]:
    wanted = dict.fromkeys(call for row in rows for call in row.lesson.provenance.calls)
    wanted |= dict.fromkeys(call for _, _, call in attempts.values() if call)
    return {call.id: _call(call) for call in run.calls(wanted)}


def _call(call: Call) -> dict[str, Any]:
    used = call.reply.usage
    return {
        "id": call.id,
        "purpose": short(call.purpose, 80),
        "teacher": short(call.teacher, 120),
        "prompt": used.prompt,
        "completion": used.completion,
        "reasoning": used.reasoning,
        "usd": call.reply.usd,
        "seconds": call.seconds,
    }


def _chain(
    name: str,
    row: Row,
    attempts: dict[str, Tried],
    calls: dict[str, dict[str, Any]],
    seeds: dict[str, Problem],
    later: dict[str, Said],
) -> dict[str, Any]:
    lesson, origin = row.lesson, row.lesson.provenance
    attempt, problem, told = attempts.get(origin.attempt or "", (None, "", None))
    wanted = dict.fromkeys(([told] if told else []) + list(origin.calls))
    seed = seeds.get(origin.seed or problem)
    return {
        "id": name,
        "method": short(origin.method, 80),
        "prompt": short(prompt_text(lesson.prompt)),
        "completion": short(lesson.completion),
        "rejected": None if lesson.rejected is None else short(lesson.rejected),
        "reference": None if lesson.problem.answer is None else short(lesson.problem.answer),
        "weight": lesson.weight,
        "share": lesson.share,
        "seed": None if seed is None else _seed(seed),
        "attempt": attempt,
        "attempt_id": origin.attempt,
        "after": later.get(problem),
        "calls": [calls[call] for call in wanted if call in calls],
        "calls_missing": sum(call not in calls for call in wanted),
        "checks": [_check(check) for check in row.checks],
    }


def _seed(seed: Problem) -> dict[str, Any]:
    return {"question": short(seed.question), "source": short(seed.source, 200)}


def _check(check: Check) -> dict[str, Any]:
    return {
        "filter": short(check.filter, 80),
        "passed": check.passed,
        "reason": short(check.reason, 200),
        "detail": short(check.detail, 400),
    }


def attempt_data(name: str, attempt: Attempt) -> dict[str, Any]:
    """Return an attempt with its diagnosis as a page shows it."""
    told = attempt.diagnosis
    return {
        "id": name,
        "question": short(attempt.problem.question),
        "reference": None if attempt.problem.answer is None else short(attempt.problem.answer),
        "text": short(attempt.text),
        "score": attempt.score,
        "answer": None if attempt.answer is None else short(attempt.answer, 200),
        "note": short(attempt.note, 200),
        "cut": attempt.cut,
        "rewards": attempt.rewards,
        "missing": [short(name, 200) for name in attempt.missing],
        "by": "" if told is None else short(told.by, 40),
        "verdict": None if told is None else told.verdict,
        "reason": "" if told is None else short(told.reason),
        "error": None if told is None else told.error,
        "privileged": told is not None and told.privileged,
    }


def _rounds(run: RunView) -> dict[str, Any]:
    """Return each round's training and which student it started with."""
    found: dict[str, Any] = {}
    for turn in run.rounds:
        loss = loss_of(turn)
        if loss is not None:
            found[str(turn.index)] = {
                "lessons": loss.lessons,
                "steps": loss.steps,
                "first": loss.first,
                "last": loss.last,
                "seconds": loss.seconds,
            }
    return found


def _exams(run: RunView) -> dict[str, dict[str, Any]]:
    """Return round -> skill -> accuracy before and after, with the change's interval and p."""
    found: dict[str, dict[str, Any]] = {}
    before: dict[str, SkillExam] = {}
    for turn in run.examined:
        assert turn.metrics is not None
        found[str(turn.index)] = {
            short(name, 200): _exam(before.get(name), exam) for name, exam in turn.metrics.skills.items()
        }
        if turn.metrics.promoted:
            before = turn.metrics.skills
    return found


def _exam(before: SkillExam | None, after: SkillExam) -> dict[str, Any]:
    change = after.change
    return {
        "before": None if before is None else before.row.accuracy,
        "after": after.row.accuracy,
        "n": after.row.attempts,
        "change": None if change is None else [change.difference, change.low, change.high, change.p],
    }
