"""What a vLLM server's log says of its end: its last lines, fit to be shown, and what to do about the cause."""

import re
from collections.abc import Callable
from pathlib import Path

from lessons.jsonl import plain_text

_READ = 128 * 1024
"""Bytes of the log's end that are looked at."""
_LINES = 15
_LONGEST = 240
"""Characters of one line."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PREFIX = re.compile(r"^(\((?:APIServer|EngineCore|VllmWorker|Worker)[^)]*\) *)+")
_ACCESS = re.compile(r'^INFO: +\S+ - "(GET|POST) ')
"""A line for each request, also for the many that fail together at the end."""
_ERROR = re.compile(r"\b[A-Z]\w*(?:Error|Exception): .+")
_FOLLOWS = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineCore encountered an issue|CancelledError"
)
"""What is said of an end whose cause stands above."""

PORT_TAKEN = "another program took the server's port"

_CAUSES: tuple[tuple[str, str], ...] = (
    (r"Address already in use|Errno 98|Errno 48", PORT_TAKEN),
    (
        r"Free memory on device .* less than desired GPU memory utilization",
        "another program holds the GPU's memory: end it, or lower flags.gpu_memory_utilization",
    ),
    (
        r"No available memory for the cache blocks",
        (
            "the model leaves no memory for the KV cache: raise flags.gpu_memory_utilization (CPU: kv_cache_gib), "
            "lower max_model_len, or spread the model with tensor_parallel"
        ),
    ),
    (
        (
            r"(larger|greater) than the (maximum number of tokens|available KV cache memory)"
            r"|estimated maximum model length|KV cache is needed"
        ),
        (
            "max_model_len is longer than the KV cache holds: lower max_model_len, or raise "
            "flags.gpu_memory_utilization (CPU: kv_cache_gib)"
        ),
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|HIP out of memory",
        (
            "the GPU's memory is full: lower max_model_len or flags.max_num_seqs, spread the model with "
            "tensor_parallel, or take a smaller model"
        ),
    ),
    (
        r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory|MemoryError|std::bad_alloc",
        "the machine's memory is full: lower kv_cache_gib and max_model_len, or take a smaller model",
    ),
    (
        r"User-specified max_model_len|max_model_len .* is greater than the derived",
        "max_model_len is longer than the model was made for: lower it",
    ),
    (
        (
            r"Model architectures .* (are not supported|failed to be inspected)|model type .* does not recognize"
            r"|does not recognize this architecture"
        ),
        "this vLLM does not know the model's architecture: upgrade vLLM, or take another model",
    ),
    (
        r"gated repo|401 Client Error|403 Client Error|GatedRepoError|Access to model .* is restricted",
        "the model is gated: accept its terms on the hub and export HF_TOKEN",
    ),
    (
        (
            r"Repository Not Found|is not a local folder and is not a valid model identifier"
            r"|Invalid repository ID or local|Can't load the configuration of|couldn't connect to"
            r"|LocalEntryNotFoundError|OfflineModeIsEnabled|Cannot find any model weights"
            r"|HFValidationError|No such file or directory: '[^']*config\.json"
        ),
        (
            "the model was not found: check teacher.model (a folder, or a hub id, cached or to be downloaded; "
            "HF_HUB_OFFLINE forbids downloads)"
        ),
    ),
    (
        r"does not use offset",
        "a seed ended the engine of this CPU build: leave send_seed null",
    ),
    (r"unrecognized arguments|invalid choice|expected (one|at least one) argument|error: argument ", ""),
    (
        r"Sleep mode is not supported",
        "this build of vLLM has no sleep mode (the CPU build has none): set sleep_mode: false",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so",
        "this vLLM was built for GPUs and finds none: take the CPU build (scripts/setup_vllm.sh), or check nvidia-smi",
    ),
    (
        r"default chat template is no longer|[Ss]upplied chat template|chat template .*(looks like|not found)",
        "the model has no chat template (a base model?): take an instruct model, or set flags.chat_template to a file",
    ),
    (
        r"No module named|ImportError|undefined symbol|PackageNotFoundError",
        "vLLM's environment is broken: make it anew with scripts/setup_vllm.sh",
    ),
)
"""Pattern -> what it means and what to do; the first that is found counts. "" shows the line itself."""

_BAD_FLAG = "teacher.flags holds what this vLLM does not know: see `vllm serve --help=all`"


def last_lines(path: Path, hide: Callable[[str], str], lines: int = _LINES) -> str:
    """Return the last lines of a log on one line, joined with " | ", without secrets and control characters."""
    shown = [line[:_LONGEST] for line in _clean(path, hide) if line.strip("^~ ") and not _ACCESS.match(line)]
    return " | ".join(shown[-lines:]) or "the log is empty"


def cause(path: Path) -> str:
    """Return what ended a server and what to do, by what its log says; "" where it says nothing known."""
    text = "\n".join(_clean(path, str))
    for pattern, hint in _CAUSES:
        if re.search(pattern, text):
            return hint or _BAD_FLAG
    return ""


def last_error(path: Path, hide: Callable[[str], str]) -> str:
    """Return the last error in a log that does not merely follow from another one; "" where there is none."""
    found = [error[0] for line in _clean(path, hide) if not _FOLLOWS.search(line) and (error := _ERROR.search(line))]
    return found[-1][:_LONGEST] if found else ""


def is_cpu_build(path: Path) -> bool:
    """Whether the log is of a server that computes on the CPU."""
    try:
        with path.open("rb") as log:
            return b"device_config=cpu" in log.read(4 * _READ)
    except OSError:
        return False


def _clean(path: Path, hide: Callable[[str], str]) -> list[str]:
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _READ))
            text = log.read(_READ).decode("utf-8", "replace")
    except OSError:
        return []
    # Secrets first: what is cut or cleaned before might be half of one.
    text = _ANSI.sub("", plain_text(hide(text)))
    lines = (_CONTROL.sub(" ", line.rpartition("\r")[2] or line).strip() for line in text.split("\n"))
    return [short for line in lines if (short := _PREFIX.sub("", line))]
