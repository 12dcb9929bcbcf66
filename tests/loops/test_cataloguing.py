"""Writing the catalogue and labelling by a teacher: per subject, in batches, from the closed list, twice."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from lessons.errors import InputError, RoundError
from lessons.records import Message, Problem
from lessons.skills import Skill, SkillCatalog
from loops.catalog.file import Label
from loops.catalog.writing import BATCH, Labelled, check_own_skills, joined, label, planned, with_labels, write_catalog
from loops.records import CatalogInfo
from teachers.base import Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts import skill_clusters, skill_labels, skill_names
from teachers.prompts.reading import sections
from teachers.scripted import ScriptedTeacher

Rule = Callable[[dict[str, str]], str]


def teacher(*, names: Rule, clusters: Rule, labels: Rule) -> ScriptedTeacher:
    """Answer each kind of prompt by a rule of its fields."""
    rules = {skill_names.SYSTEM: names, skill_clusters.SYSTEM: clusters, skill_labels.SYSTEM: labels}

    def say(messages: Sequence[Message], sampling: Sampling) -> str:
        return rules[messages[0]["content"]](sections(messages[1]["content"]))

    return ScriptedTeacher(replies=say)


def silent(fields: dict[str, str]) -> str:
    raise AssertionError("must not be asked")


def problems(count: int, subject: str = "", skills: tuple[str, ...] = ()) -> list[Problem]:
    return [Problem(question=f"{subject} {n}?", answer=str(n), subject=subject, skills=skills) for n in range(count)]


async def asked(who: ScriptedTeacher, folder: Path, do):
    with Ledger.open(folder / "calls.sqlite") as ledger:
        return await do(Caller(who, ledger))


async def test_names_are_merged_subject_by_subject(tmp_path: Path) -> None:
    who = teacher(
        names=lambda f: "Skills: solve for x, keep order" if "algebra" in f["question"] else "Skills: measure angles",
        clusters=lambda f: "\n".join(f"- {name} well: Can {name}." for name in f["names"].splitlines()),
        labels=silent,
    )
    every = [*problems(5, "algebra"), *problems(3, "geometry")]
    written = await asked(who, tmp_path, lambda caller: write_catalog(every, caller, 4, Random(0)))
    assert written == (
        SkillCatalog(
            skills=(
                Skill(name="keep order well", description="Can keep order.", subject="algebra"),
                Skill(name="solve for x well", description="Can solve for x.", subject="algebra"),
                Skill(name="measure angles well", description="Can measure angles.", subject="geometry"),
            )
        ),
        7,  # 4 of algebra, all 3 of geometry
        3,
        0,
    )


async def test_one_name_in_two_subjects_becomes_two(tmp_path: Path) -> None:
    who = teacher(names=lambda f: "Skills: count", clusters=lambda f: "- Counting: Count.", labels=silent)
    every = [*problems(2, "algebra"), *problems(2, "geometry")]
    written = await asked(who, tmp_path, lambda caller: write_catalog(every, caller, 4, Random(0)))
    assert written.catalog.names == ("Counting", "Counting (geometry)")


async def test_many_names_are_merged_in_batches_that_fit(tmp_path: Path) -> None:
    sizes: list[int] = []

    def merge(fields: dict[str, str]) -> str:
        lines = fields["names"].splitlines()
        sizes.append(len(lines))
        return "\n".join(f"- {letter} work: Work on {letter}." for letter in sorted({line[0] for line in lines}))

    def name(fields: dict[str, str]) -> str:
        number = int(fields["question"].strip(" ?"))
        return f"Skills: {'abcdefgh'[number % 8]} skill {number}"

    who = teacher(names=name, clusters=merge, labels=silent)
    every = problems(400)
    written = await asked(who, tmp_path, lambda caller: write_catalog(every, caller, 400, Random(0)))
    assert written.catalog.names == tuple(f"{letter} work" for letter in "abcdefgh")
    assert written.names == 400
    assert sum(sizes[:-1]) == 400
    assert len(sizes) == 4  # three batches, and what came of them
    assert max(sizes) <= BATCH


async def test_a_list_that_cannot_be_read_is_asked_for_again(tmp_path: Path) -> None:
    replies = iter(["I am sorry.", "Really.", "- adding: Add numbers."])
    who = teacher(names=lambda f: "Skills: add", clusters=lambda f: next(replies), labels=silent)
    written = await asked(who, tmp_path, lambda caller: write_catalog(problems(3), caller, 3, Random(0)))
    assert written.catalog.names == ("adding",)
    temperatures = [r.sampling.temperature for r in who.requests if r.messages[0]["content"] == skill_clusters.SYSTEM]
    assert temperatures == [0.0, 0.0, 0.7]  # the first, its repair turn, another sample


async def test_of_a_teacher_that_merges_nothing_the_most_frequent_names_are_taken_and_that_is_told(
    tmp_path: Path,
) -> None:
    """What a model of half a billion parameters did with the names of 14 problems."""

    def name(fields: dict[str, str]) -> str:
        number = int(fields["question"].strip(" ?"))
        return f"Skills: add, skill {'abcdefghijklmnopqrstuvwxyz'[number % 26]}, sort {chr(97 + number % 10)}"

    who = teacher(
        names=name,
        clusters=lambda f: "\n".join(f"- {one}: {one} is a line of skills" for one in f["names"].splitlines()),
        labels=silent,
    )
    written = await asked(who, tmp_path, lambda caller: write_catalog(problems(26), caller, 26, Random(0)))
    assert written.names == 37
    assert written.cut == 1
    assert written.catalog.names == (
        "add",
        *(f"sort {one}" for one in "abcdefghij"),
        *(f"skill {one}" for one in "abcdefghi"),
    )
    assert "could not merge its names of skills" in CatalogInfo(source="teacher", cut=1).note


async def test_a_teacher_that_cannot_write_a_list_ends_with_one_line(tmp_path: Path) -> None:
    who = teacher(names=lambda f: "Skills: add", clusters=lambda f: "No.", labels=silent)
    with pytest.raises(RoundError, match=r"could not be read, not in 3 tries .*diagnose.catalog"):
        await asked(who, tmp_path, lambda caller: write_catalog(problems(3), caller, 3, Random(0)))
    who = teacher(names=lambda f: "I will not.", clusters=silent, labels=silent)
    with pytest.raises(RoundError, match=r"named no skill .*for subject 'algebra'.*diagnose.catalog"):
        await asked(who, tmp_path / "..", lambda caller: write_catalog(problems(3, "algebra"), caller, 3, Random(0)))


LISTED = SkillCatalog(
    skills=(
        Skill(name="factoring", description="Factor.", subject="algebra"),
        Skill(name="solving", subject="algebra"),
        Skill(name="angles", subject="geometry"),
    )
)


def names_shown(fields: dict[str, str]) -> list[str]:
    return re.findall(r"^- ([a-z ]+)", fields["skills"], re.MULTILINE)


async def test_labels_come_from_the_list_of_the_subject_alone(tmp_path: Path) -> None:
    who = teacher(names=silent, clusters=silent, labels=lambda f: "Skills: angles, solving, juggling\nReason: So.")
    every = [*problems(1, "algebra"), *problems(1, "geometry")]
    plan = planned(every, LISTED, {}, 0, 0)
    counts: Counter[str] = Counter()
    made = await asked(who, tmp_path, lambda caller: label(plan, caller, LISTED, counts, by="tutor"))
    assert [one.skills for one in made.first.values()] == [("solving",), ("angles",)]
    first = made.first[every[0].id]
    assert (first.by, first.question, set(first.entries)) == ("tutor", "algebra 0?", {"solving"})
    assert counts == {"label/labelled": 2, "label/none fits": 0, "label/lost": 0, "label/second pass": 0}
    assert [p.skills for p in with_labels(every, {k: v.skills for k, v in made.first.items()})] == [
        ("solving",), ("angles",),
    ]  # fmt: skip


async def test_the_second_pass_is_really_asked_again_with_the_list_turned_round(tmp_path: Path) -> None:
    """A teacher that takes the first name of whatever list it sees: the passes never agree."""
    who = teacher(names=silent, clusters=silent, labels=lambda f: f"Skills: {names_shown(f)[0]}\nReason: It is first.")
    every = [*problems(3, "algebra"), *problems(2, "geometry")]
    plan = planned(every, LISTED, {}, 100, 0)
    assert sorted(p.id for p in plan.second) == sorted(p.id for p in every)
    made = await asked(who, tmp_path, lambda caller: label(plan, caller, LISTED, Counter()))
    whole = joined({}, made)
    assert {(one.skills, one.again) for one in whole.values() if one.subject == "algebra"} == {
        (("factoring",), ("solving",))
    }
    assert {(one.skills, one.again) for one in whole.values() if one.subject == "geometry"} == {
        (("angles",), ("angles",))
    }
    assert len(who.requests) == 10  # a list of one name is the same either way, and is asked again nevertheless


async def test_lost_labels_are_counted_and_too_many_stop_the_run(tmp_path: Path) -> None:
    def some(fields: dict[str, str]) -> str:
        return "No." if int(fields["question"].split()[1].strip("?")) % 2 else "Skills: none\nReason: None fits."

    who = teacher(names=silent, clusters=silent, labels=some)
    every = problems(40, "algebra")
    plan = planned(every, LISTED, {}, 40, 0)
    counts: Counter[str] = Counter()
    made = await asked(who, tmp_path, lambda caller: label(plan, caller, LISTED, counts, max_lost=0.5))
    assert counts == {"label/labelled": 0, "label/none fits": 20, "label/lost": 20, "label/second pass": 20}
    whole = joined({}, made)
    assert set(whole) == {problem.id for problem in every[::2]}  # a lost reply is no label, also with a second pass
    assert all(one.skills == () == one.again for one in whole.values())
    with pytest.raises(RoundError, match=r"40 of 80 labels of problems were lost, above the share of 40%.*invalid"):
        await asked(who, tmp_path, lambda caller: label(plan, caller, LISTED, counts, max_lost=0.4))


def test_a_second_pass_without_a_first_says_nothing() -> None:
    known = {"1": Label(problem="1", skills=("a",))}
    whole = joined(known, Labelled({}, {"1": ("b",), "2": ("c",)}))
    assert whole == {"1": Label(problem="1", skills=("a",), again=("b",))}


def test_the_plan_leaves_out_what_is_known_and_what_brings_skills() -> None:
    every = [*problems(6), *problems(2, "algebra", ("solving",))]
    catalog = SkillCatalog.of_names(["solving"])
    whole = planned(every, catalog, {}, 3, 0)
    assert whole.first == tuple(every[:6])
    assert len(whole.second) == 3
    twice = whole.second[0]
    known = {problem.id: Label(problem=problem.id) for problem in every[:6]}
    known[twice.id] = Label(problem=twice.id, again=())
    later = planned(every[::-1], catalog, known, 3, 0)
    assert later.first == ()
    assert later.second == whole.second[1:]  # the same sample, whatever the order; one has its second pass
    assert planned(every, catalog, {}, 3, 1).second != whole.second


def test_a_subject_without_skills_and_a_skill_outside_the_list() -> None:
    with pytest.raises(InputError, match="has no skill for subject 'physics'"):
        planned(problems(1, "physics"), LISTED, {}, 0, 0)
    check_own_skills(problems(1, skills=("angles",)), LISTED)
    with pytest.raises(InputError, match=r"has no skill 'juggling', which the problem at .* brings along"):
        check_own_skills(problems(1, skills=("juggling",)), LISTED)
