"""The lessons of a run as a Hugging Face dataset: parquet files and a card, in one folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lessons.records import Record
from loops.export.cards import dataset_card
from loops.export.placing import put_in_place
from loops.export.rows import Row, batches, dropped, rounds_of, trained
from loops.reading import RunView

GROUP = 4096
"""Rows of one row group: what is held in memory at once."""


class Exported(Record, frozen=True, kw_only=True):
    """What was written."""

    folder: str
    rounds: tuple[int, ...]
    files: dict[str, int]
    """File -> rows; only files with rows are written."""


def export_lessons(
    path: Path | str | RunView,
    out: Path | None = None,
    *,
    index: int | None = None,
    with_dropped: bool = False,
    license: str = "",  # noqa: A002 - the card's own word
) -> Exported:
    """Write the lessons that the run's student was trained on, or those of one round, with their provenance.

    `train.parquet` has TRL's columns `prompt`, `completion`; `preference.parquet` has `prompt`, `chosen`, `rejected`;
    `dropped.parquet` what the filters dropped. license: the data's own, as the hub names it; "" is said to be unknown.

    Raises:
        InputError: there are no lessons yet, or the folder is there already and is no export.
    """
    run = RunView.of(path)
    turns = rounds_of(run, index)
    folder = out if out is not None else run.path / "export" / "lessons"
    with put_in_place(folder) as work:
        files = _write(trained(run, turns), work, "train")
        if with_dropped:
            files |= _write(dropped(run, turns), work, "dropped")
        rounds = tuple(turn.index for turn in turns)
        (work / "README.md").write_text(dataset_card(run, rounds, files, license), encoding="utf-8")
    return Exported(folder=str(folder), rounds=rounds, files=files)


def _write(rows: Iterable[Row], folder: Path, name: str) -> dict[str, int]:
    """Write rows as parquet, those with a rejected completion into a file of their own; return file -> rows."""
    import pyarrow
    import pyarrow.parquet

    counts: dict[str, int] = {}
    writers: dict[str, Any] = {}
    try:
        for some in batches(rows, GROUP):
            pairs = [_pair(row) for row in some if row["rejected"] is not None]
            plain = [{k: v for k, v in row.items() if k != "rejected"} for row in some if row["rejected"] is None]
            for file, found in ((name, plain), ("preference" if name == "train" else f"{name}_preference", pairs)):
                if not found:
                    continue
                schema = _schema(found[0])
                if file not in writers:
                    writers[file] = pyarrow.parquet.ParquetWriter(folder / f"{file}.parquet", schema)
                writers[file].write_table(pyarrow.Table.from_pylist(found, schema=schema))
                counts[f"{file}.parquet"] = counts.get(f"{file}.parquet", 0) + len(found)
    finally:
        for writer in writers.values():
            writer.close()
    return counts


def _pair(row: Row) -> Row:
    named = {"completion": "chosen"}
    return {named.get(key, key): value for key, value in row.items()}


def _schema(row: Row) -> Any:
    """Return the types of a row's columns: fixed, so that files of different runs can be put together."""
    import pyarrow as pa

    text, turns = pa.string(), pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    kinds: dict[str, Any] = {
        **dict.fromkeys(("prompt", "completion", "chosen", "rejected"), turns),
        **dict.fromkeys(("skills", "missing_skills", "calls", "teachers", "filters_passed"), pa.list_(text)),
        **dict.fromkeys(("student_score", "weight", "draw_probability"), pa.float64()),
        "round": pa.int32(),
        "rounds": pa.list_(pa.int32()),
    }
    return pa.schema([(column, kinds.get(column, text)) for column in row])
