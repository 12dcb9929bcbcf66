"""What `tutelage estimate` says, held against what a run then does."""

from pathlib import Path

import pytest

from loops.costs.estimating import Range, estimate
from loops.recipe import resolve
from loops.run import Run
from teachers.accounts import account, accounts
from teachers.ledger import read_calls
from teachers.loopback import LoopbackServer
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
