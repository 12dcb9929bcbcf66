"""What a student finds probable is scored once, kept by content, and never held in memory as a whole."""

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError, StudentError
from lessons.records import Message
from loops.scores import CHUNK, Score, Scores, Text
from tests.loops.selecting import Told, by_table, nats, scores_of


def text(words: str, *before: str) -> Text:
    return tuple(Message(role="user", content=one) for one in before), words


def flat(loss: float = 1.0, name: str = "told") -> Told:
    return Told(by_table({}, loss), name=name)


def test_a_score_is_of_its_tokens() -> None:
    score = Score.of_tokens([math.log(0.5), math.log(0.25)])
    assert score.tokens == 2
    assert score.loss == pytest.approx((nats(0.5) + nats(0.25)) / 2)
    assert score.perplexity == pytest.approx(8**0.5)
    # DELIFT's d = ||p - 1|| / sqrt(T): sqrt((0.5 ** 2 + 0.75 ** 2) / 2).
    assert score.distance == pytest.approx(math.sqrt((0.25 + 0.5625) / 2))


def test_a_score_of_nothing_and_one_of_the_impossible() -> None:
    assert (Score.of_tokens([]).loss, Score.of_tokens([]).perplexity, Score.of_tokens([]).distance) == (0.0, 1.0, 0.0)
    never = Score.of_tokens([-math.inf, -1.0])
    assert (never.loss, never.perplexity) == (math.inf, math.inf)
    assert Score(-800.0, 1).perplexity == math.inf


def test_each_text_is_scored_once_whoever_asks_again_and_after_a_restart(tmp_path: Path) -> None:
    student = Told(by_table({"one": 1.0, "two": 2.0}))
    first = scores_of(tmp_path / "scores.sqlite", now=student)
    assert [s.loss for s in first.of([text("one", "q"), text("two", "q"), text("one", "q")])] == [1.0, 2.0, 1.0]
    assert student.asked == [2]  # a text that stands twice is scored once
    assert [s.loss for s in first.of([text("two", "q")])] == [2.0]
    assert student.asked == [2]
    first.close()
    again = scores_of(tmp_path / "scores.sqlite", now=student)
    found = list(again.of([text("two", "q"), text("one", "q"), text("one", "another")]))
    assert [s.loss for s in found] == [2.0, 1.0, 1.0]
    assert student.asked == [2, 1]  # only the prompt that was not seen
    assert found[0] == Score.of_tokens([-2.0] * 4)  # every field comes back as it was


def test_impossible_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    student = Told(by_table({"never": math.inf}))
    for _ in range(2):
        scores = scores_of(tmp_path / "scores.sqlite", now=student)
        (found,) = scores.of([text("never")])
        assert found == (-math.inf, 4, 1.0)
        scores.close()
    assert student.asked == [1]


def test_two_students_have_scores_of_their_own_in_one_file(tmp_path: Path) -> None:
    scores = scores_of(tmp_path / "scores.sqlite", now=flat(1.0, "one"), base=flat(2.0, "other"))
    assert [s.loss for s in scores.of([text("x")])] == [1.0]
    assert [s.loss for s in scores.of([text("x")], "base")] == [2.0]
    assert [s.loss for s in scores.of([text("x")], flat(3.0, "a third"))] == [3.0]


def test_the_same_weights_under_another_name_are_not_asked_again(tmp_path: Path) -> None:
    one, same = flat(), flat()
    scores = scores_of(tmp_path / "scores.sqlite", now=one, last=same)
    list(scores.of([text("x")]))
    list(scores.of([text("x")], "last"))
    assert (one.asked, same.asked) == ([1], [])


def test_an_empty_prompt_is_a_text_of_its_own() -> None:
    student = Told(lambda prompt, words: float(len(prompt)))
    scores = scores_of(now=student)
    assert [s.loss for s in scores.of([text("y", "x"), text("y")])] == [1.0, 0.0]


def test_texts_stream_a_chunk_at_a_time(tmp_path: Path) -> None:
    student = flat()
    drawn = 0

    def texts() -> Iterator[Text]:
        nonlocal drawn
        for number in range(3 * CHUNK + 7):
            drawn += 1
            yield text(f"text {number}")

    scores = scores_of(tmp_path / "scores.sqlite", now=student).of(texts())
    next(scores)
    assert drawn == CHUNK
    held = [drawn - place for place, _ in enumerate(scores, start=2)]
    assert max(held) < CHUNK  # never more drawn ahead than one chunk
    assert student.asked == [CHUNK, CHUNK, CHUNK, 7]


def test_a_kill_between_chunks_loses_one_chunk_at_most(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def dying(prompt: object, words: str) -> float:
        if words == f"text {CHUNK + 3}":
            raise KilledError
        return 1.0

    texts = [text(f"text {number}") for number in range(CHUNK + 10)]
    with pytest.raises(KilledError):
        list(scores_of(tmp_path / "scores.sqlite", now=Told(dying)).of(texts))
    after = flat()
    assert len(list(scores_of(tmp_path / "scores.sqlite", now=after).of(texts))) == CHUNK + 10
    assert after.asked == [10]


def test_what_is_no_number_is_an_error_and_is_not_kept(tmp_path: Path) -> None:
    broken = Told(by_table({}, math.nan))
    with pytest.raises(StudentError, match=r"told: the probability of a text is no number"):
        list(scores_of(tmp_path / "scores.sqlite", now=broken).of([text("x")]))
    assert [s.loss for s in scores_of(tmp_path / "scores.sqlite", now=flat()).of([text("x")])] == [1.0]


def test_each_tells_which_text_the_student_cannot_take() -> None:
    def short(prompt: object, words: str) -> float:
        if len(words) > 5:
            raise StudentError("too long")
        return 1.0

    scores = scores_of(now=Told(short))
    found = list(scores.each([text("one"), text("far too long"), text("two")]))
    assert [isinstance(one, StudentError) for one in found] == [False, True, False]
    with pytest.raises(StudentError, match="too long"):
        list(scores.of([text("one"), text("far too long")]))


def test_a_file_that_is_none_of_scores_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"no database at all, only words" * 40)
    scores = scores_of(path, now=flat())
    for _ in range(2):  # and it says so every time
        with pytest.raises(InputError, match=r"scores.sqlite: is no file of scores .*delete it, it is made anew"):
            list(scores.of([text("x")]))
    path.unlink()
    assert len(list(scores.of([text("x")]))) == 1


def test_a_file_that_was_damaged_later_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    scores = scores_of(path, now=flat())
    list(scores.of([text(f"text {number}") for number in range(2000)]))
    scores.close()
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)  # the first page, with the table's name, is whole
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"scores.sqlite: is no file of scores .*delete it"):
        list(scores.of([text("text 1")]))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone/scores.sqlite: the file of scores cannot be used"):
        list(scores_of(tmp_path / "gone" / "scores.sqlite", now=flat()).of([text("x")]))


def test_a_file_that_another_process_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.sqlite"
    list(scores_of(path, now=flat()).of([text("x")]))
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{**k, "timeout": 0.01}))
    with real(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=r"cannot be used \(database is locked\)"):
            list(scores_of(path, now=flat()).of([text("y")]))


def test_an_unknown_student_is_an_error() -> None:
    with pytest.raises(InputError, match="student model 'nobody'"):
        list(scores_of(now=flat()).of([text("x")], "nobody"))


def test_closing_gives_memory_back_and_the_next_use_goes_on(tmp_path: Path) -> None:
    student = flat()
    scores = scores_of(tmp_path / "scores.sqlite", now=student)
    list(scores.of([text("x")]))
    scores.close()
    assert student.closed == 1
    assert len(list(scores.of([text("x"), text("y")]))) == 2
    assert student.asked == [1, 1]


def test_without_a_file_scores_are_kept_while_it_is_open() -> None:
    student = flat()
    scores = Scores(None, {"now": lambda: student})  # pyright: ignore[reportArgumentType]
    list(scores.of([text("x")]))
    list(scores.of([text("x")]))
    assert student.asked == [1]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_scores_come_in_the_order_asked_whatever_was_known(batches: list[list[int]]) -> None:
    student = Told(lambda prompt, words: float(words))
    scores = scores_of(now=student)
    for batch in batches:
        assert [s.loss for s in scores.of([text(str(one)) for one in batch])] == [float(one) for one in batch]
    assert sum(student.asked) == len({one for batch in batches for one in batch})


def test_the_tiny_students_scores_are_its_own(tmp_path: Path) -> None:
    from students.tiny import tiny

    student = tiny(threads=1)
    texts = [text("Seven.", "What is 3 + 4?"), text("Nine.", "What is 3 + 4?")]
    direct = student.score(texts)
    scores = Scores(tmp_path / "scores.sqlite", {"now": lambda: student})
    found = list(scores.of(texts))
    assert [s.tokens for s in found] == [7, 6]  # bytes, and the end of the turn
    assert [s.total for s in found] == pytest.approx([math.fsum(logs) for logs in direct])
    assert all(0 < s.distance < 1 for s in found)
