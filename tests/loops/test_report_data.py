"""What a report carries of the lessons and the failures, and which of them where there are too many."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.jsonl import encode_line
from lessons.records import Lesson, Message, Problem, Provenance
from loops.reading import RunView
from loops.report import fingerprint, page, write_report
from loops.report.bars import KINDS, thinned
from loops.report.chains import lessons
from loops.report.choosing import STANDINGS, choose, rows_of, shares, spread
from loops.report.failures import failures
from loops.report.spending import spending
from tests.loops.report_elements import Elements


@pytest.fixture(scope="module")
def example_page(example_run: Path) -> Elements:
    return Elements(page(RunView.open(example_run)))


def test_every_lesson_has_its_whole_chain(example_page: Elements, example_run: Path) -> None:
    index = example_page.unpacked("lessons-index")
    columns = index["rows"]
    chains = {
        (round_, chain["id"], STANDINGS[standing]): chain
        for chain, standing, round_ in zip(example_page.chains, columns["standing"], columns["round"], strict=True)
    }
    assert [chain["id"] for chain in example_page.chains] == columns["id"]
    for turn in RunView.open(example_run).rounds:
        attempts = {attempt.id: attempt for attempt in turn.attempts()}
        for row in rows_of(turn):
            chain = chains[turn.index, row.lesson.id, row.standing]
            assert chain["completion"] == row.lesson.completion
            assert [check["filter"] for check in chain["checks"]] == [check.filter for check in row.checks]
            attempt = attempts[row.lesson.provenance.attempt or ""]
            assert (chain["attempt"]["text"], chain["attempt"]["score"]) == (attempt.text, attempt.score)
            assert chain["attempt"]["missing"] == list(attempt.missing)
            assert len(chain["calls"]) == (0 if row.standing == "replayed" else 3)
            assert chain["calls_missing"] == 0
    weights = {chain["weight"] for (_, _, standing), chain in chains.items() if standing == "trained"}
    assert weights == {1.5}
    assert index["exams"]["1"]["carrying"]["change"][0] > 0
    assert index["rounds"]["2"]["steps"] == 30


def test_a_chain_has_what_the_student_says_later(example_page: Elements, example_run: Path) -> None:
    run = RunView.open(example_run)
    later = {attempt.problem.id: attempt for attempt in run.rounds[2].attempts()}
    before = {attempt.id: attempt for attempt in run.rounds[1].attempts()}
    rounds = example_page.unpacked("lessons-index")["rows"]["round"]
    seen = 0
    for chain, index in zip(example_page.chains, rounds, strict=True):
        if index == 2:
            assert chain["after"] is None
        else:
            again = later[before[chain["attempt_id"]].problem.id]
            assert chain["after"] == {"round": 2, "text": again.text, "score": again.score}
            seen += 1
    assert seen > 50


def test_every_cell_has_its_failures(example_page: Elements, example_run: Path) -> None:
    counts = json.loads(example_page.data["failure-counts"])
    run, shown = RunView.open(example_run), 0
    for turn in run.rounds:
        block = example_page.unpacked(f"failures-{turn.index}")
        wrong = [attempt for attempt in turn.exam() if attempt.failed]
        for skill, numbers in block["cells"]["exam"].items():
            mine = [attempt for attempt in wrong if skill in attempt.problem.skills]
            assert counts[str(turn.index)]["exam"][skill] == len(mine)
            assert {block["attempts"][number]["id"] for number in numbers} == {attempt.id for attempt in mine[:40]}
            shown += len(numbers)
    assert shown > 200
    lost = example_page.unpacked("failures-2")
    (*some,) = (lost["attempts"][number] for number in lost["cells"]["lost"]["products"])
    assert some
    assert all(attempt["before"] and attempt["score"] == 0 for attempt in some)
    assert "lost" not in example_page.unpacked("failures-0")["cells"]


def many(count: int) -> bytes:
    """Lines of so many lessons of forty skills."""
    return b"".join(
        encode_line(
            Lesson(
                prompt=(Message(role="user", content=f"Question {number}?"),),
                completion="word " * 40,
                problem=Problem(question=f"Question {number}?", skills=(f"skill {number % 40}",)),
                provenance=Provenance(method="stat_syn", round=1, skill=f"skill {number % 40}"),
            )
        )
        for number in range(count)
    )


def test_more_than_ten_thousand_lessons_are_chosen_evenly(own_run: Path) -> None:
    with (own_run / "rounds/01/lessons.jsonl").open("ab") as out:
        out.write(many(12_000))
    found = lessons(run := RunView.open(own_run))
    assert found.counted["trained"] > 12_000
    assert found.shown["trained"] == 10_000
    assert not found.whole
    choice = choose(run, trained=500, others=10)
    assert (choice.chosen["trained"], sum(choice.chosen.values())) == (500, 510)
    chosen = [row.skill for turn in run.rounds for row in rows_of(turn) if row.place in choice.places[turn.index]]
    numbers = [chosen.count(f"skill {number}") for number in range(40)]
    assert max(numbers) - min(numbers) <= 1
    assert "10,000 trained" in Elements(page(run)).text


@given(
    st.dictionaries(st.tuples(st.just("trained"), st.integers(0, 9), st.text(max_size=2)), st.integers(1, 50)),
    st.integers(0, 300),
)
def test_shares_are_fair(sizes: dict[Any, int], most: int) -> None:
    given_ = shares(sizes, most)
    assert sum(given_.values()) == min(most, sum(sizes.values()))
    assert all(0 <= given_[group] <= size for group, size in sizes.items())
    cut = [given_[group] for group, size in sizes.items() if given_[group] < size]
    assert not cut or max(given_.values()) - min(cut) <= 1


@given(st.integers(1, 200), st.data())
def test_rows_are_taken_at_equal_distances(size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, size))
    taken = spread(list(range(size)), count)
    assert len(set(taken)) == count
    steps = [after - before for before, after in pairwise(taken)]
    assert not steps or max(steps) - min(steps) <= 1


@given(st.lists(st.floats(0, 10), max_size=3000))
def test_long_losses_keep_their_mean_and_their_end(values: list[float]) -> None:
    steps, means = thinned(values)
    assert len(steps) == len(means) <= 400
    assert not values or steps[-1] == len(values)
    widths = [after - before for before, after in pairwise([0, *steps])]
    assert sum(m * w for m, w in zip(means, widths, strict=True)) == pytest.approx(sum(values), abs=0.05)


def test_a_fingerprint_changes_with_the_run_and_with_nothing_else(own_run: Path) -> None:
    first = fingerprint(own_run)
    assert fingerprint(str(own_run)) == first
    write_report(own_run)
    (own_run / "rounds/01/student").mkdir(exist_ok=True)
    (own_run / "rounds/01/student/weights").write_bytes(b"1")
    (own_run / ".x.tmp").write_bytes(b"1")
    assert fingerprint(own_run) == first
    path = own_run / "rounds/02/metrics.json"
    os.utime(path, ns=(1, 1))
    second = fingerprint(own_run)
    path.unlink()
    assert len({first, second, fingerprint(own_run), fingerprint(own_run / "not there")}) == 4


def test_what_was_spent_grows_with_the_rounds(example_run: Path, own_run: Path) -> None:
    first, *others = spending(RunView.open(example_run))
    assert (first.round, first.seconds) == (0, 41.0)
    assert [round(row.seconds - 41.0, 1) for row in others] == [734.1, 1468.2]
    (own_run / "calls.sqlite").unlink()
    assert [(row.tokens, row.usd) for row in spending(RunView.open(own_run))] == [(None, None)] * 3


def test_kinds_of_error_are_counted(own_run: Path) -> None:
    found = failures(RunView.open(own_run)).errors
    for index in (1, 2):
        failed = [a for a in RunView.open(own_run).rounds[index].attempts() if a.failed]
        assert found[index] == {"not told": len(failed)}
    assert "not told" not in KINDS
