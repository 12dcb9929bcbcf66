"""Out of memory while a student is trained: how it is known, and which settings would help."""

from collections.abc import Callable, Sequence

import msgspec

from lessons.errors import StudentError
from students.base import Learned, Training

_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed")
"""In torch's errors: of CUDA and of its allocator for the CPU, of cuBLAS and cuDNN; and in the system's own."""


class OutOfMemory(StudentError):  # noqa: N818 - the word that everyone looks for
    """The memory did not suffice to train. micro: lessons that went through a model at once; 0 before the first."""

    def __init__(self, message: str, *, micro: int) -> None:
        super().__init__(message)
        self.micro = micro


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, whoever raised it."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError") or isinstance(error, RuntimeError | OSError):
        return any(words in str(error).lower() for words in _WORDS)
    return False


def advice(training: Training, *, micro: int, lengths: Sequence[int]) -> str:
    """Return which settings take less memory, with values that do, the gentlest first.

    micro: lessons that went through the model at once, or 0. lengths: tokens of each lesson; empty where not known.
    """
    told: list[str] = []
    if micro != 1:
        half = max(1, (micro or training.micro_batch_size) // 2)
        told.append(f"train.micro_batch_size: {half} (the loss is the same)")
    longest = max(lengths, default=training.max_length)
    shorter = max(16, longest // 2)
    over = sum(length > shorter for length in lengths)
    longer = f" ({over} of {len(lengths)} lessons are longer, up to {longest}: drop them with the filter length)"
    told.append(f"train.max_length: {shorter}{longer if over else ''}")
    if training.rank == 0:
        told.append("student.adapter.rank: 16 (all weights are trained now, with two moments of each)")
    elif training.precision == "float32":
        told.append("train.precision: bfloat16")
    else:
        told.append(f"student.adapter.rank: {max(1, training.rank // 2)}")
    return "; or ".join(told)


def shortage(training: Training, *, micro: int, step: int, lengths: Sequence[int], how: str) -> OutOfMemory:
    """Return the error of a training that ran out of memory. step: the steps that were done. how: what says so."""
    at = f"{micro} lessons at once, step {step + 1}" if micro else "while the model was made ready"
    return OutOfMemory(
        f"training ran out of memory ({at}; {how}); take one of: {advice(training, micro=micro, lengths=lengths)}",
        micro=micro,
    )


def words_of(error: BaseException) -> str:
    """Return the first line of what an error says, cut short; its kind where it says nothing."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return said if 0 < len(said) <= 160 else f"{said[:157]}..." if said else type(error).__name__


def with_smaller(once: Callable[[Training], Learned], training: Training) -> Learned:
    """Train; where the memory does not suffice and `retry_smaller` is set, again at half the micro-batch, down to 1.

    Raises:
        OutOfMemory: it did not suffice, and may not or cannot be tried with fewer lessons at once.
    """
    try:
        return once(training)
    except OutOfMemory as error:
        short = error.with_traceback(None)  # its frames hold the model
    if not training.retry_smaller or short.micro < 2:
        raise short
    half = short.micro // 2
    try:
        learned = with_smaller(once, msgspec.structs.replace(training, micro_batch_size=half))
    except OutOfMemory:
        raise
    except StudentError as refused:  # such as: the objective cannot split a step
        raise short from refused
    return msgspec.structs.replace(learned, notes={"micro-batch after memory ran out": half} | learned.notes)
