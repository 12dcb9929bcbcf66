"""How the processes of a training are started, and how they are ended."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from lessons.errors import InputError
from students.base import Training

MARK = "TUTELAGE_TRAINING"
"""Environment variable of all processes of a training: its own word."""
_OURS = ("num_processes", "num_machines", "machine_rank", "mixed_precision", "use_cpu", "main_process_ip")
"""Keys of accelerate's file that say what other keys of a recipe say, or that one machine has no use for."""
_GONE = 10.0
"""Seconds that killed processes may take to be gone: the memory of a GPU is given back by then."""


def launch_settings(training: Training) -> dict[str, Any]:
    """Return accelerate's configuration for a training: the recipe's settings, completed.

    Raises:
        InputError: a setting is unknown to accelerate, or contradicts another key of the recipe.
    """
    given = {str(name): value for name, value in training.accelerate.items()}
    for name in _OURS:
        allowed = {"num_processes": training.num_processes, "num_machines": 1, "machine_rank": 0}.get(name)
        if given.pop(name, None) not in (None, allowed, "no", False):
            instead = {"num_processes": "set train.num_processes", "mixed_precision": "set train.precision"}.get(
                name, "one machine's processes are started here"
            )
            raise InputError(f"train.accelerate.{name}: is not taken from there; {instead}")
    kind = "FSDP" if given.get("fsdp_config") else "DEEPSPEED" if given.get("deepspeed_config") else "MULTI_GPU"
    whole = {"compute_environment": "LOCAL_MACHINE", "distributed_type": kind, "main_process_port": 0} | given
    if whole["distributed_type"] == "FSDP":
        whole["fsdp_config"] = {
            "fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "fsdp_reshard_after_forward": True,
            **given.get("fsdp_config", {}),
        }  # fmt: skip
    whole |= {"num_processes": training.num_processes, "num_machines": 1, "machine_rank": 0, "mixed_precision": "no"}
    from accelerate.commands.config.config_args import ClusterConfig

    unknown = sorted(set(whole) - set(ClusterConfig.__dataclass_fields__))
    if unknown:
        raise InputError(f"train.accelerate: accelerate's configuration has no key {unknown[0]!r}")
    return whole


def is_sharding(training: Training) -> bool:
    """Whether the weights are to be spread over the processes."""
    return bool({"fsdp_config", "deepspeed_config"} & set(training.accelerate)) or str(
        training.accelerate.get("distributed_type", "")
    ) in ("FSDP", "DEEPSPEED")


def command(training: Training, job: Path) -> list[str]:
    """Return the command that trains a job, and write what it reads beside the job.

    Raises:
        InputError: see `launch_settings`.
    """
    tied = [sys.executable, "-m", "students.apart.tied", str(os.getpid())]
    worker = ["students.apart.worker", str(job)]
    if training.num_processes == 1 and not training.accelerate:
        return [*tied, *worker]
    settings = job / "accelerate.yaml"  # always a file of ours: the user's default one would be read otherwise
    settings.write_text(yaml.safe_dump(launch_settings(training)), encoding="utf-8")
    return [*tied, "accelerate.commands.launch", "--config_file", str(settings), "--module", *worker]


class Started:
    """The processes of one training, as a group of their own: a Ctrl-C is the run's to answer."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.mark = secrets.token_hex(8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(log, flags, 0o600), "wb") as out:  # noqa: PTH123 - a mode
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=self._environment()
            )

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Return the exit code once there is one, waiting at most these seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self, workers: Iterable[int]) -> None:
        """Kill whatever is left, and wait until it is gone. workers: ids of processes that may have left the group."""
        until = time.monotonic() + _GONE
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        left = set(workers)
        while left and time.monotonic() < until:
            left = {pid for pid in left if self._kill(pid)}
            time.sleep(0.01 if left else 0)

    def _kill(self, pid: int) -> bool:
        """Kill a worker; return whether there was one."""
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark:
                process.kill()
                return True
        return False

    def _environment(self) -> Mapping[str, str]:
        """Return the environment of the processes: they find the modules that this process would."""
        places = [str(Path(entry or ".").absolute()) for entry in sys.path]
        return {**os.environ, MARK: self.mark, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
