"""How the processes of a training are started, and how they are ended."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import psutil
import yaml

from lessons.errors import InputError
from lessons.plain_yaml import read_yaml_file
from students.base import Training

MARK = "TUTELAGE_TRAINING"
"""Environment variable of all processes of a training: its own word."""
_TAKEN = (
    "distributed_type", "fsdp_config", "deepspeed_config", "dynamo_config", "gpu_ids", "main_process_port",
    "enable_cpu_affinity", "debug", "rdzv_backend", "same_network", "main_training_function",
)  # fmt: skip
"""Keys of accelerate's configuration file that are handed on."""
_ELSEWHERE: Mapping[str, str] = {
    "num_processes": "set train.num_processes",
    "mixed_precision": "set train.precision",
    "use_cpu": "a GPU is used where there is one",
    "num_machines": "one machine's processes are started here",
    "machine_rank": "one machine's processes are started here",
    "main_process_ip": "one machine's processes are started here",
    "compute_environment": "this machine's processes are started here",
    "downcast_bf16": "it is for TPUs",
    "tpu_env": "it is for TPUs",
    "tpu_use_cluster": "it is for TPUs",
    "tpu_use_sudo": "it is for TPUs",
}
"""Keys that `accelerate config` writes and that another key of a recipe, or nothing, decides here."""
_GONE = 10.0
"""Seconds that killed processes may take to be gone: the memory of a GPU is given back by then."""


def read_settings(training: Training, folder: Path | None) -> Training:
    """Return a training with the content of its `accelerate.config_file` in place of the path.

    folder: what a relative path starts from.

    Raises:
        InputError: the file cannot be read, or a setting is not one that is taken from there.
    """
    given = dict(training.accelerate)
    path = given.pop("config_file", None)
    if path is not None:
        where = (folder or Path()) / str(path)
        try:
            told: Any = read_yaml_file(where)
        except InputError as error:
            raise InputError(f"train.accelerate.config_file: {error}") from error
        if not isinstance(told, dict):
            raise InputError(f"train.accelerate.config_file: {where} is not a mapping")
        given = {**cast(dict[str, Any], told), **given}
    meant = {"num_processes": training.num_processes, "num_machines": 1, "compute_environment": "LOCAL_MACHINE"}
    for name, value in list(given.items()):
        if name in _TAKEN:
            continue
        if name not in _ELSEWHERE:
            raise InputError(f"train.accelerate: {name!r} is not handed on to accelerate; known: {', '.join(_TAKEN)}")
        if value not in (None, "no", [], meant.get(name, 0)):
            raise InputError(f"train.accelerate.{name}: is not taken from there; {_ELSEWHERE[name]}")
        del given[name]
    return msgspec.structs.replace(training, accelerate=given)


def launch_settings(training: Training) -> dict[str, Any]:
    """Return accelerate's whole configuration for a training.

    Raises:
        InputError: see `read_settings`.
    """
    given = read_settings(training, None).accelerate
    kind = "FSDP" if "fsdp_config" in given else "DEEPSPEED" if "deepspeed_config" in given else "MULTI_GPU"
    whole: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE", "distributed_type": kind, "main_process_port": 0, "debug": False,
        **given,
        "num_processes": training.num_processes, "num_machines": 1, "machine_rank": 0, "mixed_precision": "no",
    }  # fmt: skip
    if whole["distributed_type"] == "FSDP":
        whole["fsdp_config"] = {
            "fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "fsdp_reshard_after_forward": True,
            **(given.get("fsdp_config") or {}),
        }  # fmt: skip
    return whole


def command(training: Training, job: Path) -> list[str]:
    """Return the command that trains a job, and write what it reads beside the job.

    Raises:
        InputError: see `read_settings`.
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

    def end(self) -> None:
        """Kill whatever is left, and wait until it is gone: also what has left the group, as launched workers do."""
        until = time.monotonic() + _GONE
        if self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        while self._kill_marked() and time.monotonic() < until:
            time.sleep(0.02)

    def _kill_marked(self) -> bool:
        """Kill the processes that carry this training's mark; return whether there were any."""
        found = False
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found = True
                    process.kill()
        return found

    def _environment(self) -> Mapping[str, str]:
        """Return the environment of the processes: they find the modules that this process would."""
        places = [str(Path(entry or ".").absolute()) for entry in sys.path]
        return {**os.environ, MARK: self.mark, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
