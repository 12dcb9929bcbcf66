"""How `tutelage why` looks: the links of the chain, numbered, from the seed problem to the next exam."""

from typing import TYPE_CHECKING

from lessons.records import Attempt, Problem
from loops.records import SkillExam
from loops.views.text import (
    clipped,
    count,
    dollars,
    duration,
    interval,
    one_line,
    p_value,
    percent,
    points,
    styled,
    visible,
)
from loops.views.why import Place, Skills, Why, prompt_text
from teachers.ledger import Call

if TYPE_CHECKING:
    from rich.console import RenderableType

LONGEST = 4000
"""Characters of one text that are shown; `--json` has all of them."""


def rendered(view: Why) -> "RenderableType":
    """Return what rich prints."""
    from rich.console import Group

    origin = view.lesson.provenance
    head = styled(f"lesson {view.id}", "bold")
    head.append_text(styled(f"   {_place(view.found)}   skill {one_line(origin.skill or 'none')}   by {origin.method}"))
    parts: list[RenderableType] = [head]
    if view.also:
        parts.append(_said(f"the same content also stands elsewhere: {'; '.join(map(_place, view.also))}", 2))
    links = [_seed(view.seed), _attempt(view), _calls(view), _lesson(view), _filters(view)]
    later = [_later(view)] if view.later else []
    if view.found.status == "trained":
        links += [_selection(view), _training(view), _exam(view.exam, view.found.round), *later]
    for number, (title, body) in enumerate(links, start=1):
        parts += [styled(f"{number} {title}", "bold"), *body]
    return Group(*parts)


Link = tuple[str, "list[RenderableType]"]


def _place(place: Place) -> str:
    told = f"round {place.round}, {place.status}" if place.round else f"warm-up, {place.status}"
    return f"{told} ({one_line(place.reason)})" if place.reason else told


def _said(text: str, indent: int = 4) -> "RenderableType":
    from rich.padding import Padding

    return Padding(styled(clipped(visible(text).strip(), LONGEST)), (0, 0, 0, indent))


def _seed(seed: Problem | None) -> Link:
    if seed is None:
        return "seed problem", [_said("none recorded", 2)]
    body = [_said(seed.question)]
    if seed.answer is not None:
        body.append(_said(f"reference answer: {seed.answer}"))
    source = f"   from {one_line(seed.source, 60)}" if seed.source else ""
    return f"seed problem   {seed.id}{source}", body


def _attempt(view: Why) -> Link:
    attempt: Attempt | None = view.attempt
    if attempt is None:
        absent = f"{view.attempt_id} is not in the run folder" if view.attempt_id else "none: not made from a failure"
        return "the student's attempt", [_said(absent, 2)]
    score = "not graded" if attempt.score is None else f"score {attempt.score:g}"
    read = f"   read as {one_line(attempt.answer, 40)!r}" if attempt.answer is not None else ""
    body = [_said(attempt.text)]
    if attempt.cut:
        body.append(_said("the answer was cut off: it had as many tokens as it may have"))
    if attempt.rewards:
        judged = "" if attempt.difficult is None else "   difficult" if attempt.difficult else "   not difficult"
        body.append(_said(f"process rewards: {', '.join(f'{reward:.2f}' for reward in attempt.rewards)}{judged}"))
    if attempt.missing:
        body.append(_said(f"lacked: {', '.join(attempt.missing)}"))
    if attempt.diagnosis is not None:
        it = attempt.diagnosis
        call = f"   (call {it.call})" if it.call else ""
        body.append(_said(f"diagnosis by {it.by}{f', {it.verdict}' if it.verdict else ''}: {it.reason or '–'}{call}"))
        if it.error is not None:
            body.append(_said(f"kind of error: {it.error}"))
        if it.privileged:
            body.append(_said("whoever diagnosed saw the reference answer"))
    if attempt.note:
        body.append(_said(f"grader: {attempt.note}"))
    return f"the student's attempt   {attempt.id}   {score}{read}", body


def _calls(view: Why) -> Link:
    body: list[RenderableType] = []
    for call in view.calls:
        body += _call(call, view.paid.get(call.id))
    if view.calls_missing:
        body.append(_said(f"not in the ledger: {', '.join(view.calls_missing)}", 2))
    return "the teacher's calls", body or [_said("none", 2)]


def _call(call: Call, paid: bool | None) -> "list[RenderableType]":
    used = call.reply.usage
    kinds = [f"{count(used.prompt)} prompt" + (f" ({count(used.cached_prompt)} cached)" if used.cached_prompt else "")]
    kinds.append(f"{count(used.completion)} completion tokens")
    thoughts = f", {count(used.reasoning)} of them thoughts" if used.reasoning else ""
    bought = {True: "paid by this run", False: "from the cache of your runs", None: ""}[paid]
    facts = (
        one_line(call.purpose, 40), call.id, one_line(call.teacher, 60), f"{' + '.join(kinds)}{thoughts}",
        _price(call.reply.usd), bought, duration(call.seconds), one_line(call.created, 30),
        f"ended by {call.reply.finish}",
    )  # fmt: skip
    head = f"  {'   '.join(fact for fact in facts if fact)}"
    return [styled(head), _said(prompt_text(call.messages)), _said(f"reply: {call.reply.text}")]


def _lesson(view: Why) -> Link:
    body = [_said(prompt_text(view.lesson.prompt)), _said(f"completion: {view.lesson.completion}")]
    if view.lesson.rejected is not None:
        body.append(_said(f"rejected: {view.lesson.rejected}"))
    return "the lesson", body


def _filters(view: Why) -> Link:
    body: list[RenderableType] = []
    for check in view.checks:
        reason = f"   {one_line(check.reason)}" if check.reason else ""
        detail = f"   ({one_line(check.detail, 200)})" if check.detail else ""
        body.append(_said(f"{'passed ' if check.passed else 'dropped'} {check.filter}{reason}{detail}"))
    if not body:
        replay = view.lesson.provenance.method in ("replay", "warm_up")
        body.append(_said("none: such rows are not filtered" if replay else "none has judged it", 4))
    return "filters", body


def _selection(view: Why) -> Link:
    share = f"   drawn with probability {view.lesson.share:.3g}" if view.lesson.share is not None else ""
    total = f"   one of {count(view.lessons_in_round)} rows" if view.lessons_in_round else ""
    return "selection", [_said(f"weight {view.lesson.weight:g}{share}{total}")]


def _training(view: Why) -> Link:
    it = view.training
    if it is None:
        return "training", [_said("not done yet")]
    told = f"{count(it.lessons)} lessons, {count(it.steps)} steps, loss {it.first:.2f} > {it.last:.2f}"
    by = f"by {one_line(view.objective, 40)}: " if view.objective else ""
    return "training", [_said(f"{by}{told}, {duration(it.seconds)}")]


def _later(view: Why) -> Link:
    body: list[RenderableType] = []
    for row in view.later:
        it = row.attempt
        verdict = "not graded" if it.score is None else "right" if it.right else f"score {it.score:g}"
        body += [styled(f"  examined in round {row.round}   {verdict}"), _said(it.text)]
    return "the seed problem again, in the rounds after", body


def _exam(exam: Skills | None, index: int) -> Link:
    title = f"the exam after round {index}" if index else "the exam after the warm-up"
    if exam is None or exam.after is None:
        return title, [_said("no figures for this skill (yet)")]
    before = f"{_share(exam.before)} > " if exam.before is not None else ""
    told = f"{one_line(exam.skill)}   {before}{_share(exam.after)}"
    if exam.change is not None:
        change = exam.change
        told += f"   {points(change.difference)} {interval(change.low, change.high)} ({p_value(change.p)})"
    return title, [_said(told)]


def _share(exam: SkillExam) -> str:
    if exam.row.accuracy is None:
        return "not asked"
    return f"{percent(exam.row.accuracy)} {interval(exam.low, exam.high)} of {exam.row.attempts}"


def _price(usd: float | None) -> str:
    return "price unknown" if usd is None else dollars(usd)
