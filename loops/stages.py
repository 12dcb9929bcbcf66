"""The stages of a round. Each is a function of what earlier stages wrote, and is done once."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import chain, repeat
from pathlib import Path

import msgspec

from lessons.errors import GradeError, RoundError
from lessons.graders.base import Grade
from lessons.jsonl import write_jsonl
from lessons.records import Attempt, Dropped, Lesson, LostReply
from lessons.skills import SkillProfile
from loops import tracking
from loops.diagnosis.stage import diagnosed
from loops.examining import of_round, sit
from loops.exams import gate
from loops.exams.auditing import audit_round
from loops.filters.base import AskingFilter, Context, Filter
from loops.filters.overlap import Overlap
from loops.filters.sieve import Named, Sieve, groups, turns
from loops.graders.base import AskingGrader
from loops.grading import grades_for
from loops.history import profile_of
from loops.methods.base import Method
from loops.orders.base import Order
from loops.records import ExamMetrics, Marker, RoundLearned
from loops.remembering import told, write_held, write_told
from loops.replay import replayed
from loops.round import Round
from loops.seeing import choice_of, context_of, round_of
from loops.selectors.base import Budgeted, Selector, new_rows, replay_rows
from loops.store import write_record
from loops.stored import Ids, joined, picked
from loops.work import Work
from students.base import Student
from students.memory import remembering
from students.objectives.none import Untrained
from teachers.calls import Caller
from teachers.prompts.rating import Rating


def examine(work: Work, index: int, student: Student) -> Marker:
    """The student answers train problems, the grader scores -> answers.jsonl."""

    def do(folder: Path, counts: Counter[str]) -> None:
        problems = of_round(work.split.train, index, work.recipe.examine.per_round, work.recipe.seed)
        samples, seed = work.recipe.examine.samples, work.seed(index, "examine")
        attempts = sit(work, "examine", student, problems, counts, samples=samples, seed=seed)
        counts["examine/attempts"] = write_jsonl(folder / "answers.jsonl", attempts)
        counts["examine/right"] = sum(attempt.right for attempt in attempts)
        counts["examine/failed"] = sum(attempt.failed for attempt in attempts)
        counts["examine/ungraded"] = sum(not attempt.graded for attempt in attempts)

    return work.once(index, "examine", ("answers.jsonl",), do)


def diagnose(work: Work, index: int) -> Marker:
    """How each attempt went wrong, and the skills that it lacked -> attempts.jsonl, profile.json."""

    def do(folder: Path, counts: Counter[str]) -> None:
        found = diagnosed(work, index, folder, counts)
        write_jsonl(folder / "attempts.jsonl", found)
        write_record(folder / "profile.json", SkillProfile.of(found, work.catalog.names))

    return work.once(index, "diagnose", ("attempts.jsonl", "profile.json"), do)


def teach(work: Work, index: int, student: Student) -> Marker:
    """The method's candidates -> candidates.jsonl, lost.jsonl, dropped_by_method.jsonl; what it has the next student
    remember -> memory.json."""
    outputs = ["candidates.jsonl", "lost.jsonl", "dropped_by_method.jsonl"]

    def do(folder: Path, counts: Counter[str]) -> None:
        method: Method = work.recipe.make("method", work.recipe.method, "method")
        made: list[Round] = []

        async def ask(caller: Caller) -> Sequence[Lesson]:
            round_ = round_of(work, index, student, caller, work.folder.without(index, "method"))
            made.append(round_)
            lessons = await method.teach(round_)
            round_.check_replies()
            return lessons

        candidates = work.asking("teach", counts, ask)
        (round_,) = made
        counts["teach/candidates"] = write_jsonl(folder / "candidates.jsonl", candidates)
        (folder / ".written.jsonl").unlink(missing_ok=True)  # where a method that writes many had them
        counts["teach/lost"] = write_jsonl(folder / "lost.jsonl", round_.lost)
        outputs.extend(write_told(folder, round_))
        write_jsonl(folder / "dropped_by_method.jsonl", round_.dropped)
        counts.update({f"teach/{name}": count for name, count in round_.counts.items()})

    return work.once(index, "teach", outputs, do)


def sift(work: Work, index: int, student: Student) -> Marker:
    """The filters, one after the other -> kept.jsonl, dropped.jsonl, each drop with its reason."""

    def do(folder: Path, counts: Counter[str]) -> None:
        lessons = work.records(index, "candidates.jsonl", Lesson)
        by_method = work.records(index, "dropped_by_method.jsonl", Dropped)
        filters: list[Named] = [
            (spec["id"], work.recipe.make("filter", spec, f"filters[{place}]"))
            for place, spec in enumerate(work.recipe.filters)
        ]

        def asks(judge: Filter) -> bool:
            by_asking = isinstance(work.grader, AskingGrader) and getattr(judge, "needs_grades", False)
            return by_asking or isinstance(judge, AskingFilter)

        def look(judge: Filter, some: Sequence[Lesson], context: Context) -> Context:
            grades = grades_for(judge, work.grader, some, work.judging("judge lessons", counts))
            if asks(judge):  # what was paid for, later filters see too
                known.update(grades)
                grades = known
            ratings = _ratings(work, judge, some, counts)
            if getattr(judge, "needs_scores", False):
                work.make_room("scoring")
            return replace(context, grades=grades or context.grades, ratings=ratings)

        known: dict[str, Grade | GradeError] = {}
        context = replace(context_of(work, index, work.scores(index, student)), grades=known)
        with Sieve(work.folder.round(index) / ".sieve") as sieve:
            for group in groups([*filters, ("overlap", Overlap())], asks):
                lessons = sieve.through(group, lessons, context, look, whole=not turns(group[0][1], asks))
            counts["filter/kept"] = write_jsonl(folder / "kept.jsonl", lessons)
            counts["filter/dropped"] = write_jsonl(folder / "dropped.jsonl", chain(by_method, sieve.dropped))
            reasons = Counter(f"{drop.check.filter}: {drop.check.reason}" for drop in by_method) + sieve.counts
        counts.update({f"drop/{reason}": count for reason, count in reasons.items()})

    return work.once(index, "filter", ("kept.jsonl", "dropped.jsonl"), do)


def select(work: Work, index: int, student: Student) -> Marker:
    """Budget, weights from the profile, order, replayed rows -> lessons.jsonl; the audit -> contamination.json."""

    def do(folder: Path, counts: Counter[str]) -> None:
        selector: Selector = work.recipe.make("selector", work.recipe.select, "select")
        candidates = work.records(index, "kept.jsonl", Lesson)
        if not candidates and told(folder) is None:
            raise RoundError(_nothing_left(work, index))
        profile = profile_of(work, index)
        wanted = new_rows(selector.budget, selector.replay, len(candidates))
        choice = choice_of(work, index, student)
        work.make_room("scoring")
        chosen = selector.select(candidates, wanted, choice) if candidates else []
        skills: Counter[str] = Counter()
        now = Ids(seen(lesson, skills).id for lesson in chosen)
        replay = replayed(
            replay_rows(len(chosen), selector.replay),
            attempts=choice.attempts,
            earlier=choice.earlier,
            profile=profile,
            instruction=work.task.instruction,
            index=index,
            rng=choice.rng,
            shares=selector.replay_shares(choice) if isinstance(selector, Budgeted) else None,
            besides=now,
        )
        besides = {lesson.id for lesson in replay}
        again = _kept_on(work, choice.earlier, lambda one: one not in now and one not in besides)
        order: Order = work.recipe.make("order", work.recipe.order, "order")
        lessons: Sequence[Lesson] = []
        if candidates:
            first = ((0, place) for place in range(len(again)))
            lessons = order.order(joined((again, chosen, replay), chain(first, _interleaved(chosen, replay))), choice)
        assert choice.scores is not None
        choice.scores.close()  # what scored gives its memory to what is trained
        counts["select/new"] = len(chosen)
        counts["select/replayed"] = len(replay)
        counts["select/earlier"] = len(again) if candidates else 0
        counts.update({f"skill/{skill}": 0 for skill in profile.rows})
        counts.update({f"skill/{skill}": count for skill, count in skills.items()})
        write_jsonl(folder / "lessons.jsonl", lessons)
        counts.update({f"contamination/{kind}": rows for kind, rows in audit_round(work, index, folder).rows.items()})

    return work.once(index, "select", ("lessons.jsonl", "contamination.json"), do)


def learn(work: Work, index: int, student: Student) -> Marker:
    """TRL trains the next student, where there are lessons; it gets its memory -> student/, learned.json."""
    outputs = ["learned.json"]

    def do(folder: Path, counts: Counter[str]) -> None:
        lessons = work.read(index, "lessons.jsonl", Lesson)
        into = work.folder.clear(index, "student")
        training = work.recipe.training
        if not lessons and told(folder) is not None:
            training = msgspec.structs.replace(training, objective=Untrained())
        start = work.base if training.start == "base" and training.objective.trains else student
        work.make_room("training")
        with work.listener.bar("learn", 0) as progress:
            next_student, learned = start.learn(
                lessons, into, training,
                seed=work.seed(index, "learn"), progress=progress, tracking=tracking.tracked(work, index),
                grader=None if isinstance(work.grader, AskingGrader) else work.grader,
                keep=folder / "training",
            )  # fmt: skip
        memory, files = write_held(folder, student)
        outputs.extend(files)
        record = RoundLearned(
            student=remembering(next_student, memory).digest,
            taught=start.digest,
            learned=learned,
            memory=None if memory.empty else memory.id,
        )
        write_record(folder / "learned.json", record)
        counts["learn/lessons"] = len(lessons)
        counts["learn/steps"] = learned.steps

    return work.once(index, "learn", outputs, do)


def exam(work: Work, index: int, student: Student, before: int | None) -> Marker:
    """The held-out set, a paired test against the student before, the gate -> exam.jsonl, metrics.json."""

    def do(folder: Path, counts: Counter[str]) -> None:
        parts = [("exam", work.split.held_out)] + ([("gate", work.split.gate)] if work.split.gate else [])
        for name, problems in parts:
            attempts = sit(work, name, student, problems, counts, seed=work.seed(0, "exam"))
            write_jsonl(folder / f"{name}.jsonl", attempts)
        metrics = _metrics(work, index, student.digest, before)
        counts["exam/right"], counts["exam/graded"] = metrics.right, metrics.n
        counts["exam/promoted"] = int(metrics.promoted)
        write_record(folder / "metrics.json", metrics)

    return work.once(index, "exam", ("exam.jsonl", "metrics.json"), do)


def _metrics(work: Work, index: int, digest: str, before: int | None) -> ExamMetrics:
    attempts = work.read(index, "exam.jsonl", Attempt)
    if before is None:
        metrics = gate.sum_up(index, digest, attempts, skills=work.catalog.names)
        return msgspec.structs.replace(metrics, verdict="the student before any lesson")
    was = work.read(before, "exam.jsonl", Attempt)
    start = work.read(0, "exam.jsonl", Attempt)
    metrics = gate.sum_up(index, digest, attempts, skills=work.catalog.names, before=was, start=start)
    judged = metrics.change
    if work.split.gate:
        judged = gate.compare(work.read(before, "gate.jsonl", Attempt), work.read(index, "gate.jsonl", Attempt))
        metrics = msgspec.structs.replace(metrics, gate=judged)
    assert judged is not None
    promoted, verdict = gate.judge(judged, rule=work.recipe.gate.rule, alpha=work.recipe.gate.alpha)
    return msgspec.structs.replace(metrics, promoted=promoted, verdict=verdict)


def _ratings(work: Work, judge: Filter, lessons: Sequence[Lesson], counts: Counter[str]) -> Mapping[str, Rating | str]:
    if not isinstance(judge, AskingFilter):
        return {}
    return work.asking(
        "rate lessons", counts, lambda caller: judge.ratings(lessons, caller), prefix="judge", teacher=work.judge
    )


def _kept_on(work: Work, earlier: Sequence[Lesson], wanted: Callable[[str], bool]) -> Sequence[Lesson]:
    """Return the earlier lessons, of wanted ids, that are trained again: all where training begins from the base, but
    only those of the warm-up where the method teaches its latest lessons alone (`earlier: false`); none where it goes
    on from the last student."""
    if work.recipe.train.start != "base":
        return []
    alone = work.recipe.method.get("earlier") is False
    places = (
        place
        for place, lesson in enumerate(earlier)
        if (not alone or lesson.provenance.round == 0) and wanted(lesson.id)
    )
    return picked(earlier, places)


def _interleaved(chosen: Sequence[Lesson], replay: Sequence[Lesson]) -> Iterator[tuple[int, int]]:
    """Yield (1, place) for the new rows and (2, place) for the replayed ones, which are spread evenly among them, so
    that a sequential order has them throughout."""
    rows = [zip(repeat(which), range(len(some))) for which, some in ((1, chosen), (2, replay))]
    sizes = {1: len(chosen), 2: len(replay)}
    return merge(*rows, key=lambda row: ((row[1] + 0.5) / sizes[row[0]], row[0]))


def seen(lesson: Lesson, skills: Counter[str]) -> Lesson:
    """Return a lesson, its skill counted."""
    skills[str(lesson.provenance.skill)] += 1
    return lesson


def _nothing_left(work: Work, index: int) -> str:
    dropped = Counter(f"{d.check.filter}: {d.check.reason}" for d in work.read(index, "dropped.jsonl", Dropped))
    lost = Counter(f"{r.prompt}: {r.reason}" for r in work.read(index, "lost.jsonl", LostReply))
    leading = (dropped + lost).most_common(1)
    why = f"most were dropped by {leading[0][0]} ({leading[0][1]})" if leading else "the method made no candidate"
    return f"round {index}: no lesson is left to train on; {why}; `tutelage show` has the whole funnel"
