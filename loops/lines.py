"""The lines that a run prints: one a stage, read from what the stage wrote."""

from lessons.skills import SkillProfile
from loops.records import Change, RoundLearned
from loops.stages import metrics_of, profile_of
from loops.store import read_record
from loops.views.text import duration, percent
from loops.work import Work

SHOWN = 4
"""Skills or reasons named in one line; the rest are in the tables."""


def header(work: Work) -> None:
    """Say what the run is."""
    info = work.folder.info
    assert info is not None
    work.listener.line(
        f"run {info.id}   student {info.student}   teacher {info.teacher}   method {info.method}   rounds {info.rounds}"
    )
    overlap = f"{info.overlap} overlapping left out of" if info.overlap else "no overlap with"
    work.listener.line(
        f"held-out {info.held_out:,} problems frozen, {len(work.catalog.skills)} skills, {overlap} "
        f"{info.train:,} train problems"
    )


def round_begins(work: Work, index: int) -> None:
    """Say which round begins."""
    work.listener.line(f"round {index} of {work.recipe.rounds}")


def examine(work: Work, index: int) -> None:
    """Say how the student did on the train problems."""
    counts, took = _counts(work, index, "examine")
    right, all_ = counts.get("examine/right", 0), counts.get("examine/attempts", 0)
    unsure = counts.get("examine/ungraded", 0)
    graded = all_ - unsure
    text = f"{all_:,} attempts    {duration(took)}    accuracy {percent(right / graded if graded else 0)}"
    _line(work, "examine", text + (f"    {unsure} could not be graded" if unsure else ""))


def diagnose(work: Work, index: int) -> None:
    """Say which gaps are widest."""
    counts, _ = _counts(work, index, "diagnose")
    profile = profile_of(work, index)
    weakest = ", ".join(f"{skill} {_accuracy(profile, skill)}" for skill in profile.worst(SHOWN))
    _line(work, "diagnose", f"{counts.get('diagnose/failures', 0):,} failures    weakest: {weakest}")


def teach(work: Work, index: int) -> None:
    """Say what the teacher was asked, and what came of it."""
    counts, took = _counts(work, index, "teach")
    asked, paid_before = counts.get("teach/asked", 0), counts.get("teach/from ledger", 0)
    rate = f"    {asked / took:.0f}/s" if asked and took > 0 else ""
    again = f" ({paid_before:,} from the ledger)" if paid_before else ""
    _line(
        work, "teach",
        f"{asked:,} asked{again} > {counts.get('teach/answered', 0):,} answered > {counts.get('teach/parsed', 0):,} "
        f"parsed > {counts.get('teach/candidates', 0):,} candidates{rate}",
    )  # fmt: skip


def sift(work: Work, index: int) -> None:
    """Say what was kept, and the leading reasons of what was not."""
    counts, _ = _counts(work, index, "filter")
    drops = sorted(((k[5:], n) for k, n in counts.items() if k.startswith("drop/")), key=lambda d: -d[1])
    reasons = ", ".join(f"{reason} {count}" for reason, count in drops[:SHOWN])
    _line(work, "filter", f"{counts.get('filter/kept', 0):,} kept" + (f"    dropped: {reasons}" if drops else ""))


def select(work: Work, index: int) -> None:
    """Say how many rows the student will see."""
    counts, _ = _counts(work, index, "select")
    earlier = f" + {counts['select/earlier']:,} of earlier rounds" if counts.get("select/earlier") else ""
    _line(
        work, "select", f"{counts.get('select/new', 0):,} new + {counts.get('select/replayed', 0):,} replayed{earlier}"
    )


def learn(work: Work, index: int) -> None:
    """Say how the training went."""
    record = read_record(work.folder.round(index) / "learned.json", RoundLearned)
    assert record is not None
    it = record.learned
    _line(
        work, "learn",
        f"{it.steps:,} steps    {duration(it.seconds)}    loss {it.loss_first:.2f} > {it.loss_last:.2f}    "
        f"{it.trained_tokens:,} trained tokens",
    )  # fmt: skip


def exam(work: Work, index: int) -> None:
    """Say how the exam went, and what became of the student."""
    metrics = metrics_of(work, index)
    text = f"{metrics.n:,} problems    accuracy {percent(metrics.accuracy)}  [{_pair(metrics.low, metrics.high)}]"
    if metrics.change:
        text += f"    {_change(metrics.change)}"
    if metrics.ungraded:
        text += f"    {metrics.ungraded} could not be graded"
    _line(work, "exam", text)
    changes = {s: e.change for s, e in metrics.skills.items() if e.change and e.change.gained != e.change.lost}
    ups = sorted(((s, c) for s, c in changes.items() if c.difference > 0), key=lambda u: -u[1].difference)
    downs = sorted(((s, c) for s, c in changes.items() if c.difference < 0), key=lambda d: d[1].difference)
    if ups or downs:
        _line(work, "", f"up: {_named(ups) or 'none'}   down: {_named(downs) or 'none'}")
    if metrics.change:
        _line(work, "gate", metrics.verdict)


def _named(changes: list[tuple[str, Change]]) -> str:
    return ", ".join(f"{skill} {100 * change.difference:+.0f}" for skill, change in changes[:SHOWN])


def _change(change: Change) -> str:
    return f"{100 * change.difference:+.1f} [{_pair(change.low, change.high)}] (p {change.p:.2g})"


def _pair(low: float, high: float) -> str:
    return f"{100 * low:.1f}, {100 * high:.1f}"


def _accuracy(profile: SkillProfile, skill: str) -> str:
    accuracy = profile.rows[skill].accuracy
    return "not seen" if accuracy is None else f"{100 * accuracy:.0f} %"


def _counts(work: Work, index: int, stage: str) -> tuple[dict[str, int], float]:
    marker = work.folder.marker(index, stage)
    assert marker is not None
    return marker.counts, marker.seconds


def _line(work: Work, title: str, text: str) -> None:
    work.listener.line(f"  {title:<10} {text}")
