"""Runs a module in this process, which ends when the process that started it does: `python -m students.apart.tied`."""

import contextlib
import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""


def tie(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, and end now if that has happened already.

    Only Linux can; elsewhere a worker sees its parent's end by the line between them.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main(arguments: list[str]) -> None:
    """Take the parent's id, a module, and the arguments for it."""
    parent, module, *rest = arguments
    tie(int(parent))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
