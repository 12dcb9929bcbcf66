"""A run under a budget: a cap ends it cleanly, a higher one goes on, nothing is bought twice."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lessons.errors import BudgetError, InputError
from lessons.jsonl import read_jsonl
from lessons.records import Lesson
from loops.asking import shared_cache
from loops.recipe import resolve
from loops.records import Clock, Finished
from loops.run import Run
from loops.store import read_record
from loops.views.show import show
from loops.watching.progress import Silent
from teachers.accounts import account
from teachers.loopback import LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.prices import Prices
from teachers.rule_tutor import RuleTutor

RECIPE = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 2, "skills": ["carrying", "products"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
    "method": "rationale",
    "diagnose": {"by": "needed"},
    "select": {"id": "uniform", "budget": 20, "replay": 0},
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
    "preflight": {"problems": 0},  # all calls counted here are the method's
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch):
    with LoopbackServer(RuleTutor()) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        yield server


def recipe(server: LoopbackServer, **more: object):
    teacher = {
        "kind": "openai", "model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY", "label": "tutor",
        "features": ["n"], "prices": {"prompt": 2.0, "completion": 8.0, "as_of": "2026-11-01"},
    }  # fmt: skip
    return resolve({**RECIPE, "teacher": teacher, **more})


def lessons(path: Path) -> list[str]:
    return [lesson.id for lesson in read_jsonl(path / "rounds" / "01" / "lessons.jsonl", Lesson)]


def bought(server: LoopbackServer) -> int:
    return sum(seen.path == "/v1/chat/completions" for seen in server.requests)


def test_a_cap_stops_the_run_and_a_higher_one_goes_on_to_the_same_end(tmp_path: Path, endpoint: LoopbackServer):
    free = tmp_path / "free"
    Run.start(recipe(endpoint), free).to_the_end()
    whole, endpoint.requests[:] = bought(endpoint), []
    assert whole > 6
    capped = tmp_path / "capped"
    with pytest.raises(BudgetError, match=r"4 of 4 requests .*what is paid for is kept: go on with tutelage resume"):
        Run.start(recipe(endpoint, budget={"requests": 4}), capped).to_the_end()
    assert bought(endpoint) == 4 == account(capped / "calls.sqlite").paid.calls
    assert not (capped / "rounds" / "01" / "candidates.jsonl").exists()  # nothing half-written
    with pytest.raises(BudgetError):
        Run.resume(capped).to_the_end()
    assert bought(endpoint) == 4
    done = Run.resume(capped, changes=["budget.requests=1000"]).to_the_end()
    assert [one.index for one in done] == [0, 1]
    assert bought(endpoint) == whole  # four of them before
    assert lessons(capped) == lessons(free)
    assert re.search(r"requests: 1000", (capped / "recipe.yaml").read_text())


def test_the_command_says_how_to_go_on_and_exits_with_3(tmp_path: Path, endpoint: LoopbackServer):
    plain = recipe(endpoint, budget={"requests": 3}).plain()
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    command = [sys.executable, "-c", "from loops.cli import main; main()"]
    started = subprocess.run(
        [*command, "run", "recipe.yaml", "--into", "run"], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert started.returncode == 3, started.stderr
    line = started.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"tutelage: the budget is spent: 3 of 3 requests .* go on with tutelage resume run --set budget\.requests=6",
        line,
    )
    told = subprocess.run([*command, *line.partition("go on with tutelage ")[2].split()], cwd=tmp_path, timeout=240)
    assert told.returncode == 3  # the line's own command was understood: six are spent too
    assert bought(endpoint) == 6


def test_at_cap_finish_trains_on_what_is_paid_for_and_ends_the_run(tmp_path: Path, endpoint: LoopbackServer):
    path = tmp_path / "run"
    given = recipe(endpoint, budget={"requests": 5, "at_cap": "finish"}, rounds=3)
    done = Run.start(given, path).to_the_end()
    assert [one.index for one in done] == [0, 1]
    assert len(lessons(path)) == 5
    finished = read_record(path / "finished.json", Finished)
    assert finished is not None
    assert finished.caps == {"requests": 5}
    assert finished.budget.startswith("the budget is spent: 5 of 5 requests")
    assert [one.index for one in Run.resume(path).to_the_end()] == [0, 1]  # still spent
    assert bought(endpoint) == 5
    more = Run.resume(path, changes=["budget.requests=500"]).to_the_end()
    assert [one.index for one in more] == [0, 1, 2, 3]
    assert read_record(path / "finished.json", Finished).budget == ""


def test_dollars_are_kept_too_and_shown(tmp_path: Path, endpoint: LoopbackServer):
    path = tmp_path / "run"
    with pytest.raises(BudgetError, match=r"budget\.usd"):
        Run.start(recipe(endpoint, budget={"usd": 0.008}), path).to_the_end()
    bill = account(path / "calls.sqlite").paid
    assert 0 < bill.usd <= 0.008
    assert bill.unpriced == 0


def test_hours_end_a_run_between_its_stages(tmp_path: Path, endpoint: LoopbackServer):
    path = tmp_path / "run"
    with pytest.raises(BudgetError, match=r"budget\.hours"):
        Run.start(recipe(endpoint, budget={"hours": 1e-6}), path).to_the_end()
    assert bought(endpoint) == 0
    Run.resume(path, changes=["budget.hours=5"]).to_the_end()
    assert read_record(path / "clock.json", Clock).seconds > 0


def test_dollars_without_prices_are_refused_before_anything_is_asked(tmp_path: Path, endpoint: LoopbackServer):
    teacher = {"kind": "openai", "model": "loopback", "base_url": endpoint.base_url, "key": "LOOPBACK_KEY"}
    with pytest.raises(InputError, match=r"budget\.usd needs to know what a token costs: give teacher\.prices"):
        Run.start(resolve({**RECIPE, "teacher": teacher, "budget": {"usd": 1}}), tmp_path / "run")
    assert not endpoint.requests


def test_only_keys_that_results_do_not_depend_on_may_change(tmp_path: Path, endpoint: LoopbackServer):
    path = tmp_path / "run"
    with pytest.raises(BudgetError):
        Run.start(recipe(endpoint, budget={"requests": 1}), path).to_the_end()
    with pytest.raises(
        InputError, match=r"--set seed: results depend on it; .*budget, calls\.cache, .*teacher\.timeout"
    ):
        Run.resume(path, changes=["seed=4"])
    Run.resume(path, changes=["budget.requests=900", "teacher.timeout=30", "calls.in_flight=3"]).to_the_end()


def test_prices_and_timeouts_are_no_part_of_what_a_run_is(endpoint: LoopbackServer):
    one, other = recipe(endpoint), recipe(endpoint, budget={"usd": 3})
    assert one.digest == other.digest
    teacher = {**one.teacher, "timeout": 5.0, "prices": None}
    assert resolve({**RECIPE, "teacher": teacher}).digest == one.digest
    assert resolve({**RECIPE, "teacher": {**teacher, "model": "another"}}).digest != one.digest


def test_runs_of_one_user_share_what_they_bought(tmp_path: Path, endpoint: LoopbackServer, monkeypatch):
    monkeypatch.setitem(os.environ, "TUTELAGE_CALLS", str(tmp_path / "shared" / "calls.sqlite"))
    Run.start(recipe(endpoint), tmp_path / "one").to_the_end()
    first = bought(endpoint)
    Run.start(recipe(endpoint, train={"epochs": 2}), tmp_path / "two").to_the_end()
    assert bought(endpoint) == first
    told = account(tmp_path / "two" / "calls.sqlite")
    assert (told.paid.calls, told.saved.calls) == (0, first)
    shown = show(tmp_path / "two").text()
    assert f"nothing paid   {first} from the cache, which saved $0.0" in shown
    assert told.saved.usd == account(tmp_path / "one" / "calls.sqlite").paid.usd
    assert lessons(tmp_path / "one") == lessons(tmp_path / "two")
    Run.start(recipe(endpoint, calls={"cache": False}), tmp_path / "three").to_the_end()
    assert bought(endpoint) == 2 * first


def test_a_cache_that_is_no_ledger_is_said_and_left_alone(tmp_path: Path, endpoint: LoopbackServer, monkeypatch):
    foreign = tmp_path / "photos.sqlite"
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE photos (id INTEGER)")
    before = foreign.read_bytes()
    monkeypatch.setenv("TUTELAGE_CALLS", str(foreign))
    said: list[str] = []

    class Listening(Silent):
        def line(self, text: str) -> None:
            said.append(text)

    Run.start(recipe(endpoint), tmp_path / "run", Listening()).to_the_end()
    assert foreign.read_bytes() == before
    assert any("photos.sqlite" in line and "goes on without the replies of other runs" in line for line in said)


def test_a_server_that_costs_nothing_still_shares_its_replies_and_a_program_does_not(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CALLS", str(tmp_path / "shared.sqlite"))
    own = OpenAITeacher(model="m", base_url="http://127.0.0.1:1/v1", key="", prices=Prices(prompt=0, completion=0))
    assert shared_cache(True, own) == tmp_path / "shared.sqlite"
    assert shared_cache(False, own) is None
    assert shared_cache(True, RuleTutor()) is None
