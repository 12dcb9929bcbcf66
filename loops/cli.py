"""The command `tutelage`. Commands read a recipe or a run folder, and nothing else; heavy parts load when needed."""

import errno
import logging
import os
import signal
import sys
import threading

from loops.commands.app import app

# isort: off
from loops.commands import running, looking, checking  # the order in which --help lists them
# isort: on

__all__ = ["app", "checking", "looking", "main", "running"]


_OF_THE_DISK = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have your quota raised",
    errno.EFBIG: "use a file system that takes larger files",
    errno.EIO: "see to the disk",
    errno.ESTALE: "see to the network file system",
    errno.EROFS: "make it writable",
    errno.EACCES: "give the rights back",
    errno.EPERM: "give the rights back",
    errno.EMFILE: "allow for more open files",
    errno.ENFILE: "allow for more open files",
}
"""What a user can do about an error of the file system, which may come at any call."""


def main() -> None:
    """Run the command line; an error is one line.

    Exit codes: 1 a round stopped, 2 wrong input, 3 budget spent, 4 nothing went on, 5 the disk or its rights, 130 and
    143 stopped by Ctrl-C and by SIGTERM.
    """
    from lessons.errors import BudgetError, InputError, StoppedError, TutelageError

    # Read before torch is imported: with two processes on two cores, spinning threads are ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _say_nothing_of_a_second_interrupt()
    try:
        app()
    except InputError as error:
        sys.exit(_say(error, 2))
    except BudgetError as error:
        sys.exit(_say(error, 3))
    except StoppedError as error:
        _end_by_a_signal(error.code)
        sys.exit(_say(error, error.code))
    except TutelageError as error:
        sys.exit(_say(error, 1))
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C: typer makes an exit of it
            sys.stderr.write("\nstopped; the same command goes on from here\n")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        told = f"{error.filename or 'a file'}: {error.strerror}; what is done is kept"
        sys.exit(_say(TutelageError(f"{told}: {_OF_THE_DISK[error.errno]}, and the same command goes on"), 5))


def _say_nothing_of_a_second_interrupt() -> None:
    """Have the first Ctrl-C interrupt as ever, and one that comes while the process ends end it without a traceback."""
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell's background ignores it
    if not heeded or threading.current_thread() is not threading.main_thread():
        return

    def interrupt(number: int, frame: object) -> None:
        _end_by_a_signal(130)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _end_by_a_signal(code: int) -> None:
    """Have SIGINT and SIGTERM end the process at once from now on: all that it still does is to end.

    Nor is it told what was left in the middle: Python and asyncio would, when they collect it.
    """

    def end(number: int, frame: object) -> None:
        os._exit(code)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
    logging.getLogger("asyncio").disabled = True
    sys.unraisablehook = lambda _: None


def _say(error: Exception, code: int) -> int:
    from loops.views.text import visible

    sys.stderr.write(f"tutelage: {visible(' '.join(str(error).split()))}\n")  # it may repeat what a stranger wrote
    return code
