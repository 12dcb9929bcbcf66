"""Throw hostile inputs at everything that reads files, replies and answers; print what was tried and what broke.

    python scripts/fuzz.py [--inputs N] [--least N] [--seconds S] [--readers WORDS] [--seed 0] [--engine own|atheris]
                           [--json OUT] [--crashes FOLDER]

A reader may return, or raise one of the project's own errors. Any other exception, more than 4 s of computing, and more
than 512 MB of memory for one input are crashes; each is made smaller and shown, and with --crashes kept as a file.

Two engines make the inputs. `own`: good inputs made hostile, by bytes, lines and members, what hypothesis makes from
the formats' grammars, and bombs; the same seed makes the same ones. `atheris`: libFuzzer, led by which branches of the
code an input reaches (pip install 'tutelage[fuzz]'). The readers run in another process: one that dies is told, too.
"""

import argparse
import json
import mmap
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

from fuzzing import readers  # noqa: E402 - the two paths come first
from fuzzing.campaign import Tried, input_of, try_reader  # noqa: E402
from fuzzing.guided import crashes_in  # noqa: E402
from fuzzing.reader import Crash, Reader  # noqa: E402

ADDRESSES = 12 * 1024**3
"""Bytes of address space of the process that reads: what asks for more fails, and the machine stays well."""
LEAST = 50
"""Inputs of a slow reader, at least, or all that were asked for."""


def main() -> None:
    """Read the command line, try every reader, print the table; exit code 1 where anything crashed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    parser.add_argument("--inputs", type=int, default=2_000, help="for each fast reader; slow ones get their share")
    parser.add_argument("--least", type=int, default=LEAST, help="for each reader, however slow")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="in all; readers still to come get none")
    parser.add_argument("--readers", default="", help="only those with one of these words in their names")
    parser.add_argument("--without", default="", help="none with one of these words in its name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write what was tried and found here, too")
    parser.add_argument("--crashes", type=Path, help="keep each crash's input in this folder")
    parser.add_argument("--list", action="store_true", help="name the readers and end")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--after", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child is not None:
        child(asked)
        return
    if asked.list:
        print("\n".join(reader.name for reader in chosen(asked)))
        return
    print(f"{'reader':<44}  {'inputs':>10}  {'inputs/s':>9}  {'crashes':>7}")
    found: list[Tried] = []
    for one in (parent if asked.engine == "own" else guided)(asked):
        print(row(one.reader, one.inputs, one.seconds, len(one.crashes)), flush=True)
        found.append(one)
    show(found)
    if asked.json is not None:
        asked.json.write_text("\n".join(one.line() for one in found) + "\n", encoding="utf-8")
    if asked.crashes is not None:
        keep(found, asked.crashes)
    sys.exit(1 if any(one.crashes for one in found) else 0)


def words_of(listed: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word.strip() for word in listed.split(",") if word.strip()]


def chosen(asked: Any) -> list[Reader]:
    """Return the readers that were asked for; all where no word is given."""
    words, without = words_of(asked.readers), words_of(asked.without)
    return [
        one
        for one in readers.every()
        if (not words or any(word in one.name for word in words)) and not any(word in one.name for word in without)
    ]


def share(reader: Reader, inputs: int, least: int) -> int:
    """Return how many inputs a reader gets."""
    return max(min(inputs, least), int(inputs * reader.weight))


def child(asked: Any) -> None:
    """Try the readers one after the other, writing a line for each; note what is tried, for who comes after a death."""
    until = time.monotonic() + asked.seconds
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    told = os.dup(1)
    os.dup2(2, 1)  # what a reader prints is no line of ours
    with (asked.child / "now").open("r+b") as file, mmap.mmap(file.fileno(), 16) as now:
        for place, reader in enumerate(chosen(asked)):
            if place < asked.after:
                continue
            now[:8] = place.to_bytes(8, "little")

            def count(number: int) -> None:
                now[8:] = number.to_bytes(8, "little")

            inputs = share(reader, asked.inputs, asked.least)
            tried = try_reader(reader, inputs, seed=asked.seed, until=until, count=count)
            os.write(told, tried.line().encode() + b"\n")


def parent(asked: Any) -> Iterator[Tried]:
    """Run children until every reader has had its inputs; what ends a child is a crash of the reader that it was at."""
    begun, after = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="tutelage-fuzz-") as name:
        while True:
            (Path(name) / "now").write_bytes(bytes(16))
            left = asked.seconds - (time.monotonic() - begun)
            command = [
                sys.executable, __file__, "--child", name, "--after", str(after), "--inputs", str(asked.inputs),
                "--least", str(asked.least), "--seconds", str(left), "--readers", asked.readers,
                "--without", asked.without, "--seed", str(asked.seed),
            ]  # fmt: skip
            environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
                assert running.stdout is not None
                yield from map(read_line, running.stdout)
            if running.returncode == 0:
                return
            now = (Path(name) / "now").read_bytes()
            place, number = int.from_bytes(now[:8], "little"), int.from_bytes(now[8:], "little")
            reader = chosen(asked)[place]
            data = input_of(reader, number, share(reader, asked.inputs, asked.least), seed=asked.seed)
            crash = Crash(reader.name, f"the process ended with {running.returncode} at input {number}", data, "")
            yield Tried(reader.name, number, 0.0, [crash])
            after = place + 1


def guided(asked: Any) -> Iterator[Tried]:
    """Run each reader under atheris, in a process of its own."""
    begun = time.monotonic()
    paths = os.pathsep.join([str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    for reader in chosen(asked):
        left = asked.seconds - (time.monotonic() - begun)
        if left <= 0:
            return
        with tempfile.TemporaryDirectory(prefix="tutelage-fuzz-") as name:
            inputs = share(reader, asked.inputs, asked.least)
            command = [sys.executable, "-m", "fuzzing.guided", reader.name, str(inputs), str(asked.seed), name]
            started = time.monotonic()
            with (Path(name) / "said").open("wb") as said:
                running = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
                try:
                    code = running.wait(None if left == float("inf") else left)
                except subprocess.TimeoutExpired:
                    running.kill()
                    code = running.wait()
            words = (Path(name) / "said").read_text(encoding="utf-8", errors="replace")
            done = re.search(r"^Done (\d+) runs", words, re.MULTILINE)
            found = [Crash(reader.name, one["what"], bytes.fromhex(one["data"]), one["trace"])
                     for one in crashes_in(Path(name))]  # fmt: skip
            if done is None and time.monotonic() - begun < asked.seconds:
                found.append(Crash(reader.name, f"the process ended with {code}", b"", words[-2000:]))
            tried = int(done[1]) if done else int((re.findall(r"^#(\d+)", words, re.MULTILINE) or ["0"])[-1])
            yield Tried(reader.name, tried, time.monotonic() - started, found)


def read_line(line: str) -> Tried:
    """Read what a child wrote of one reader."""
    told = json.loads(line)
    crashes = [Crash(told["reader"], one["what"], bytes.fromhex(one["data"]), one["trace"]) for one in told["crashes"]]
    return Tried(told["reader"], told["inputs"], told["seconds"], crashes)


def row(name: str, inputs: int, seconds: float, crashes: int) -> str:
    """Return a line of the table."""
    return f"{name:<44}  {inputs:>10,}  {inputs / seconds if seconds else 0.0:>9,.0f}  {crashes:>7}"


def show(found: Sequence[Tried]) -> None:
    """Print the table's last line, then each crash with its input."""
    crashes = [crash for one in found for crash in one.crashes]
    inputs, seconds = sum(one.inputs for one in found), sum(one.seconds for one in found)
    print(row(f"all {len(found)} readers", inputs, seconds, len(crashes)))
    for crash in crashes:
        last = crash.trace.strip().splitlines()[-1][:200] if crash.trace else ""
        print(f"\n{crash.reader}: {crash.what}\n  {last}\n  {crash.data[:300]!r} ({len(crash.data):,} bytes)")


def keep(found: Sequence[Tried], folder: Path) -> None:
    """Write each crash's input into a folder, with its trace beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in found:
        stem = "".join(sign if sign.isalnum() else "-" for sign in one.reader)
        for number, crash in enumerate(one.crashes):
            (folder / f"{stem}-{number}.bin").write_bytes(crash.data)
            told = f"{crash.reader}\n{crash.what}\n{crash.trace}"
            (folder / f"{stem}-{number}.txt").write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
