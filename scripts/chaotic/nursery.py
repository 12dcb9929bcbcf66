"""A warm process that has imported everything, and forks a child for each command: a trial takes a second, not ten.

It reads one JSON object a line (see `Nursery.run`), and writes one line when the child is there and one when it ended.
Each child is a process like that of the command `tutelage`: it has its own group, its handlers and its exit code.
"""

import atexit
import ctypes
import gc
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from chaotic import faults  # noqa: E402 - it is a program of its own


def warm() -> None:
    """Import what a run imports, and start no thread: a process with threads cannot be forked safely."""
    import aiohttp
    import openai
    import peft
    import plotly
    import scipy.stats
    import torch
    import transformers
    import trl.trainer.sft_trainer

    import loops.cli
    import loops.report
    import loops.run
    import students.trainer
    from loops.recipe import resolve
    from students.open import open_student
    from students.trainer import trainer_class

    del aiohttp, openai, peft, plotly, scipy, transformers, trl, loops, students
    torch.set_num_threads(1)
    trainer_class()
    open_student("tiny")
    resolve({"task": "skills_demo", "student": "tiny", "teacher": "rule_tutor", "method": "rationale"})
    gc.collect()
    gc.freeze()  # what is there now belongs to all children, and none of them need look through it
    assert threading.active_count() == 1, threading.enumerate()


def child(asked: dict[str, Any], library: Any) -> None:
    """Be the command `tutelage` in a fresh process, under a plan; ends the process."""
    os.setpgid(0, 0)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked["log"] + "." + name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    report = os.open(asked["log"] + ".struck", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.argv = ["tutelage", *asked["arguments"]]
    if library is not None:
        faults.arm(library, asked["plan"], asked["watched"], report)
    code: object = 0
    try:
        from loops.cli import main

        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - what a fresh interpreter would print and exit with
        traceback.print_exc()
        code = 1
    if library is not None:
        Path(asked["log"] + ".counts").write_text(json.dumps(faults.counts(library)))
    atexit._run_exitfuncs()  # as an interpreter does that ends; what the nursery registered is harmless twice
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def serve() -> None:
    """Fork a child for each line of standard input, one at a time."""
    warm()
    library = ctypes.CDLL(None) if os.environ.get("LD_PRELOAD") else None
    _say({"warm": os.getpid()})
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            child(asked, library)
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began})


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
