"""How a budget is shared by skills: the steps that the selector `profile` puts together. Pure functions.

A skill's gap is thought to close with the lessons on it as gap * exp(-rate * lessons). Then one more lesson brings
gap * rate, less for every lesson before it; a skill's `rate` is what the earlier rounds measured, drawn towards the
mean of all skills where they measured little.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from lessons.records import Lesson
from lessons.skills import SkillProfile


class Closed(NamedTuple):
    """What the lessons of earlier rounds on one skill did to its gap."""

    gain: float = 0.0
    """By how much the gap fell in all; negative where it grew."""
    exposure: float = 0.0
    """Lessons on it, each times the gap that it found: lessons on a wholly missing skill that would be as many."""


def closed_gaps(profiles: Sequence[SkillProfile], lessons: Iterable[Lesson]) -> dict[str, Closed]:
    """Return what the lessons of kept rounds did to each skill's pooled gap.

    Args:
        profiles: of rounds 1, 2, ... up to now.
        lessons: of the rounds whose student was kept. A round without any of them changed nothing and is left out, as
            are the warm-up's lessons, before which no profile was made.
    """
    given = Counter((lesson.provenance.round, lesson.provenance.skill or "") for lesson in lessons)
    rounds = {index for index, _ in given if 1 <= index < len(profiles)}
    found: dict[str, Closed] = {}
    for index in sorted(rounds):
        before, after = profiles[index - 1], profiles[index]
        old, new = before.pooled(), after.pooled()
        for skill, row in before.rows.items():
            count = given[index, skill]
            if count and row.tried and skill in after.rows and after.rows[skill].tried:
                one = found.get(skill, Closed())
                gain = one.gain + old[skill].gap - new[skill].gap
                found[skill] = Closed(gain, one.exposure + count * old[skill].gap)
    return found


def learnability(gaps: Mapping[str, float], closed: Mapping[str, Closed], shrink: float) -> dict[str, float]:
    """Return each skill's rate: what share of its gap one lesson closes, in lessons ** -1, at least 0.

    rate = (gain + shrink * prior) / (exposure + shrink), and 0 where that is negative. The prior of a skill is the mean
    rate of all skills (total gain / total exposure; 1 while nothing was measured), times 1 - gap over the mean of
    1 - gap: skills that are half known come first, since what a student sometimes can it learns soonest, and what it
    never can may lack what it builds on. So gap * rate is gap * (1 - gap) up to a factor in the first round. Where no
    rate is above 0, nothing was learned from any lesson, and the priors of a first round stand.

    Args:
        gaps: skill -> gap now, in [0, 1].
        closed: what earlier lessons did; skills that are not in it have the prior alone.
        shrink: exposure that the prior counts for, above 0.
    """
    exposure = math.fsum(one.exposure for one in closed.values())
    gain = math.fsum(one.gain for one in closed.values())
    mean = max(0.0, gain / exposure) if exposure else 1.0
    known = {skill: 1.0 - gap for skill, gap in gaps.items()}
    usual = math.fsum(known.values()) / len(known) if known else 0.0
    rates: dict[str, float] = {}
    for skill in gaps:
        prior = mean * (known[skill] / usual if usual else 1.0)
        one = closed.get(skill, Closed())
        rates[skill] = max(0.0, (one.gain + shrink * prior) / (one.exposure + shrink))
    return rates if any(rates.values()) or not closed else learnability(gaps, {}, shrink)


def with_prerequisites(
    weights: Mapping[str, float], gaps: Mapping[str, float], built_on: Mapping[str, Sequence[str]], shut: float
) -> dict[str, float]:
    """Return the weights after each skill has given its own to the open skills that it builds on.

    A skill with a prerequisite whose gap is above `shut` gives all its weight to such prerequisites, in proportion to
    their gaps; they give it on to what they build on themselves. The sum of the weights stays.

    Args:
        weights: skill -> weight, at least 0.
        gaps: skill -> gap in [0, 1], of those skills alone that lessons can be had for: others hold nothing up.
        built_on: skill -> the skills that it builds on.
        shut: gap up to which a skill counts as learned, in [0, 1].

    Raises:
        ValueError: skills build on each other in a circle; names them.
    """
    found = dict(weights)
    for skill in reversed(in_order(built_on)):  # what builds on others gives before they do
        open_ones = [one for one in dict.fromkeys(built_on.get(skill, ())) if gaps.get(one, 0.0) > shut]
        given = found.get(skill, 0.0) if open_ones else 0.0
        whole = math.fsum(gaps[one] for one in open_ones)
        for one in open_ones:
            found[one] = found.get(one, 0.0) + given * gaps[one] / whole
        if open_ones and skill in found:
            found[skill] = 0.0
    return found


def in_order(built_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the skills of a mapping, each after those that it builds on.

    Raises:
        ValueError: they build on each other in a circle; names them.
    """
    try:
        return list(TopologicalSorter({skill: list(below) for skill, below in built_on.items()}).static_order())
    except CycleError as error:
        circle = " on ".join(reversed([str(skill) for skill in error.args[1]]))
        raise ValueError(f"prerequisites: skills build on each other in a circle: {circle}") from error


def tempered(weights: Mapping[str, float], temper: float) -> dict[str, float]:
    """Return shares that sum to 1, in proportion to weight ** temper; all 0 where every weight is.

    1 leaves the proportions, 0 makes every weight above 0 alike, above 1 sharpens. A weight of 0 stays 0.
    """
    largest = max(weights.values(), default=0.0)
    if largest <= 0:
        return dict.fromkeys(weights, 0.0)
    raised = {skill: (weight / largest) ** temper if weight > 0 else 0.0 for skill, weight in weights.items()}
    whole = math.fsum(raised.values())
    return {skill: value / whole for skill, value in raised.items()}


def fading(shares: Mapping[str, float], budget: int, fade: float) -> dict[str, float]:
    """Return the shares of a budget with which each next lesson goes where it brings most.

    The n-th lesson on a skill brings share * exp(-n / fade). The sum is largest with n = fade * log(share / level) for
    skills above the level, 0 for the others, and the level such that all n sum to the budget.

    Args:
        shares: skill -> what a first lesson brings, in any unit, at least 0.
        budget: lessons; with 0 the shares stay.
        fade: lessons on one skill after which one more brings 1/e of the first, above 0.
    """
    logs = {skill: math.log(share) for skill, share in shares.items() if share > 0}
    if not logs or budget <= 0:
        return dict(shares)
    parts = dict.fromkeys(shares, 0.0)
    ordered = sorted(logs, key=lambda skill: -logs[skill])
    for count in range(len(ordered), 0, -1):  # as many skills as can be above the level
        above = ordered[:count]
        mean = math.fsum(logs[skill] for skill in above) / count
        found = {skill: 1 / count + fade / budget * (logs[skill] - mean) for skill in above}
        if found[above[-1]] >= 0:
            return parts | found
    return parts


def with_floor(shares: Mapping[str, float], floor: float) -> dict[str, float]:
    """Return shares of which a part, `floor` in [0, 1], is spread evenly over all skills."""
    even = 1 / len(shares) if shares else 0.0
    return {skill: (1 - floor) * share + floor * even for skill, share in shares.items()}


def capped(shares: Mapping[str, float], most: float) -> dict[str, float]:
    """Return shares of which none is above `most` in (0, 1]; what is cut off goes to the others by their shares.

    Where there are too few skills with a share to hold everything, they are all alike.
    """
    found = dict(shares)
    whole = math.fsum(found.values())
    full: set[str] = set()
    while over := [skill for skill, share in found.items() if skill not in full and share > most * whole]:
        full |= set(over)
        rest = {skill: shares[skill] for skill in shares if skill not in full and shares[skill] > 0}
        if not rest:
            return {skill: whole / len(full) if skill in full else 0.0 for skill in shares}
        left, mass = whole * (1 - most * len(full)), math.fsum(rest.values())
        if left <= 0:
            positive = [skill for skill, share in shares.items() if share > 0]
            return {skill: whole / len(positive) if skill in positive else 0.0 for skill in shares}
        found = {
            skill: most * whole if skill in full else left * rest[skill] / mass if skill in rest else 0.0
            for skill in shares
        }
    return found
