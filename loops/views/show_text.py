"""How `tutelage show` looks: a line per stage, its drops by reason below it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from loops.exams.records import TeacherExam
from loops.views.diagnosis import phrases
from loops.views.exams_text import alike, teacher_told, teacher_warned
from loops.views.missing import lacks, stands
from loops.views.show import Drop, Funnel, Outcome, Show, Spent
from loops.views.text import count, dollars, duration, interval, one_line, p_value, percent, points, styled

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

T = TypeVar("T", int, float)


def rendered(view: Show) -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group

    parts: list[RenderableType] = [styled(f"run {one_line(view.run)}   {stands(view.standing, view.state)}")]
    parts += lacks(view.missing)
    for row in view.rounds:
        parts.append(styled(f"round {row.round}" if row.round else "start", "bold"))
        parts += _lines(row)
    if not view.rounds:
        parts.append(styled("no round has begun"))
    if view.teacher or view.teacher_exam:
        parts += [styled("teacher", "bold"), *_examined(view.teacher_exam)]
    if view.teacher:
        parts += [*(_spent(row) for row in view.teacher), _total(view.teacher)]
    return Group(*parts)


def _lines(row: Funnel) -> "list[RenderableType]":
    took = {stage.name: stage.seconds for stage in row.stages}
    told: dict[str, str] = dict.fromkeys(took, "")
    if row.asked is not None:
        paid = f" ({count(row.from_ledger)} from the ledger)" if row.from_ledger else ""
        told["teach"] = f"{count(row.asked)} asked{paid} > {count(row.answered)} answered > {count(row.parsed)} parsed"
    if row.candidates is not None:
        told["teach"] = f"{told['teach']} > {count(row.candidates)} candidates" if told.get("teach") else (
            f"{count(row.candidates)} candidates"
        )  # fmt: skip
    if row.kept is not None:
        told["filter"] = f"{count(row.kept)} kept of {count(row.candidates)}"
    if row.trained is not None:
        told["select" if row.round else "learn"] = (
            f"{count(row.new)} new + {count(row.replayed)} replayed" if row.round else f"{count(row.trained)} lessons"
        )
        earlier = row.trained - (row.new or 0) - (row.replayed or 0)
        if row.round and earlier:
            told["select"] += f" + {count(earlier)} of earlier rounds"
    if row.loss is not None:
        told["learn"] = (
            f"{count(row.loss.steps)} steps on {count(row.loss.lessons)} lessons   "
            f"loss {row.loss.first:.2f} > {row.loss.last:.2f}   {count(row.loss.trained_tokens)} trained tokens"
        )
    if row.memory is not None:
        told["learn"] = f"{told.get('learn', '')}   remembers {row.memory}".strip()
    if row.outcome is not None:
        told["exam"] = _exam(row.outcome)
    order = [*took, *(name for name in told if name not in took)]
    lines: list[RenderableType] = []
    for name in order:
        lines.append(_line(name, duration(took[name]) if name in took else "", told[name]))
        if name == "diagnose" and row.diagnosis is not None:
            lines += [_below(one_line(phrase, 200)) for phrase in phrases(row.diagnosis)]
        if name == "teach":
            lines += [_drop("lost", drop) for drop in row.lost]
        if name == "filter":
            lines += [_drop("dropped", drop) for drop in row.dropped]
        if name == "select" and row.contamination is not None and (told_of := alike(row.contamination)):
            lines.append(_below(told_of))
    if row.outcome is not None and row.outcome.verdict:
        lines.append(_line("", "", one_line(row.outcome.verdict, 200), "" if row.outcome.promoted else "yellow"))
    if row.next_stage is not None:
        lines.append(_line(row.next_stage, "", "not done yet", "dim"))
    return lines


def _exam(outcome: Outcome) -> str:
    told = f"{count(outcome.n)} problems   accuracy {percent(outcome.accuracy)}  {interval(outcome.low, outcome.high)}"
    if outcome.change is not None:
        told += f"   {points(outcome.change.difference)} ({p_value(outcome.change.p)})"
    return told


def _line(name: str, took: str, told: str, style: str = "") -> "Text":
    return styled(f"  {name:<9} {took:>9}   ").append_text(styled(told, style))


def _below(told: str) -> "Text":
    return styled(f"  {'':<9} {'':>9}     {told}")


def _drop(word: str, drop: Drop) -> "Text":
    return styled(f"  {'':<9} {'':>9}     {word} {drop.count:>6,}  {one_line(drop.by, 40)}: {one_line(drop.reason)}")


def _examined(exam: TeacherExam | None) -> "list[Text]":
    if exam is None:
        return []
    warned = teacher_warned(exam)
    return [styled(f"  {teacher_told(exam)}")] + ([styled(f"  {warned}", "yellow")] if warned else [])


def _spent(row: Spent) -> "Text":
    missing = f"   {row.unmeasured:,} calls told no tokens" if row.unmeasured else ""
    tokens = f"{count(row.prompt):>11} prompt  {count(row.completion):>11} completion tokens"
    worth = f", which saved {dollars(row.saved_usd)}" if row.saved_usd else ""
    again = f"   {row.saved:,} from the cache{worth}" if row.saved else ""
    return styled(f"  {one_line(row.purpose, 30):<20} {row.calls:>8,} calls {tokens}   {_price(row)}{again}{missing}")


def _price(row: Spent) -> str:
    paid = row.calls - row.saved
    if row.usd is None:
        return "price unknown" if paid else "nothing paid"
    return dollars(row.usd) + (f" and {row.unpriced:,} calls of unknown price" if row.unpriced else "")


def _total(rows: tuple[Spent, ...]) -> "Text":
    return _spent(
        Spent(
            purpose="all",
            calls=sum(row.calls for row in rows),
            prompt=_added(row.prompt for row in rows),
            completion=_added(row.completion for row in rows),
            reasoning=_added(row.reasoning for row in rows),
            unmeasured=sum(row.unmeasured for row in rows),
            saved=sum(row.saved for row in rows),
            usd=_added(row.usd for row in rows),
            unpriced=sum(row.unpriced for row in rows),
            saved_usd=_added(row.saved_usd for row in rows),
        )
    )


def _added(values: Iterable[T | None]) -> T | None:
    known = [value for value in values if value is not None]
    total = known[:1]
    for value in known[1:]:
        total[0] += value
    return total[0] if total else None
