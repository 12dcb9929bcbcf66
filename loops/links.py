"""A run folder that somebody else made may lead out of itself: by links to other files, pipes and devices. None may."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lessons.errors import InputError


def refuse_links(run: Path) -> None:
    """Refuse a run folder in which a link leads out of it, or in which something is neither file nor folder.

    Whoever looks at such a run, exports it or goes on with it would read, hand on or write files of their own, or wait
    at a pipe for ever. The folder itself may be a link.

    Raises:
        InputError: names what is in the way.
    """
    root = run.resolve()
    for entry in _entries(run):
        kind = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(kind):
            if not Path(entry.path).resolve().is_relative_to(root):
                raise InputError(f"{entry.path}: is a link that leads out of the run folder; take it out")
        elif not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise InputError(f"{entry.path}: is a pipe or a device, which no run folder holds; take it out")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder and beneath it; links are not followed. What goes away meanwhile is passed over."""
    folders = [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                entries = list(found)
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield entry
