"""Whether a run came to the same as the undisturbed one, and whether what it left at a fault is whole."""

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

OF_A_PROCESS = (
    ".lock", ".owner.json", "live.json", "clock.json", "calls.sqlite", "scores.sqlite", "report.html", "stalled.txt",
)  # fmt: skip
"""Files, and beginnings of files' names, that say how long or by whom the run was worked at."""
TIMES = frozenset(("created", "finished", "seconds"))
"""Members of JSON records that are moments or lengths of time."""
OF_CALLS = ("from ledger", "from cache", "tokens/prompt", "tokens/completion")
"""Ends of a stage's counts that say what its last try asked for: what stands in the ledger is asked for once."""


def differences(run: Path, undisturbed: Path) -> list[str]:
    """Return what of a finished run is not as in the undisturbed one, a line for each file; none where all is alike.

    Everything is compared byte for byte, but for the members of JSON records that are times, and for the ledger, which
    is compared by its records: who was asked what, and what was replied.
    """
    own, other = _files(run), _files(undisturbed)
    found = [f"{name}: is missing" for name in sorted(other.keys() - own.keys())]
    found += [f"{name}: is too much" for name in sorted(own.keys() - other.keys())]
    found += [
        f"{name}: differs" for name in sorted(own.keys() & other.keys()) if not _alike(name, own[name], other[name])
    ]
    mine, theirs = replies(run / "calls.sqlite"), replies(undisturbed / "calls.sqlite")
    if mine != theirs:
        lacks, more = len(theirs.keys() - mine.keys()), len(mine.keys() - theirs.keys())
        changed = sum(mine[key] != theirs[key] for key in mine.keys() & theirs.keys())
        found.append(f"calls.sqlite: lacks {lacks} calls, has {more} more, {changed} with another reply")
    return found


def unwhole(run: Path) -> list[str]:
    """Return the files of a run, as a fault left it, that stand under their own name and are not whole."""
    return [f"{name}: {fault}" for name, path in _files(run).items() if (fault := _fault_of(path))]


def replies(ledger: Path) -> dict[str, tuple[str, str]]:
    """Return call id -> (request, reply's text) of a ledger; empty where there is none yet. Changes nothing.

    A copy is read: SQLite has to mend what a kill has left, in the middle of its first tables too.
    """
    from teachers.ledger import read_calls

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, ledger.name)
        for side in ("", "-wal", "-journal"):
            if (beside := Path(f"{ledger}{side}")).exists():
                shutil.copyfile(beside, f"{copy}{side}")
        if not copy.exists():
            return {}
        with closing(sqlite3.connect(copy)) as file:
            begun = file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'calls'").fetchone()[0]
        calls = read_calls(copy) if begun else ()
        return {call.id: (request_key(list(call.messages), call.sampling.seed), call.reply.text) for call in calls}


def request_key(messages: Any, seed: int | None) -> str:
    """Return a text by which a request is known, at the server and in the ledger."""
    plain = [[turn["role"], turn["content"]] for turn in messages]
    return hashlib.sha256(json.dumps([plain, seed]).encode()).hexdigest()[:16]


def snapshot(*folders: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file in some folders."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _files(run: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        hidden = [part for part in name.split("/") if part.startswith(".") and part != ".done"]
        if path.is_file() and not hidden and not name.startswith(OF_A_PROCESS):
            found[name] = path
    return found


def leftovers(run: Path) -> list[str]:
    """Return the half-written files that lie in a run folder under names of their own."""
    return [path.relative_to(run).as_posix() for path in run.rglob(".*.tmp")] + [
        path.relative_to(run).as_posix() for path in run.rglob(".adapter-*")
    ]


def _alike(name: str, one: Path, other: Path) -> bool:
    if one.read_bytes() == other.read_bytes():
        return True
    if not name.endswith(".json"):
        return False
    try:
        mine, theirs = json.loads(one.read_bytes()), json.loads(other.read_bytes())
    except ValueError:
        return False
    plain = _of_marker if "/.done/" in name else _timeless
    return plain(mine) == plain(theirs)


def _of_marker(data: dict[str, Any]) -> Any:
    """Return what a stage came to: without its times, and without the digest of what was learned, which holds one."""
    outputs = {name: digest for name, digest in data["outputs"].items() if name != "learned.json"}
    counts = {name: count for name, count in data["counts"].items() if not name.endswith(OF_CALLS)}
    return data["stage"], data["round"], outputs, counts


def _timeless(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    return {name: _timeless(value) for name, value in data.items() if name not in TIMES}


def _fault_of(path: Path) -> str:
    raw = path.read_bytes()
    try:
        if path.suffix == ".json":
            json.loads(raw)
        elif path.suffix == ".jsonl":
            for line in _lines(raw):
                json.loads(line)
        elif path.suffix == ".yaml":
            return "" if isinstance(yaml.safe_load(raw), dict) else "is no mapping"
        elif path.suffix == ".safetensors":
            size = int.from_bytes(raw[:8], "little")
            header = json.loads(raw[8 : 8 + size])
            ends = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
            return "" if len(raw) == 8 + size + ends else "is cut"
    except (ValueError, yaml.YAMLError) as error:
        return f"cannot be read: {error}"
    return ""


def _lines(raw: bytes) -> Iterator[bytes]:
    if raw and not raw.endswith(b"\n"):
        raise ValueError("the last line is cut")
    yield from raw.splitlines()
