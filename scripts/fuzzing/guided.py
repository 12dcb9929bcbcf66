"""One reader under atheris: libFuzzer keeps what reaches new branches of our code, and goes on from there.

Started by `scripts/fuzz.py --engine atheris`, a process for each reader: libFuzzer has one target, and ends with it.

    python -m fuzzing.guided READER INPUTS SEED FOLDER
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from lessons.errors import InputError

LONGEST = 20_000
"""Bytes of an input: long ones are the other engine's."""
PACKAGES = ["lessons", "teachers", "students", "loops"]


def main() -> None:
    """Run one reader; each crash is a line in FOLDER/crashes as soon as it is found. Does not return."""
    name, inputs, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    try:
        import atheris
    except ImportError as error:
        raise InputError("the engine atheris needs the package atheris: pip install 'tutelage[fuzz]'") from error
    with atheris.instrument_imports(include=PACKAGES):
        from fuzzing import readers
        from fuzzing.mutation import TOKENS
        from fuzzing.reader import judged, limits

        reader = next(one for one in readers.every() if one.name == name)
    from fuzzing.campaign import MOST_KEPT, crash_line, smaller

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, one in enumerate(reader.seeds):
        (corpus / str(number)).write_bytes((one.head + one.data)[:LONGEST])
    (folder / "words").write_text("\n".join(_quoted(TOKENS)) + "\n", encoding="ascii")
    found: set[str] = set()

    def one_input(data: bytes) -> None:
        crash = judged(reader, data)
        if crash is not None and crash.what not in found and len(found) < MOST_KEPT:
            found.add(crash.what)
            with (folder / "crashes").open("a", encoding="utf-8") as lines:
                lines.write(crash_line(smaller(reader, crash)) + "\n")

    told = (f"-runs={inputs}", f"-seed={seed + 1}", f"-max_len={LONGEST}", f"-dict={folder / 'words'}",
            "-rss_limit_mb=0", "-timeout=0", "-detect_leaks=0", "-len_control=20", str(corpus))  # fmt: skip
    atheris.Setup([sys.argv[0], *told], one_input)
    with limits():
        atheris.Fuzz()


def _quoted(words: tuple[bytes, ...]) -> Iterator[str]:
    """Yield words as libFuzzer's dictionaries spell them."""
    for word in words:
        yield '"' + "".join(f"\\x{byte:02x}" for byte in word[:60]) + '"'


def crashes_in(folder: Path) -> list[dict[str, str]]:
    """Return what a run has found, as plain data."""
    path = folder / "crashes"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
