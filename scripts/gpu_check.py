"""Teacher and student on one GPU: does it hold here, how fast is it, how much memory does each phase take.

    scripts/gpu_check.sh [--student MODEL] [--teacher MODEL] [--vllm .venv-vllm/bin/vllm] [--json OUT]

Trains the student beside plain TRL (tokens a second, and the part of the GPU's operations that the model needs of
them); then two rounds of teacher, student, training and the new student take the GPU in turns, once with a teacher that
is stopped and started, once with one that sleeps and wakes. Checks that never two are there at once, that the student
that is examined is the one just trained, and that nothing is left. Prints one table; --json writes the figures too.

MODEL: a folder or a hub id of an instruct model; without it, one of random weights is made. Refuses where there is no
GPU, unless --device cpu is given; --small takes the smallest models and the fewest steps. On a CPU there is no sleep
mode, and no figure of operations unless --peak-tflops says what the machine can. Exit code 1 where a check fails.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_checking.made_models import made
from gpu_checking.memory import Memory
from gpu_checking.switching import Check, Setting, taken_in_turns
from gpu_checking.training import made_up, measured, peak_of
from rich.console import Console
from rich.table import Table

from lessons.errors import TutelageError
from loops.engines.vllm import VLLMEngine
from students.base import Training
from students.hf import HFStudent
from students.open import open_base
from students.runtime import Precision, prepare, quiet


def main() -> int:
    """Measure, print, and return the exit code."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--student", default="", help="folder or hub id; default: made, of random weights")
    asked.add_argument("--teacher", default="", help="folder or hub id; default: made, of random weights")
    asked.add_argument("--vllm", default=".venv-vllm/bin/vllm", help="the vllm command (scripts/setup_vllm.sh)")
    asked.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    asked.add_argument("--small", action="store_true", help="the smallest models and the fewest steps")
    asked.add_argument("--batch", type=int, default=0, help="lessons in a step; default 16, small 2")
    asked.add_argument("--tokens", type=int, default=0, help="tokens of a lesson; default 1024, small 64")
    asked.add_argument(
        "--steps", type=int, default=0, help="training steps of each way, the first not counted; at least 2"
    )
    asked.add_argument("--peak-tflops", type=float, default=0.0, help="the machine's peak, where it is not known")
    asked.add_argument("--json", type=Path, help="file for the figures")
    args = asked.parse_args()
    prepare()
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "gpu_check: no GPU that torch can use; --device cpu --small goes through the same on a CPU", file=sys.stderr
        )
        return 2
    if args.device == "cpu" and torch.cuda.is_available():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before anything has looked for a device
    try:
        with tempfile.TemporaryDirectory(prefix="tutelage-gpu-check.") as work, quiet():
            report, checks = check(args, Path(work))
    except TutelageError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    show(report, checks)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(one.holds for one in checks) else 1


def check(args: argparse.Namespace, work: Path) -> tuple[dict[str, Any], list[Check]]:
    """Go through all of it; return the figures and what must hold."""
    import torch

    on_gpu = args.device == "cuda"
    precision: Precision = "bfloat16" if on_gpu else "float32"
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    peak = args.peak_tflops or (peak_of(name) if on_gpu else None)
    batch, tokens, steps = (
        args.batch or (2 if args.small else 16),
        args.tokens or (64 if args.small else 1024),
        args.steps,
    )
    steps = max(2, steps or (3 if args.small else 12))
    sizes = ("tiny", "tiny") if args.small else ("500m", "3b")
    begun = time.monotonic()
    student_model = args.student or str(
        made(work / "student", sizes[0], precision=precision, device=args.device, seed=1)
    )
    teacher_model = args.teacher or str(
        made(work / "teacher", sizes[1], precision=precision, device=args.device, seed=2)
    )
    base = open_base(student_model)
    memory = Memory((os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0] if on_gpu else None)
    idle = memory.now()
    weights = HFStudent(base, precision=precision)
    lessons = made_up(weights, batch * steps, tokens)
    training = measured(weights, lessons, batch, memory, precision="auto" if on_gpu else "float32", peak=peak)
    server: dict[str, Any] = {"executable": args.vllm, "max_model_len": 1024, "kv_cache_gib": 1}
    if not on_gpu:
        server["flags"] = {"enforce_eager": True}
    setting = Setting(
        teacher={"model": teacher_model, "dtype": precision, **server},
        engine=VLLMEngine(dtype=precision, **server),
        weights=weights,
        training=Training(
            epochs=10 if args.small else 2, batch_size=batch, micro_batch_size=batch, learning_rate=5e-3,
            max_length=4096, rank=16, precision="auto" if on_gpu else "float32",
        ),
        lessons=(lessons, made_up(weights, batch * steps, tokens, "WORD")),
        folder=work,
    )  # fmt: skip
    switches, checks = dict[str, Any](), list[Check]()
    for sleeps in (False, True) if on_gpu else (False,):
        switches["sleep and wake" if sleeps else "stop and start"], found = taken_in_turns(
            setting, memory, sleeps=sleeps
        )
        checks += found
    report: dict[str, Any] = {
        "device": name,
        "peak_tflops": peak,
        "student": base.name if args.student else f"{sizes[0]}, random weights",
        "teacher": Path(args.teacher).name if args.teacher else f"{sizes[1]}, random weights",
        "training": training,
        "switches": switches,
        "peak_memory_gib": {"before": gib(idle), **{phase: gib(peak) for phase, peak in memory.peaks.items()}},
        "checks": {one.name: {"holds": one.holds, "detail": one.detail} for one in checks},
        "seconds": round(time.monotonic() - begun, 1),
    }
    return report, checks


def show(report: dict[str, Any], checks: list[Check]) -> None:
    """Print one table."""
    table = Table(
        title=f"{report['device']}: student {report['student']}; teacher {report['teacher']}", title_justify="left"
    )
    for heading in ("what", "figure", ""):
        table.add_column(heading, no_wrap=heading == "what")
    for way, name in (("ours", "training"), ("trl", "training, plain TRL")):
        one = report["training"][way]
        used = "not known" if one["flop_utilisation"] is None else f"{one['flop_utilisation']:.1%}"
        table.add_row(name, f"{one['tokens_per_second']:,} tokens/s", f"FLOP utilisation {used}")
    for way, changes in report["switches"].items():
        for change, times in changes.items():
            table.add_row(f"{way}: {change}", " ".join(f"{one:.1f} s" for one in times))
    for phase, peak in report["peak_memory_gib"].items():
        table.add_row(f"peak memory: {phase}", f"{peak:.1f} GiB")
    for one in checks:
        table.add_row(one.name, "holds" if one.holds else "FAILS", one.detail)
    Console(width=max(150, Console().width)).print(table)


def gib(count: int) -> float:
    """Return bytes as GiB."""
    return round(count / 2**30, 2)


if __name__ == "__main__":
    sys.exit(main())
