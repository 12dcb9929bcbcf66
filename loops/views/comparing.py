"""The figures of `tutelage compare`: accuracies, paired changes, curves and their cost, and settings that differ."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from lessons.errors import InputError
from lessons.seeds import over_seeds
from lessons.statistics import holm, wilson
from loops.costs.spending import spent_by_round
from loops.exams import gate
from loops.reading import RunView
from loops.records import Change
from loops.views.compare import Against, Compare, Group, Point, Reach, Setting, Side, SkillCompared
from loops.views.entrants import Answers, Entrant, Pairs, grouped, named, shared_problems, side_by_side
from loops.views.missing import missing
from loops.watching.standing import standing
from teachers.accounts import Account

STEP = 0.05
"""Between two accuracies whose cost is told."""


def compared(runs: Sequence[RunView], levels: Sequence[float]) -> Compare:
    """See `loops.views.compare.compare`."""
    final = all(run.final is not None for run in runs)
    entrants = [Entrant(run, final) for run in runs]
    shared = shared_problems([one.ends for one in entrants])
    held_out = shared_problems([[a for exam in one.exams.values() for a in exam] for one in entrants])
    if not shared:
        raise InputError(
            f"{runs[0].path} and {runs[-1].path}: their exams share no problem, so nothing can be compared; "
            "run both with the same task and held-out set"
        )
    skills = {a.problem.id: a.problem.skills for one in reversed(entrants) for a in one.ends}
    groups = grouped(entrants)
    names = named(groups)
    curves = {name: _curve(one, held_out) for name, one in names.items()}
    told = tuple(sorted(set(levels))) or _levels([point for curve in curves.values() for point in curve])
    first = next(iter(groups))
    against = {name: _against(names, groups, name, first, shared) for name in groups if name != first}
    same_base = _same_base(groups)
    return Compare(
        exam="final" if final else "held_out",
        shared=len(shared),
        shared_curve=len(held_out),
        runs=tuple(_side(name, one, groups, curves[name], told) for name, one in names.items()),
        groups=tuple(_group(name, groups[name], names, shared) for name in groups),
        against=tuple(row for row, _ in against.values()),
        skills=tuple(_skills(groups, {name: pairs for name, (_, pairs) in against.items()}, skills, shared)),
        levels=told,
        settings=tuple(_settings({name: ones[0].recipe for name, ones in groups.items()})),
        same_base=same_base,
        notes=tuple(_notes(entrants, groups, shared, same_base)),
    )


def _accuracy(exam: Answers, shared: frozenset[str]) -> tuple[int, int]:  # (right, graded)
    counted = [attempt for attempt in exam if attempt.graded and attempt.problem.id in shared]
    return sum(attempt.right for attempt in counted), len(counted)


def _share(exam: Answers, shared: frozenset[str]) -> float | None:
    right, graded = _accuracy(exam, shared)
    return right / graded if graded else None


def _curve(one: Entrant, shared: frozenset[str]) -> tuple[Point, ...]:
    spent = spent_by_round(one.run)
    points: list[Point] = []
    for turn in one.run.examined:
        right, graded = _accuracy(one.exams[turn.index], shared)
        if not graded or turn.metrics is None:
            continue
        low, high = wilson(right, graded)
        cost = spent.get(turn.index)
        points.append(
            Point(
                round=turn.index,
                n=graded,
                right=right,
                accuracy=right / graded,
                low=low,
                high=high,
                promoted=turn.metrics.promoted,
                tokens=_tokens(cost),
                usd=None if cost is None or cost.used.unpriced else cost.used.usd or 0.0,
            )
        )
    return tuple(points)


def _tokens(cost: Account | None) -> int | None:
    if cost is None:
        return None
    used = cost.used.tokens
    return (used.prompt or 0) + (used.completion or 0) if not cost.used.unmeasured else None


def _levels(points: Sequence[Point]) -> tuple[float, ...]:
    """Return every 5 % above the lowest start that some kept student came to."""
    kept = [point.accuracy for point in points if point.promoted]
    if not kept:
        return ()
    first, last = math.floor(min(kept) / STEP + 1e-9) + 1, math.floor(max(kept) / STEP + 1e-9)
    return tuple(round(number * STEP, 2) for number in range(first, last + 1))


def _reach(curve: Sequence[Point], level: float) -> Reach:
    point = next((p for p in curve if p.promoted and p.accuracy >= level - 1e-9), None)
    if point is None:
        return Reach(level=level, round=None, tokens=None, usd=None)
    return Reach(level=level, round=point.round, tokens=point.tokens, usd=point.usd)


def _side(
    name: str, one: Entrant, groups: Mapping[str, Sequence[Entrant]], curve: tuple[Point, ...], levels: Sequence[float]
) -> Side:
    run, info = one.run, one.run.info
    return Side(
        name=name,
        run=run.name,
        path=str(run.path),
        group=next(group for group, ones in groups.items() if one in ones),
        seed=one.seed,
        student=info.student if info else "",
        teacher=info.teacher if info else "",
        method=info.method if info else "",
        state=run.state,
        standing=standing(run).state,
        missing=missing(run),
        base=one.base,
        problems=len({attempt.problem.id for attempt in one.ends}),
        end=one.end.index,
        curve=curve,
        reached=tuple(_reach(curve, level) for level in levels),
    )


def _pooled(exams: Sequence[Answers], shared: frozenset[str]) -> Answers:
    """Return the exams of several runs as samples of the same problems, so that a problem is one cluster."""
    width = 1 + max((attempt.sample for exam in exams for attempt in exam), default=0)
    return [
        msgspec.structs.replace(attempt, sample=place * width + attempt.sample)
        for place, exam in enumerate(exams)
        for attempt in exam
        if attempt.problem.id in shared
    ]


def _group(name: str, ones: Sequence[Entrant], names: Mapping[str, Entrant], shared: frozenset[str]) -> Group:
    starts, ends = [_share(one.starts, shared) for one in ones], [_share(one.ends, shared) for one in ones]
    distinct = len({one.seed for one in ones}) == len(ones)
    both = [(start, end) for start, end in zip(starts, ends, strict=True) if start is not None and end is not None]
    return Group(
        name=name,
        runs=tuple(run for run, one in names.items() if one in ones),
        start=over_seeds([start for start in starts if start is not None], distinct),
        end=over_seeds([end for end in ends if end is not None], distinct),
        gain=over_seeds([end - start for start, end in both], distinct),
        change=gate.compare(_pooled([one.starts for one in ones], shared), _pooled([one.ends for one in ones], shared)),
    )


def _against(
    names: Mapping[str, Entrant], groups: Mapping[str, Sequence[Entrant]], name: str, first: str, shared: frozenset[str]
) -> tuple[Against, Pairs]:
    pairs = side_by_side(groups[name], groups[first])
    distinct = len({one.seed for one, _ in pairs}) == len(pairs)
    called = {id(one): run for run, one in names.items()}
    shares = [(_share(one.ends, shared), _share(other.ends, shared)) for one, other in pairs]
    row = Against(
        group=name,
        pairs=tuple((called[id(one)], called[id(other)]) for one, other in pairs),
        over_seeds=over_seeds([a - b for a, b in shares if a is not None and b is not None], distinct),
        change=_change(pairs, shared),
    )
    return row, pairs


def _change(pairs: Pairs, shared: frozenset[str]) -> Change:
    return gate.compare(
        _pooled([other.ends for _, other in pairs], shared), _pooled([one.ends for one, _ in pairs], shared)
    )


def _skills(
    groups: Mapping[str, Sequence[Entrant]], pairs: Mapping[str, Pairs], skills: Mapping[str, tuple[str, ...]],
    shared: frozenset[str],
) -> list[SkillCompared]:  # fmt: skip
    needing: dict[str, set[str]] = {}
    for problem in sorted(shared):
        for skill in skills[problem]:
            needing.setdefault(skill, set()).add(problem)
    of_skill = {skill: frozenset(problems) for skill, problems in needing.items()}
    changes = {name: {skill: _change(put, of_skill[skill]) for skill in of_skill} for name, put in pairs.items()}
    for name, found in changes.items():
        adjusted = holm({skill: change.p for skill, change in found.items()})
        changes[name] = {s: msgspec.structs.replace(change, p=adjusted[s]) for s, change in found.items()}
    rows = [
        SkillCompared(
            skill=skill,
            n=len(problems),
            accuracy={name: _share([a for one in ones for a in one.ends], problems) for name, ones in groups.items()},
            against={name: changes[name][skill] for name in pairs},
        )
        for skill, problems in of_skill.items()
    ]
    return sorted(rows, key=lambda row: (-max((abs(c.difference) for c in row.against.values()), default=0), row.skill))


def _settings(recipes: Mapping[str, Mapping[str, Any]]) -> list[Setting]:
    from loops.changing import differing_keys

    first, *others = recipes.values()
    keys = dict.fromkeys(key for other in others for key in differing_keys(first, other))
    found: list[Setting] = []
    for key in sorted(keys):
        values = {name: value for name, recipe in recipes.items() if (value := _at(recipe, key)) is not None}
        found.append(Setting(key=key, values=values))
    return found


def _at(recipe: Mapping[str, Any], key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = cast(Mapping[str, Any], value).get(part) if isinstance(value, Mapping) else None
    return value


def _same_base(groups: Mapping[str, Sequence[Entrant]]) -> bool | None:
    """Whether runs that stand side by side began with one student; None where one was not examined.

    Seeds of one recipe may begin with different students: a warm-up is drawn anew with each.
    """
    first, *others = groups.values()
    pairs = [pair for ones in others for pair in side_by_side(ones, first)] or [(one, first[0]) for one in first]
    if any(not one.base for ones in groups.values() for one in ones):
        return None
    return all(one.base == other.base for one, other in pairs)


def _notes(
    entrants: Sequence[Entrant], groups: Mapping[str, Sequence[Entrant]], shared: frozenset[str], same_base: bool | None
) -> list[str]:
    told: list[str] = []
    if same_base is False:
        told.append("the runs did not begin with the same student: a difference may have been there before any lesson")
    labels = [{a.problem.id: a.problem.skills for a in one.ends if a.problem.id in shared} for one in entrants]
    if any(label != labels[0] for label in labels):
        told.append("the runs label the shared problems with different skills: the first run's labels are used")
    if any(one.run.finished is None for one in entrants):
        told.append("not every run has come to its end: its last kept student is compared")
    for name, ones in groups.items():
        seeds = [one.seed for one in ones]
        if len(set(seeds)) < len(seeds):
            told.append(f"runs of {name} have the same seed: they repeat one another, and are not counted as seeds")
    if any(len(ones) == 1 for ones in groups.values()) and len(groups) > 1:
        told.append("one seed says nothing about how much another one would differ")
    if not all(one.final for one in entrants) and any(one.run.chosen_on == "held_out" for one in entrants):
        told.append("the held-out problems also decided which students were kept: gains on them are a little flattered")
    return told
