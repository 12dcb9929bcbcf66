"""The demo's skills: every question is understood from its text alone, and solved as an independent check solves it."""

import re
from datetime import date, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.demo.form import WEEKDAYS, essence, misread, pattern
from lessons.demo.grader import DemoGrader, stated, typed
from lessons.demo.marking import mark
from lessons.demo.skills import SKILLS, catalog, generate, solve, understand
from lessons.errors import GradeError
from lessons.records import Problem

skills = st.sampled_from(sorted(SKILLS))
seeds = st.integers(min_value=0, max_value=2**32)


def check(skill: str, question: str) -> str:
    """Answer a question by other means than the package's: from the numbers and words as they stand in the text."""
    n = [int(x) for x in re.findall(r"\d+", question)]
    match skill:
        case "carrying":
            return str(n[0] + n[1])
        case "borrowing":
            return str(abs(n[0] - n[1]))
        case "products":
            return str(n[0] * n[1])
        case "remainders":
            return str(n[0] - n[1] * (n[0] // n[1]))
        case "percentages":
            return f"{n[0] * n[1] / 100:g}"
        case "units":
            factor = {"centimetres": 100, "minutes": 60, "seconds": 60, "grams": 1000, "days": 7, "inches": 12}
            small = next(word for word in re.findall(r"[a-z]+", question.lower()) if word in factor)
            if "hours" in question:
                small = "minutes"
            elif "minutes" in question:
                small = "seconds"
            return str(n[0] * factor[small] + n[1])
        case "largest":
            return str(sorted(n)[-1])
        case "second smallest":
            return str(sorted(n)[1])
        case "sorting":
            return ", ".join(str(x) for x in sorted(n))
        case "counting evens":
            return str(len([x for x in n if not x & 1]))
        case "sequences":
            return str(n[3] + (n[3] - n[0]) // 3)
        case "averages":
            return f"{sum(n) / 3:g}"
        case "first letters":
            words = max(re.findall(r"[a-z]+(?:, [a-z]+)+", question), key=len)
            return "".join(word[:1] for word in words.split(", "))
        case "two steps":
            return str(n[0] - n[1] + n[2])
        case "change":
            numbers = sorted(n)
            paid = numbers.pop()
            return str(paid - numbers[0] * numbers[1])
        case "clock":
            then = datetime(2024, 1, 1, n[0], n[1]) + timedelta(minutes=n[2])  # noqa: DTZ001 - a wall clock
            return f"{then.hour}:{then.minute:02d}"
        case _:
            (day,) = [index for index, name in enumerate(WEEKDAYS) if name in question]
            monday = date(2024, 1, 1)
            days = n[0] if "after" in question else -n[0]
            return (monday + timedelta(days=day + days)).strftime("%A")


@given(skill=skills, seed=seeds)
def test_a_question_is_solved_from_its_text_alone(skill: str, seed: int) -> None:
    question, answer = generate(skill, Random(seed))
    worked = solve(question)
    assert worked is not None
    assert (worked.skill, worked.answer) == (skill, answer)
    assert answer == check(skill, question)
    assert worked.text.endswith(f"\nAnswer: {answer}")
    assert len(worked.steps) <= 120
    assert generate(skill, Random(seed)) == (question, answer)


@given(skill=skills, seed=seeds)
def test_a_question_belongs_to_one_skill_only(skill: str, seed: int) -> None:
    question, _ = generate(skill, Random(seed))
    assert [name for name, other in SKILLS.items() if other.read(question)] == [skill]


@given(skill=skills, seed=seeds)
def test_wordings_of_the_same_facts_have_the_same_essence(skill: str, seed: int) -> None:
    one = SKILLS[skill]
    rng = Random(seed)
    facts = one.facts(rng)
    read = [understand(template.format_map(facts)) for template in one.templates]
    assert {essence(found[1]) for found in read if found} == {essence(facts)}
    assert all(read)


@given(skill=skills, seed=seeds)
def test_the_steps_calculate_rightly(skill: str, seed: int) -> None:
    question, answer = generate(skill, Random(seed))
    worked = solve(question)
    assert worked is not None
    found = mark(question, worked.text)
    assert found is not None
    assert (found.right, found.false_step, found.lacking, found.answer) == (True, "", (), answer)


@given(skill=skills, seed=seeds)
def test_a_slip_and_a_misreading_end_wrong(skill: str, seed: int) -> None:
    rng = Random(seed)
    question, answer = generate(skill, rng)
    understood = understand(question)
    assert understood is not None
    one, facts = understood
    slips = [one.work(facts, True), misread(one, facts, rng)]
    assert slips[0] is not None
    for steps, wrong in filter(None, slips):
        assert not DemoGrader().same(wrong, answer)
        found = mark(question, f"{steps}\nAnswer: {wrong}")
        assert found is not None
        assert not found.right
        assert found.lacking[0] == skill


def test_most_questions_can_be_misread() -> None:
    for name, skill in SKILLS.items():
        facts = [skill.facts(Random(seed)) for seed in range(50)]
        assert sum(misread(skill, each, Random(1)) is not None for each in facts) >= 45, name


def test_there_are_enough_skills_wordings_and_different_questions() -> None:
    assert len(SKILLS) >= 14
    for name, skill in SKILLS.items():
        assert 2 <= len(skill.templates) <= 4, name
        found = {essence(skill.facts(Random(seed))) for seed in range(4000)}
        assert len(found) >= 250, f"{name}: only {len(found)} different questions"


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is 41 + 32?",  # nothing to carry
        "What is 047 + 038?",
        "What is 47 + 38 + 5?",
        "What is 47+38?",
        "Which of these numbers is the largest: 12, 12, 13, 14, 15?",  # two alike
        "What is the average of 1, 2, 2?",
        "How many cats are 3 metres and 2 cats?",
        "Anna has 47 apples and gets 38 more. How many pens does Anna have now?",  # another thing
        "Anna has 47 apples and gets 38 more. How many apples does Ben have now?",  # another person
        "It is 9:75. What time is it 30 minutes later?",
        "What is 47 + 38?" * 1000,
        "９９",
    ],
)
def test_what_is_no_question_of_the_demo_is_not_solved(question: str) -> None:
    assert solve(question) is None


@given(st.text(max_size=500))
def test_any_text_is_looked_at_without_an_error(text: str) -> None:
    solve(text)
    mark("What is 47 + 38?", text)
    typed(text)
    assert stated(text) != ""


def test_blanks_and_line_breaks_do_not_matter() -> None:
    worked = solve("  What is\n 47  + 38? ")
    assert worked is not None
    assert worked.answer == "85"


def test_the_catalogue_has_the_skills_in_order() -> None:
    assert catalog("units", "clock").names == ("units", "clock")
    assert catalog().names == tuple(SKILLS)
    assert all(skill.description for skill in catalog().skills)


def test_a_field_that_stands_twice_must_be_the_same() -> None:
    assert pattern("{name} and {name}").fullmatch("Anna and Anna")
    assert not pattern("{name} and {name}").fullmatch("Anna and Ben")


@pytest.mark.parametrize(
    ("attempt", "answer", "right", "false_step", "correction", "lacking", "error"),
    [
        ("So 47+38=75.\nAnswer: 75", "75", False, "47+38=75", "47+38=85", ("two steps", "carrying"), "arithmetic slip"),
        (
            "63-29=44. 44+5=49. Answer: 49",
            "49",
            False,
            "63-29=44",
            "63-29=34",
            ("two steps", "borrowing"),
            "arithmetic slip",
        ),
        ("12 x 4 = 40", None, False, "12 x 4 = 40", "12*4=48", ("two steps", "products"), "format"),
        ("63-20=43. 43+13=56. Answer: 56", "56", True, "", "", (), None),
        ("2+3*4=14. 9/3=3. 5/0=1. Answer: 57", "57", False, "", "", ("two steps",), "misread question"),
        ("4/0=2", None, False, "", "", ("two steps",), "format"),
        ("", None, False, "", "", ("two steps",), "gave up"),
    ],
)
def test_marking(
    attempt: str,
    answer: str | None,
    right: bool,
    false_step: str,
    correction: str,
    lacking: tuple[str, ...],
    error: str | None,
) -> None:
    question = "A bus has 63 people. At a stop 20 get off and 13 get on. How many people are on the bus?"
    found = mark(question, attempt)
    assert found is not None
    assert found[1:] == (answer, right, false_step, correction, lacking, error)
    assert mark("Why?", attempt) is None


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("Answer: 85", "85", True),
        ("Ones: 5.\n**Answer:** 85", "85", True),
        ("Answer: **85**.", "85", True),
        ("Answer: 84. No, wait.\nAnswer: 85", "85", True),
        ("Answer: 85 apples", "85", True),
        ("Answer: $85", "85", True),
        ("Answer: 85.0", "85", True),
        ("Answer: 1,085 grams", "1085", True),
        ("The answer is 85.", "85", True),
        ("So, the answer is: **85**", "85", True),
        ("The answer is 84.", "85", False),
        ("Answer: -85", "85", False),
        ("Answer: 85 or 86", "85", False),
        ("Answer: 85, 86", "85", False),
        ("Answer: 850", "85", False),
        ("Answer: 8 5", "85", False),
        ("Answer: .85", "85", False),
        ("Answer: 85:00", "85", False),
        ("Answer: Monday", "Monday", True),
        ("Answer: monday.", "Monday", True),
        ("Answer: Monday or Tuesday", "Monday", False),
        ("Answer: a Monday", "Monday", False),
        ("Answer: 9:05", "9:05", True),
        ("Answer: 9:05 p.m.", "9:05", True),
        ("Answer: 9:5", "9:05", False),
        ("Answer: 9:50", "9:05", False),
        ("Answer: 12, 34, 56", "12, 34, 56", True),
        ("Answer: [12, 34, and 56]", "12, 34, 56", True),
        ("Answer: 12 34 56", "12, 34, 56", True),
        ("Answer: 34, 12, 56", "12, 34, 56", False),
        ("Answer: 12, 34", "12, 34, 56", False),
        ("Answer: wrun", "wrun", True),
        ("Answer: w", "wrun", False),
    ],
)
def test_answers_are_compared_by_kind(text: str, reference: str, right: bool) -> None:
    grade = DemoGrader().grade(Problem(question="q", answer=reference), text)
    assert grade.score == float(right)
    assert grade.answer is not None


@pytest.mark.parametrize("text", ["", "85", "It is 85", "Answer:", "The answer isolated", "Answer: **", "Answer:\n85"])
def test_an_attempt_without_a_final_answer_is_wrong_and_says_why(text: str) -> None:
    assert DemoGrader().grade(Problem(question="q", answer="85"), text) == (0.0, None, "no final answer")
    assert DemoGrader().read(text) is None


@pytest.mark.parametrize("answer", [None, "", " "])
def test_without_a_reference_the_grader_cannot_tell(answer: str | None) -> None:
    with pytest.raises(GradeError, match="no reference answer"):
        DemoGrader().grade(Problem(question="q", answer=answer), "Answer: 85")


@given(skill=skills, seed=seeds)
def test_an_answer_is_the_same_as_itself_and_not_as_another(skill: str, seed: int) -> None:
    answers = [generate(skill, Random(seed + more))[1] for more in range(2)]
    grader = DemoGrader()
    assert grader.same(answers[0], f" **{answers[0]}**. ")
    assert grader.same(*answers) == (answers[0] == answers[1])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["Answer:", "answer*** ", "1+1=", "1-", "12:", "1, ", "a, ", " ", "Answer: 1,111", "x="]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * 200_000
    mark("What is 47 + 38?", text)
    DemoGrader().same(text, "85")
    assert solve(text) is None
