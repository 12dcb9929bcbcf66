"""How fast the path of a teacher call is, beside other ways of asking, all in one run against one server.

Each way runs in a process of its own, in turns, several times; the server is a process of its own too. The whole path
has everything on: ledger on disk, shared cache, budget with every cap set, prices, adaptive limiter, parsing.

    python scripts/bench_teacher.py [--requests 2000] [--in-flight 64] [--delay 0.05] [--repeats 3]
        [--curator PYTHON] [--distilabel PYTHON] [--memory 200000] [--folder FOLDER] > figures.json
"""

import argparse
import asyncio
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

KEY = "BENCH_TEACHER_KEY"
TEXT = "Four."
BODY = json.dumps(
    {
        "object": "chat.completion",
        "model": "bench",
        "id": "chatcmpl-bench",
        "created": 1,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
WAYS = (
    "raw_aiohttp", "openai_client_aiohttp", "teacher_alone", "whole_path", "from_ledger", "path_without_openai_client"
)  # fmt: skip
BASE = "openai_client_aiohttp"
"""What the others' rates are divided by."""

Ask = Callable[[int], Awaitable[bool]]


def main() -> None:
    """Measure, and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--requests", type=int, default=2000)
    options.add_argument("--in-flight", type=int, default=64)
    options.add_argument("--delay", type=float, default=0.0, help="seconds that the server takes for each reply")
    options.add_argument("--repeats", type=int, default=3, help="turns of all ways; the figures are medians")
    options.add_argument("--curator", default="", help="a Python that has bespokelabs-curator")
    options.add_argument("--distilabel", default="", help="a Python that has distilabel[openai]")
    options.add_argument("--memory", type=int, default=0, help="requests of one long whole path; 0 leaves it out")
    options.add_argument(
        "--folder", type=Path, default=None, help="where ledgers are written; default: a temporary one"
    )
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--way", default="", help=argparse.SUPPRESS)
    options.add_argument("--base-url", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        asyncio.run(serve(given.delay))
    elif given.way:
        print(
            json.dumps(asyncio.run(measure(given.way, given.base_url, given.requests, given.in_flight, given.folder)))
        )
    else:
        print(json.dumps(compare(given), indent=2))


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Return every way's medians, and their ratios to the plain client."""
    os.environ[KEY] = "bench-teacher"
    figures: dict[str, list[dict[str, Any]]] = {}
    rivals = {name: getattr(given, name) for name in ("curator", "distilabel") if getattr(given, name)}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for turn in range(given.repeats):
            for name in (*WAYS, *rivals):
                place = Path(folder, f"{turn}-{'whole_path' if name == 'from_ledger' else name}")
                place.mkdir(exist_ok=True)
                figures.setdefault(name, []).append(one(given, name, rivals.get(name, ""), place))
        found: dict[str, Any] = {name: medians(rows) for name, rows in figures.items()}
        if given.memory:
            place = Path(folder, "memory")
            place.mkdir()
            long = argparse.Namespace(**{**vars(given), "requests": given.memory})
            found["memory"] = one(long, "memory", "", place)
    base = found[BASE]["requests_per_second"]
    return {
        "python": platform.python_version(),
        "requests": given.requests,
        "in_flight": given.in_flight,
        "delay_seconds": given.delay,
        "repeats": given.repeats,
        "load_average": os.getloadavg()[0],
        "ways": found,
        f"ratio_to_{BASE}": {
            name: round(row["requests_per_second"] / base, 3) for name, row in found.items() if name != "memory"
        },
    }


def one(given: argparse.Namespace, name: str, rival: str, folder: Path) -> dict[str, Any]:
    """Return one way's figures, against a fresh server."""
    command = [sys.executable, __file__, "--serve", "--delay", str(given.delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        many = [str(given.requests), str(given.in_flight)]
        if rival:
            script = str(Path(__file__).with_name("bench_rivals.py"))
            client = [rival, script, name, base_url, *many, str(folder)]
        else:
            client = [sys.executable, __file__, "--way", name, "--base-url", base_url, "--folder", str(folder)]
            client += ["--requests", many[0], "--in-flight", many[1]]
        done = subprocess.run(client, capture_output=True, text=True, check=False)
        server.communicate("")  # the end of its input stops the server
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith(("RESULT ", "{")))
    return json.loads(line.removeprefix("RESULT "))


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure, and the range of the rate."""
    found = {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}
    rates = [row["requests_per_second"] for row in rows]
    return {**found, "slowest": min(rates), "fastest": max(rates)}


class Endpoint(asyncio.Protocol):
    """The least of an HTTP/1.1 server: one answer for every request, so that the client is what is measured."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer each whole request in what has come."""
        self.unread += data
        while True:
            head, found, rest = self.unread.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            size = int(length[1]) if length else 0
            if not found or len(rest) < size:
                return
            self.unread = rest[size:]
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.transport.write, ANSWER)
            else:
                self.transport.write(ANSWER)


async def serve(delay: float) -> None:
    """Answer until the standard input ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Endpoint(delay), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def measure(way: str, base_url: str, requests: int, in_flight: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one way, in this process."""
    make = {
        "raw_aiohttp": _raw, "openai_client_aiohttp": _client, "teacher_alone": _teacher,
        "path_without_openai_client": _path_on_raw_wire,
    }.get(way, _path)  # fmt: skip
    async with make(base_url, in_flight, folder) as ask:
        if way == "memory":
            small = await timed(ask, range(2000))
            large = await timed(ask, range(2000, requests))
            return {
                **large,
                "peak_mb_at_2000": small["peak_mb"],
                "growth_mb": round(large["peak_mb"] - small["peak_mb"], 1),
            }
        return await timed(ask, range(requests))


@asynccontextmanager
async def _raw(base_url: str, in_flight: int, folder: Path) -> AsyncGenerator[Ask]:
    """The floor of the wire."""
    import aiohttp

    limit = asyncio.Semaphore(in_flight)
    headers = {"Authorization": f"Bearer {os.environ[KEY]}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def ask(number: int) -> bool:
            body = {"model": "bench", "messages": _chat(number), "max_tokens": 64, "temperature": 0.7}
            async with limit, session.post(f"{base_url}/chat/completions", json=body) as response:
                return (await response.json())["choices"][0]["message"]["content"] == TEXT

        yield ask


@asynccontextmanager
async def _client(base_url: str, in_flight: int, folder: Path) -> AsyncGenerator[Ask]:
    """The openai package as its users call it, on its fastest transport."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    limit = asyncio.Semaphore(in_flight)
    key = os.environ[KEY]
    async with AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=DefaultAioHttpClient()) as client:

        async def ask(number: int) -> bool:
            chat = cast(Any, _chat(number))
            async with limit:
                told = await client.chat.completions.create(
                    model="bench", messages=chat, max_tokens=64, temperature=0.7
                )
            return told.choices[0].message.content == TEXT

        yield ask


@asynccontextmanager
async def _teacher(base_url: str, in_flight: int, folder: Path) -> AsyncGenerator[Ask]:
    """OpenAITeacher without the rest of the path: its limiter, its reading of replies."""
    from teachers.base import Sampling
    from teachers.openai import OpenAITeacher

    limit = asyncio.Semaphore(in_flight)
    teacher = OpenAITeacher(model="bench", base_url=base_url, key=KEY)
    sampling = Sampling(max_tokens=64)

    async def ask(number: int) -> bool:
        async with limit:
            return (await teacher.ask(cast(Any, _chat(number)), sampling)).text == TEXT

    yield ask
    await teacher.aclose()


@asynccontextmanager
async def _path_on_raw_wire(base_url: str, in_flight: int, folder: Path) -> AsyncGenerator[Ask]:
    """Everything that a run has, over aiohttp itself: how far the path could go without the openai package."""
    import aiohttp

    from teachers.connection import Connection

    headers = {"Authorization": f"Bearer {os.environ[KEY]}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def straight(self: Connection, verb: str, path: str, body: bytes = b"") -> bytes:
            await self.limiter.enter()
            try:
                async with asyncio.timeout(600), session.request(verb, f"{base_url}{path}", data=body) as response:
                    told = await response.read()
                    self.limiter.answered(response.headers)
                    return told
            finally:
                self.limiter.leave()

        Connection.bytes = straight
        async with _path(base_url, in_flight, folder) as ask:
            yield ask


@asynccontextmanager
async def _path(base_url: str, in_flight: int, folder: Path) -> AsyncGenerator[Ask]:
    """Everything that a run has."""
    from teachers.base import Sampling
    from teachers.budget import Budget, Caps
    from teachers.calls import Caller
    from teachers.ledger import Ledger
    from teachers.openai import OpenAITeacher
    from teachers.prices import Prices
    from teachers.prompts.base import Prompt

    prompt = Prompt(
        name="bench",
        system="Answer in one word.",
        user="{{ question }}",
        parse=str.strip,
        sampling=Sampling(max_tokens=64),
    )
    prices = Prices(prompt=0.15, completion=0.6, as_of="2026-11-01")
    teacher = OpenAITeacher(model="bench", base_url=base_url, key=KEY, prices=prices, label="bench")
    caps = Caps(usd=1000.0, tokens=1_000_000_000, requests=10_000_000, hours=100.0)
    async with AsyncExitStack() as held:
        ledger = held.enter_context(Ledger.open(folder / "calls.sqlite", cache=folder / "shared.sqlite"))
        caller = Caller(teacher, ledger, in_flight=in_flight, budget=Budget(caps, prices=prices))

        async def ask(number: int) -> bool:
            (answer,) = await caller.ask(prompt, {"question": f"What is {number} + 2?"})
            return answer.value == TEXT

        yield ask
        await teacher.aclose()


def _chat(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": f"What is {number} + 2?"},
    ]


async def timed(ask: Ask, numbers: range) -> dict[str, Any]:
    """Ask once to warm up, then for all numbers, as a method does; return rate and processor time of this process."""
    from loops.methods.base import together

    await ask(-1 - numbers.start)
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    good = sum(await together(ask(number) for number in numbers))
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "requests_per_second": round(len(numbers) / wall, 1),
        "wall_seconds": round(wall, 3),
        "cpu_milliseconds_per_request": round(1000 * spent / len(numbers), 3),
        "good_share": good / len(numbers),
        "peak_mb": round(after.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
