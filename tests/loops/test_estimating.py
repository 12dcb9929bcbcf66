"""What `tutelage estimate` says, held against what a run then does."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from lessons.errors import InputError
from lessons.memory import Memory
from lessons.records import Message
from loops import plugins
from loops.costs.estimating import Range, estimate
from loops.costs.rehearsing import Setting, asks_the_teacher, rehearse_teaching
from loops.costs.stand_in import LOG, STUDENT_SAYS, StandIn, StandInScores
from loops.recipe import resolve
from loops.run import Run
from students.base import Generation
from students.memory import remembering
from teachers.accounts import account, accounts
from teachers.ledger import read_calls
from teachers.loopback import LoopbackServer
from teachers.rehearsal import Rehearsal
from teachers.rule_tutor import RuleTutor

RECIPE = {
    "task": {"id": "skills_demo", "train": 4, "held_out": 2, "skills": ["carrying", "products", "change"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 8, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": "rule_tutor",
    "method": {"id": "stat_syn", "new": 2, "solutions": 3},
    "select": {"id": "uniform", "budget": 20, "replay": 0},
    "train": {"epochs": 1},
    "diagnose": {"form": "skill"},  # a student that babbles until it is cut off fails by form, which asks for nothing
    "gate": {"rule": "always"},
    "rounds": 2,
}


@pytest.mark.parametrize(
    "method", ["stat_syn", "rationale", "critique", {"id": "critique", "of": "missed"}, "stat_sel"]
)
def test_what_is_reckoned_is_what_a_run_asks(tmp_path: Path, method):
    """The tiny student fails everything, so the share is known; what is reckoned must then be what happens."""
    recipe = resolve({**RECIPE, "method": method})
    told = estimate(recipe, failing=Range(1, 1))
    path = tmp_path / "run"
    Run.start(recipe, path).to_the_end()
    used = account(path / "calls.sqlite").used
    by_prompt = {name: row.used.calls for name, row in accounts(path / "calls.sqlite").items() if "/repair" not in name}
    reckoned = {row.prompt: row.requests.high for row in told.rows}
    assert set(by_prompt) <= set(reckoned)
    asked = sum(by_prompt.values())
    assert 0.9 * asked <= told.requests.low <= told.requests.high <= 1.1 * asked + 1
    assert told.usd == Range(0, 0)
    if used.calls:
        assert told.tokens.high >= (used.tokens.prompt or 0) * 0.8


def asked_of_diagnosis(path: Path) -> int:
    rows = accounts(path / "calls.sqlite")
    return rows["missing_skills"].used.calls if "missing_skills" in rows else 0


def test_failures_of_form_ask_for_less_than_is_reckoned(tmp_path: Path):
    recipe = resolve({**RECIPE, "diagnose": {"form": "apart"}})
    told = estimate(recipe, failing=Range(1, 1))
    whole = estimate(resolve(RECIPE), failing=Range(1, 1))
    assert told.requests == whole.requests
    assert any("of form alone" in line for line in told.how)
    assert not any("of form alone" in line for line in whole.how)
    Run.start(recipe, tmp_path / "run").to_the_end()
    (reckoned,) = [row for row in told.rows if row.prompt == "missing_skills"]
    assert asked_of_diagnosis(tmp_path / "run") < reckoned.requests.high / 2


def test_right_attempts_that_are_checked_are_reckoned():
    base = {**RECIPE, "task": {**RECIPE["task"], "train": 40}}  # 120 attempts a round, two rounds
    for share, more in ((1.0, 0), (0.75, 2 * 20), (0.9, 2 * 12), (0.0, 2 * 20)):
        none = estimate(resolve(base), failing=Range(share, share))
        some = estimate(
            resolve({**base, "diagnose": {"form": "skill", "check_right": 20}}), failing=Range(share, share)
        )
        assert some.requests.high - none.requests.high == pytest.approx(more, abs=1)
        assert some.requests.low - none.requests.low == pytest.approx(more, abs=1)


def test_without_a_share_the_range_is_wide_and_says_why():
    told = estimate(resolve(RECIPE))
    assert told.requests.low < told.requests.high / 5
    assert any("--failing narrows it" in line for line in told.how)
    assert "no call was made" in told.how[0]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch):
    with LoopbackServer(RuleTutor()) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        yield server


def priced(server: LoopbackServer, **more: object):
    teacher = {
        "kind": "openai", "model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY", "features": [],
        "prices": {"prompt": 2.0, "completion": 8.0, "as_of": "2026-11-01"},
    }  # fmt: skip
    return resolve({**RECIPE, "teacher": {**teacher, **more}})


def test_nothing_is_sent_unless_asked_for(endpoint: LoopbackServer):
    told = estimate(priced(endpoint), failing=Range(1, 1))
    assert not endpoint.requests
    assert 0 < told.usd.low < told.usd.high
    for row in told.rows:
        low = (row.prompt_tokens.low * 2 + row.completion_tokens.low * 8) / 1e6
        assert row.usd.low == pytest.approx(low)
    assert any("$2 a million prompt tokens" in line and "2026-11-01" in line for line in told.how)


def test_an_unknown_price_is_null_and_said(endpoint: LoopbackServer):
    told = estimate(priced(endpoint, prices=None))
    assert told.usd is None
    assert all(row.usd is None for row in told.rows)
    assert "price unknown" in told.text()
    assert any("no teacher.prices" in line for line in told.how)


def test_sample_calls_narrow_the_range_and_are_kept(endpoint: LoopbackServer, tmp_path: Path, monkeypatch):
    cache = tmp_path / "cache.sqlite"
    monkeypatch.setenv("TUTELAGE_CALLS", str(cache))
    none = estimate(priced(endpoint), failing=Range(1, 1))
    some = estimate(priced(endpoint), failing=Range(1, 1), calls=3)
    sent = len(endpoint.requests)
    assert 3 <= sent <= 3 * len(some.rows)
    assert sum(1 for _ in read_calls(cache)) == sent
    assert some.usd.high - some.usd.low < (none.usd.high - none.usd.low) / 2
    assert any("sample calls" in line for line in some.how)
    estimate(priced(endpoint), failing=Range(1, 1), calls=3)
    assert len(endpoint.requests) == sent  # paid for once


def test_skills_that_are_still_to_be_found_are_reckoned_too(tmp_path: Path):
    lines = "\n".join(f'{{"question": "What is {n} plus {n}?", "answer": "{2 * n}"}}' for n in range(40))
    (tmp_path / "train.jsonl").write_text(lines)
    task = {"id": "jsonl", "train": str(tmp_path / "train.jsonl"), "held_out": 10, "graded_by": "numeric"}
    told = estimate(resolve({**RECIPE, "task": task, "diagnose": {"skill_sample": 10}}), failing=Range(1, 1))
    by_prompt = {row.prompt: row.requests for row in told.rows}
    assert by_prompt["skill_names"] == Range(10, 10)
    assert by_prompt["skill_clusters"] == Range(1, 1)
    assert by_prompt["skill_labels"] == Range(80, 80)  # each problem twice: the second pass measures the agreement
    few = {"skill_sample": 10, "agreement_sample": 7}
    told = estimate(resolve({**RECIPE, "task": task, "diagnose": few}), failing=Range(1, 1))
    assert {row.prompt: row.requests for row in told.rows}["skill_labels"] == Range(47, 47)


DEMO = Path(__file__).parents[2] / "scripts" / "recipes" / "demo.yaml"
CANNOT = {
    "ts_align": "it cannot be rehearsed without a model of its own, and an estimate loads none",
    "arte": "method 'arte' trains the teacher, and an estimate's cannot be trained here",
}
"""Methods that train a model, and what is said of them."""


def demo(method: Any, **more: Any):
    data = yaml.safe_load(DEMO.read_text())
    task = {**data["task"], "train": 2, "held_out": 1, "final": 0}
    return resolve({**data, "task": task, "student": "tiny", "teacher": "rule_tutor", "method": method, **more})


@pytest.mark.parametrize("method", plugins.known("method"))
def test_every_method_of_the_house_can_be_estimated(method: str):
    """One that cannot says why in one line, which is of its own making and no fault in the code."""
    told = estimate(demo(method), failing=Range(0.5, 0.5))
    left_out = [line for line in told.how if "not reckoned" in line]
    if method in CANNOT:
        (line,) = left_out
        assert line.startswith("teach is not reckoned: ")
        assert CANNOT[method] in line
        assert "\n" not in line
        return
    assert not left_out
    asked = {row.prompt: row.requests.high for row in told.rows if row.stage == "teach"}
    says_nothing = plugins.find("method", method, where="method").__dict__.get("teacher", "").startswith("nothing")
    assert bool(asked) != says_nothing
    assert all(asked.values())


@pytest.mark.parametrize(
    ("method", "prompt"),
    [
        ({"id": "gsi", "guide": "interactive"}, "correction"),
        ({"id": "rise", "improver": "teacher"}, "improvement"),
        ({"id": "mistake_tuning", "wrong": "teacher"}, "rationale"),
        ({"id": "stat_sel", "rewrites": 1}, "rationale"),
        ({"id": "leap", "by": "teacher"}, "relabel_lines"),
    ],
)
async def test_a_knob_decides_whether_the_teacher_is_asked(method: dict[str, Any], prompt: str):
    other = {"gsi": ("guide", "answer"), "rise": ("improver", "self"), "mistake_tuning": ("wrong", "student"),
             "stat_sel": ("rewrites", 0), "leap": ("by", "student")}[method["id"]]  # fmt: skip
    for made, asks in ((method, True), ({**method, other[0]: other[1]}, False)):
        recipe = demo(made)
        task = recipe.make_task()
        split = task.split(0)
        setting = Setting(recipe, task, split, task.catalog(split.train))
        assert await asks_the_teacher(setting) == asks
        asker = Rehearsal()
        await rehearse_teaching(setting, asker, 1, size=8, failed=8)
        assert set(asker.needs) == ({prompt} if asks else set())


@pytest.mark.parametrize(
    ("method", "more"),
    [({"id": "rise", "turns": 3}, {"filters": ["duplicate"]}), ("eit", {}), ({"id": "llm2llm"}, {})],
    ids=["rise", "eit", "llm2llm"],
)
def test_methods_that_use_the_student_ask_about_what_is_reckoned(tmp_path: Path, method: Any, more: dict[str, Any]):
    recipe = resolve({**RECIPE, "method": method, **more, "rounds": 1})
    told = estimate(recipe, failing=Range(1, 1))
    path = tmp_path / "run"
    Run.start(recipe, path).up_to(1, "filter")
    used = Counter({name: row.used.calls for name, row in accounts(path / "calls.sqlite").items() if "/" not in name})
    reckoned = {row.prompt: row.requests.high for row in told.rows}
    assert set(used) <= set(reckoned)
    assert sum(used.values()) <= told.requests.high * 1.1 + 1  # what a real reply leads to may be less


def test_a_stand_in_answers_right_where_it_is_told_to():
    student = StandIn(answers={"What is 2 + 2?": "Answer: 4", "What is 2 + 2?0": "Answer: 5"})
    ask = Message(role="user", content="What is 2 + 2?")
    hinted = Message(role="user", content="What is 2 + 2?0\n\nA hint: it is odd.")
    other = Message(role="user", content="Who?")
    answers = student.answer([[ask], [hinted], [other]], Generation(), samples=3, seed=7)
    assert [len(of) for of in answers] == [3, 3, 3]
    assert len({one.text for one in answers[0]}) == 3  # no two samples are one
    assert all(one.text.endswith("Answer: 4") for one in answers[0])
    assert all(one.text.endswith("Answer: 5") for one in answers[1])  # the longest question that it holds
    assert all(one.text.endswith(STUDENT_SAYS) for one in answers[2])
    assert student.answer([[ask]], Generation(), seed=8) != student.answer([[ask]], Generation(), seed=7)
    assert student.score([([ask], "two words")]) == [[LOG] * 3]
    for refused in (lambda: student.learn([], Path()), lambda: student.with_adapter(Path())):
        with pytest.raises(InputError, match="a student would have to be trained for it"):
            refused()
    (score,) = StandInScores(student).of([([ask], "two words")], "a model that is not there")
    assert score.tokens == 3
    assert (
        remembering(student, Memory(instructions="Think."))
        .answer([[ask]], Generation())[0][0]
        .text.endswith("Answer: 4")
    )


JUDGED = ["format", "verified", {"id": "judge", "at_least": 1}]


def judged(tmp_path: Path, filters: list[Any], graded_by: Any = "judge") -> Any:
    task = resolve(RECIPE).make_task()
    rows = [{"question": p.question, "answer": p.answer, "skills": list(p.skills)} for p in task.split(0).train]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"id": "jsonl", "train": str(tmp_path / "mine.jsonl"), "held_out": 3, "graded_by": graded_by}
    return resolve({**RECIPE, "task": task, "method": "rationale", "filters": filters, "rounds": 1})


def test_judging_of_lessons_is_reckoned(tmp_path: Path):
    """Nine attempts, all failed, one rationale each: two verdicts and one rating for a lesson."""
    told = estimate(judged(tmp_path, JUDGED), failing=Range(1, 1))
    rows = {row.prompt: row.requests for row in told.rows if row.stage == "filter"}
    lessons = 9
    assert rows == {"judge": (0, 2 * lessons), "rating": (0, lessons)}
    assert any("from none to every candidate" in line for line in told.how)
    alone = estimate(judged(tmp_path, ["verified"]), failing=Range(1, 1))
    assert [row.requests for row in alone.rows if row.stage == "filter"] == [(2 * lessons, 2 * lessons)]
    half = estimate(judged(tmp_path, ["verified"]), failing=Range(1 / 3, 1))
    assert [row.requests for row in half.rows if row.stage == "filter"] == [(2 * 3, 2 * lessons)]
    assert not [row for row in estimate(judged(tmp_path, ["format"])).rows if row.stage == "filter"]
    by_rule = judged(tmp_path, ["verified", "judge"], "numeric")
    rated = {
        row.prompt: row.requests.high for row in estimate(by_rule, failing=Range(1, 1)).rows if row.stage == "filter"
    }
    assert rated == {"rating": lessons}


def test_judging_of_lessons_takes_what_is_reckoned(tmp_path: Path):
    recipe = judged(tmp_path, JUDGED)
    told = estimate(recipe, failing=Range(1, 1))
    path = tmp_path / "run"
    Run.start(recipe, path).up_to(1, "select")
    marker = (path / "rounds/01/.done/filter.json").read_text()
    asked = int(re.search(r'"judge/asked": (\d+)', marker)[1])  # type: ignore[index]
    assert 0 < asked <= sum(row.requests.high for row in told.rows if row.stage == "filter")


def test_lessons_are_judged_at_the_judges_own_price(tmp_path: Path):
    own = {
        "kind": "openai",
        "model": "m",
        "base_url": "http://127.0.0.1:1/v1",
        "key": "",
        "prices": {"prompt": 1, "completion": 8},
    }
    told = estimate(judged(tmp_path, ["verified"], {"id": "judge", "teacher": own}), failing=Range(1, 1))
    (row,) = [row for row in told.rows if row.stage == "filter"]
    assert row.usd is not None
    assert row.usd.low > 0
    assert all(row.usd == (0, 0) for row in told.rows if row.stage not in ("filter", "judge"))
