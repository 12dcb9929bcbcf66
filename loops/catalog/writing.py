"""The skill catalogue, written and used by the teacher: name, cluster, label (arXiv 2405.12205; methods.md 16).

Fine skills are named for a sample of problems, merged into a closed list for each subject, and every problem is
labelled from the list of its subject alone. A second pass over some of the problems shows how far labels hold.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from lessons.errors import InputError, RoundError
from lessons.ids import content_id, seed_of
from lessons.records import Problem
from lessons.skills import Skill, SkillCatalog
from loops.catalog.file import Label, entries_of
from loops.methods.base import together
from loops.round import LEAST_REPLIES
from teachers.calls import Asker
from teachers.prompts.skill_clusters import ASKED, SKILL_CLUSTERS, listed
from teachers.prompts.skill_labels import skill_labels
from teachers.prompts.skill_names import SKILL_NAMES

BATCH = 150
"""Fine names in one request to merge: some 1,000 tokens, which small contexts hold too. Our own bound."""
TRIES = 3
"""Requests for one merged list, each with its repair turn, before a run ends for want of it. Our own bound."""
RETRY_TEMPERATURE = 0.7
"""Of the second and third try: at 0 the same unreadable reply would come again. Our own choice."""
SHORT = 30
"""Characters of a subject that tell two skills of one name apart."""
SHOWN = 160
"""Characters of a question that stand in the file of labels, for people."""


class Written(NamedTuple):
    """A catalogue that a teacher wrote, and from how much."""

    catalog: SkillCatalog
    sample: int
    """Problems whose skills it named."""
    names: int
    """Different fine names that it gave them."""
    cut: int
    """Lists that the teacher could not merge, so that their first names alone were taken."""


class Plan(NamedTuple):
    """Problems that a teacher is asked to label."""

    first: tuple[Problem, ...]
    second: tuple[Problem, ...]
    """Those that are labelled once more, to see whether the labels hold."""


class Labelled(NamedTuple):
    """What the teacher said, where its reply could be read."""

    first: dict[str, Label]
    """Problem id -> label."""
    second: dict[str, tuple[str, ...]]
    """Problem id -> the skills that the second pass named."""


async def write_catalog(problems: Sequence[Problem], caller: Asker, sample: int, rng: Random) -> Written:
    """Let the teacher write the closed list: name the skills of a sample, then merge the names, subject by subject.

    Args:
        problems: what the catalogue is for; only their questions and subjects are used.
        caller: asks the teacher.
        sample: problems of each subject whose skills are named, at most.
        rng: draws them.

    Raises:
        RoundError: no name could be read for a subject, or its merged list not in `TRIES` tries.
    """
    by_subject: dict[str, list[Problem]] = {}
    for problem in problems:
        by_subject.setdefault(problem.subject, []).append(problem)
    drawn = {
        subject: rng.sample(by_subject[subject], min(sample, len(by_subject[subject])))
        for subject in sorted(by_subject)
    }
    named = await together(
        caller.ask(SKILL_NAMES, {"question": problem.question}) for some in drawn.values() for problem in some
    )
    names: dict[str, Counter[str]] = {subject: Counter() for subject in drawn}
    subjects = (subject for subject, some in drawn.items() for _ in some)
    for subject, replies in zip(subjects, named, strict=True):
        names[subject].update(name for reply in replies for name in reply.value or ())
    for subject, found in names.items():
        if not found:
            raise RoundError(
                f"the teacher named no skill that could be read{_of(subject)}; write the list yourself and name it "
                "with diagnose.catalog, or take another teacher"
            )
    cuts: list[str] = []
    lists = await together(_merged(_most_frequent(found), subject, caller, cuts) for subject, found in names.items())
    skills = _distinct(skill for part in lists for skill in part)
    catalog = SkillCatalog(skills=tuple(skills))
    return Written(catalog, sum(map(len, drawn.values())), sum(map(len, names.values())), len(cuts))


def _of(subject: str) -> str:
    return f" for subject {subject!r}" if subject else ""


def _most_frequent(names: Counter[str]) -> list[str]:
    return [name for name, _ in sorted(names.items(), key=lambda item: (-item[1], item[0]))]


async def _merged(names: Sequence[str], subject: str, caller: Asker, cuts: list[str]) -> tuple[Skill, ...]:
    """Return the skills that names are merged into: batch by batch where they are many, and then what came of those.

    Similar names mostly begin alike, so the batches are cut from the sorted list, and each keeps the order of
    frequency. A weak teacher may give every name back as it stands: after the last try the first of its list are
    taken, which are the most frequent ones, and `cuts` tells of it.
    """
    if len(names) > BATCH:
        rank = {name: place for place, name in enumerate(names)}
        ordered, count = sorted(names), -(-len(names) // BATCH)
        ends = [len(names) * end // count for end in range(count + 1)]
        batches = [sorted(ordered[ends[i] : ends[i + 1]], key=rank.__getitem__) for i in range(count)]
        parts = await together(_merged(batch, subject, caller, cuts) for batch in batches)
        return await _merged(list(dict.fromkeys(s.name for part in parts for s in part)), subject, caller, cuts)
    complaint, unmerged = "", list[tuple[Skill, ...]]()
    for turn in range(TRIES):
        sampling = SKILL_CLUSTERS.sampling
        if turn:
            seed = seed_of("skill_clusters", turn)
            sampling = msgspec.structs.replace(sampling, temperature=RETRY_TEMPERATURE, seed=seed)
        (answer,) = await caller.ask(SKILL_CLUSTERS, {"names": "\n".join(names)}, sampling=sampling)
        if answer.value is not None:
            return _in_subject(answer.value.skills, subject)
        complaint = f"{answer.reason}: {answer.detail}"
        if answer.reason == "budget":
            break
        if answer.reason in ("invalid", "truncated"):
            whole = answer.text if answer.reason == "invalid" else answer.text.rpartition("\n")[0]
            unmerged.append(listed(whole))
    usable = sorted((skills for skills in unmerged if skills), key=len)
    if usable and not complaint.startswith("budget"):
        cuts.append(subject)
        whole = next((skills for skills in usable if len(skills) >= ASKED), usable[-1])  # the one most merged
        return _in_subject(whole[:ASKED], subject)
    raise RoundError(
        f"the teacher's list of skills{_of(subject)} could not be read, not in {TRIES} tries ({complaint}); write the "
        "list yourself and name it with diagnose.catalog, or take another teacher"
    )


def _in_subject(skills: Iterable[Skill], subject: str) -> tuple[Skill, ...]:
    return tuple(msgspec.structs.replace(skill, subject=subject) for skill in skills)


def _distinct(skills: Iterable[Skill]) -> list[Skill]:
    """Return skills whose names differ, since profiles count by name: a later one is told by its subject."""
    found: list[Skill] = []
    for skill in skills:
        taken = SkillCatalog(skills=tuple(found))
        if taken.match(skill.name) is not None:
            of_subject = " ".join((skill.subject or "general").replace(";", " ").replace(",", " ").split())[:SHORT]
            skill = msgspec.structs.replace(skill, name=f"{skill.name} ({of_subject})")
        if taken.match(skill.name) is None:
            found.append(skill)
    return found


def planned(
    problems: Iterable[Problem], catalog: SkillCatalog, known: Mapping[str, Label], sample: int, seed: int
) -> Plan:
    """Return what is still to be asked, where `known` labels stand already.

    The problems of the second pass are those with the least hash of seed and id: the same ones whatever else changes.

    Raises:
        InputError: the catalogue has no skill for a problem's subject.
    """
    unique = {problem.id: problem for problem in problems}
    bare = {key: problem for key, problem in unique.items() if not problem.skills}
    for subject in dict.fromkeys(problem.subject for problem in bare.values()):
        if not catalog.of_subject(subject):
            raise InputError(f"catalogue: has no skill{_of(subject)}; add some, or one without a subject")
    second = sorted(bare, key=lambda key: content_id("second pass", problem=key, seed=seed))[:sample]
    return Plan(
        tuple(problem for key, problem in bare.items() if key not in known),
        tuple(bare[key] for key in second if key not in known or known[key].again is None),
    )


def check_own_skills(problems: Iterable[Problem], catalog: SkillCatalog) -> None:
    """Check the skills that problems bring along against a list that the user gave beside them.

    Raises:
        InputError: a problem brings one that is not in the list.
    """
    known = set(catalog.names)
    for problem in problems:
        unknown = next((name for name in problem.skills if name not in known), None)
        if unknown is not None:
            raise InputError(
                f"diagnose.catalog: has no skill {unknown!r}, which the problem at {problem.source or problem.id} "
                "brings along; add it, or leave the catalogue out"
            )


async def label(
    plan: Plan, caller: Asker, catalog: SkillCatalog, counts: Counter[str], *, by: str = "", max_lost: float = 1.0
) -> Labelled:
    """Label the planned problems from the closed list of their subject, at most five skills each, as in STAT.

    The second pass is another request for each problem: the list is turned round, so that a label that hangs on the
    order of the list shows. A lost reply is no label, and is counted.

    Raises:
        RoundError: over `max_lost` of the replies were lost.
    """
    before = caller.totals.copy()
    first = await together(_labelled(problem, caller, catalog, by) for problem in plan.first)
    second = await together(_labelled(problem, caller, catalog, by, turned=True) for problem in plan.second)
    got = [made for made in first if made is not None]
    counts["label/labelled"] += sum(bool(made.skills) for made in got)
    counts["label/none fits"] += sum(not made.skills for made in got)
    counts["label/lost"] += len(first) - len(got)
    counts["label/second pass"] += sum(made is not None for made in second)
    _check_lost([*first, *second], caller.totals.lost - before.lost, max_lost)
    return Labelled(
        {made.problem: made for made in got}, {made.problem: made.skills for made in second if made is not None}
    )


async def _labelled(
    problem: Problem, caller: Asker, catalog: SkillCatalog, by: str, *, turned: bool = False
) -> Label | None:
    skills = catalog.of_subject(problem.subject)
    prompt = skill_labels(SkillCatalog(skills=skills[::-1] if turned else skills))
    # a seed of its own: where the list has one name, turning it round makes no other request
    drawn = msgspec.structs.replace(prompt.sampling, seed=seed_of("skill_labels", "second pass")) if turned else None
    (answer,) = await caller.ask(prompt, {"question": problem.question}, sampling=drawn)
    if answer.value is None:
        return None
    return Label(
        problem=problem.id,
        skills=answer.value.skills,
        subject=problem.subject,
        by=by,
        entries=entries_of(catalog, answer.value.skills),
        question=" ".join(problem.question.split())[:SHOWN],
    )


def _check_lost(replies: Sequence[object], lost: Mapping[str, int], max_lost: float) -> None:
    count = sum(reply is None for reply in replies)
    if len(replies) < LEAST_REPLIES or count <= max_lost * len(replies) or lost.get("budget"):
        return
    reason, most = max(lost.items(), key=lambda item: item[1])
    raise RoundError(
        f"{count} of {len(replies)} labels of problems were lost, above the share of {max_lost:.0%} (calls.max_lost); "
        f"most were {reason} ({most})"
    )


def joined(known: Mapping[str, Label], made: Labelled) -> dict[str, Label]:
    """Return the known labels with what was asked now; a second pass is put beside the first one of its problem."""
    whole = {**known, **made.first}
    for key, names in made.second.items():
        if key in whole:  # else the first reply was lost, and one pass alone says nothing about agreement
            whole[key] = msgspec.structs.replace(whole[key], again=names)
    return whole


def with_labels(problems: Sequence[Problem], labels: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Return the problems with their labels filled in where they had none."""
    return [
        problem if problem.skills else msgspec.structs.replace(problem, skills=tuple(labels.get(problem.id, ())))
        for problem in problems
    ]
