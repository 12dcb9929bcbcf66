"""Diagnosis of attempts: what asks nobody, what the teacher says, where both contradict the grader."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from lessons.demo.skills import SKILLS, catalog, generate, solve
from lessons.graders.math import MathGrader
from lessons.records import FORM_ERRORS, Attempt, Message, Problem
from lessons.skills import SkillProfile
from lessons.tally import of_form_alone
from loops.diagnosis.attempts import (
    NEARLY_ALL,
    Way,
    by_needed,
    by_teacher,
    right_ones,
    with_confused,
    with_form_as_skills,
    without_asking,
)
from loops.diagnosis.verdicts import Verdicts
from loops.grading import verdicts_of, with_verdict
from teachers.base import Sampling
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.prompts.reading import sections
from teachers.rule_tutor import RuleTutor
from teachers.scripted import ScriptedTeacher

CATALOG = catalog()
QUESTION = "One book costs 7 dollars. Ben buys 2 books and pays with 40 dollars. How many dollars come back?"
BOOKS = Problem(question=QUESTION, answer="26", skills=("change",), solution="2*7=14. 40-14=26.\nAnswer: 26")


def attempt(text: str, problem: Problem = BOOKS, *, cut: bool = False, **more: object) -> Attempt:
    (verdict,) = verdicts_of(MathGrader(), [(problem, text)], None)
    return with_verdict(Attempt(problem=problem, student="s", text=text, cut=cut, **more), verdict)  # type: ignore[arg-type]


SLIP = attempt("2*7=14. 40-14=36.\nAnswer: 36")
CUT = attempt("One book costs 7 dollars and", cut=True)
NO_ANSWER = attempt("He gets some money back.")
GAVE_UP = attempt("I don't know.")
RIGHT = attempt("2*7=14. 40-14=26.\nAnswer: 26")


def diagnose(
    attempts: Sequence[Attempt], tmp_path: Path, teacher: object = None, way: Way | None = None
) -> tuple[list[Attempt], Counter[str], Caller]:
    counts: Counter[str] = Counter()
    tmp_path.mkdir(exist_ok=True)
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        caller = Caller(teacher or RuleTutor(), ledger)  # type: ignore[arg-type]
        return asyncio.run(by_teacher(attempts, caller, CATALOG, counts, way)), counts, caller


def replying(*lines: str) -> Callable[[Sequence[Message], Sampling], str]:
    return lambda messages, sampling: "\n".join(lines)


def test_failures_of_form_ask_nobody_and_lack_no_skill(tmp_path: Path) -> None:
    found, _, caller = diagnose([CUT, NO_ANSWER, RIGHT], tmp_path)
    assert caller.totals.asked == 0
    assert [a.missing for a in found] == [(), (), ()]
    assert [a.diagnosis.error if a.diagnosis else None for a in found] == ["truncated", "format", None]
    assert [a.diagnosis.by for a in found[:2] if a.diagnosis] == ["program", "program"]
    assert [of_form_alone(a) for a in found] == [True, True, False]


def test_who_gave_up_is_not_read(tmp_path: Path) -> None:
    (found,), _, caller = diagnose([GAVE_UP], tmp_path)
    assert caller.totals.asked == 0
    assert found.missing == ("change",)
    assert found.diagnosis is not None
    assert (found.diagnosis.by, found.diagnosis.error) == ("needed", "gave up")


def test_the_teacher_says_what_was_lacking_and_how_it_went_wrong(tmp_path: Path) -> None:
    (found,), _, caller = diagnose([SLIP], tmp_path)
    assert caller.totals.asked == 1
    assert found.missing == ("change", "borrowing")
    it = found.diagnosis
    assert it is not None
    assert (it.by, it.verdict, it.error, it.privileged) == ("teacher", "wrong", "arithmetic slip", False)
    assert it.call


def test_form_can_be_looked_at_like_anything_else(tmp_path: Path) -> None:
    found, _, caller = diagnose([CUT, NO_ANSWER], tmp_path, way=Way(form="skill"))
    assert caller.totals.asked == 2
    assert all(a.missing[0] == "change" for a in found)
    assert [a.diagnosis.error for a in found if a.diagnosis] == ["truncated", "format"]  # a program's word goes first
    assert without_asking(CUT, "skill") is None
    assert by_needed(CUT).missing == ("change",)


@pytest.mark.parametrize(
    ("reply", "missing", "by", "error", "counted"),
    [
        (("Verdict: wrong", "Skills: juggling"), ("change",), "needed", None, "no diagnosis: invalid"),
        (("Verdict: wrong", "Error: wrong plan", "Skills: none"), ("change",), "needed", "wrong plan",
         "teacher names no skill"),
        (("Verdict: right", "Skills: none", "Reason: Fine."), ("change",), "needed", None, None),
        (("Verdict: right", "Error: format", "Skills: none"), (), "teacher", "format", None),
        (("Verdict: wrong", "Error: format", "Skills: none"), (), "teacher", "format", None),
        (("Verdict: wrong", "Error: format", "Skills: units"), ("units",), "teacher", None, None),
        (("Verdict: wrong", "Skills: units, change"), ("units", "change"), "teacher", None, None),
    ],
)  # fmt: skip
def test_what_the_teacher_says_of_a_failure(
    tmp_path: Path, reply: tuple[str, ...], missing: tuple[str, ...], by: str, error: str | None, counted: str | None
) -> None:
    (found,), counts, _ = diagnose([SLIP], tmp_path, ScriptedTeacher(replies=replying(*reply)))
    assert found.diagnosis is not None
    assert (found.missing, found.diagnosis.by, found.diagnosis.error) == (missing, by, error)
    assert counts == (Counter({counted: 1}) if counted else Counter())


def test_a_reason_says_why_the_needed_skills_stand_there(tmp_path: Path) -> None:
    (found,), _, _ = diagnose(
        [SLIP], tmp_path, ScriptedTeacher(replies=replying("Verdict: right", "Skills: none", "Reason: Fine."))
    )
    assert found.diagnosis is not None
    assert found.diagnosis.reason.startswith("the teacher takes the attempt for right")
    assert found.diagnosis.reason.endswith(": Fine.")
    assert found.diagnosis.verdict == "right"
    assert Verdicts.of([found]).excused == 1


def test_right_attempts_that_are_checked_make_no_gap(tmp_path: Path) -> None:
    alarm = ScriptedTeacher(replies=replying("Verdict: wrong", "Error: wrong plan", "Skills: units", "Reason: No."))
    found, _, caller = diagnose([RIGHT, SLIP, RIGHT], tmp_path, alarm, Way(check=(0,)))
    assert caller.totals.asked == 2
    checked, failed, unchecked = found
    assert checked.missing == unchecked.missing == ()
    assert checked.diagnosis is not None
    assert (checked.diagnosis.verdict, checked.diagnosis.error) == ("wrong", None)
    assert unchecked.diagnosis is None
    assert failed.missing == ("units",)
    assert Verdicts.of(found).false_alarms == 1


def test_a_lost_reply_about_a_right_attempt_leaves_it_alone(tmp_path: Path) -> None:
    (found,), counts, _ = diagnose([RIGHT], tmp_path, ScriptedTeacher(replies=replying("what?")), Way(check=(0,)))
    assert found == RIGHT
    assert counts == {"no diagnosis: invalid": 1}


def test_right_attempts_are_drawn_by_chance_and_never_missed_ones() -> None:
    difficult = attempt(RIGHT.text, difficult=True)
    attempts = [RIGHT, SLIP, RIGHT, difficult, RIGHT, RIGHT]
    drawn = [right_ones(attempts, 2, Random(seed)) for seed in range(40)]
    assert all(len(places) == 2 and places <= {0, 2, 4, 5} for places in drawn)
    assert len(set(drawn)) > 3
    assert right_ones(attempts, 99, Random(0)) == {0, 2, 4, 5}
    assert right_ones(attempts, 0, Random(0)) == frozenset()


def test_the_reference_is_shown_only_where_the_recipe_says_so(tmp_path: Path) -> None:
    seen: list[str] = []

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        seen.append(messages[1]["content"])
        return "Verdict: wrong\nSkills: change\nReason: The change is wrong."

    for privileged in (False, True):
        way = Way(privileged=privileged)
        (found,), _, _ = diagnose([SLIP], tmp_path / str(privileged), ScriptedTeacher(replies=reply), way)
        assert found.diagnosis is not None
        assert found.diagnosis.privileged is privileged
    assert "40-14=26" not in seen[0]
    assert sections(seen[1])["reference"] == BOOKS.solution
    bare = attempt("Answer: 3", Problem(question=QUESTION, answer="26", skills=("change",)))
    diagnose([bare], tmp_path / "bare", ScriptedTeacher(replies=reply), Way(privileged=True))
    assert sections(seen[2])["reference"] == "26"


def test_process_rewards_decide_whom_the_teacher_sees(tmp_path: Path) -> None:
    easy, hard = attempt(SLIP.text, difficult=False), attempt(RIGHT.text, difficult=True)
    found, _, caller = diagnose([easy, hard], tmp_path)
    assert caller.totals.asked == 1
    assert found[0] == easy
    assert found[1].missing == ("change",)  # the teacher takes it for right; the problem's own skill is taken
    assert found[1].diagnosis is not None
    assert found[1].diagnosis.verdict == "right"


def test_nearly_all_of_form_and_the_needed_skills_are_taken() -> None:
    formless = [without_asking(CUT) or CUT] * 95
    others = [by_needed(SLIP)] * 5
    taken = with_form_as_skills([*formless, *others, RIGHT])
    assert all(a.missing == ("change",) for a in taken[:100])
    assert taken[0].diagnosis is not None
    assert (taken[0].diagnosis.by, taken[0].diagnosis.error) == ("needed", "truncated")
    assert "nearly all" in taken[0].diagnosis.reason
    assert taken[-1] == RIGHT


def test_below_that_share_form_stays_apart() -> None:
    count = round(100 * NEARLY_ALL)
    attempts = [*[without_asking(CUT) or CUT] * count, *[by_needed(SLIP)] * (100 - count)]
    assert with_form_as_skills(attempts) == attempts
    assert with_form_as_skills([]) == []
    assert with_form_as_skills([RIGHT]) == [RIGHT]


def test_an_erring_teacher_is_found_out_in_both_directions(tmp_path: Path) -> None:
    """Wrong verdicts at a known rate: both shares of agreement must show it, and kappa with them."""
    problems = []
    for skill in SKILLS:
        for number in range(20):
            question, answer = generate(skill, Random(f"{skill}{number}"))
            problems.append(Problem(question=question, answer=answer, skills=(skill,)))
    attempts = [
        attempt((solve(p.question).text if number % 2 else "Answer: 3141592"), p)  # type: ignore[union-attr]
        for number, p in enumerate(problems)
    ]
    everywhere = Way(check=range(len(attempts)))
    honest, _, _ = diagnose(attempts, tmp_path / "honest", RuleTutor(), everywhere)
    assert Verdicts.of(honest).kappa == pytest.approx(1)
    erring, _, _ = diagnose(attempts, tmp_path / "erring", RuleTutor(error_rate=0.2), everywhere)
    found = Verdicts.of(erring)
    on_failures, on_right = found.shares
    assert on_right == pytest.approx(0.8, abs=0.1)  # every error on a right attempt is a wrong verdict
    assert on_failures == pytest.approx(0.9, abs=0.07)  # half of them on a failure: the others name a wrong skill
    assert 0.5 < (found.kappa or 0) < 0.9


def test_form_errors_are_those_of_the_record() -> None:
    assert {"format", "truncated"} == set(FORM_ERRORS)


def labelled(answer: str | None, score: float) -> Attempt:
    problem = Problem(question="play a film", answer="SearchScreeningEvent", skills=("SearchScreeningEvent",))
    return Attempt(problem=problem, student="s", text=answer or "", answer=answer, score=score)


def test_a_confused_label_is_lacked_beside_the_right_one() -> None:
    names = ("SearchScreeningEvent", "SearchCreativeWork")
    found = [
        with_confused(by_needed(labelled(answer, score)), names)
        for answer, score in (
            ("SearchCreativeWork", 0.0), ("SearchScreeningEvent", 1.0), ("a film", 0.0), (None, 0.0),
        )
    ]  # fmt: skip
    assert [attempt.missing for attempt in found] == [
        ("SearchScreeningEvent", "SearchCreativeWork"), (), ("SearchScreeningEvent",), ("SearchScreeningEvent",),
    ]  # fmt: skip
    assert found[0].diagnosis is not None
    assert found[0].diagnosis.reason.endswith("and it answered SearchCreativeWork")
    assert with_confused(found[0], names) == found[0]
    profile = SkillProfile.of(found, names)
    assert profile.shares("gap")["SearchCreativeWork"] > 0
