"""The student answers through a vLLM server that is started here and ended with the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lessons.errors import InputError
from lessons.knobs import operational
from students.base import Student

if TYPE_CHECKING:
    from loops.placing.card import Card
    from students.serving import Serving
    from teachers.vllm_command import Launch

__all__ = ["VLLMEngine"]

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Largest LoRA ranks that a vLLM server can be told (0.32)."""
KNOBS = "student.engine"


@dataclass(frozen=True, kw_only=True)
class VLLMEngine:
    """Through a vLLM server that is started for it. The server has the base's weights and the latest adapter under a
    name of its own, or merged weights; the student learns and scores in this process while it is not there."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of weights and activations; auto is what vLLM takes for the model: 16 bits also for one in float32."""
    merge: bool = False
    """Whether the adapter is merged into weights of its own before they are served, by a new server for every round.
    Whole weights (adapter.rank 0) always are."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together, at most; null is what the model was made for."""
    send_seed: bool | None = None
    """Whether the seeds of drawn answers are sent; null: yes, except to a CPU build, whose engine can end by it (vLLM
    0.32), so that its drawn answers differ from time to time."""
    flags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More flags of `vllm serve`, such as {gpu_memory_utilization: 0.9}; as a vLLM teacher's."""
    executable: str = operational("vllm")
    """The `vllm` command, of an environment of its own: .venv-vllm/bin/vllm after scripts/setup_vllm.sh."""
    env: Mapping[str, str] = operational(factory=dict[str, str])
    """Environment variables of the server, beside those of this process; secrets are exported, not written here."""
    tensor_parallel: int = operational(1)
    """GPUs that the model is spread over."""
    kv_cache_gib: int = operational(4)
    """GiB of memory for the KV cache of vLLM's CPU build, at least 1; GPUs are set by flags.gpu_memory_utilization."""
    at_once: int = operational(256)
    """Answers that are asked for at once; the server batches them by itself."""
    timeout: float = operational(600.0)
    """Seconds for one answer."""
    start_timeout: float = operational(900.0)
    """Seconds from starting the server to its first reply."""
    stop_timeout: float = operational(15.0)
    """Seconds that the server is given to end by itself before it is killed."""
    restarts: int = operational(3)
    """How often servers that break down are started again in one run; answers that were under way are asked again."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, or is not safe.

        Raises:
            InputError: a knob's value cannot be used.
        """
        from teachers.vllm_command import check_environment, check_flags, dashed

        check_flags(self.flags, KNOBS)
        check_environment(self.env, KNOBS)
        for name in self.flags:
            if dashed(name) in ("max-loras", "max-lora-rank", "generation-config"):
                raise InputError(f"{KNOBS}.flags.{name} cannot be set: the student's adapter and settings decide it")
        if min(self.tensor_parallel, self.kv_cache_gib, self.at_once, self.max_model_len or 1) < 1:
            raise InputError(f"{KNOBS}: tensor_parallel, kv_cache_gib, at_once and max_model_len must be at least 1")
        if self.restarts < 0 or min(self.timeout, self.start_timeout, self.stop_timeout) <= 0:
            raise InputError(f"{KNOBS}: restarts must be at least 0, and every timeout more than 0 seconds")

    def card(self, say: Callable[[str], object], folder: Path) -> "Card":
        """Return a card on which the server answers, and the weights in this process score and learn without it."""
        from loops.placing.card import Card
        from loops.placing.server import NAME, StudentServer
        from loops.placing.tenants import HERE, TRAINING, WeightsHere, reap

        card = Card(say, lambda: reap(say))
        card.add(NAME, "student", StudentServer(self.launch, folder / "served"))
        card.add(HERE, "scoring", WeightsHere(), always=True)
        card.add(TRAINING, "training", WeightsHere(), always=True)
        return card

    def student(self, weights: Student, card: "Card") -> Student:
        """Return the student that answers through the server."""
        from loops.placing.server import NAME, StudentDesk, StudentServer
        from students.hf import HFStudent
        from students.served import ServedStudent

        engine = card.engines[NAME]
        assert isinstance(engine, StudentServer)
        assert isinstance(weights, HFStudent)
        desk = StudentDesk(card, engine, restarts=self.restarts, send_seed=self.send_seed)
        return ServedStudent(
            weights, desk, merge=self.merge, dtype=self.dtype, at_once=self.at_once, timeout=self.timeout
        )

    def launch(self, serving: "Serving") -> "Launch":
        """Return how the server of a model is started."""
        from students.serving import BASE
        from teachers.vllm_command import Launch

        # The model's own sampling settings are not the recipe's.
        flags: dict[str, Any] = {**self.flags, "generation_config": "vllm"}
        env = dict(self.env)
        if serving.rank:
            rank = next((rank for rank in RANKS if rank >= serving.rank), None)
            if rank is None:
                raise InputError(f"{KNOBS}: vLLM serves LoRA ranks up to {RANKS[-1]}, not {serving.rank}: set merge")
            flags |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 2}
            env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
        return Launch(
            model=str(serving.model),
            executable=self.executable,
            dtype=self.dtype,
            max_model_len=self.max_model_len,
            tensor_parallel=self.tensor_parallel,
            flags=flags,
            env=env,
            kv_cache_gib=self.kv_cache_gib,
            start_timeout=self.start_timeout,
            grace=self.stop_timeout,
            served=BASE,
            knobs=KNOBS,
        )
