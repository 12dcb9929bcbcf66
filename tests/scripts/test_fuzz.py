"""The fuzzers find what is planted, try every reader, and find nothing in ours; what they once found stays mended."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))

from fuzzing import campaign, of_replies, reader, readers  # noqa: E402
from fuzzing.mutation import made_from  # noqa: E402
from fuzzing.reader import Crash, Reader, Seed, judged, limits  # noqa: E402

import teachers.prompts  # noqa: E402 - the scripts' own folder comes first
from lessons.errors import InputError  # noqa: E402
from loops.watching.heartbeat import here  # noqa: E402


@pytest.fixture(scope="module")
def every() -> dict[str, Reader]:
    return {one.name: one for one in readers.every()}


@pytest.fixture(autouse=True)
def cache_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    yield


def planted(fault: str) -> Reader:
    def read(data: bytes) -> object:
        if b"<think>" not in data:
            raise InputError("there is nothing to read")
        if fault == "raises":
            raise KeyError(data)
        if fault == "does not end":
            while True:
                pass
        if fault == "says nothing":
            raise InputError("")
        return None

    return Reader(name=f"planted: {fault}", read=read, seeds=(Seed(b"7 + 8 = 15.\nAnswer: 15"),), refuses=(InputError,))


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("raises", "KeyError"), ("does not end", "TooSlow"), ("says nothing", "InputError without words"),
    ],
)  # fmt: skip
def test_what_is_planted_is_found_and_made_small(fault: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CPU_SECONDS", 0.02 if fault == "does not end" else 4.0)
    tried = campaign.try_reader(planted(fault), 400, seed=0)
    assert tried.inputs == 400
    (crash,) = tried.crashes
    assert what in crash.what
    assert crash.data == b"<think>"


def test_a_reader_that_fills_the_memory_is_found() -> None:
    """In a process of its own: what this one has held before would hide it."""
    program = f"""
import sys
sys.path[:0] = [{str(ROOT / "scripts")!r}, {str(ROOT)!r}]
from fuzzing import reader
reader.MEMORY = 2**27
fills = reader.Reader(name="fills", read=lambda data: len(data * 2**28), seeds=())
with reader.limits():
    print(reader.judged(fills, b""), reader.judged(fills, b"7").what)
"""
    # By a shell that forks: Linux counts what the process that calls exec held as the new program's own peak.
    command = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("None took ")
    assert "MB more than anything before" in ran.stdout


def test_what_is_in_order_is_no_crash() -> None:
    assert campaign.try_reader(planted("none"), 300, seed=0).crashes == []


def test_an_input_is_known_by_its_number() -> None:
    seen: list[bytes] = []
    one = Reader(name="noting", read=seen.append, seeds=(Seed(b'{"a": [1, "b"]}', "json"), Seed(b"a: 1", "yaml", b"h")))
    campaign.try_reader(one, 120, seed=3)
    assert len(seen) == 120
    assert len(set(seen)) > 80
    for number in (0, 1, 40, 119):
        assert campaign.input_of(one, number, 120, seed=3) == seen[number]
    assert made_from(one.seeds, Random(5)) == made_from(one.seeds, Random(5))


def test_every_prompt_and_record_is_among_the_readers(every: dict[str, Reader]) -> None:
    modules = {module.__name__.rpartition(".")[2] for module in of_replies._modules(teachers.prompts)}
    with_prompts = {name.removeprefix("prompt ").partition(".")[0] for name in every if name.startswith("prompt ")}
    assert with_prompts == modules - {"base", "reading", "structured"}
    for word in WORDS.split():
        assert any(word in name for name in every), word
    assert len(every) > 150


WORDS = """
recipe YAML --set catalogue labels problems lines record heartbeat views report command ledger batches scores draws
servers endpoint completion headers log sandbox grader filter adapter model's
"""
NESTED = (b"[" * 2_000, b'{"a":' * 1_500, b'{"question":' + b"[" * 2_000)
FOUND: dict[str, tuple[bytes, ...]] = {
    # What the first runs found, each mended where the reader is.
    "recipe": (
        *NESTED, b"9" * 5_000, b"!!int", b"!!timestamp", b"!!bool", b'a: "\\0"', b'a: "\\ud800"', b"2001-99-99",
        b"m0: &m0 {a: 1}\n" + b"\n".join(b"m%d: &m%d {<<: [*m%d, *m%d]}" % (n, n, n - 1, n - 1) for n in range(1, 60)),
        b'{"task":{},"student","teacher":{"":[{s:{}}]},"method"}', b"task: {id: os:system}",
    ),
    "YAML of a run": (*NESTED, b"9" * 5_000, b"!!int", b"!!timestamp", b"!!bool"),
    "catalogue": (*NESTED, b"9" * 5_000, b"!!int", b"!!timestamp", b"!!bool"),
    "problems of the user": NESTED, "GSM8K": NESTED, "SNIPS": NESTED, "lines of problems": NESTED,
    "batch results": NESTED, "batch jobs": NESTED,
    "scores": (b'{"choices":[{"prompt_logprobs":[null,{"5":{"logprob":1},"":{"logprob":3}},{"9":{"logprob":0}}]}]}',),
    "command line": (b"show /" + b"a" * 300, b"why /" + b"a" * 300 + b" x"),
    "heartbeat": tuple(
        b'{"process":{"pid":1,"created":1},"place":"x","began":"","beat":"%s","moved":"%s"}' % (told, told)
        for told in (b"", b"x", b"2026-11-01", b"2026-11-01T00:00:00", b"9999-12-31T23:59:59+99:99")
    ) + tuple(
        b'{"process":{"pid":%d,"created":2},"place":"%s","began":"","beat":"2026-11-22T00:00:15Z",'
        b'"moved":"9999-12-31T23:00:00Z","round":1,"stage":""}' % (pid, here().encode())
        for pid in (-1, 0, 2**31, 2**70)
    ),
    "adapter's weights": (b"", b"\xff" * 8, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", b"\x02" + bytes(7) + b"{}"),
    "adapter's settings": (
        b"", b"null", b"{}", *NESTED, b"9" * 5_000, b"\xe8", b'{"r":2}', b'{"r":2,"lora_alpha":4}',
        b'{"r": 1e400, "lora_alpha": 4, "target_modules": ["q_proj"]}',
        b'{"r": 2, "lora_alpha": 4, "target_modules": ["no_such"]}',
        b'{"r": 60000, "lora_alpha": 4, "target_modules": ["q_proj"]}',
    ),
    "adapter's note": NESTED,
    "model's config.json": (*NESTED, b'{"\xff"'), "model's generation_config.json": (*NESTED, b'{"\xff"'),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_once_found_stays_mended(name: str, every: dict[str, Reader]) -> None:
    with limits():
        for data in FOUND[name]:
            crash = judged(every[name], data)
            assert crash is None, (crash.what, data[:100], crash.trace)


@pytest.mark.parametrize("name", ["ledger, read", "ledger, opened", "ledger, replayed", "batches", "scores", "draws"])
def test_cells_of_every_kind(name: str, every: dict[str, Reader]) -> None:
    """A SQLite file whose cells hold what nobody wrote there: four bytes choose the cell and its value."""
    with limits():
        for number in range(60):
            crash = judged(every[name], b"%04d" % number)
            assert crash is None, (crash.what, number, crash.trace)


def fuzz(*words: str) -> tuple[int, list[dict[str, object]], str]:
    out = words[words.index("--json") + 1]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz.py"), *words], capture_output=True, text=True, check=False
    )
    return ran.returncode, [json.loads(line) for line in Path(out).read_text().splitlines()], ran.stdout + ran.stderr


def test_a_short_run_over_every_reader_finds_nothing(tmp_path: Path, every: dict[str, Reader]) -> None:
    code, found, said = fuzz("--inputs", "16", "--least", "8", "--seed", "7", "--json", str(tmp_path / "out"))
    assert code == 0, said
    assert {one["reader"] for one in found} == every.keys()
    assert sum(int(str(one["inputs"])) for one in found) > 2_000
    assert "all " in said


@pytest.mark.slow
def test_a_long_run_finds_nothing(tmp_path: Path) -> None:
    code, found, said = fuzz("--inputs", "400", "--least", "80", "--seed", "8", "--json", str(tmp_path / "out"))
    assert code == 0, said
    assert sum(int(str(one["inputs"])) for one in found) > 50_000


@pytest.mark.slow
def test_atheris_finds_nothing_either(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="pip install 'tutelage[fuzz]'")
    code, found, said = fuzz(
        "--engine",
        "atheris",
        "--inputs",
        "2000",
        "--readers",
        "judge,GSM8K,completion",
        "--json",
        str(tmp_path / "out"),
    )
    assert code == 0, said
    assert all(int(str(one["inputs"])) >= 600 for one in found)


def test_a_reader_that_takes_the_process_with_it_is_told(tmp_path: Path) -> None:
    """The parent goes on behind it, and makes the input anew from its number."""
    program = f"""
import os, sys
sys.path[:0] = [{str(ROOT / "scripts")!r}, {str(ROOT)!r}]
from fuzzing import readers
from fuzzing.reader import Reader, Seed

def every():
    yield Reader(name="first", read=lambda data: None, seeds=(Seed(b"x"),))
    yield Reader(name="dies", read=lambda data: os._exit(9) if b"\\n" in data else None, seeds=(Seed(b"y"),))
    yield Reader(name="last", read=lambda data: None, seeds=(Seed(b"z"),))

readers.every = every
import fuzz
fuzz.__file__ = {str(tmp_path / "fuzz_here.py")!r}
fuzz.main()
"""
    (tmp_path / "fuzz_here.py").write_text(program)
    command = [sys.executable, str(tmp_path / "fuzz_here.py"), "--inputs", "50", "--least", "50"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    rows = [line.split() for line in ran.stdout.splitlines()[1:4]]
    assert [row[0] for row in rows] == ["first", "dies", "last"]
    assert "dies: the process ended with 9" in ran.stdout


def test_a_crash_is_written_as_it_is() -> None:
    tried = campaign.Tried("r", 3, 1.5, [Crash("r", "KeyError at x", b"\x00\xff", "trace")])
    assert json.loads(tried.line())["crashes"] == [{"what": "KeyError at x", "data": "00ff", "trace": "trace"}]
