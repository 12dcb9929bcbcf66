from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.connection import Connection
from teachers.ledger import Ledger
from teachers.limits import Limiter
from teachers.loopback import LoopbackServer
from teachers.openai import OpenAITeacher
from teachers.prompts.base import Prompt
from teachers.retry import RetryPolicy


def a_number(text: str) -> int:
    if not text.strip().isdigit():
        raise ParseError(f"{text!r} is no number")
    return int(text)


@dataclass(frozen=True, kw_only=True, eq=False)
class Patient(OpenAITeacher):
    """An OpenAITeacher whose waits are noted, not slept."""

    waits: list[float] = field(default_factory=list)

    features: tuple[str, ...] = ()

    @cached_property
    def _connection(self) -> Connection:
        now = 0.0

        async def pass_time(seconds: float) -> None:
            nonlocal now
            now += seconds

        link = OpenAITeacher._connection.func(self)
        link.limiter = Limiter(clock=lambda: now, sleep=pass_time)
        return link

    @property
    def policy(self) -> RetryPolicy:
        async def note(seconds: float) -> None:
            self.waits.append(seconds)

        return RetryPolicy(attempts=self.attempts, sleep=note, uniform=lambda low, high: low)


@pytest.fixture
def number_prompt() -> Prompt[int]:
    """Asks `{{ question }}` and reads a whole number."""
    return Prompt(
        name="number",
        system="Answer with a whole number.",
        user="{{ question }}",
        parse=a_number,
        sampling=Sampling(max_tokens=32),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        yield ledger


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Patient]:
    """Makes a client of a loopback server; its waits are noted in `.waits`."""

    def make(server: LoopbackServer, **knobs: Any) -> Patient:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        return Patient(**{"model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY", **knobs})

    return make
