import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.jsonl import encode_line
from lessons.records import Attempt, Check, Dropped, Lesson, Problem
from loops.reading import RunView
from loops.views.finding import attempt_ids, dropped_id, lesson_id, problem_id
from loops.views.traces import Traces
from loops.views.why import Why, rows
from loops.views.why import why as why_or_traces


def why(run: Path | RunView, identity: str, *, dropped: bool = False) -> Why:
    view = why_or_traces(run, identity, dropped=dropped)
    assert isinstance(view, Why)
    return view


def traced(run: Path | RunView, identity: str) -> Traces:
    view = why_or_traces(run, identity)
    assert isinstance(view, Traces)
    return view


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
    assert data["calls"][0]["created"] == "2026-11-20T10:00:00Z"
    assert data["later"][0]["round"] == 2


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
problems = st.builds(
    Problem, question=texts, answer=st.none() | texts, choices=st.lists(texts, max_size=3).map(tuple),
    skills=st.lists(texts, max_size=2).map(tuple), data=st.dictionaries(texts, st.integers(), max_size=2),
)  # fmt: skip
messages = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "system"]), texts)


@given(problems, st.lists(messages, min_size=1, max_size=3), texts, st.none() | texts, st.integers(0, 9))
def test_ids_are_those_of_the_whole_records(
    problem: Problem, chat: list, text: str, rejected: str | None, sample: int
) -> None:
    lesson = msgspec.convert(
        {
            "prompt": chat,
            "completion": text,
            "rejected": rejected,
            "problem": msgspec.to_builtins(problem),
            "provenance": {"method": text, "round": sample},
        },
        Lesson,
    )
    attempt = Attempt(problem=problem, student=text, text=text[::-1], sample=sample, score=0.5)
    assert lesson_id(encode_line(lesson)) == lesson.id
    drop = Dropped(lesson=lesson, check=Check(filter="f", passed=False))
    assert dropped_id(encode_line(drop)) == lesson.id
    assert problem_id(encode_line(problem)) == problem.id
    assert attempt_ids(encode_line(attempt)) == (attempt.id, problem.id)


def test_who_paid_for_a_call_and_when_is_told(own_run: Path) -> None:
    lesson = first_lesson(own_run)
    view = why(own_run, lesson.id)
    assert view.paid == {call.id: True for call in view.calls}
    with contextlib.closing(sqlite3.connect(own_run / "calls.sqlite", isolation_level=None)) as ledger:
        ledger.execute("UPDATE calls SET paid = 0 WHERE id = ?", (view.calls[-1].id,))
    again = why(own_run, lesson.id)
    assert again.paid == {**view.paid, view.calls[-1].id: False}
    told = again.text()
    assert told.count("paid by this run") == 2
    assert told.count("from the cache of your runs") == 1
    assert "2026-11-20T10:00:00Z" in told


def test_what_the_student_answers_to_the_seed_problem_later(example_run: Path) -> None:
    view = why(example_run, first_lesson(example_run).id)
    assert view.seed is not None
    second = next(turn for turn in RunView.open(example_run).rounds if turn.index == 2)
    expected = [attempt for attempt in second.attempts() if attempt.problem.id == view.seed.id]
    assert [(row.round, row.attempt) for row in view.later] == [(2, attempt) for attempt in expected]
    told = view.text()
    assert "\n9 the seed problem again, in the rounds after\n" in told
    assert "examined in round 2" in told
    last = next(le for le in RunView.open(example_run).rounds[2].lessons() if le.provenance.method != "replay")
    assert why(example_run, last.id).later == ()


def test_an_attempt_with_an_error_kind_and_process_rewards(own_run: Path) -> None:
    lesson = first_lesson(own_run)
    path = own_run / "rounds/01/attempts.jsonl"
    told_more = []
    for attempt in RunView.open(own_run).rounds[1].attempts():
        if attempt.id == lesson.provenance.attempt:
            assert attempt.diagnosis is not None
            diagnosis = msgspec.structs.replace(attempt.diagnosis, error="arithmetic slip", privileged=True)
            more = {"rewards": (0.9, 0.4), "difficult": True, "cut": True, "diagnosis": diagnosis}
            attempt = msgspec.structs.replace(attempt, **more)
        told_more.append(encode_line(attempt))
    path.write_bytes(b"".join(told_more))
    told = why(own_run, lesson.id).text()
    assert "kind of error: arithmetic slip" in told
    assert "whoever diagnosed saw the reference answer" in told
    assert "process rewards: 0.90, 0.40   difficult" in told
    assert "the answer was cut off" in told


def test_the_id_of_a_problem_or_an_attempt_lists_what_came_of_it(example_run: Path) -> None:
    lesson = first_lesson(example_run)
    origin = lesson.provenance
    assert origin.attempt is not None
    assert origin.seed is not None
    by_attempt = traced(example_run, origin.attempt)
    assert (by_attempt.kind, by_attempt.id, by_attempt.call) == ("attempt", origin.attempt, None)
    assert [row.attempt.id for row in by_attempt.tried] == [origin.attempt]
    every = {le.id for le, _, _ in rows(RunView.open(example_run)) if le.provenance.attempt == origin.attempt}
    assert {row.id for row in by_attempt.rows} == every
    assert lesson.id in every
    by_problem = traced(example_run, origin.seed[:12])
    assert (by_problem.kind, by_problem.id, by_problem.part) == ("problem", origin.seed, "train")
    assert [row.round for row in by_problem.tried] == [1, 2]
    attempts = {row.id for row in by_problem.tried}
    came = {le.id for le, _, _ in rows(RunView.open(example_run)) if le.provenance.attempt in attempts}
    assert {row.id for row in by_problem.rows} == came
    told = by_problem.text()
    assert told.startswith(f"problem {origin.seed}   of the train problems")
    assert f"{lesson.id}   round 1, trained" in told
    assert "attempt " + origin.attempt in told


def test_the_id_of_a_call_lists_the_lessons_that_it_made(example_run: Path) -> None:
    lesson = first_lesson(example_run)
    view = traced(example_run, lesson.provenance.calls[-1])
    assert view.kind == "call"
    assert view.call is not None
    assert view.call.reply.text == lesson.completion
    assert lesson.id in {row.id for row in view.rows}
    assert "what came of it" in view.text()


def test_a_problem_of_the_exam_has_nothing_that_came_of_it(example_run: Path) -> None:
    problem = next(RunView.open(example_run).problems("held_out"))
    view = traced(example_run, problem.id)
    assert (view.part, view.tried, view.rows, view.problem) == ("held_out", (), (), problem)
    assert "no lesson and no candidate came of it" in view.text()


def test_a_damaged_line_hides_no_other_round(own_run: Path) -> None:
    lesson = next(le for le in RunView.open(own_run).rounds[2].lessons() if le.provenance.method != "replay")
    path = own_run / "rounds/01/lessons.jsonl"
    path.write_bytes(b"{]\n" + path.read_bytes())
    run = RunView.of(own_run)
    assert why(run, lesson.id).found.round == 2
    assert run.faults.found["rounds/01/lessons.jsonl"].startswith("line 1: ")
    with pytest.raises(InputError, match="line 1"):
        why(RunView.open(own_run), lesson.id)
