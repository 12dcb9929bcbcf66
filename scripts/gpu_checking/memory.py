"""How much memory is in use, looked at again and again: of the GPU, or of this process and its servers."""

import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import psutil

EVERY = 0.25
"""Seconds between two looks."""


class Memory:
    """Notes the peak of each phase.

    gpu: index or UUID of the GPU, as nvidia-smi has it; None: main memory of this process and all that it started.
    """

    def __init__(self, gpu: str | None) -> None:
        self._gpu = gpu
        self.peaks: dict[str, int] = {}
        """Phase -> bytes, everything on the GPU counted; of a CPU, pages that processes share counted for each."""

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Look while the block lasts."""
        over = threading.Event()

        def look() -> None:
            while True:
                self.peaks[name] = max(self.peaks.get(name, 0), self.now())
                if over.wait(EVERY):
                    return

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def now(self) -> int:
        """Return the bytes in use."""
        return _of_processes() if self._gpu is None else _of_gpu(self._gpu)


def _of_gpu(gpu: str) -> int:
    command = ["nvidia-smi", f"--id={gpu}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return int(told.stdout.strip()) << 20 if told.returncode == 0 and told.stdout.strip().isdigit() else 0


def _of_processes() -> int:
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total
