"""Formats of what is kept on disk: a newer tool reads what an older one wrote, and an older one refuses the rest."""

from pathlib import Path

from lessons.errors import InputError


def refuse_newer(path: Path, found: int, known: int) -> None:
    """Refuse what a newer tool wrote: reading it with today's eyes would take it for something that it is not.

    path: the folder or file, for the error. found: its format. known: the newest format that this tool reads.

    Raises:
        InputError: found is above known.
    """
    if found > known:
        raise InputError(
            f"{path}: was written by a newer tutelage (format {found}, this one reads up to {known}); upgrade with "
            "pip install -U tutelage"
        )
