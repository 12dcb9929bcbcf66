import json
import shutil
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from lessons.errors import InputError
from lessons.jsonl import encode_line, write_jsonl
from lessons.records import Attempt
from lessons.statistics import mcnemar
from loops.cli import app
from loops.exams.gate import compare as paired
from loops.reading import RunView
from loops.report.comparison import write_comparison
from loops.store import read_yaml
from loops.views.compare import Compare, compare
from teachers.ledger import read_calls
from tests.browsing import NARROW, WIDE, Browser, Seen, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

Right = Callable[[Attempt], bool]


def another(run: Path, into: Path, right: Right | None = None, at: int = 2, **recipe: Any) -> Path:
    """Copy a run; with `right`, its exam of a round has these answers right, and the recipe other keys."""
    path = Path(shutil.copytree(run, into))
    changed = {**read_yaml(path / "recipe.yaml"), **recipe}
    (path / "recipe.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    if right is not None:
        exam = path / f"rounds/{at:02d}/exam.jsonl"
        attempts = list(RunView.open(path).rounds[at].exam())
        write_jsonl(exam, [msgspec.structs.replace(a, score=float(right(a))) for a in attempts])
    return path


@pytest.fixture
def two(example_run: Path, tmp_path: Path) -> tuple[Path, Path]:
    method = {"id": "rationale", "samples": 2}
    return example_run, another(
        example_run, tmp_path / "other", lambda a: a.right and a.problem.skills != ("average",), method=method
    )


def exam_of(run: Path, index: int = 2) -> list[Attempt]:
    return list(RunView.open(run).rounds[index].exam())


def test_two_methods_are_compared_by_the_paired_test_on_the_same_problems(two: tuple[Path, Path]) -> None:
    view = compare(two)
    distinct = {a.problem.id: a for a in exam_of(two[0])}  # the example's makers repeat a few questions
    assert (view.exam, view.shared, view.same_base) == ("held_out", len(distinct), True)
    assert [side.name for side in view.runs] == ["A", "B"]
    (row,) = view.against
    expected = paired(exam_of(two[0]), exam_of(two[1]))
    assert row.change == expected
    lost = sum(a.right and a.problem.skills == ("average",) for a in distinct.values())
    assert (row.change.gained, row.change.lost, row.change.p) == (0, lost, mcnemar(0, lost))
    assert row.over_seeds is not None
    wrong = sum(a.right and a.problem.skills == ("average",) for a in exam_of(two[0]))
    assert row.over_seeds.mean == pytest.approx(-wrong / 210)
    assert row.over_seeds.low is None
    first = view.skills[0]
    asked = sum(a.problem.skills == ("average",) for a in distinct.values())
    assert (first.skill, first.n, first.accuracy["B"]) == ("average", asked, 0.0)
    assert first.against["B"].p == pytest.approx(min(1.0, 7 * mcnemar(0, lost)))  # Holm over seven skills
    assert all(row.against["B"].difference == 0 for row in view.skills[1:])


def test_settings_that_differ_are_named_with_their_values(two: tuple[Path, Path]) -> None:
    found = {row.key: row.values for row in compare(two).settings}
    assert found == {
        "method.id": {"A": "stat_syn", "B": "rationale"},
        "method.new": {"A": 2},
        "method.samples": {"B": 2},
    }
    told = compare(two).text()
    assert "differs: method.id   A stat_syn   B rationale" in told
    assert "the same student before any lesson" in told
    assert "B less A: " in told


def test_seeds_of_one_recipe_are_a_group_with_an_interval_over_them(example_run: Path, tmp_path: Path) -> None:
    def runs(name: str, hurt: int, method: dict[str, Any]) -> list[Path]:
        made = []
        for seed in (0, 1, 2):
            wrong = {a.problem.id for a in exam_of(example_run)[: hurt * (seed + 1)]}
            right = lambda a, wrong=wrong: a.right and a.problem.id not in wrong  # noqa: E731
            made.append(another(example_run, tmp_path / f"{name}{seed}", right, seed=seed, method=method))
        return made

    profile, uniform = runs("p", 0, {"id": "stat_syn", "new": 2}), runs("u", 20, {"id": "stat_syn", "new": 3})
    view = compare([*profile, *reversed(uniform)])
    assert [(group.name, group.runs) for group in view.groups] == [("A", ("A1", "A2", "A3")), ("B", ("B1", "B2", "B3"))]
    (row,) = view.against
    assert row.pairs == (("B1", "A3"), ("B2", "A2"), ("B3", "A1"))  # by seed, whatever the order
    shares = [sum(a.right for a in exam_of(run)) / 210 for run in uniform]
    base = sum(a.right for a in exam_of(profile[0])) / 210
    assert row.over_seeds is not None
    assert sorted(row.over_seeds.values) == pytest.approx(sorted(share - base for share in shares))
    assert row.over_seeds.low is not None
    distinct = {a.problem.id for a in exam_of(example_run)}
    assert (row.change.n, row.change.test) == (len(distinct), "paired bootstrap")  # a problem's answers are one cluster
    assert row.change.low < row.over_seeds.mean < row.change.high
    assert view.groups[1].end is not None
    assert view.groups[1].end.mean == pytest.approx(sum(shares) / 3)
    assert "over 3 seeds" in view.text()
    assert "n 3" in view.text()


def test_the_same_seed_twice_is_no_second_seed(example_run: Path, tmp_path: Path) -> None:
    view = compare([example_run, another(example_run, tmp_path / "again")])
    (group,) = view.groups
    assert (group.runs, view.against) == (("A1", "A2"), ())
    assert group.gain is not None
    assert group.gain.low is None
    assert any("repeat one another" in note for note in view.notes)


def test_only_shared_problems_count_and_their_number_is_said(example_run: Path, tmp_path: Path) -> None:
    other = another(example_run, tmp_path / "other", method={"id": "rationale"})
    for index in (0, 1, 2):
        path = other / f"rounds/{index:02d}/exam.jsonl"
        attempts = exam_of(other, index)
        fewer = [a for a in attempts if a.problem.skills[0] in ("carrying", "products")]
        write_jsonl(path, fewer)
    view = compare([example_run, other])
    ours, all_ = len({a.problem.id for a in exam_of(other)}), len({a.problem.id for a in exam_of(example_run)})
    assert (view.shared, view.runs[0].problems, view.runs[1].problems) == (ours, all_, ours)
    assert {row.skill for row in view.skills} == {"carrying", "products"}
    assert view.runs[0].curve == view.runs[1].curve
    assert f"{ours} of its {all_} problems are shared" in view.text()


def test_exams_without_a_shared_problem_are_refused(example_run: Path, make_run: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="share no problem") as told:
        compare([example_run, make_run(skills=("carrying",), hostile=" now", train=4, held_out=4)])
    assert "\n" not in str(told.value)


def test_bad_input_is_one_line(example_run: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("rounds: 1\n")
    for paths, levels, words in (
        ([example_run], (), "two run folders"),
        ([example_run, example_run], (), "stands twice"),
        ([example_run, tmp_path / "absent"], (), "no such folder"),
        ([example_run, tmp_path], (), "has no exam yet"),
        ([example_run, tmp_path], (60.0,), "--level 60"),
    ):
        with pytest.raises(InputError, match=words) as told:
            compare(paths, levels)
        assert "\n" not in str(told.value)


def mark_ledger(run: Path, ends: dict[int, int]) -> None:
    for index, end in ends.items():
        path = run / f"rounds/{index:02d}/.done/exam.json"
        marker = json.loads(path.read_text())
        path.write_text(json.dumps({**marker, "counts": {**marker.get("counts", {}), "ledger/calls": end}}))


def test_what_each_accuracy_took_is_what_the_ledger_held_by_then(two: tuple[Path, Path], tmp_path: Path) -> None:
    first = another(two[0], tmp_path / "first")
    calls = [call.reply.usage for call in read_calls(first / "calls.sqlite")]
    assert len(calls) > 200
    mark_ledger(first, {0: 0, 1: 100, 2: 200})
    (a, b) = compare([first, two[1]], (0.2, 0.3, 0.9)).runs
    sums = list(accumulate((used.prompt or 0) + (used.completion or 0) for used in calls))
    assert [point.tokens for point in a.curve] == [0, sums[99], sums[199]]
    accuracies = [point.accuracy for point in a.curve]
    assert accuracies[0] < 0.3 <= accuracies[1]
    assert [(found.level, found.round, found.tokens) for found in a.reached] == [
        (0.2, 0, 0), (0.3, 1, sums[99]), (0.9, None, None)
    ]  # fmt: skip
    told = compare([first, two[1]], (0.2, 0.3, 0.9)).text()
    assert f"round 1: {sums[99]:,} tokens " in told
    assert f"   {sums[199]:,} tokens, price unknown" in told
    assert "not reached" in told
    assert "at the start" in told
    assert b.curve[0].tokens is not None  # no marks: by the time at which calls were made


def test_a_student_that_was_not_kept_reaches_nothing(example_run: Path, tmp_path: Path) -> None:
    other = another(example_run, tmp_path / "other", method={"id": "rationale"})
    for index in (1, 2):
        path = other / f"rounds/{index:02d}/metrics.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "promoted": False}))
    (other / "finished.json").unlink()
    view = compare([example_run, other])
    assert [point.promoted for point in view.runs[1].curve] == [True, False, False]
    assert view.runs[1].end == 0
    assert {found.round for found in view.runs[1].reached if found.level > view.runs[1].curve[0].accuracy} == {None}
    assert "(not kept)" in view.text()
    assert any("not every run has come to its end" in note for note in view.notes)


def test_other_students_to_begin_with_are_said(two: tuple[Path, Path], tmp_path: Path) -> None:
    other = another(two[1], tmp_path / "third")
    path = other / "rounds/00/metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "student": "another"}))
    view = compare([two[0], other])
    assert view.same_base is False
    assert any("did not begin with the same student" in note for note in view.notes)


def test_hostile_text_cannot_steer_the_terminal(make_run: Callable[..., Path], tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07[bold]\u202e"
    run = make_run(hostile=hostile, train=4, held_out=4)
    other = another(run, tmp_path / "other", method={"id": hostile + "m"})
    told = compare([run, other]).text()
    assert not {"\x1b", "\x07", "\u202e"} & set(told)
    assert "⟨ESC⟩]0;owned" in told


def test_data_is_what_json_can_hold_and_reads_back(two: tuple[Path, Path]) -> None:
    view = compare(two)
    data = json.loads(json.dumps(view.data()))
    assert msgspec.convert(data, Compare, strict=False) == view
    assert encode_line(view)


def test_the_file_draws_its_curves_without_a_network_and_obeys_no_text(
    make_run: Callable[..., Path], tmp_path: Path, browser: Browser
) -> None:
    hostile = "<img src=x onerror='window.owned=1'></script><script>window.owned=1</script>\u202e{{ 7 * 7 }}"
    run = make_run(hostile=hostile, train=4, held_out=6)
    other = another(run, tmp_path / "other", method={"id": "m" + hostile})
    out = write_comparison(compare([run, other]), tmp_path / "compare.html")

    def at(page: "Page", seen: Seen) -> tuple[list[str], bool, int, str]:
        until(page, "performance.getEntriesByName('tutelage:charts').length > 0")
        assert page.locator("#figure-curves .scatterlayer .trace").count() == 2
        page.get_by_text("Tokens", exact=True).click()
        text = page.locator("body").inner_text()
        return seen.requests + seen.errors + seen.dialogs, page.evaluate("'owned' in window"), page.evaluate(
            "document.documentElement.scrollWidth"
        ), text  # fmt: skip

    for width in (WIDE, NARROW):
        happened, owned, wide, text = browser.look(out, at, width=width)
        assert (happened, owned) == ([], False)
        assert wide <= width
        assert "49" not in text.split("Settings that differ")[1].split("Learning curves")[0]
        assert "⟨U+202E⟩" in text


def test_the_command_writes_the_file(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "compare.html"
    done = CliRunner().invoke(app, ["compare", *map(str, two), "--out", str(out), "--json", "--level", "0.4"])
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["levels"] == [0.4]
    assert out.read_text().startswith("<!doctype html>")
