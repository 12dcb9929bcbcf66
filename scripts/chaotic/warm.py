"""Speaks to the nursery: starts a command in a forked child, signals it, waits for its end."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

LONGEST = 300.0
"""Seconds after which a child counts as hanging, and is killed."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit code; minus the signal that killed it."""
    seconds: float
    out: str
    err: str
    struck: str
    """The call that was struck, and its file; "" where none was."""
    counts: Mapping[str, int]
    """File-system calls by kind, where it came to its end with the shim loaded."""
    left: tuple[str, ...]
    """Processes that it left behind."""
    signalled: bool = False
    """Whether the signals came before it ended."""


class Nursery:
    """The warm process, while its block runs. shim: the library of faults; None: none can be injected."""

    def __init__(self, shim: Path | None) -> None:
        self._shim = shim
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()

    def __enter__(self) -> Self:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment = {**os.environ, **threads, "OMP_WAIT_POLICY": "PASSIVE"}
        if self._shim is not None:
            environment["LD_PRELOAD"] = str(self._shim)
        program = Path(__file__).with_name("nursery.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._heard("warm", LONGEST)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        environment: Mapping[str, str],
        plan: Mapping[str, Any] | None = None,
        watched: Sequence[Path] = (),
        signals: Sequence[tuple[float, int]] = (),
    ) -> Ended:
        """Run the command `tutelage` to its end, however that comes.

        Args:
            arguments: the command's.
            cwd: its working folder.
            log: beginning of the paths of what it prints.
            environment: variables beside this process's own.
            plan: what the shim does to it (`faults.as_plain`); None: nothing.
            watched: the folders whose files the shim looks at.
            signals: (seconds since its start, signal) in their order.
        """
        asked = {
            "arguments": list(arguments), "cwd": str(cwd), "log": str(log), "environment": dict(environment),
            "plan": plan, "watched": [str(path) for path in watched],
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        pid, began = self._heard("pid", LONGEST)["pid"], time.monotonic()
        told: dict[str, Any] | None = None
        signalled = False
        for moment, number in signals:
            told = told or self._within("code", began + moment - time.monotonic())
            if told is None:
                os.kill(pid, number)
                signalled = True
        if told is None:
            told = self._within("code", LONGEST)
        if told is None:
            os.kill(pid, signal.SIGKILL)
            told = self._heard("code", LONGEST) | {"hung": True}
        texts = {kind: _text(Path(f"{log}.{kind}")) for kind in ("out", "err", "struck", "counts")}
        err = texts["err"] + ("\nit hung and was killed" if told.get("hung") else "")
        counts = json.loads(texts["counts"]) if texts["counts"] else {}
        return Ended(
            told["code"], told["seconds"], texts["out"], err, texts["struck"].strip(), counts, _left(pid), signalled
        )

    def _within(self, key: str, seconds: float) -> dict[str, Any] | None:
        try:
            told = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return None
        if key not in told:
            raise RuntimeError(f"the nursery said {told}, not {key}")
        return told

    def _heard(self, key: str, seconds: float) -> dict[str, Any]:
        told = self._within(key, seconds)
        if told is None:
            raise RuntimeError(f"the nursery did not say {key} within {seconds:.0f} s")
        return told

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put({"ended": self._process.poll()})


def _left(group: int) -> tuple[str, ...]:
    """Return the processes of a group whose leader has ended, after a moment to end by themselves; they are killed."""
    for _ in range(50):
        found = [process for process in psutil.process_iter(["cmdline"]) if _group(process.pid) == group]
        if not found:
            return ()
        time.sleep(0.1)
    for process in found:
        process.kill()
    return tuple(" ".join(process.info["cmdline"] or ())[:120] for process in found)


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
