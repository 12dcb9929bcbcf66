"""Who is on the card of a run: its teachers, and the student's weights in this process."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from lessons.errors import TutelageError
from loops.placing.card import Card
from teachers import servers
from teachers.base import HoldingTeacher, ServingTeacher, Teacher
from teachers.pool import PoolTeacher

T = TypeVar("T")

HERE = "the student's weights in this process"
TRAINING = "the training"


class TeacherEngine:
    """A teacher that shares the card."""

    def __init__(self, teacher: HoldingTeacher) -> None:
        self.teacher = teacher
        self._serving = teacher if isinstance(teacher, ServingTeacher) else None

    @property
    def sleeps(self) -> bool:
        """Whether it has a server with sleep mode."""
        return self._serving is not None and self._serving.sleeps

    @property
    def alive(self) -> bool:
        """Whether its server is there; one in this process is there with it."""
        return self._serving is None or self._serving.running

    async def start(self) -> None:
        """Start its server; one in this process loads when it is asked."""
        if self._serving is not None:
            await self._serving.ready()

    async def wake(self) -> None:
        """Wake its server."""
        if self._serving is not None:
            await self._serving.wake()

    async def sleep(self) -> None:
        """Put its server to sleep."""
        if self._serving is not None:
            await self._serving.sleep()

    async def stop(self) -> None:
        """End its server, or free its weights."""
        await beside(self.teacher.close)
        if self._serving is not None:
            none_left(await beside(self._serving.left))

    async def kill(self) -> None:
        """Kill what is left of its server."""
        if self._serving is not None:
            none_left(await beside(self._serving.kill))


class WeightsHere:
    """Every model that this process has loaded for students; they load when they are used."""

    sleeps, alive = False, True

    async def start(self) -> None:
        """Leave it to the first use."""

    async def wake(self) -> None:
        """Leave it to the first use."""

    async def sleep(self) -> None:
        """Give all of it back."""
        await self.stop()

    async def stop(self) -> None:
        """Give all of it back."""
        from students.residents import close_all

        close_all()

    async def kill(self) -> None:
        """Give all of it back."""
        await self.stop()


@asynccontextmanager
async def asking(card: Card, teacher: Teacher) -> AsyncGenerator[None]:
    """Have a teacher that shares the card be on it in the block; what else is asked needs no card.

    Raises:
        TutelageError: its server cannot be started, or somebody cannot be ended.
    """
    names = _seated(card, teacher)
    if not names:
        yield
        return
    async with card.working(*names):
        yield


def reap(say: Callable[[str], object]) -> None:
    """End the servers of owners that are dead: they hold memory, and nobody will ask them."""
    for orphan in servers.orphans():
        count = servers.reap(orphan)
        say(
            f"a server of a run that is gone was still there ({count} processes, {orphan.memory / 2**30:.1f} GiB of "
            "main memory); it is ended"
        )


def none_left(count: int) -> None:
    """Refuse to take a server for ended while processes of it are there.

    Raises:
        TutelageError: there are some.
    """
    if count:
        raise TutelageError(f"{count} of its processes are still there")


async def beside(do: Callable[[], T]) -> T:
    """Do something on a thread of its own that does not keep the program from ending, should it never come back."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] - there is a result where there is no error

    def work() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = do()
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, daemon=True).start()
    return await done


def _seated(card: Card, teacher: Teacher) -> list[str]:
    """Return the names under which a teacher, or a pool's members, are tenants; makes them such the first time."""
    members = teacher.holding() if isinstance(teacher, PoolTeacher) else [teacher]
    return [_name(card, one) for one in members if isinstance(one, HoldingTeacher) and one.placement == "shared"]


def _name(card: Card, teacher: HoldingTeacher) -> str:
    for name, engine in card.engines.items():
        if isinstance(engine, TeacherEngine) and engine.teacher is teacher:
            return name
    label = getattr(teacher, "name", type(teacher).__name__)
    same = sum(name.startswith(f"the teacher {label}") for name in card.engines)
    name = f"the teacher {label}" + (f" ({same + 1})" if same else "")
    card.add(name, "teacher", TeacherEngine(teacher))
    return name
