"""Measure what training in processes of its own costs, and whether it trains the same. Prints JSON.

    python scripts/bench_training.py [--student MODEL] [--steps 20] [--repeats 3] [--kills 10]

Three parts, each named in the output. `cost`: seconds of `learn` in this process (its imports done before) and in a
process of its own, of the clock and of the processors, each the middle of `repeats`; `own` minus `here` is what a
process costs. On a busy machine only the processors' seconds mean something. `--repeats 0` leaves it out.
`two_processes` (with the tiny student): the greatest difference of a step's loss, and of a weight at the end, between
one process and two over gloo, float32, same lessons in the same steps. `kills` (tiny): trainings in a process of
their own whose run is killed with SIGKILL at a random moment after the first step and then gone on with, and how many
of them ended with the weights of an undisturbed one, byte for byte. MODEL is a recipe's `student.model`.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from lessons.records import Lesson
from scripts.bench_student import made_up
from students.adapters import LORA_WEIGHTS
from students.base import Learned, Training
from students.hf import HFStudent
from students.open import open_student
from students.tiny import tiny

BATCH = 8
ONE_RUN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
import msgspec
from lessons.records import Lesson
from students.base import Training
from students.tiny import tiny
job = Path({job!r})
training = Training(**msgspec.json.decode((job / "training.json").read_bytes()))
rows = msgspec.json.decode((job / "rows.json").read_bytes(), type=list[Lesson])
_, learned = tiny().learn(rows, job / "out", training, seed=3, keep=job / "keep",
                          progress=lambda done, of: print(done, flush=True))
print(learned.adapter, flush=True)
"""


def seconds_of(student: HFStudent, lessons: list[Lesson], training: Training, repeats: int) -> dict[str, float]:
    """Return the middle of the seconds that `learn` takes, of the clock and of the processors."""
    clock, processors = list[float](), list[float]()
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory() as work:
            before = os.times()
            student.learn(lessons, Path(work), training, seed=repeat)
            after = os.times()
            clock.append(after.elapsed - before.elapsed)
            processors.append(sum(after[:4]) - sum(before[:4]))
    return {"clock": round(statistics.median(clock), 2), "processors": round(statistics.median(processors), 2)}


def costs(model: str, steps: int, repeats: int) -> dict[str, Any]:
    """Return what training takes here and in a process of its own."""
    student = open_student(model)
    assert isinstance(student, HFStudent)
    lessons = made_up(BATCH * steps)
    training = Training(epochs=1, batch_size=BATCH, micro_batch_size=BATCH, process="here")
    with tempfile.TemporaryDirectory() as work:  # imports and what is compiled once
        student.learn(lessons[:BATCH], Path(work), training)
    here = seconds_of(student, lessons, training, repeats)
    own = seconds_of(student, lessons, msgspec.structs.replace(training, process="own"), repeats)
    return {
        "student": student.name, "steps": steps, "here": here, "own": own,
        "a_process_costs": {name: round(own[name] - here[name], 2) for name in here},
    }  # fmt: skip


def two_processes(steps: int) -> dict[str, Any]:
    """Return how far one process and two are apart."""
    from safetensors.torch import load_file

    lessons = made_up(BATCH * steps - 3)  # the last step is not full
    one = Training(epochs=1, batch_size=BATCH, micro_batch_size=2, precision="float32", rank=8, process="here")
    told: list[Learned] = []
    weights: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        for training in (one, msgspec.structs.replace(one, process="own", num_processes=2)):
            taught, learned = tiny().learn(lessons, Path(work, str(training.num_processes)), training, seed=3)
            assert taught.adapter is not None
            told.append(learned)
            weights.append(load_file(taught.adapter / LORA_WEIGHTS))
    losses = max(abs(a - b) for a, b in zip(told[0].losses, told[1].losses, strict=True))
    apart = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
    return {
        "steps": len(told[0].losses), "first_loss": told[0].losses[0], "last_loss": told[0].losses[-1],
        "greatest_difference_of_a_loss": losses, "greatest_difference_of_a_weight": apart,
    }  # fmt: skip


def kills(count: int, steps: int) -> dict[str, Any]:
    """Kill trainings and go on with them; return how many ended like an undisturbed one."""
    lessons = made_up(BATCH * steps)
    training = Training(
        epochs=5, batch_size=BATCH, micro_batch_size=2, rank=8, dropout=0.1, precision="float32", process="own",
        checkpoint_minutes=1e-9,
    )  # fmt: skip
    undisturbed = msgspec.structs.replace(training, process="here")
    draws, same, at = Random(0), 0, list[int]()
    with tempfile.TemporaryDirectory() as work:
        _, whole = tiny().learn(lessons, Path(work, "whole"), undisturbed, seed=3)
        for number in range(count):
            job = Path(work, str(number))
            job.mkdir()
            told = msgspec.structs.asdict(training)
            del told["objective"]
            (job / "training.json").write_bytes(msgspec.json.encode(told))
            (job / "rows.json").write_bytes(msgspec.json.encode(lessons))
            last = draws.randrange(1, whole.steps)
            at.append(_killed(job, last, draws.random() * 0.05))
            ended = subprocess.run([sys.executable, "-c", _program(job)], capture_output=True, text=True, check=True)
            same += ended.stdout.split()[-1] == whole.adapter
    return {"kills": count, "steps": whole.steps, "killed_after_step": at, "ended_the_same": same}


def _killed(job: Path, last: int, later: float) -> int:
    """Kill a run that trains, some time after a step; return the step."""
    run = subprocess.Popen([sys.executable, "-c", _program(job)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for line in run.stdout:
        if int(line) >= last:
            break
    time.sleep(later)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    return last


def _program(job: Path) -> str:
    return ONE_RUN.format(root=str(Path(__file__).resolve().parent.parent), job=str(job))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="tiny")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    if asked.repeats:
        found["cost"] = costs(asked.student, asked.steps, asked.repeats)
    if asked.repeats and asked.student == "tiny":
        found["two_processes"] = two_processes(asked.steps)
    if asked.kills:
        found["kills"] = kills(asked.kills, asked.steps)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
