"""The lines that a run prints: one a stage, read from what the stage wrote."""

from collections.abc import Mapping

from lessons.records import FORM_ERRORS
from lessons.skills import SkillProfile
from loops.diagnosis.error_kinds import advice
from loops.exams.records import Contamination, TeacherExam
from loops.history import metrics_of, profile_of
from loops.records import CatalogInfo, Change, FinalExam, NoiseFloor, RoundLearned
from loops.remembering import held
from loops.store import read_record
from loops.views.exams_text import alike, final_told, teacher_told, teacher_warned
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
        f"{info.train:,} train problems" + (f", {info.final:,} problems kept for the final exam" if info.final else "")
    )
    for note in info.notes:
        work.listener.line(f"note: {note}")


def catalog(work: Work) -> None:
    """Say where the list of skills comes from, and how well the labels agree."""
    info = read_record(work.folder.path / "catalog.json", CatalogInfo)
    if info is None or not (info.labelled or info.unlabelled or info.lost):
        return  # the problems brought their skills along
    told = f"{info.labelled:,} problems labelled" + (f", {info.unlabelled:,} fit no skill" if info.unlabelled else "")
    told += f", {info.lost:,} lost" if info.lost else ""
    told += f" ({info.kept:,} labels stood already)" if info.kept else ""
    if info.agreement is not None and info.agreement.kappa is not None:
        it = info.agreement
        told += f"    kappa {it.kappa:.2f} [{it.low:.2f}, {it.high:.2f}] of two passes over {it.n:,}"
    _line(work, "skills", told)


def preflight(work: Work, exempt: str) -> None:
    """Say how the teacher did in its exam, or why it sat none. `exempt`: why not, "" where it is off or was sat."""
    record = read_record(work.folder.round(0) / "teacher.json", TeacherExam)
    if exempt:
        _line(work, "preflight", f"the teacher sits no exam: {exempt}")
    elif record is not None:
        counts = _counts(work, 0, "preflight")[0]
        _line(work, "preflight", teacher_told(record) + _judged(counts))
        if warned := teacher_warned(record):
            _line(work, "", f"warning: {warned}")


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
    _line(work, "examine", text + (f"    {unsure} could not be graded" if unsure else "") + _judged(counts))


def diagnose(work: Work, index: int) -> None:
    """Say which gaps are widest."""
    counts, _ = _counts(work, index, "diagnose")
    profile = profile_of(work, index)
    weakest = ", ".join(f"{skill} {_accuracy(profile, skill)}" for skill in profile.worst(SHOWN))
    told = f"{counts.get('diagnose/failures', 0):,} failures"
    if "rewards/difficult" in counts:
        told += f", {counts.get('diagnose/missed', 0):,} difficult by their rewards"
    _line(work, "diagnose", f"{told}    weakest: {weakest}")
    if counts.get("diagnose/form alone"):
        _line(work, "", _form_gap(work, counts))


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
    _line(
        work,
        "filter",
        f"{counts.get('filter/kept', 0):,} kept" + (f"    dropped: {reasons}" if drops else "") + _judged(counts),
    )


def select(work: Work, index: int) -> None:
    """Say how many rows the student will see."""
    counts, _ = _counts(work, index, "select")
    earlier = f" + {counts['select/earlier']:,} of earlier rounds" if counts.get("select/earlier") else ""
    text = f"{counts.get('select/new', 0):,} new + {counts.get('select/replayed', 0):,} replayed{earlier}"
    found = read_record(work.folder.round(index) / "contamination.json", Contamination)
    told = alike(found) if found else ""
    _line(work, "select", text + (f"    {told}" if told else ""))


def learn(work: Work, index: int) -> None:
    """Say how the training went."""
    record = read_record(work.folder.round(index) / "learned.json", RoundLearned)
    assert record is not None
    it = record.learned
    text = (
        f"{it.steps:,} steps    {duration(it.seconds)}    loss {it.loss_first:.2f} > {it.loss_last:.2f}    "
        f"{it.trained_tokens:,} trained tokens"
    )
    memory = held(work.folder.round(index), record)
    _line(work, "learn", text if it.steps else "nothing is trained: the weights stay")
    if not memory.empty:
        _line(work, "", f"it remembers {memory.told}")


def exam(work: Work, index: int) -> None:
    """Say how the exam went, and what became of the student."""
    metrics = metrics_of(work, index)
    text = f"{metrics.n:,} problems    accuracy {percent(metrics.accuracy)}  [{_pair(metrics.low, metrics.high)}]"
    if metrics.change:
        text += f"    {_change(metrics.change)}"
    if metrics.ungraded:
        text += f"    {metrics.ungraded} could not be graded"
    _line(work, "exam", text + _judged(_counts(work, index, "exam")[0]))
    changes = {s: e.change for s, e in metrics.skills.items() if e.change and e.change.difference}
    ups = sorted(((s, c) for s, c in changes.items() if c.difference > 0), key=lambda u: -u[1].difference)
    downs = sorted(((s, c) for s, c in changes.items() if c.difference < 0), key=lambda d: d[1].difference)
    noise = read_record(work.folder.round(0) / "noise.json", NoiseFloor)
    if ups or downs:
        floor = f"   (floor {100 * noise.floor:.1f})" if noise else ""
        _line(work, "", f"up: {_named(ups) or 'none'}   down: {_named(downs) or 'none'}{floor}")
    elif noise and not index:
        _line(
            work, "noise",
            f"examined twice: {noise.changed:,} of {noise.n:,} answers differ, {noise.flipped:,} verdicts; "
            f"floor {100 * noise.floor:.1f}",
        )  # fmt: skip
    if metrics.change:
        _line(work, "gate", metrics.verdict)


def final(work: Work) -> None:
    """Say how the final exam went, where there was one: the figure to report."""
    record = read_record(work.folder.path / "final.json", FinalExam)
    if record is None:
        return
    work.listener.line(f"final exam   {final_told(record)}")


def _form_gap(work: Work, counts: Mapping[str, int]) -> str:
    """Return how many failures are of form alone, what that means for the gaps, and what to do about it."""
    kinds = {kind: counts.get(f"error/{kind}", 0) for kind in sorted(FORM_ERRORS)}
    told = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items() if count)
    meant = "no gap of a skill"
    if counts.get("diagnose/form taken for skills"):
        meant = "nearly all, so the skills that they need are taken for lacking"
    form, missed = counts["diagnose/form alone"], counts.get("diagnose/missed", 0)
    what_to_do = advice(kinds, work.recipe.student.answer.max_tokens)
    return f"{form:,} of {missed:,} are of form alone ({told}): {meant}; {what_to_do}"


def _judged(counts: Mapping[str, int]) -> str:
    """Return how often a grader asked its teacher; "" where it asks none."""
    asked, paid_before = counts.get("judge/asked", 0), counts.get("judge/from ledger", 0)
    again = f" ({paid_before:,} from the ledger)" if paid_before else ""
    return f"    judge asked {asked:,}{again}" if asked else ""


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
