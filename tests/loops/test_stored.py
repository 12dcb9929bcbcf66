"""Sequences that lie in files are what lists are; a round whose lessons lie in files comes to the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.jsonl import write_jsonl
from lessons.records import Dropped, Lesson
from loops import stored
from loops.filters.base import Context, Drop, apply
from loops.filters.duplicate import Duplicate
from loops.filters.format import Format
from loops.filters.near_duplicate import NearDuplicate
from loops.filters.overlap import Overlap
from loops.filters.sieve import Sieve, groups, turns
from loops.recipe import resolve
from loops.run import Run
from loops.selectors.base import by_shares
from loops.stored import Ids, Joined, Picked, Spool, Stored, joined, picked, records
from tests.loops.filtering import CONTEXT, lesson


def some(count: int) -> list[Lesson]:
    return [lesson(f"What is {number}?", f"It is so {number % 7}.\nAnswer: 4") for number in range(count)]


def test_a_file_is_a_sequence(tmp_path: Path) -> None:
    rows, path = some(5), tmp_path / "rows.jsonl"
    write_jsonl(path, rows)
    found = Stored(path, Lesson)
    assert len(found) == 5
    assert list(found) == rows
    assert [found[place] for place in (4, 0, -1, -5)] == [rows[4], rows[0], rows[4], rows[0]]
    assert found[1:4] == rows[1:4]
    assert found[::-2] == rows[::-2]
    assert list(reversed(found)) == rows[::-1]
    assert rows[3] in found
    for place in (5, -6):
        with pytest.raises(IndexError):
            found[place]


def test_blank_lines_count_for_nothing_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    rows, path = some(2), tmp_path / "rows.jsonl"
    write_jsonl(path, rows)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\n" + first + b"\n\n" + second)
    found = Stored(path, Lesson)
    assert [found[0], found[1]] == list(found) == rows
    path.write_bytes(first + b"{torn\n" + second)
    with pytest.raises(InputError, match="line 2"):
        list(Stored(path, Lesson))


def test_few_records_are_a_list_and_many_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "HELD", 3)
    for count, kind in ((3, list), (4, Stored)):
        path, spool = tmp_path / f"{count}.jsonl", Spool(tmp_path / "in" / f"{count}", Lesson)
        write_jsonl(path, some(count))
        spool.extend(some(count))
        for found in (records(path, Lesson), spool.records()):
            assert isinstance(found, kind)
            assert list(found) == some(count) == [found[place] for place in range(count)]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["4"]  # the few were never written
    assert isinstance(picked(some(9), range(4)), Picked)
    assert isinstance(joined([some(9)], [(0, 1)]), list)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_picked_and_joined_are_what_they_say(data: st.DataObject) -> None:
    sources = [list(range(10 * one, 10 * one + data.draw(st.integers(1, 5)))) for one in range(3)]
    picks = data.draw(
        st.lists(st.integers(0, 2).flatmap(lambda one: st.tuples(st.just(one), st.integers(0, len(sources[one]) - 1))))
    )
    both = Joined(sources, picks)
    assert list(both) == [sources[which][place] for which, place in picks]
    places = data.draw(st.lists(st.integers(0, len(picks) - 1))) if picks else []
    changed = Picked(both, places, lambda row, item: 1000 * row + item)
    assert list(changed) == [1000 * row + both[place] for row, place in enumerate(places)]


@given(st.sets(st.integers(0, 2**64 - 1)))
@settings(max_examples=50, deadline=None)
def test_ids_are_a_set(numbers: set[int]) -> None:
    names = {f"{number:016x}" for number in numbers}
    found = Ids([*names, *names])
    assert set(found) == names
    assert len(found) == len(names)
    assert all(name in found for name in names)
    assert f"{2**64 - 1 - min(numbers, default=0):016x}" in found or 2**64 - 1 - min(numbers, default=0) not in numbers
    assert "no id" not in found
    assert 7 not in found


class Longer:
    """A filter of a user's own: all candidates at once, and nothing said about itself."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        mean = sum(len(one.completion) for one in lessons) / len(lessons)
        return [one if len(one.completion) >= mean else Drop("below the mean") for one in lessons]


FILTERS = [
    ("format", Format(most=50)), ("overlap", Overlap()), ("duplicate", Duplicate(per_question=2)),
    ("longer", Longer()), ("near_duplicate", NearDuplicate(threshold=0.3)), ("format", Format()),
]  # fmt: skip


def test_neighbours_that_judge_by_themselves_take_turns() -> None:
    found = [[name for name, _ in group] for group in groups(FILTERS, lambda judge: False)]
    assert found == [["format", "overlap"], ["duplicate"], ["longer"], ["near_duplicate"], ["format"]]
    asked = groups(FILTERS[:2], lambda judge: isinstance(judge, Overlap))
    assert [[name for name, _ in group] for group in asked] == [["format"], ["overlap"]]


@pytest.mark.parametrize("held", [4, 10_000])
def test_a_sieve_comes_to_what_the_filters_come_to(held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(1)
    words = ["one", "two", "three", "four", "five", "six"]
    texts = [" ".join(rng.choices(words, k=rng.randint(2, 9))) for _ in range(60)]
    texts += [f"{rng.choice(texts)} and {rng.choice(words)}" for _ in range(60)]
    rows = [lesson(text, f"{text}.\nAnswer: {len(text) % 3 or ''}") for text in texts]
    kept, dropped = list(rows), list[Dropped]()
    for name, judge in FILTERS:
        kept, gone = apply(name, judge, kept, CONTEXT)
        dropped += gone
    assert {drop.check.filter for drop in dropped} == {"format", "duplicate", "longer", "near_duplicate"}
    monkeypatch.setattr(stored, "HELD", held)
    monkeypatch.setattr("loops.filters.sieve.CHUNK", 7)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    lessons = records(tmp_path / "rows.jsonl", Lesson)
    with Sieve(tmp_path / ".sieve") as sieve:
        for group in groups(FILTERS, lambda judge: False):
            whole = not turns(group[0][1], lambda judge: False)
            lessons = sieve.through(group, lessons, CONTEXT, lambda judge, some, context: context, whole=whole)
        assert list(lessons) == kept
        assert [drop.lesson.id for drop in sieve.dropped] == [drop.lesson.id for drop in dropped]
        assert list(sieve.dropped) == dropped
        assert sum(sieve.counts.values()) == len(dropped)
        assert (tmp_path / ".sieve").exists() is (held == 4)
    assert not (tmp_path / ".sieve").exists()


def test_what_is_drawn_does_not_depend_on_where_the_candidates_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, path = some(40), tmp_path / "rows.jsonl"
    write_jsonl(path, rows)

    def drawn(candidates: Sequence[Lesson]) -> Sequence[Lesson]:
        return by_shares(candidates, {"0": 3.0, "1": 1.0}, 12, Random(5), lambda one: str(len(one.id[:8]) % 2))

    listed = drawn(rows)
    monkeypatch.setattr(stored, "HELD", 4)
    found = drawn(records(path, Lesson))
    assert isinstance(found, Picked)
    assert list(found) == list(listed)


def test_a_round_whose_lessons_lie_in_files_comes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = resolve(
        {
            "task": {"id": "skills_demo", "skills": ["products", "carrying"], "train": 6, "held_out": 2},
            "student": {"model": "tiny", "answer": {"max_tokens": 6}, "adapter": {"rank": 2}},
            "teacher": {"kind": "rule_tutor", "error_rate": 0.3}, "method": "rationale",
            "filters": ["format", "verified", "duplicate", {"id": "near_duplicate", "earlier": False}],
            "select": {"id": "profile", "replay": 0.2}, "order": "sequential", "train": {"epochs": 1},
            "gate": {"rule": "always"}, "examine": {"noise": False}, "rounds": 2,
        }
    )  # fmt: skip
    Run.start(recipe, tmp_path / "lists").up_to(2, "learn")
    monkeypatch.setattr(stored, "HELD", 2)
    Run.start(recipe, tmp_path / "files").up_to(2, "learn")
    for index in (1, 2):
        for name in ("candidates.jsonl", "kept.jsonl", "dropped.jsonl", "lessons.jsonl", "contamination.json"):
            one, other = (tmp_path / run / f"rounds/0{index}" / name for run in ("lists", "files"))
            assert one.read_bytes() == other.read_bytes(), (index, name)
    assert (tmp_path / "files/rounds/02/lessons.jsonl").read_bytes().count(b"\n") > 6  # with those of round 1
    assert not [path for name in (".sieve", ".written*") for path in (tmp_path / "files").rglob(name)]
