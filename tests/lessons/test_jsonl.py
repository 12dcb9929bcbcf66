import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.jsonl import encode_line, plain_text, read_jsonl, whole_file, write_jsonl, write_whole
from lessons.records import Attempt, Check, Dropped, Lesson, Message, Problem, Provenance

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.lists(text, max_size=3).map(tuple)
problems = st.builds(
    Problem,
    question=text,
    answer=st.none() | text,
    skills=names,
    solution=st.none() | text,
    choices=names,
    subject=text,
    source=text,
    parent=st.none() | text,
    data=st.dictionaries(text, st.integers(-(2**60), 2**60) | text | st.lists(text, max_size=2), max_size=2),
)
attempts = st.builds(
    Attempt,
    problem=problems,
    student=text,
    text=text,
    sample=st.integers(0, 9),
    score=st.none() | st.floats(0, 1),
    note=text,
    missing=names,
)
lessons = st.builds(
    Lesson,
    prompt=st.lists(st.builds(Message, role=st.sampled_from(["system", "user"]), content=text), max_size=2).map(tuple),
    completion=text,
    problem=problems,
    provenance=st.builds(Provenance, method=text, round=st.integers(0, 9), calls=names),
    rejected=st.none() | text,
    weight=st.floats(0.1, 9),
)
dropped = st.builds(Dropped, lesson=lessons, check=st.builds(Check, filter=text, passed=st.just(False), reason=text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jsonl")


@given(st.data())
@settings(max_examples=60)
@pytest.mark.parametrize(("kind", "records"), [(Problem, problems), (Attempt, attempts), (Dropped, dropped)])
def test_round_trip(folder: Path, kind: type, records: st.SearchStrategy, data: st.DataObject) -> None:
    written = data.draw(st.lists(records, max_size=4))
    path = folder / "records.jsonl"
    assert write_jsonl(path, written) == len(written)
    read = list(read_jsonl(path, kind))
    assert read == written
    if kind is not Dropped:
        assert [record.id for record in read] == [record.id for record in written]


RECORDS = [Problem(question=f"Frage {n}: wie groß? 😀", answer=str(n)) for n in range(3)]


def test_a_last_line_torn_anywhere_is_dropped_and_said(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    head = b"".join(map(encode_line, RECORDS[:2]))
    last = encode_line(RECORDS[2])
    for cut in range(len(last) + 1):
        path.write_bytes(head + last[:cut])
        said: list[str] = []
        read = list(read_jsonl(path, Problem, torn=said.append))
        whole = cut >= len(last) - 1  # without its newline alone, the record is still whole
        assert read == RECORDS[: 3 if whole else 2], cut
        assert said == ([] if whole or cut == 0 else [f"{path}: line 3 was torn by a crash and is dropped"])


def test_a_torn_line_needs_nobody_to_listen(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(encode_line(RECORDS[0]) + b'{"question"')
    assert list(read_jsonl(path, Problem)) == RECORDS[:1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"answer": "5"}', "`question`"),
        (b'{"question": 5}', "$.question"),
        (b'{"question": "a", "skills": ["x", 3]}', "$.skills[1]"),
        (b'{"question": "a", "colour": "red"}', "`colour`"),
        (b"not JSON", "malformed"),
        (b'{"question": "\xff"}', ""),
        (b"[1, 2]", "array"),
    ],
)
def test_a_bad_line_names_file_line_and_field(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(encode_line(RECORDS[0]) + b"\n" + line + b"\n" + encode_line(RECORDS[1]))
    with pytest.raises(InputError) as error:
        list(read_jsonl(path, Problem))
    assert f"{path}: line 3" in str(error.value)
    assert said in str(error.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing.jsonl: cannot be read"):
        list(read_jsonl(tmp_path / "nothing.jsonl", Problem))


def test_reading_and_writing_stream(tmp_path: Path) -> None:
    drawn: list[int] = []

    def endless():
        for number in range(1000):
            drawn.append(number)
            yield Problem(question=str(number))

    path = tmp_path / "many.jsonl"
    assert write_jsonl(path, endless()) == 1000
    first = next(read_jsonl(path, Problem))
    assert first.question == "0"


def test_whole_file_leaves_nothing_on_an_error_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "lessons.jsonl"

    def failing():
        yield RECORDS[0]
        raise RuntimeError("the power is gone")

    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(RuntimeError):
            write_jsonl(path, failing())
        assert (path.read_bytes() if path.exists() else None) == before
        assert [p.name for p in tmp_path.iterdir()] == ([path.name] if before else [])


def test_whole_file_cleans_up_when_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "metrics.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_seen_under_the_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "exam.jsonl"
    with whole_file(path) as out:
        out.write(b"{}\n")
        assert not path.exists()
    assert path.read_bytes() == b"{}\n"


def test_lone_surrogates_are_made_writable() -> None:
    broken = "a\ud800b"
    with pytest.raises(UnicodeEncodeError):
        encode_line(Problem(question=broken))
    assert encode_line(Problem(question=plain_text(broken))).endswith(b"\n")
    assert plain_text("ünd 😀") == "ünd 😀"
    assert plain_text(broken) == "a\ufffdb"
