"""Who is there, seen from outside of what decides it: servers by the mark of their processes, models loaded here."""

import threading
from collections import Counter
from types import TracebackType

import psutil

from students.residents import residents
from teachers import servers

HERE = "weights here"


def processes() -> Counter[str]:
    """Return how many live processes each server has that this project started, by the name that it serves."""
    names = {record.id: _served(record.command) for record in servers.records()}
    found: Counter[str] = Counter()
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(servers.MARK)
            if mark in names and process.status() != psutil.STATUS_ZOMBIE:
                found[names[mark]] += 1
        except (psutil.Error, OSError):
            continue
    return found


class Watch:
    """Looks again and again, on a thread of its own, at who is there, while the block lasts.

    seconds: between two looks.
    """

    def __init__(self, seconds: float = 0.2) -> None:
        self.seen: Counter[tuple[str, ...]] = Counter()
        """(who was there at once) -> how often it was seen: names that servers serve, `HERE`, and what was `doing`."""
        self.doing: set[str] = set()
        """What else holds memory now, as whoever does it says."""
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def together(self) -> list[tuple[str, ...]]:
        """Whoever was there at once with somebody else."""
        return sorted(there for there in self.seen if len(there) > 1)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def look(self, *also: str) -> None:
        """Look now; also: who is there besides."""
        there = {*processes(), *self.doing, *also}
        if residents():
            there.add(HERE)
        self.seen[tuple(sorted(there))] += 1

    def _look(self) -> None:
        while not self._over.wait(self._seconds):
            self.look()


def _served(command: tuple[str, ...]) -> str:
    flag = "--served-model-name"
    return command[command.index(flag) + 1] if flag in command[:-1] else "a server"
