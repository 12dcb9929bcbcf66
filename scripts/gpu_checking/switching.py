"""Teacher and student take the card in turns, as in a run: how long each change takes, and what must hold meanwhile."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

from gpu_checking.memory import Memory
from lessons.errors import TutelageError
from lessons.records import Lesson, Message
from loops.asking import run_async
from loops.engines.vllm import VLLMEngine
from loops.placing.card import Card
from loops.placing.presence import Watch, processes
from loops.placing.tenants import asking
from students.base import Generation, Training
from students.hf import HFStudent
from students.served import ServedStudent
from teachers.base import Sampling
from teachers.vllm import VLLMTeacher

ANSWERS = 16
TOKENS = 32


class Check(NamedTuple):
    """Something that must hold."""

    name: str
    holds: bool
    detail: str


class Setting(NamedTuple):
    """What takes turns."""

    teacher: dict[str, Any]
    """Knobs of the vLLM teacher, but for how it leaves the card."""
    engine: VLLMEngine
    weights: HFStudent
    training: Training
    lessons: tuple[list[Lesson], list[Lesson]]
    """Of each round; of unlike words, so that the two students say unlike things."""
    folder: Path


def taken_in_turns(setting: Setting, memory: Memory, *, sleeps: bool) -> tuple[dict[str, Any], list[Check]]:
    """Go through two rounds: teacher, student, training, the new student; return seconds of each change, and checks.

    sleeps: whether the teacher sleeps between its turns; else it is stopped and started.
    """
    said: list[str] = []
    card = setting.engine.card(said.append, setting.folder)
    teacher = VLLMTeacher(**setting.teacher, placement="shared", sleep_mode=sleeps)
    student = setting.engine.student(setting.weights, card)
    assert isinstance(student, ServedStudent)
    way, checks = "sleep" if sleeps else "stop", list[Check]()
    try:
        with Watch() as watch:
            for index, lessons in enumerate(setting.lessons, start=1):
                card.make_room("idle")  # before the phase, so that its peak is its own
                with memory.phase(f"teacher ({way})"):
                    ask(card, teacher, index)
                card.make_room("student")
                with memory.phase("student answers"):
                    before = answers(student)
                card.make_room("training")
                with memory.phase("train a round"):
                    taught, _ = student.learn(
                        lessons, setting.folder / f"{way}-{index}", setting.training,
                        seed=index, progress=lambda *_: watch.look("training"),
                    )  # fmt: skip
                with memory.phase("student answers"):
                    after = answers(taught)
                checks.append(examined(f"{way}, round {index}", taught, before, after))
                student = taught
            teacher.close()
            card.close()
        together = watch.together
        checks.append(Check(f"{way}: never two at once", not together, f"{sum(watch.seen.values())} looks; {together}"))
    finally:
        card.close()
        teacher.close()
    left = processes()
    checks.append(Check(f"{way}: nothing is left", not left, str(dict(left))))
    checks.append(Check(f"{way}: nothing went wrong", not said, "; ".join(said)))
    return seconds(card), checks


def ask(card: Card, teacher: VLLMTeacher, index: int) -> None:
    """Have the teacher answer a few chats, through the door that a run's calls go through."""

    async def one(number: int) -> None:
        async with asking(card, teacher):
            chat = [Message(role="user", content=f"What is {number} + {index}?")]
            await teacher.ask(chat, Sampling(max_tokens=TOKENS, temperature=0.0))

    async def every() -> None:
        try:
            await asyncio.gather(*(one(number) for number in range(ANSWERS)))
        finally:
            await teacher.aclose()

    run_async(every())


def answers(student: Any) -> list[str]:
    """Return what a student says to a few chats."""
    chats = [(Message(role="user", content=f"number {number}"),) for number in range(ANSWERS)]
    return [row[0].text for row in student.answer(chats, Generation(max_tokens=TOKENS))]


def examined(name: str, taught: ServedStudent, before: list[str], after: list[str]) -> Check:
    """Check that the server answered with the adapter that was just trained: as its weights here do, more than as the
    student did before. In float32 every answer; in 16 bits near ties change places."""
    taught.desk.make_room("scoring")
    here = answers(taught.weights)
    taught.close()
    same = sum(one == other for one, other in zip(after, here, strict=True))
    stale = sum(one == other for one, other in zip(before, here, strict=True))
    exact = taught.weights.precision == "float32"
    detail = f"{same} of {ANSWERS} answers are its own, {stale} were so before it was trained"
    return Check(
        f"{name}: the examined student is the one just trained",
        (same == ANSWERS if exact else same > stale) and stale < ANSWERS,
        detail,
    )


def seconds(card: Card) -> dict[str, Any]:
    """Return the seconds that each kind of change took, each time that it was made."""
    found: dict[str, list[float]] = {}
    for move in card.moves:
        who = (
            "teacher" if move.tenant.startswith("the teacher") else "student's server" if "vLLM" in move.tenant else ""
        )
        if who:
            found.setdefault(f"{move.act} {who}", []).append(round(move.seconds, 2))
            if move.outcome != "done":
                raise TutelageError(f"{move.act} {who}: {move.outcome}")
    return found
