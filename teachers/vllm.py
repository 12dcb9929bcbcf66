"""A teacher on a vLLM server: one that is started here and ended with the run, or one that runs already."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from lessons.errors import InputError, TeacherError
from lessons.knobs import operational
from lessons.records import Message
from teachers.base import Reply, Sampling, TokenScore
from teachers.limits import Limiter
from teachers.prices import Prices
from teachers.retry import RetryPolicy
from teachers.vllm_client import VLLMClient
from teachers.vllm_command import SERVED, Launch, check_environment, check_flags, model_fingerprint, name_of
from teachers.vllm_server import Endpoint, VLLMServer
from teachers.vllm_starts import Starts

__all__ = ["VLLMTeacher"]

T = TypeVar("T")

_STARTING = ("dtype", "max_model_len", "tensor_parallel", "data_parallel", "flags", "env", "sleep_mode")
"""Knobs that say how a server is started, and mean nothing for one that runs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VLLMTeacher:
    """Starts a vLLM server when it is first asked, and starts it again where it breaks down; or attaches to one."""

    model: str
    """The model: a folder or a hub id; with base_url, the name under which the running server serves it."""
    executable: str = operational("vllm")
    """The `vllm` command, of an environment of its own: .venv-vllm/bin/vllm after scripts/setup_vllm.sh."""
    base_url: str = operational("")
    """Address of a running server, up to and with /v1, to attach to; "" starts one on this machine."""
    key: str = operational("")
    """With base_url: name of the environment variable that holds the server's key, or "". A server that is started
    here has a random key of its own."""
    dtype: str = "auto"
    """Of weights and activations: auto, bfloat16, float16, float32."""
    max_model_len: int | None = None
    """Tokens of prompt and reply together, at most; null is what the model was made for."""
    tensor_parallel: int = operational(1)
    """GPUs that one copy of the model is spread over."""
    data_parallel: int = operational(1)
    """Copies of the model behind the one address."""
    flags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More flags of `vllm serve`, such as {gpu_memory_utilization: 0.9}: true is a flag without value, false and null
    leave it out, a list is several values."""
    env: Mapping[str, str] = operational(factory=dict[str, str])
    """Environment variables of the server, beside those of this process; secrets are exported, not written here."""
    kv_cache_gib: int = operational(4)
    """GiB of memory for the KV cache of vLLM's CPU build, at least 1; GPUs are set by flags.gpu_memory_utilization."""
    start_timeout: float = operational(900.0)
    """Seconds from starting the server to its first reply; loading a large model takes minutes."""
    stop_timeout: float = operational(15.0)
    """Seconds that the server is given to end by itself before it is killed."""
    restarts: int = operational(3)
    """How often a server that breaks down is started again in one run; calls that were under way are asked again."""
    timeout: float = operational(600.0)
    """Seconds for one try of a call, from connecting to the last byte."""
    attempts: int = operational(6)
    """Tries in all for one call, at least 1; starting a broken server again is none of them."""
    send_seed: bool | None = operational(None)
    """Whether the seed of a sample is sent; null: yes, except to a CPU build that is started here, whose engine can end
    by it (vLLM 0.32)."""
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members added to each request, such as {top_k: 20, chat_template_kwargs: {enable_thinking: false}}; vLLM ignores
    members that it does not know."""
    prices: Prices | None = operational(None)
    """USD per million tokens, by kind; null: unknown, and shown as unknown."""
    sleep_mode: bool = operational(False)
    """Whether the server can be put to sleep to give the GPU's memory back (vLLM's sleep mode; not on CPU)."""
    placement: Literal["remote", "separate", "shared"] = operational("separate")
    """`separate`: the server's GPUs are its own; `shared`: with the student, which never works while the server is
    there; `remote`, with base_url: elsewhere, nothing of it is held here."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, or is not safe.

        Raises:
            InputError: a knob's value cannot be used.
        """
        check_flags(self.flags)
        check_environment(self.env)
        if not self.model or self.model.startswith("-"):
            raise InputError("teacher.model must be a folder or the name of a model")
        if self.base_url:
            blank = {"dtype": "auto", "tensor_parallel": 1, "data_parallel": 1}
            if set_here := [
                name for name in _STARTING if getattr(self, name) not in (blank.get(name), False, {}, None)
            ]:
                raise InputError(
                    f"teacher.{set_here[0]} says how a server is started, and base_url names one that runs: give one"
                )
            if self.placement == "shared":
                raise InputError(
                    "teacher.placement: shared is for a server that is started here, and ended before the student "
                    "works; base_url names one that somebody else runs: write remote"
                )
        elif self.key:
            raise InputError("teacher.key goes with base_url: a server that is started here gets a random key")
        elif self.placement == "remote":
            raise InputError("teacher.placement: remote is for a server that runs already: give base_url")
        if min(self.tensor_parallel, self.data_parallel, self.kv_cache_gib, self.max_model_len or 1) < 1:
            raise InputError(
                "teacher.tensor_parallel, data_parallel, kv_cache_gib and max_model_len must be at least 1"
            )
        if self.restarts < 0 or min(self.start_timeout, self.stop_timeout) <= 0:
            raise InputError("teacher.restarts must be at least 0, start_timeout and stop_timeout more than 0 seconds")
        self._client(self.base_url or "http://127.0.0.1/v1")  # its own checks

    @property
    def name(self) -> str:
        """Model, and a digest of all that changes replies: never the port or the place, so that a restart keeps it."""
        return self._name

    @cached_property
    def _name(self) -> str:
        return name_of(self._server.launch, "" if self.base_url else model_fingerprint(self.model), self.extra_body)

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat, starting the server where it does not run.

        Raises:
            TeacherError: no reply after all tries; fatal where the server cannot be started, or has broken down more
                often than `restarts` allows: with the last lines of its log.
        """
        return await self._asked(lambda client: client.ask(messages, sampling), _broke_off)

    async def offers_many(self) -> bool:
        """Whether several samples are drawn in one request: every vLLM can."""
        return True

    async def ask_many(self, messages: Sequence[Message], samplings: Sequence[Sampling]) -> list[Reply]:
        """Answer one chat several times, in one request, starting the server where it does not run.

        Raises:
            TeacherError: as `ask`.
        """
        return await self._asked(
            lambda client: client.ask_many(messages, samplings), lambda replies: any(map(_broke_off, replies))
        )

    async def score(self, messages: Sequence[Message], completion: str, *, top: int = 0) -> list[TokenScore]:
        """Return how likely the model would have written each token of the completion: [completion token].

        Raises:
            InputError: `top` is not in 0 to 20.
            TeacherError: no scores; fatal where the server gives fewer than `top`.
        """
        return await self._asked(lambda client: client.score(messages, completion, top=top), lambda scores: False)

    async def ready(self) -> None:
        """Start the server where it does not run, and return when it answers; nothing to do for one that runs already.

        Raises:
            TeacherError: fatal: it cannot be started.
        """
        if not self.base_url:
            await self._server.up()

    async def sleep(self, level: int = 1) -> None:
        """Put the server to sleep: its weights go to main memory, its KV cache is dropped. It wakes when it is asked.

        Raises:
            InputError: another level than 1: level 2 throws the weights away; use `close` for that.
            TeacherError: it has no sleep mode, or refuses. It still answers then.
        """
        if level != 1:
            raise InputError(f"a vLLM server is put to sleep at level 1, not {level}; close() frees all of its memory")
        if not (self.base_url or self.sleep_mode):
            raise TeacherError(
                f"the vLLM server of {self.model} is not started with sleep mode: set teacher.sleep_mode: true (GPUs "
                "only), or end it with close()"
            )
        await (await self._reached()).tell("/sleep?level=1")
        self._state["asleep"] = True

    async def wake(self) -> None:
        """Wake the server, if it was put to sleep here.

        Raises:
            TeacherError: it cannot be woken.
        """
        if self._state.get("asleep"):
            if self.base_url or self._server.running:  # one that is started again is awake
                await (await self._reached()).tell("/wake_up")
            self._state["asleep"] = False

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The server goes on for the next stage; `close` ends it."""
        if "_attached" in self.__dict__:
            await self._attached.aclose()
        if "_starts" in self.__dict__:
            await self._starts.aclose()

    def close(self) -> None:
        """End the server and all of its processes, where it was started here. Also done when Python exits."""
        self._state["asleep"] = False
        if "_server" in self.__dict__:
            self._server.stop()

    @property
    def sleeps(self) -> bool:
        """Whether its server is started with sleep mode."""
        return self.sleep_mode

    @property
    def running(self) -> bool:
        """Whether the main process of a server that was started here is there."""
        return "_server" in self.__dict__ and self._server.running

    def left(self) -> int:
        """Return how many processes of its server `close` has left behind."""
        return self._server.left() if "_server" in self.__dict__ else 0

    def kill(self) -> int:
        """Kill what `close` has left behind; return how many processes there still are."""
        return self._server.kill() if "_server" in self.__dict__ else 0

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """How wide the server's endpoint is; empty before it is first asked."""
        if self.base_url:
            return self._attached.limiters
        return self._starts.limiters

    @property
    def policy(self) -> RetryPolicy:
        """When a failed try is repeated."""
        return RetryPolicy(attempts=self.attempts)

    @cached_property
    def _server(self) -> VLLMServer:
        launch = Launch(
            model=self.model,
            executable=self.executable,
            dtype=self.dtype,
            max_model_len=self.max_model_len,
            tensor_parallel=self.tensor_parallel,
            data_parallel=self.data_parallel,
            flags=self.flags,
            env=self.env,
            kv_cache_gib=self.kv_cache_gib,
            sleep=self.sleep_mode,
            start_timeout=self.start_timeout,
            grace=self.stop_timeout,
        )
        return VLLMServer(launch, restarts=self.restarts)

    @cached_property
    def _starts(self) -> Starts:
        return Starts(self._server, self._started)

    @cached_property
    def _attached(self) -> VLLMClient:
        return self._client(self.base_url)

    @cached_property
    def _state(self) -> dict[str, bool]:
        return {}

    async def _asked(self, ask: Callable[[VLLMClient], Awaitable[T]], broke_off: Callable[[T], bool]) -> T:
        if self._state.get("asleep"):
            await self.wake()
        if self.base_url:
            return await ask(self._attached)
        return await self.policy.run(lambda: self._starts.ask(ask, broke_off))

    async def _reached(self) -> VLLMClient:
        return self._attached if self.base_url else await self._starts.now()

    def _started(self, endpoint: Endpoint) -> VLLMClient:
        # Its tries are made by `policy`, over all starts of the server.
        client = replace(self._client(endpoint.base_url), model=SERVED, secret=self._server.key, attempts=1)
        return replace(client, send_seed=False) if self.send_seed is None and endpoint.cpu else client

    def _client(self, base_url: str) -> VLLMClient:
        return VLLMClient(
            model=self.model,
            base_url=base_url,
            key=self.key,
            timeout=self.timeout,
            attempts=self.attempts,
            send_seed=self.send_seed is not False,
            extra_body=self.extra_body,
            prices=self.prices,
            features=("n", "json_schema"),
            label=self.model,
        )


def _broke_off(reply: Reply) -> bool:
    return reply.finish == "other"
