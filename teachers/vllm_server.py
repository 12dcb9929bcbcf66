"""One vLLM server: started, waited for, ended, and started again where it broke down. No part of vLLM is imported.

What the server is stands outside of any event loop: a server that was started under one `asyncio.run` serves the next.
"""

import asyncio
import re
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar, cast

from lessons.errors import TeacherError
from teachers import servers
from teachers.servers import ServerRecord
from teachers.vllm_command import Launch, find_executable
from teachers.vllm_log import PORT_TAKEN, cause, is_cpu_build
from teachers.vllm_probe import Probe
from teachers.vllm_process import ServerProcess, new_key

T = TypeVar("T")

_PORTS = 4
"""Ports that are tried before a start is given up."""
_DYING = 10.0
"""Seconds that a server without a working engine is given to end by itself before it is ended."""
_LOOK = 0.1
"""Seconds between two looks at a server that is starting or dying."""
_VERSION = re.compile(r"v?(\d+\.\d[0-9A-Za-z.+-]*)")


class Endpoint(NamedTuple):
    """Where a server is spoken to."""

    base_url: str
    """With /v1."""
    start: int
    """Which start of the server this is, from 1."""
    cpu: bool
    """Whether it computes on the CPU."""


class VLLMServer:
    """A server that runs while it is wanted. May be used from one event loop after another, from one at a time."""

    def __init__(self, launch: Launch, *, restarts: int) -> None:
        """Keep how to start it; nothing is started yet."""
        self.launch = launch
        self.restarts_left = restarts
        self.key = new_key()
        """What it asks of its callers; known to this process and the server's own."""
        self.starts = 0
        """How often it was started, tries at taken ports not counted."""
        self.process: ServerProcess | None = None
        """Of the last start, ready or not; None where it was ended."""
        self._ended: ServerRecord | None = None
        self._endpoint: Endpoint | None = None
        self._stopped = 0
        self._failure: TeacherError | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    @property
    def running(self) -> bool:
        """Whether its main process is there, ready or not."""
        return self.process is not None and self.process.exit_code is None

    async def up(self) -> Endpoint:
        """Return where the server answers, starting it where it does not run; many callers share one start.

        Raises:
            TeacherError: fatal: it cannot be started, or has broken down more often than `restarts` allows. Later
                calls raise the same until `stop` is called.
        """
        if self._endpoint is not None and self.running:
            return self._endpoint
        return await self._shared("start", self._rise)

    async def fell(self, start: int) -> bool:
        """Whether the server of this start is gone, asked after a call failed; waits while it is seen to be dying.

        Raises:
            TeacherError: fatal: it was stopped on purpose.
        """
        gone = start != self.starts or self._endpoint is None
        if not gone:
            gone = await self._shared("judge", self._judge) or start != self.starts
        if start <= self._stopped:
            raise TeacherError("the vLLM server was stopped while it was asked", fatal=True)
        return gone

    def stop(self) -> None:
        """End the server and all of its processes, if it runs. Calls in flight fail; a later `up` starts it anew."""
        self._stopped = self.starts
        self._failure = None
        self._clear()

    def left(self) -> int:
        """Return how many processes of the start that was ended last are still there."""
        return servers.processes_of(self._ended) if self._ended is not None else 0

    def kill(self) -> int:
        """Kill what `stop` has left, without asking it first; return how many processes there still are."""
        if self._ended is not None:
            servers.end_processes(self._ended, grace=0.0)
        return self.left()

    async def _shared(self, what: str, make: Callable[[], Awaitable[T]]) -> T:
        """Run one task for all who ask on this event loop; one who leaves does not end it for the others."""
        task = self._tasks.get(what)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._tasks[what] = asyncio.create_task(_run(make))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return cast(T, await asyncio.shield(task))

    async def _rise(self) -> Endpoint:
        if self._failure is not None:
            raise self._failure
        try:
            if self._endpoint is not None:  # it answered, and is gone
                await self._count_restart()
            for _ in range(_PORTS):
                if self.process is None:
                    self.process = ServerProcess(self.launch, self.key)
                    self.starts += 1
                process = self.process
                if await self._ready(process):
                    cpu = is_cpu_build(process.log)
                    self._endpoint = Endpoint(f"{process.root}/v1", self.starts, cpu)
                    return self._endpoint
                self._clear()  # the port was taken between looking and using
                self.starts -= 1
            raise TeacherError(f"no free port for a vLLM server on 127.0.0.1 in {_PORTS} tries", fatal=True)
        except TeacherError as error:
            if self.starts > self._stopped:
                self._failure = error
            await asyncio.to_thread(self._clear)  # one that does not end by itself takes seconds
            raise

    async def _count_restart(self) -> None:
        """Make ready for another start after a break-down."""
        if self.restarts_left < 1:
            assert self.process is not None
            raise self.process.ended(f"and was started again as often as {self.launch.knobs}.restarts allows")
        self.restarts_left -= 1
        await asyncio.to_thread(self._clear)

    async def _ready(self, process: ServerProcess) -> bool:
        """Wait until a completion comes back; False where another program has the port.

        Raises:
            TeacherError: fatal: it ended, or did not answer in time.
        """
        model, limit = self.launch.model, self.launch.start_timeout
        async with Probe(process.root, self.key, self.launch.served) as probe:
            asked = probe.completion()
            while True:
                done, _ = await asyncio.wait({asked}, timeout=_LOOK)
                if self.process is not process:
                    raise TeacherError("the vLLM server was stopped while it was starting", fatal=True)
                if process.exit_code is not None:
                    if cause(process.log) == PORT_TAKEN:
                        return False
                    raise process.ended("while it was starting")
                if time.monotonic() - process.began > limit:
                    raise TeacherError(
                        f"the vLLM server of {model} did not answer within {limit:g} seconds (raise "
                        f"{self.launch.knobs}.start_timeout); its log {process.log} ends: {process.tail()}",
                        fatal=True,
                    )
                if not done:
                    continue
                answer = asked.result()
                if answer.ready or answer.foreign:
                    return answer.ready
                if answer.refusal:
                    words = process.hide(answer.refusal)
                    raise TeacherError(
                        f"the vLLM server of {model} cannot answer a chat: {words}; log {process.log}", fatal=True
                    )
                await asyncio.sleep(_LOOK)
                asked = probe.completion()

    async def _judge(self) -> bool:
        """Whether the server is gone; one that cannot answer any more is ended."""
        process, until = self.process, time.monotonic() + _DYING
        if process is None:
            return True
        async with Probe(process.root, self.key) as probe:
            while process.exit_code is None:
                if await probe.healthy():
                    return False
                if time.monotonic() > until:
                    await asyncio.to_thread(process.end)
                await asyncio.sleep(_LOOK)
        return True

    def _clear(self) -> None:
        process, self.process, self._endpoint = self.process, None, None
        if process is not None:
            self._ended = process.record
            process.end()


def version_of(executable: str = "vllm", timeout: float = 60.0) -> str | None:
    """Return the version that a `vllm` command says it has, such as 0.32.0+cpu; None where it is none or says none.

    Takes some 10 seconds: the command imports vLLM. It is given `timeout` seconds.
    """
    try:
        program = find_executable(executable)
        done = subprocess.run(  # noqa: S603 - the user's executable
            [program, "--version"], capture_output=True, text=True, timeout=timeout, check=False
        )
    except (TeacherError, OSError, subprocess.TimeoutExpired):
        return None
    found = [one[1] for line in done.stdout.splitlines() if (one := _VERSION.fullmatch(line.strip()))]
    return found[-1] if done.returncode == 0 and found else None


async def _run(make: Callable[[], Awaitable[object]]) -> object:
    return await make()
