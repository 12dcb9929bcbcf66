"""`tutelage export RUN WHAT`."""

from pathlib import Path
from typing import Any

import msgspec

from lessons.errors import InputError
from loops.export.dataset import export_lessons
from loops.export.hub import check_repository, push
from loops.export.student import export_student
from loops.knobs import nearest

KINDS = ("lessons", "adapter", "model")


def export(
    path: Path,
    what: str,
    out: Path | None = None,
    *,
    index: int | None = None,
    dropped: bool = False,
    license: str = "",  # noqa: A002 - the card's own word
    push_to: str | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """Write an export and push it where that is asked; return what was done as plain data, `told` for people.

    Raises:
        InputError: there is no such kind, nothing to export yet, a folder in the way, or the hub refused.
    """
    if what not in KINDS:
        raise InputError(f"export: there is no {what!r}; {nearest(what, KINDS)}")
    if push_to is not None:
        check_repository(push_to)  # before minutes of work
    if what == "lessons":
        lessons = export_lessons(path, out, index=index, with_dropped=dropped, license=license)
        rows = ", ".join(f"{file} {count:,} rows" for file, count in lessons.files.items())
        folder, done, told = lessons.folder, msgspec.to_builtins(lessons), f"{lessons.folder}: {rows}"
    else:
        student = export_student(path, out, index=index, merged=what == "model", license=license)
        folder, done = student.folder, msgspec.to_builtins(student)
        told = f"{folder}: the student of round {student.round}"
    if push_to is not None:
        address = push(Path(folder), push_to, kind="dataset" if what == "lessons" else "model", public=public)
        done["pushed"], told = address, f"{told}\n{address}"
    return {**done, "told": told}
