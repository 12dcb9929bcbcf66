"""An export is put in its place when it is whole, and never in the place of something else."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lessons.errors import InputError
from lessons.jsonl import sync_folder


@contextmanager
def put_in_place(folder: Path) -> Generator[Path]:
    """Yield a new folder to write an export into; it takes the place of `folder` when the block has ended well.

    An earlier export there is replaced; its card, README.md, is what it is known by.

    Raises:
        InputError: something that is no export stands there, or it cannot be written.
    """
    if folder.exists() and not (folder / "README.md").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already and is no export of a run; name another folder with --out")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        yield work
        work.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        work.replace(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
