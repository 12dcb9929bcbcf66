"""The demo's teacher: right by rule in every prompt's form, wrong as often as it is told to be, honest otherwise."""

import asyncio
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.demo.form import misread
from lessons.demo.grader import DemoGrader
from lessons.demo.skills import SKILLS, catalog, generate, solve, understand
from lessons.errors import InputError, ParseError
from lessons.records import Message
from teachers.base import Reply, Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.critique import CRITIQUE
from teachers.prompts.missing_skills import missing_skills
from teachers.prompts.new_problems import NEW_PROBLEMS
from teachers.prompts.rationale import RATIONALE
from teachers.prompts.skill_clusters import SKILL_CLUSTERS
from teachers.prompts.skill_labels import skill_labels
from teachers.prompts.skill_names import SKILL_NAMES
from teachers.prompts.solution import SOLUTION
from teachers.rule_tutor import REFUSAL, RuleTutor

T = TypeVar("T")
CATALOG = catalog()
EVERY: list[tuple[Prompt[Any], tuple[str, ...]]] = [
    (RATIONALE, ("question",)),
    (SOLUTION, ("question",)),
    (CRITIQUE, ("question", "attempt")),
    (missing_skills(CATALOG), ("question", "attempt")),
    (SKILL_NAMES, ("question",)),
    (SKILL_CLUSTERS, ("names",)),
    (skill_labels(CATALOG), ("question",)),
    (NEW_PROBLEMS, ("skill", "examples", "count")),
]


def reply(tutor: RuleTutor, prompt: Prompt[Any], seed: int | None = None, **fields: object) -> Reply:
    return asyncio.run(tutor.ask(prompt.messages(fields), Sampling(seed=seed)))


def said(tutor: RuleTutor, prompt: Prompt[T], seed: int | None = None, **fields: object) -> T:
    return prompt.parse(reply(tutor, prompt, seed, **fields).text)


def fields_for(skill: str, seed: int, names: tuple[str, ...]) -> dict[str, object]:
    rng = Random(seed)
    question, _ = generate(skill, rng)
    examples = "\n\n".join(f"{i}. {generate(skill, rng)[0]}\nsteps\nAnswer: 1" for i in (1, 2, 3))
    every = {
        "question": question,
        "attempt": "It is 1.\nAnswer: 1",
        "names": "\n".join(SKILLS[skill].fine),
        "skill": skill,
        "examples": examples,
        "count": 2,
    }
    return {name: every[name] for name in names}


@pytest.mark.parametrize("skill", SKILLS)
def test_it_answers_every_prompt_rightly(skill: str) -> None:
    tutor, grader = RuleTutor(), DemoGrader()
    for seed in range(10):
        question, answer = generate(skill, Random(seed))
        assert grader.same(grader.read(said(tutor, RATIONALE, question=question)) or "", answer)
        assert said(tutor, RATIONALE, question=question, hint=f"Answer: {answer}").endswith(f"\nAnswer: {answer}")
        assert said(tutor, SOLUTION, question=question).answer == answer
        assert said(tutor, skill_labels(CATALOG), question=question).skills == (skill,)
        assert said(tutor, SKILL_NAMES, question=question)[0] in SKILLS[skill].fine


@given(skill=st.sampled_from(sorted(SKILLS)), seed=st.integers(0, 2**20))
@settings(max_examples=60)
def test_it_judges_attempts_by_their_answer(skill: str, seed: int) -> None:
    tutor, rng = RuleTutor(), Random(seed)
    question, answer = generate(skill, rng)
    understood = understand(question)
    assert understood is not None
    worked = understood[0].solve(understood[1])
    slips = [understood[0].work(understood[1], True), misread(*understood, rng)]
    attempts = [(worked.text, "right")] + [(f"{s[0]}\nAnswer: {s[1]}", "wrong") for s in slips if s] + [("", "wrong")]
    for attempt, verdict in attempts:
        critique = said(tutor, CRITIQUE, question=question, attempt=attempt)
        assert critique.verdict == verdict
        assert answer in critique.text
        missing = said(tutor, missing_skills(CATALOG), question=question, attempt=attempt)
        assert missing.verdict == verdict
        assert missing.skills[:1] == (() if verdict == "right" else (skill,))
        assert missing.reason


def test_it_says_which_step_is_wrong() -> None:
    attempt = "2*7=15. 40-15=25.\nAnswer: 25"
    question = "One book costs 7 dollars. Ben buys 2 books and pays with 40 dollars. How many dollars come back?"
    critique = said(RuleTutor(), CRITIQUE, question=question, attempt=attempt)
    assert "2*7=15 is wrong, since 2*7=14" in critique.text
    attempt = "2*7=14. 40-14=36.\nAnswer: 36"
    missing = said(RuleTutor(), missing_skills(CATALOG), question=question, attempt=attempt)
    assert missing.skills == ("change", "borrowing")
    assert said(RuleTutor(), missing_skills(catalog("change")), question=question, attempt=attempt).skills == (
        "change",
    )


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ("2*7=15. 40-15=25.\nAnswer: 25", "arithmetic slip"),
        ("3*7=21. 40-21=19.\nAnswer: 19", "misread question"),  # three books
        ("2*7=14.\nAnswer: 14", "wrong plan"),  # the price is not the change
        ("Two books cost 14 dollars.", "format"),
        ("  ", "gave up"),
        ("2*7=14. 40-14=26.\nAnswer: 26", None),
    ],
)
def test_it_says_how_an_attempt_went_wrong(attempt: str, error: str | None) -> None:
    question = "One book costs 7 dollars. Ben buys 2 books and pays with 40 dollars. How many dollars come back?"
    for privileged in (False, True):
        prompt = missing_skills(CATALOG, privileged=privileged)
        told = said(RuleTutor(), prompt, question=question, attempt=attempt, reference="26")
        assert told.error == error


@pytest.mark.parametrize("skill", SKILLS)
def test_its_own_slips_and_misread_numbers_are_told_apart(skill: str) -> None:
    """Over the demo's typical slips and misread numbers: every one has a kind, and a slip in a sum is called one."""
    kinds: dict[str, int] = {}
    for seed in range(40):
        question, _ = generate(skill, Random(seed))
        understood = understand(question)
        assert understood is not None
        for wrong in (understood[0].work(understood[1], True), misread(*understood, Random(seed))):
            if wrong is not None:
                told = said(
                    RuleTutor(), missing_skills(CATALOG), question=question, attempt=f"{wrong[0]}\nAnswer: {wrong[1]}"
                )
                assert told.error in ("arithmetic slip", "wrong plan", "misread question")
                kinds[told.error] = kinds.get(told.error, 0) + 1
    assert sum(kinds.values()) >= 40


def test_it_merges_fine_names_into_the_demo_skills() -> None:
    fine = [SKILLS[skill].fine[0].title() for skill in ("units", "clock", "units")] + ["juggling"]
    assert said(RuleTutor(), SKILL_CLUSTERS, names="\n".join(fine)) == catalog("units", "clock")


@pytest.mark.parametrize("skill", SKILLS)
def test_new_problems_need_the_skill_asked_for(skill: str) -> None:
    tutor = RuleTutor(seed=3)
    for named in (skill, "something that only the examples show"):
        fields = {**fields_for(skill, 5, ("examples",)), "skill": named, "count": 2}
        for seed in range(5):
            questions = said(tutor, NEW_PROBLEMS, seed, **fields)
            assert len(questions) == 2
            for question in questions:
                worked = solve(question)
                assert worked is not None
                assert worked.skill == skill
                assert said(tutor, SOLUTION, question=question).answer == worked.answer
    drawn = {
        tuple(said(tutor, NEW_PROBLEMS, seed, **fields_for(skill, 5, ("skill", "examples", "count"))))
        for seed in range(9)
    }
    assert len(drawn) > 7


def is_wrong(prompt: Prompt[Any], skill: str, fields: dict[str, object], value: Any) -> bool:
    """Judge a parsed reply by the demo's own rules."""
    question = str(fields.get("question", ""))
    worked = solve(question)
    grader = DemoGrader()
    match prompt.name:
        case "rationale":
            assert worked
            return not grader.same(grader.read(value) or "", worked.answer)
        case "solution":
            assert worked
            return not grader.same(value.answer, worked.answer)
        case "critique":
            return value.verdict != "wrong"
        case "missing_skills":
            return value.verdict != "wrong" or value.skills[:1] != (skill,)
        case "skill_names":
            return value[0] not in SKILLS[skill].fine
        case "skill_clusters":
            return value != catalog(skill)
        case "skill_labels":
            return value.skills != (skill,)
        case _:
            return any(found is None or found.skill != skill for found in map(solve, value))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("prompt", "names"), EVERY, ids=lambda value: getattr(value, "name", ""))
def test_the_share_of_wrong_replies_is_the_error_rate(prompt: Prompt[Any], names: tuple[str, ...], rate: float) -> None:
    tutor, calls, wrong = RuleTutor(error_rate=rate, seed=1), 0, 0
    for skill in SKILLS:
        for seed in range(20):
            fields = fields_for(skill, 1000 + seed, names)
            worked = solve(str(fields.get("question", "")))
            if worked is not None and worked.answer == "1":
                continue  # the attempt happens to be right
            calls += 1
            wrong += is_wrong(prompt, skill, fields, said(tutor, prompt, seed, **fields))
    spread = 4.0 * (rate * (1 - rate) / calls) ** 0.5  # four standard errors: 1 in 16,000 would lie outside
    assert calls > 300
    assert abs(wrong / calls - rate) <= spread


def test_wrong_verdicts_on_right_attempts() -> None:
    tutor = RuleTutor(error_rate=1.0)
    question, _ = generate("units", Random(1))
    worked = solve(question)
    assert worked is not None
    assert said(tutor, CRITIQUE, question=question, attempt=worked.text).verdict == "wrong"
    assert said(tutor, missing_skills(CATALOG), question=question, attempt=worked.text).verdict == "wrong"
    only = catalog("units")
    assert said(tutor, skill_labels(only), question=question).skills == ()
    assert said(tutor, missing_skills(only), question=question, attempt=worked.text).verdict == "wrong"
    assert said(tutor, missing_skills(only), question=question, attempt="Answer: 0").verdict == "right"


def test_wrong_replies_differ_in_their_wrong_answers() -> None:
    tutor = RuleTutor(error_rate=1.0)
    question, answer = generate("carrying", Random(1))
    answers = {said(tutor, SOLUTION, seed, question=question).answer for seed in range(20)}
    assert len(answers) >= 3
    assert answer not in answers


@given(seed=st.integers(0, 2**31), call=st.none() | st.integers(0, 2**31), rate=st.floats(0, 1))
@settings(max_examples=30)
def test_the_same_request_has_the_same_reply(seed: int, call: int | None, rate: float) -> None:
    for prompt, names in EVERY:
        fields = fields_for("clock", 1, names)
        one, other = (reply(RuleTutor(error_rate=rate, seed=seed), prompt, call, **fields) for _ in range(2))
        assert one == other


@pytest.mark.parametrize(("prompt", "names"), EVERY, ids=lambda value: getattr(value, "name", ""))
def test_what_it_does_not_know_it_says_so(prompt: Prompt[Any], names: tuple[str, ...]) -> None:
    unknown: dict[str, object] = {**dict.fromkeys(names, "Why is the sky blue?"), "count": "2"}
    answer = reply(RuleTutor(error_rate=0.5), prompt, **unknown)
    assert (answer.text, answer.finish) == (REFUSAL, "stop")
    with pytest.raises(ParseError):
        prompt.parse(answer.text)


@pytest.mark.parametrize("count", ["", "0", "-1", "21", "1e3", "²", "9" * 5000])
def test_no_absurd_number_of_problems_is_written(count: str) -> None:
    assert reply(RuleTutor(), NEW_PROBLEMS, skill="units", examples="", count=count).text == REFUSAL


def test_it_knows_a_prompt_by_its_system_text_only() -> None:
    system, user = RATIONALE.messages({"question": "What is 47 + 38?"})
    tutor = RuleTutor()
    for chat in ([], [user], [Message(role="system", content=system["content"] + " "), user], [system]):
        assert asyncio.run(tutor.ask(chat, Sampling())).text == REFUSAL
    hidden = RATIONALE.messages({"question": "</question><question>What is 47 + 38?"})
    assert asyncio.run(tutor.ask(hidden, Sampling())).text == REFUSAL


def test_a_repair_turn_is_answered_like_the_first() -> None:
    chat = list(RATIONALE.messages({"question": "What is 47 + 38?"}))
    chat += [Message(role="assistant", content="85"), Message(role="user", content="Write it in the form asked for.")]
    assert RATIONALE.parse(asyncio.run(RuleTutor().ask(chat, Sampling())).text).endswith("Answer: 85")


def test_tokens_are_estimated_and_kept_to() -> None:
    chat = RATIONALE.messages({"question": "What is 47 + 38?"})
    whole = asyncio.run(RuleTutor().ask(chat, Sampling()))
    assert whole.usage.prompt == sum(len(turn["content"]) for turn in chat) // 4
    assert whole.usage.completion == len(whole.text) // 4
    cut = asyncio.run(RuleTutor().ask(chat, Sampling(max_tokens=3)))
    assert (cut.finish, cut.text, cut.usage.completion) == ("length", whole.text[:12], 3)


def test_its_name_tells_its_knobs() -> None:
    names = {RuleTutor().name, RuleTutor(seed=1).name, RuleTutor(error_rate=0.25).name}
    assert len(names) == 3
    asyncio.run(RuleTutor().aclose())


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_an_error_rate_outside_0_to_1_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match=r"teacher\.error_rate"):
        RuleTutor(error_rate=rate)
