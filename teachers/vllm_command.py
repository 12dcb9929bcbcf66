"""A vLLM server as a command: which flags it may be given, what its environment holds, what changes its replies."""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lessons.errors import InputError, TeacherError
from lessons.ids import content_id
from teachers.secrets import check_headers
from teachers.servers import MARK

SERVED = "teacher"
"""The name under which a teacher's model is served, whatever its own is."""

_KNOBS = {
    "dtype": "dtype",
    "max-model-len": "max_model_len",
    "tensor-parallel-size": "tensor_parallel",
    "data-parallel-size": "data_parallel",
    "enable-sleep-mode": "sleep_mode",
    "model": "model",
}
"""Flag -> the knob that sets it."""
_OURS = ("host", "port", "uds", "api-key", "served-model-name", "root-path", "headless", "grpc")
_NO_ADAPTERS = "base and adapter requests on one server can get the wrong weights; serve merged weights"
_REFUSED = {
    **dict.fromkeys(_OURS, "the server's address, name and key are this project's own"),
    "config": "a file of flags could set the server's address and key; write its flags out",
    "trust-remote-code": "it would run code that came with the model",
    "hf-token": "a secret on a command line is seen by everybody on the machine; export HF_TOKEN",
    "enable-lora": _NO_ADAPTERS,
    "lora-modules": _NO_ADAPTERS,
}
_FLAG = re.compile(r"[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9_.-]+)?")
_SECRET_NAME = re.compile(r"(^|[_-])(token|key|secret|password|passwd|credentials?|auth)$", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ONE_WORD = re.compile(r"[A-Za-z0-9_.~+=-]+")
_OUR_VARIABLES = frozenset({"VLLM_API_KEY", "VLLM_CPU_KVCACHE_SPACE", "VLLM_SERVER_DEV_MODE", MARK})

_OPERATIONAL = re.compile(
    r"(no-)?(gpu-memory-utilization|kv-cache-memory-bytes|max-num-(seqs|batched-tokens|partial-prefills)|swap-space"
    r"|cpu-offload-gb|num-gpu-blocks-override|block-size|enable-prefix-caching|enable-chunked-prefill|enforce-eager"
    r"|(disable|enable)-log-.*|disable-uvicorn-access-log|uvicorn-log-level|download-dir|load-format|api-server-count"
    r"|(pipeline-parallel-size|distributed-executor-backend|disable-custom-all-reduce)|disable-frontend-multiprocessing"
    r"|safetensors-load-strategy|max-logprobs|shutdown-timeout|compilation-config.*|max-parallel-loading-workers)"
)
"""Flags that change how fast a server answers and what it needs, and what it answers not at all or by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What decides how a server is started."""

    model: str
    executable: str = "vllm"
    dtype: str = "auto"
    max_model_len: int | None = None
    tensor_parallel: int = 1
    data_parallel: int = 1
    flags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    kv_cache_gib: int = 4
    sleep: bool = False
    start_timeout: float = 900.0
    """Seconds."""
    grace: float = 15.0
    """Seconds that a server is given to end by itself."""
    served: str = SERVED
    """The name under which the model is served."""
    knobs: str = "teacher"
    """Key of the recipe under which its knobs stand, for errors."""

    def command(self, program: str, port: int) -> tuple[str, ...]:
        """Return the command line. No secret stands in it."""
        model = str(Path(self.model).expanduser()) if self.model.startswith("~") else self.model
        line = [program, "serve", model, "--served-model-name", self.served, "--host", "127.0.0.1"]
        line += ["--port", str(port), "--dtype", self.dtype]
        if self.max_model_len is not None:
            line += ["--max-model-len", str(self.max_model_len)]
        if self.tensor_parallel != 1:
            line += ["--tensor-parallel-size", str(self.tensor_parallel)]
        if self.data_parallel != 1:
            line += ["--data-parallel-size", str(self.data_parallel)]
        if self.sleep:
            line.append("--enable-sleep-mode")
        return (*line, *flag_words(self.flags))

    def environment(self, program: str, mark: str, key: str) -> dict[str, str]:
        """Return the server's whole environment: this process's, what keeps vLLM to itself, the knob's, the key."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            # These speak of this project's own interpreter, and the server has another.
            if name not in ("VIRTUAL_ENV", "PYTHONHOME", "__PYVENV_LAUNCHER__")
        }
        quiet = {
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            # Sockets between its processes; set it in `env` where tensor parallelism spans machines.
            "VLLM_HOST_IP": "127.0.0.1",
            # Its processes rename themselves, which would write over the mark by which an orphan is found.
            "SPT_NOENV": "1",
        }
        environment = {**quiet, **inherited, **self.env}
        # Without a size the CPU build takes what is free at the moment, and starts or fails by chance.
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(self.kv_cache_gib)
        if self.sleep:
            environment["VLLM_SERVER_DEV_MODE"] = "1"
        # Programs of its own environment (ninja) are looked for beside the executable.
        environment["PATH"] = os.pathsep.join((str(Path(program).parent), environment.get("PATH", os.defpath)))
        environment[MARK] = mark
        environment["VLLM_API_KEY"] = key
        return environment


def name_of(launch: Launch, fingerprint: str, extra_body: Mapping[str, Any]) -> str:
    """Return what replies of this model under these settings are filed under: no port, no place.

    `fingerprint` stands for the weights of a model folder; "" where the model's name does.
    """
    told = content_id(
        "vllm",
        model=fingerprint or launch.model,
        dtype=launch.dtype,
        max_model_len=launch.max_model_len,
        flags=telling_flags(launch.flags),
        extra_body=dict(extra_body),
    )
    return f"vllm:{Path(launch.model).name if fingerprint else launch.model}#{told}"


def model_fingerprint(model: str) -> str:
    """Return the content id of a model folder's weights, so that it may be moved; "" for a hub's id."""
    folder = Path(model).expanduser()
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        return ""
    from teachers.local_weights import Weights

    return Weights(model).fingerprint


def find_executable(executable: str, knobs: str = "teacher") -> str:
    """Return the absolute path of the `vllm` command; knobs: the recipe's key under which it is named, for the error.

    Raises:
        TeacherError: fatal: there is none.
    """
    found = shutil.which(str(Path(executable).expanduser()))
    if found is None:
        raise TeacherError(
            f"{knobs}.executable: there is no vLLM at {executable!r}: make one with scripts/setup_vllm.sh and write "
            "executable: .venv-vllm/bin/vllm"
            + (", or attach to a running server with base_url" if knobs == "teacher" else ""),
            fatal=True,
        )
    return str(Path(found).absolute())


def check_flags(flags: Mapping[str, Any], knobs: str = "teacher") -> None:
    """Refuse flags that this project owns, or that are not safe; knobs: the recipe's key under which they stand.

    Raises:
        InputError: names the flag and the reason.
    """
    for name, value in flags.items():
        flag = dashed(name)
        where = f"{knobs}.flags.{name}"
        if not _FLAG.fullmatch(flag):
            raise InputError(
                f"{where}: not a flag of vLLM: write its name without dashes before it and its value apart"
            )
        bare = flag.removeprefix("no-")
        # vLLM takes any unambiguous beginning of a flag for the flag.
        for refused, reason in _REFUSED.items():
            if refused.startswith(bare) and _holds(value):
                raise InputError(f"{where} cannot be set: {reason}")
        if bare.startswith("ssl"):
            raise InputError(f"{where} cannot be set: the server is spoken to on this machine alone, without TLS")
        if flag in _KNOBS:
            raise InputError(f"{where}: use the knob {knobs}.{_KNOBS[flag]}")
        if _SECRET_NAME.search(flag):
            raise InputError(f"{where} cannot be set: a secret on a command line is seen by everybody on the machine")


def check_environment(env: Mapping[str, str], knobs: str = "teacher") -> None:
    """Refuse variables that this project sets, and secrets written out; knobs: as of `check_flags`.

    Raises:
        InputError: names the variable. Its value is not repeated.
    """
    for name, value in env.items():
        where = f"{knobs}.env.{name}"
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise InputError(f"{where}: not an environment variable")
        if name in _OUR_VARIABLES:
            raise InputError(f"{where} cannot be set: it is this project's own (see key, kv_cache_gib, sleep_mode)")
        secret = f"{where} holds a secret: export it before the run, the server inherits it; nothing is written down"
        if _SECRET_NAME.search(name):
            raise InputError(secret)
        if _ONE_WORD.fullmatch(value):  # a path or a text may be as long and as mixed as a key
            try:
                check_headers({"value": value})
            except InputError:
                raise InputError(secret) from None


def flag_words(flags: Mapping[str, Any]) -> list[str]:
    """Return flags as words of a command line: True is a bare flag, False and None leave it out, a list repeats."""
    words: list[str] = []
    for name, value in flags.items():
        if not _holds(value):
            continue
        words.append(f"--{dashed(name)}")
        if value is True:
            continue
        many = cast(Sequence[Any], value) if isinstance(value, list | tuple) else [value]
        words += [_word(one) for one in many]
    return words


def telling_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags on which replies depend."""
    named = {dashed(name): value for name, value in flags.items() if _holds(value)}
    return {name: named[name] for name in sorted(named) if not _OPERATIONAL.fullmatch(name)}


def dashed(name: str) -> str:
    """Return a flag as vLLM writes it; what follows a dot is a member's name and stays as it is."""
    head, dot, tail = name.partition(".")
    return head.replace("_", "-") + dot + tail


def _holds(value: Any) -> bool:
    return value is not None and value is not False


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)
