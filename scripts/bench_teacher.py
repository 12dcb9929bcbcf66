"""How fast the path of a teacher call is: many short requests to a server in a process of its own.

Four measurements in one run, so that they can be compared: raw aiohttp (the floor of the wire), OpenAITeacher alone,
the whole path (Caller, OpenAITeacher, Ledger on disk), and the same again, answered from the ledger.

    python scripts/bench_teacher.py [--requests 2000] [--in-flight 64] [--delay 0.0] [--folder FOLDER]
"""

import argparse
import asyncio
import json
import math
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp

from teachers.calls import Caller
from teachers.ledger import Ledger, read_calls
from teachers.openai import OpenAITeacher
from teachers.prompts.base import Prompt

KEY = "BENCH_TEACHER_KEY"
PROMPT = Prompt(name="bench", system="Answer in one word.", user="{{ question }}", parse=str.strip)
TEXT = "Four."
BODY = json.dumps(
    {
        "object": "chat.completion",
        "model": "bench",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def main() -> None:
    """Measure, and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--requests", type=int, default=2000)
    options.add_argument("--in-flight", type=int, default=64)
    options.add_argument("--delay", type=float, default=0.0, help="seconds that the server takes for each reply")
    options.add_argument(
        "--folder", type=Path, default=None, help="where the ledger is written; default: a temporary one"
    )
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        asyncio.run(serve(given.delay))
        return
    command = [sys.executable, __file__, "--serve", "--delay", str(given.delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base_url, os.environ[KEY] = server.stdout.readline().strip(), "bench-teacher"
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            measured = asyncio.run(measure(base_url, given.requests, given.in_flight, Path(folder)))
        server.communicate("")  # the end of its input stops the server
    print(
        json.dumps(
            {"python": platform.python_version(), "requests": given.requests, "in_flight": given.in_flight, **measured},
            indent=2,
        )
    )


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
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, ANSWER)


async def serve(delay: float) -> None:
    """Answer until the standard input ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Endpoint(delay), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def measure(base_url: str, requests: int, in_flight: int, folder: Path) -> dict[str, Any]:
    """Return each way's figures, by name."""
    questions = [f"What is {number} + 2?" for number in range(requests)]
    figures: dict[str, Any] = {}

    limit = asyncio.Semaphore(in_flight)
    headers = {"Authorization": f"Bearer {os.environ[KEY]}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def raw(question: str) -> bool:
            chat = PROMPT.messages({"question": question})
            body = {"model": "bench", "messages": chat, "max_tokens": 1024, "temperature": 0.7}
            async with limit, session.post(f"{base_url}/chat/completions", json=body) as response:
                return (await response.json())["choices"][0]["message"]["content"] == TEXT

        figures["raw_aiohttp"] = await timed(raw, questions)

    teacher = OpenAITeacher(model="bench", base_url=base_url, key=KEY)

    async def alone(question: str) -> bool:
        async with limit:
            return (await teacher.ask(PROMPT.messages({"question": question}), PROMPT.sampling)).text == TEXT

    figures["openai_teacher"] = await timed(alone, questions)

    path = folder / "calls.sqlite"
    for name in ("whole_path", "from_ledger"):
        with Ledger.open(path) as ledger:
            caller = Caller(teacher, ledger, in_flight=in_flight)

            async def asked(question: str, caller: Caller = caller) -> bool:
                (answer,) = await caller.ask(PROMPT, {"question": question})
                return answer.value == TEXT

            figures[name] = await timed(asked, questions)
            figures[name] |= {"sent": caller.totals.sent, "from_ledger": caller.totals.from_ledger}
    figures["in_ledger"] = sum(1 for _ in read_calls(path))
    await teacher.aclose()
    return figures


async def timed(ask: Callable[[str], Awaitable[bool]], questions: Sequence[str]) -> dict[str, Any]:
    """Ask one question to warm up, then all the others at once; return rates and the processor time of this process."""
    await ask(questions[0])
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    good = await asyncio.gather(*(ask(question) for question in questions[1:]))
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "requests_per_second": round(len(good) / wall, 1),
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(spent, 3),
        "cpu_milliseconds_per_request": round(1000 * spent / max(1, len(good)), 3),
        "good_share": math.floor(1000 * sum(good) / max(1, len(good))) / 1000,
    }


if __name__ == "__main__":
    main()
