"""Readers of databases and weights: ledgers, batches, scores, draws, servers' records, adapters, model folders."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from fuzzing.mutation import HOSTILE
from fuzzing.reader import Kind, Reader, Seed
from fuzzing.run_folder import folder, run_files
from lessons.errors import InputError, StudentError
from lessons.places import CACHE
from loops.scores import Scores
from students.adapters import LORA_CONFIG, LORA_WEIGHTS, NOTE, AdapterNote, read_note
from students.models import FolderBase, peft_model
from students.sparse import DrawStore, pack, unpack
from students.sparse import Target as Draws
from teachers import accounts, capabilities, ledger, rescue, servers
from teachers.batch_state import BatchState
from teachers.replay import ReplayTeacher

SERVER = msgspec.json.encode(
    servers.ServerRecord(
        id="7-abcdef01", command=("vllm", "serve", "m"), log="/x/7-abcdef01.log", started="2026-11-01T00:00:00",
        owner=servers.ProcessId(2**22 + 1, 1.0), guardian=servers.ProcessId(2**22 + 2, 1.0),
    )
)  # fmt: skip
ABILITIES = msgspec.json.encode(
    capabilities.Capabilities(models=("m",), n=True, json_schema=False, logprobs=True, asked=1e9)
)
_FEW = 0.02


def readers() -> Iterator[Reader]:
    """Yield every reader of databases and weights."""
    calls = run_files()["calls.sqlite"]
    yield _database("ledger, read", _ledger_read, calls)
    yield _database("ledger, opened", _ledger_opened, calls)
    yield _database("ledger, replayed", _replayed, calls)
    yield _database("batches", _batches, _made_batches())
    yield _database("scores", _scored, _made_scores())
    yield _database("draws", _drawn, _made_draws())
    packed = pack([Draws((1, 5), (3, 1)), Draws((7,), (4,))], 512, 4)
    yield Reader(name="packed draws", read=lambda data: unpack(data, 512, 4), refuses=(ValueError,),
                 seeds=(Seed(packed, "binary"),))  # fmt: skip
    yield _file("servers' records", "7-abcdef01.json", _servers, "json", SERVER)
    yield _file("what an endpoint can", "x.json", _remembered, "json", ABILITIES)
    yield from _weights()


def _file(name: str, file: str, read: Callable[[Path], object], kind: Kind, *seeds: bytes) -> Reader:
    def reads(data: bytes) -> object:
        path = folder(name) / file
        path.write_bytes(data)
        return read(path)

    return Reader(name=name, read=reads, refuses=(InputError, StudentError), weight=0.5,
                  seeds=tuple(Seed(seed, kind) for seed in seeds))  # fmt: skip


def _database(name: str, read: Callable[[Path], object], good: bytes) -> Reader:
    """Return a reader of a SQLite file: every other input is a whole file, with a cell changed by SQL."""

    def reads(data: bytes) -> object:
        for old in folder(name).iterdir():
            old.unlink()
        path = folder(name) / "a.sqlite"
        if len(data) % 2:
            path.write_bytes(data)
        else:
            path.write_bytes(good)
            _worse_cell(path, Random(data))
        return read(path)

    return Reader(name=name, read=reads, seeds=(Seed(good, "sqlite"),), refuses=(InputError, StudentError), weight=_FEW)


def _worse_cell(path: Path, chance: Random) -> None:
    """Put a value of another kind, or words that break a record, into one cell of a table."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        tables = [row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = chance.choice(tables)
        column = chance.choice([row[1] for row in file.execute(f"PRAGMA table_info({table})")])
        row = file.execute(f"SELECT rowid, {column} FROM {table} LIMIT 1 OFFSET ?", (chance.randrange(3),)).fetchone()  # noqa: S608 - ours
        if row is None:
            return
        held = row[1]
        values: list[Any] = [None, -1, 0, 2**62, 1e308, float("inf"), "x", b"", b"\xff", "9" * 400, "a/../b"]
        if isinstance(held, bytes) and chance.random() < 0.8:
            at = chance.randrange(len(held) + 1)
            cut = chance.randrange(1, 30)
            values = [held[:at] + chance.choice(HOSTILE).encode("utf-8", "replace") + held[at + cut :], held[:at]]
        try:
            file.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (chance.choice(values), row[0]))  # noqa: S608 - ours
        except sqlite3.IntegrityError:
            return


def _ledger_read(path: Path) -> object:
    ids: list[str] = []
    for act in (
        lambda: ids.extend(call.id for call in ledger.read_calls(path)),
        lambda: list(ledger.read_calls(path, ids or ["0" * 16])),
        lambda: accounts.accounts(path),
        lambda: accounts.account(path),
        lambda: accounts.entries(path),
        lambda: accounts.spent_until(path, [1, 3]),
        lambda: ledger.were_paid(path, ids[:3]),
        lambda: ledger.ids_like(path, "0"),
        lambda: ledger.written_until(path, ["2026-11-20T10:00:00Z"]),
    ):
        try:
            act()
        except InputError:
            continue
    return None


def _ledger_opened(path: Path) -> object:
    rescue.set_aside_if_damaged(path, str)
    with ledger.Ledger.open(path) as opened:
        opened.get("0" * 16)
        return opened.has("t"), opened.last("t")


def _replayed(path: Path) -> object:
    return ReplayTeacher(ledger=str(path)).name


def _batches(path: Path) -> object:
    state = BatchState(path)
    try:
        return state.known("k"), state.batch(1), state.requests(1), state.make(["k", "l"])
    finally:
        state.close()


def _scored(path: Path) -> object:
    scores = Scores(path, {})
    try:
        return scores._known(["a", "b"])
    finally:
        scores.close()


def _drawn(path: Path) -> object:
    from students.chats import Row

    store = DrawStore(path, "t", 4, 512)
    row = Row([1, 2], [3, 4])
    return store.missing([row]), store.size([row]), store.read(row)


def _servers(path: Path) -> object:
    os.environ[CACHE] = str(path.parent.parent)
    found = servers.records()
    return found, servers.orphans()


def _remembered(path: Path) -> object:
    kept, capabilities._note = capabilities._note, lambda endpoint: path
    try:
        return capabilities.remembered(None)  # type: ignore[arg-type]
    finally:
        capabilities._note = kept


@cache
def _made(name: str) -> Path:
    return folder(f"{name}, as made") / "a.sqlite"


def _made_batches() -> bytes:
    state = BatchState(_made("batches"))
    batch, _ = state.make(["k"])
    assert batch is not None
    state.advance(batch.number, "submitted", "b1")
    state.close()
    return _closed(_made("batches"))


def _made_scores() -> bytes:
    from loops.scores import Score

    scores = Scores(_made("scores"), {})
    scores._keep({"a": Score(-1.5, 3, 0.5), "b": Score(-2.5, 4, 0.1)})
    scores.close()
    return _closed(_made("scores"))


def _made_draws() -> bytes:
    from students.chats import Row

    path = _made("draws")
    store = DrawStore(path, "t", 4, 512)
    key = store.key(Row([1, 2], [3, 4]))
    packed = pack([Draws((1, 5), (3, 1)), Draws((7,), (4,))], 512, 4)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("INSERT INTO draws VALUES (?, ?, ?)", (key, packed, hashlib.sha256(packed).hexdigest()))
    return _closed(path)


def _closed(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode=DELETE")
    return path.read_bytes()


def _weights() -> Iterator[Reader]:
    """An adapter's three files, each changed with the others whole; and what a model folder says of itself."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save

    from students.tiny import tiny

    student = tiny()
    names = ("q_proj", "v_proj")
    model = student.base.model(torch.float32)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=list(names), task_type="CAUSAL_LM")
    state = get_peft_model_state_dict(get_peft_model(model, config))
    weights = save({name: tensor.contiguous() for name, tensor in state.items()}, metadata={"format": "pt"})
    settings = b'{"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "peft_type": "LORA"}'
    note = AdapterNote(kind="lora", content="0" * 16, sha256="", base="base", base_name="tiny", rank=2)

    def adapter(name: str, file: str, data: bytes) -> Path:
        path = folder(name)
        whole = {LORA_WEIGHTS: weights, LORA_CONFIG: settings, file: data}
        signed = msgspec.structs.replace(note, sha256=hashlib.sha256(whole[LORA_WEIGHTS]).hexdigest())
        for place, content in {NOTE: msgspec.json.encode(signed), **whole}.items():
            (path / place).write_bytes(content)
        return path

    def loaded(name: str, file: str) -> Callable[[bytes], object]:
        def read(data: bytes) -> object:
            path = adapter(name, file, data)
            read_note(path, "base")
            return peft_model(student.base.model(torch.float32), path)

        return read

    for name, file, seed, kind, weight in (
        ("adapter's weights", LORA_WEIGHTS, weights, "binary", 0.05),
        ("adapter's settings", LORA_CONFIG, settings, "json", 0.05),
        ("adapter's note", NOTE, msgspec.json.encode(note), "json", 0.1),
    ):
        yield Reader(name=name, read=loaded(name, file), refuses=(StudentError,), weight=weight,
                     seeds=(Seed(seed, kind),))  # fmt: skip
    told = b'{"model_type": "llama", "max_position_embeddings": 512, "text_config": {"max_position_embeddings": 9}}'
    stops = b'{"eos_token_id": [1, 2], "pad_token_id": 2}'
    for file, seed in (("config.json", told), ("generation_config.json", stops)):
        yield _file(f"model's {file}", file, _model_folder(told, weights), "json", seed)


def _model_folder(told: bytes, weights: bytes) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        for name, data in (("config.json", told), ("model.safetensors", weights)):
            if not (path.parent / name).exists():
                (path.parent / name).write_bytes(data)
        base = FolderBase(path.parent)
        return base.positions(), base.stop_ids()

    return read
