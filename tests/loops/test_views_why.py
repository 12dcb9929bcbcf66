import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.jsonl import encode_line
from lessons.records import Lesson
from loops.reading import RunView
from loops.views.why import rows, why


def first_lesson(path: Path, *, replay: bool = False) -> Lesson:
    turn = RunView.open(path).rounds[1]
    return next(lesson for lesson in turn.lessons() if turn.is_new(lesson) != replay)


def test_a_trained_row_leads_back_to_its_failure_and_on_to_the_exam(example_run: Path) -> None:
    lesson = first_lesson(example_run)
    view = why(example_run, lesson.id[:9].upper())
    assert view.id == lesson.id
    assert (view.found.round, view.found.status) == (1, "trained")
    assert view.attempt is not None
    assert view.attempt.id == lesson.provenance.attempt
    assert view.attempt.failed
    assert view.seed is not None
    assert view.seed.id == lesson.provenance.seed
    assert [call.purpose for call in view.calls] == ["diagnose", "new_problem", "solution"]
    assert view.calls[-1].reply.text == lesson.completion
    assert view.calls_missing == ()
    assert [check.filter for check in view.checks] == ["format", "verified", "near_duplicate", "overlap"]
    assert view.lesson.weight == 1.5
    assert view.lessons_in_round == 90
    assert view.training is not None
    assert view.exam is not None
    metrics = [turn.metrics for turn in RunView.open(example_run).rounds]
    assert metrics[0] is not None
    assert metrics[1] is not None
    assert view.exam.before == metrics[0].skills["carrying"]
    assert view.exam.after == metrics[1].skills["carrying"]


def test_its_text_has_every_link(example_run: Path) -> None:
    told = why(example_run, first_lesson(example_run).id).text()
    titles = ("1 seed problem", "2 the student's attempt", "3 the teacher's calls", "4 the lesson", "5 filters")
    for title in (*titles, "6 selection", "7 training", "8 the exam after round 1"):
        assert f"\n{title}" in told
    assert "lacked: carrying" in told
    assert "diagnosis by teacher, wrong: The ten is lost." in told
    assert "weight 1.5   drawn with probability 0.25   one of 90 rows" in told


def test_a_dropped_candidate_names_the_filter_that_dropped_it(example_run: Path) -> None:
    drop = next(RunView.open(example_run).rounds[1].dropped())
    view = why(example_run, drop.lesson.id)
    assert view.found.status == "dropped"
    assert view.checks[-1] == drop.check
    assert (view.training, view.exam) == (None, None)
    told = view.text()
    assert "dropped verified   wrong answer   (13 is not 31)" in told
    assert "6 selection" not in told


def test_a_replayed_row_says_that_no_filter_judged_it(example_run: Path) -> None:
    view = why(example_run, first_lesson(example_run, replay=True).id)
    assert view.attempt is not None
    assert view.attempt.right
    assert view.calls == ()
    assert "such rows are not filtered" in view.text()


def test_a_kept_candidate_that_was_not_chosen(example_run: Path) -> None:
    run = RunView.open(example_run)
    spare = next(lesson for lesson, place, _ in rows(run) if place.status == "kept, not chosen")
    view = why(run, spare.id)
    assert (view.found.status, view.training) == ("kept, not chosen", None)


def test_the_same_content_both_trained_and_dropped(own_run: Path) -> None:
    lesson = first_lesson(own_run)
    path = own_run / "rounds/01/dropped.jsonl"
    drop = next(RunView.open(own_run).rounds[1].dropped())
    again = type(drop)(lesson=lesson, check=drop.check)
    path.write_bytes(path.read_bytes() + encode_line(again))
    view = why(own_run, lesson.id)
    assert view.found.status == "trained"
    assert [place.status for place in view.also] == ["dropped"]
    assert why(own_run, lesson.id, dropped=True).found.status == "dropped"


def test_an_ambiguous_beginning_is_one_line_with_the_ids(example_run: Path) -> None:
    with pytest.raises(InputError, match="ids begin with") as told:
        for sign in "0123456789abcdef":
            why(example_run, sign)
    assert "\n" not in str(told.value)
    assert "(trained)" in str(told.value) or "(dropped)" in str(told.value)


def test_an_unknown_id_names_near_ones(example_run: Path) -> None:
    lesson = first_lesson(example_run)
    wrong = lesson.id[:10] + "zzzzzz"
    with pytest.raises(InputError, match="no lesson and no dropped candidate") as told:
        why(example_run, wrong)
    assert lesson.id in str(told.value)
    with pytest.raises(InputError):
        why(example_run, "")


def test_asking_for_the_drop_of_what_was_not_dropped(example_run: Path) -> None:
    with pytest.raises(InputError, match="was not dropped"):
        why(example_run, first_lesson(example_run).id, dropped=True)


def test_a_run_without_candidates(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("rounds: 1\n")
    with pytest.raises(InputError, match="no lesson and no candidate yet"):
        why(tmp_path, "ab")


def test_half_a_round_still_answers(own_run: Path) -> None:
    lesson = first_lesson(own_run)
    folder = own_run / "rounds/01"
    for name in ("kept.jsonl", "dropped.jsonl", "lessons.jsonl", "attempts.jsonl", "metrics.json", "learned.json"):
        (folder / name).unlink()
    (own_run / "calls.sqlite").unlink()
    view = why(own_run, lesson.id)
    assert view.found.status == "candidate"
    assert (view.attempt, view.calls) == (None, ())
    assert view.calls_missing == lesson.provenance.calls
    assert view.seed is not None
    assert "is not in the run folder" in view.text()
    assert "none has judged it" in view.text()


def test_hostile_text_cannot_steer_the_terminal(make_run: Callable[..., Path]) -> None:
    path = make_run(hostile="\x1b]0;owned\x07[link=file:///]\u2067", train=4, held_out=4)
    told = why(path, first_lesson(path).id).text()
    assert not {"\x1b", "\x07", "\u2067"} & set(told)
    assert "⟨ESC⟩]0;owned⟨U+0007⟩[link=file:///]⟨U+2067⟩" in told


def test_data_is_what_json_can_hold(example_run: Path) -> None:
    data = json.loads(json.dumps(why(example_run, first_lesson(example_run).id).data()))
    assert data["attempt"]["missing"] == ["carrying"]
    assert data["calls"][0]["reply"]["usage"]["prompt"] > 0
