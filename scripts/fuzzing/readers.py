"""Every reader that is fuzzed. A family is imported when its first reader is asked for."""

import importlib
from collections.abc import Iterator

from fuzzing.reader import Reader

FAMILIES = ("of_replies", "of_endpoints", "of_files", "of_runs", "of_stores")


def every() -> Iterator[Reader]:
    """Yield every reader, family by family."""
    for family in FAMILIES:
        yield from importlib.import_module(f"fuzzing.{family}").readers()
