"""The other end of `math_pool`: a program that compares two mathematical expressions, one JSON line at a time.

It is run by its path, apart from the project, so that a hang, a crash or a filled memory ends this process alone. It
asks the system to end it when its time is up, so that it cannot outlive a caller that was killed.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

MEMORY_LIMIT = 4 * 2**30
"""Bytes of address space: 9^9^9^9 ends here or by the clock, whichever is first."""


def main() -> None:
    """Answer each {"reference", "answer", "seconds"} line with {"equal": true or false} or {"unreadable": which}."""
    logging.disable(logging.CRITICAL)  # it would print what a model wrote
    _limit_memory()
    import math_verify

    parse: Callable[..., list[Any]] = math_verify.parse  # its types know no None for the time limit

    def read(text: str) -> list[Any]:
        # No time limits of its own: they need signals in the main thread. The caller kills this process instead.
        return parse(f"${text}$", parsing_timeout=None) or parse(text, parsing_timeout=None)

    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        print(json.dumps({"ready": True}), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(_compared(json.loads(line), read, math_verify.verify)), file=out, flush=True)


def _compared(asked: dict[str, Any], read: Callable[[str], list[Any]], verify: Callable[..., bool]) -> dict[str, Any]:
    _end_after(asked["seconds"])
    try:
        for name in ("reference", "answer"):
            if not (parsed := read(asked[name])) or all(isinstance(part, str) for part in parsed):
                return {"unreadable": name}
        return {"equal": bool(verify(read(asked["reference"]), read(asked["answer"]), timeout_seconds=None))}
    except Exception as error:  # noqa: BLE001 - whatever the library stumbles over is said, and never a verdict
        return {"failed": type(error).__name__}
    finally:
        _end_after(0)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def _end_after(seconds: float) -> None:
    """Let the system end this process, whatever it computes; 0 takes the order back."""
    with contextlib.suppress(ImportError, AttributeError):
        import signal

        signal.setitimer(signal.ITIMER_REAL, 2 * seconds)


if __name__ == "__main__":
    main()
