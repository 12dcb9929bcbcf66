"""The one place where torch is set up: waiting threads, thread count, quiet libraries, device and precision."""

import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]
"""Of a model's weights while it computes; auto is bfloat16 where the processor or GPU computes in it."""

QUIET = {
    # Threads that wait by spinning fall from 213 to 21 tokens/s as soon as another process holds a core; sleeping ones
    # cost nothing on a quiet machine. OpenMP reads this once, when torch is loaded.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@cache
def prepare() -> None:
    """Set the environment before torch is first imported, and quiet the libraries; what the user has set is kept."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


@contextmanager
def quiet() -> Generator[None]:
    """Keep TRL, PEFT and transformers from writing advice in the block."""
    import logging

    trl_logger = logging.getLogger("trl")
    level = trl_logger.level
    trl_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        trl_logger.setLevel(level)


def give_back() -> None:
    """Have Python and the GPU's allocator let go of a model that nothing holds any more."""
    import gc
    import sys

    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@cache
def settle() -> None:
    """Import what training needs, and have later collections of garbage pass over it.

    The libraries leave some million objects that live as long as the process; going through them took 0.2 s at every
    collection, and a round of a small student spent most of its time so. Call it while no model is loaded: what is
    there now is never looked at again.
    """
    import gc

    import peft
    import trl.trainer.sft_trainer

    assert peft is not None
    assert trl.trainer.sft_trainer is not None
    gc.collect()
    gc.freeze()


@contextmanager
def random_state_kept() -> Generator[None]:
    """Give the global random states back as they were: training seeds them, and a caller may be using them."""
    import random

    import numpy
    import torch

    kept = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(kept[0])
        numpy.random.set_state(kept[1])
        torch.set_rng_state(kept[2])


def device() -> "torch.device":
    """Return the first GPU, or the CPU where there is none."""
    import torch

    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def computes_in_bfloat16(where: "torch.device") -> bool:
    """Return whether this device has bfloat16 instructions; elsewhere bfloat16 is emulated and slower than float32."""
    import torch

    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older and newer versions of torch lack one or the other of these; x86 has both, Arm tells through mkldnn.
    asked: list[Any] = [
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ]
    asked.append(getattr(torch.ops.mkldnn, "_is_mkldnn_acl_supported", None) and _arm_bfloat16)
    return any(bool(ask()) for ask in asked if ask)


def _arm_bfloat16() -> bool:
    """Whether an Arm processor's own list of features names bfloat16."""
    from pathlib import Path

    listed = Path("/proc/cpuinfo")
    return listed.is_file() and " bf16" in listed.read_text(errors="replace")


def dtype_of(precision: Precision, where: "torch.device") -> "torch.dtype":
    """Return the dtype that a precision means on this device."""
    import torch

    if precision == "auto":
        return torch.bfloat16 if computes_in_bfloat16(where) else torch.float32
    return torch.float32 if precision == "float32" else torch.bfloat16


@contextmanager
def threads_set(count: int) -> Generator[None]:
    """Compute with this many CPU threads in the block; 0 leaves the number to torch."""
    import torch

    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count:
            torch.set_num_threads(before)
