"""The student's own vLLM server: started for one model, told its adapters, and a tenant of the card like any other."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

from lessons.errors import StudentError, TeacherError
from loops.placing.card import Card
from loops.placing.tenants import beside, none_left
from students.serving import Address, Serving
from teachers.vllm_command import Launch
from teachers.vllm_server import Endpoint, VLLMServer

NAME = "the student's vLLM server"
_LOADING = 120.0
"""Seconds that a server is given to load an adapter."""


class StudentServer:
    """The engine: one server for one model at a time.

    launch: how the server of a model is started.
    """

    sleeps = False

    def __init__(self, launch: Callable[[Serving], Launch], folder: Path) -> None:
        self._launch = launch
        self.folder = folder
        """Where models are written that are served; it is gone when the server has ended."""
        self.serving: Serving | None = None
        """What the next start serves, or the running server does."""
        self.server: VLLMServer | None = None
        self.endpoint: Endpoint | None = None
        self.starts = 0
        """How often a server was started, whatever its model."""
        self.loaded: str | None = None
        """The adapter that it has."""

    @property
    def alive(self) -> bool:
        """Whether the server's main process is there."""
        return self.server is not None and self.server.running

    async def start(self) -> None:
        """Start a server for what is to be served.

        Raises:
            StudentError: it cannot be started.
        """
        assert self.serving is not None
        await asyncio.to_thread(_written, self.serving)
        self.server, self.loaded = VLLMServer(self._launch(self.serving), restarts=0), None
        self.starts += 1
        try:
            self.endpoint = await self.server.up()
        except TeacherError as error:
            raise StudentError(str(error)) from error

    async def wake(self) -> None:
        """Start it: it never sleeps."""
        await self.start()

    async def sleep(self) -> None:
        """End it: it never sleeps."""
        await self.stop()

    async def stop(self) -> None:
        """End it."""
        if self.server is not None:
            await beside(self.server.stop)
            none_left(await beside(self.server.left))
        shutil.rmtree(self.folder, ignore_errors=True)

    async def kill(self) -> None:
        """Kill what is left of it."""
        if self.server is not None:
            none_left(await beside(self.server.kill))


class StudentDesk:
    """Where a served student finds its server; see `students.serving.Desk`.

    restarts: break-downs after which a server is started again, in one run. send_seed: whether the seeds of drawn
    answers are sent; None: yes, except to a CPU build.
    """

    def __init__(self, card: Card, engine: StudentServer, *, restarts: int, send_seed: bool | None) -> None:
        self.card, self.engine, self.folder = card, engine, engine.folder
        self._restarts, self._send_seed = restarts, send_seed
        self._fallen: set[int] = set()
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def up(self, serving: Serving) -> Address:
        """Return the address of a server that serves this model, with this adapter and no other."""
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            engine = self.engine
            now = engine.serving
            if now is None or (now.model, now.rank) != (serving.model, serving.rank):
                await self.card.leave(NAME)
                engine.serving = serving
            await self.card.take(NAME)
            assert engine.server is not None
            assert engine.endpoint is not None
            address = Address(
                engine.endpoint.base_url,
                engine.server.key,
                engine.starts,
                not engine.endpoint.cpu if self._send_seed is None else self._send_seed,
            )
            if serving.adapter is not None and engine.loaded != serving.name:
                await self._load(address, serving)
            return address

    async def fell(self, start: int) -> bool:
        """Whether the server of this start is gone."""
        engine = self.engine
        if start != engine.starts or engine.server is None or start in self._fallen:
            return True
        server = engine.server
        try:
            gone = await server.fell(server.starts)
        except TeacherError:  # somebody who saw it fall is about to start it again
            return True
        if gone and start == engine.starts and start not in self._fallen:
            self._fallen.add(start)
            if len(self._fallen) > self._restarts:
                allowed = f"servers were started again as often as {server.launch.knobs}.restarts allows"
                raise StudentError(f"{server.process.ended('at work') if server.process else NAME}; {allowed}")
        return gone

    def make_room(self, owner: Literal["scoring", "training"]) -> None:
        """Have the server leave the memory."""
        self.card.make_room(owner)

    async def _load(self, address: Address, serving: Serving) -> None:
        """Have the server load an adapter; the one before it goes first, so that it never has two."""
        engine = self.engine
        if engine.loaded is not None:
            before, engine.loaded = engine.loaded, None
            await _tell(address, "unload_lora_adapter", {"lora_name": before})
        await _tell(address, "load_lora_adapter", {"lora_name": serving.name, "lora_path": str(serving.adapter)})
        engine.loaded = serving.name


def _written(serving: Serving) -> None:
    """Write the model's folder, where it is to be made and is not there."""
    if serving.write is not None and not serving.model.is_dir():
        unfinished = serving.model.with_name(f".{serving.model.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        serving.write(unfinished)
        unfinished.replace(serving.model)


async def _tell(address: Address, path: str, body: dict[str, str]) -> None:
    import aiohttp

    headers = {"Authorization": f"Bearer {address.key}"}
    limit = aiohttp.ClientTimeout(total=_LOADING)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(f"{address.base_url}/{path}", json=body, headers=headers) as response,
        ):
            words = " ".join((await response.text(errors="replace"))[:500].replace(address.key, "[key]").split())
    except (aiohttp.ClientError, OSError) as error:
        raise StudentError(f"the student's vLLM server did not {path}: {type(error).__name__}") from error
    if response.status != 200:
        raise StudentError(f"the student's vLLM server did not {path} {body['lora_name']}: {words}")
