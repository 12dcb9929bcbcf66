"""What the tests of students share: the tiny student, lessons for it, a cache of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.records import Lesson, Message, Problem, Provenance
from students.base import Training
from students.hf import HFStudent
from students.tiny import tiny

WORDS = ("red", "green", "blue", "cyan", "white", "black")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TUTELAGE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def student() -> HFStudent:
    return tiny()


@pytest.fixture(scope="session")
def ask() -> Callable[[str], tuple[Message, ...]]:
    return lambda question: (Message(role="user", content=question),)


@pytest.fixture(scope="session")
def lesson(ask: Callable[[str], tuple[Message, ...]]) -> Callable[..., Lesson]:
    def make(question: str, completion: str, **more: object) -> Lesson:
        return Lesson(
            prompt=ask(question),
            completion=completion,
            problem=Problem(question=question),
            provenance=Provenance(method="test", round=1),
            **more,  # type: ignore[arg-type]
        )

    return make


@pytest.fixture(scope="session")
def lessons(lesson: Callable[..., Lesson]) -> list[Lesson]:
    return [lesson(f"say {word}", word) for word in WORDS]


@pytest.fixture(scope="session")
def training() -> Training:
    """Memorises six words in a second: all weights, a high rate."""
    return Training(epochs=60, learning_rate=1e-2, batch_size=6, micro_batch_size=6, rank=0, precision="float32")


@pytest.fixture(scope="session")
def one_step() -> Training:
    """One step over six lessons in their order, without warm-up: its loss is that of the untrained weights."""
    return Training(
        epochs=1, learning_rate=1e-3, batch_size=6, micro_batch_size=6, rank=4, warmup=0.0, order="sequential",
        precision="float32",
    )  # fmt: skip


@pytest.fixture(scope="session")
def pairs(lesson: Callable[..., Lesson]) -> list[Lesson]:
    """Each word against the same word that begins with a z."""
    return [lesson(f"say {word}", word, rejected=f"z{word[1:]}") for word in WORDS]


@pytest.fixture(scope="session")
def steady() -> Training:
    """Plain steps: one rate, no warm-up, the lessons' order."""
    return Training(
        epochs=2, learning_rate=1e-2, batch_size=6, micro_batch_size=6, rank=4, warmup=0.0, schedule="constant",
        order="sequential", precision="float32",
    )  # fmt: skip
