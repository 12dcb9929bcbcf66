"""What tests of selectors and orders share: lessons, profiles, and a student whose losses the test decides."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lessons.ids import content_id
from lessons.records import Attempt, Lesson, Message, Problem, Provenance
from lessons.skills import SkillProfile, SkillRow
from loops.scores import Scores
from students.base import Learned, Student, Training

Loss = Callable[[Sequence[Message], str], float]


def lesson(
    question: str, completion: str = "x", *, skill: str | None = "a", seed: str | None = None, index: int = 1
) -> Lesson:
    problem = Problem(question=question, answer="1", skills=(skill,) if skill else ())
    return Lesson(
        prompt=({"role": "user", "content": question},),
        completion=completion,
        problem=problem,
        provenance=Provenance(method="m", round=index, skill=skill, seed=seed),
    )


def bank(**counts: int) -> list[Lesson]:
    return [lesson(f"{skill} {number}", skill=skill) for skill, count in counts.items() for number in range(count)]


def profile(of: Mapping[str, tuple[int, int]]) -> SkillProfile:
    """Skill -> (attempts, missing)."""
    return SkillProfile(rows={s: SkillRow(attempts=n, right=n - m, failures=m, missing=m) for s, (n, m) in of.items()})


def attempt(question: str, score: float | None, *, skill: str = "a", sample: int = 0) -> Attempt:
    problem = Problem(question=question, answer="1", skills=(skill,))
    return Attempt(problem=problem, student="s", text=f"I say {sample}", sample=sample, score=score)


@dataclass
class Told:
    """A student that finds each token as improbable as `loss` says. Learning writes what it was given."""

    loss: Loss
    name: str = "told"
    tokens: int = 4
    after: Loss | None = None
    """The loss of what it becomes by learning; None: half of its own."""
    asked: list[int] = field(default_factory=list)
    """Rows of each call."""
    learned: list[Sequence[Lesson]] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    closed: int = 0

    @property
    def digest(self) -> str:
        return content_id("told", name=self.name)

    def score(self, rows: Sequence[tuple[Sequence[Message], str]], *, progress: Any = None) -> list[list[float]]:
        self.asked.append(len(rows))
        return [[-self.loss(prompt, text)] * self.tokens for prompt, text in rows]

    def learn(
        self, lessons: Sequence[Lesson], into: Path, training: Training, *, seed: int = 0, **more: Any
    ) -> tuple[Student, Learned]:
        self.learned.append(lessons)
        self.trainings.append(training)
        folder = into / "adapter-1"
        folder.mkdir()
        (folder / "note.json").write_text(json.dumps({"epochs": training.epochs}))
        learned = Learned(
            lessons=len(lessons), steps=1, trained_tokens=1, loss_first=1, loss_last=1, seconds=0, adapter=folder.name
        )
        return self.with_adapter(folder), learned

    def with_adapter(self, folder: Path) -> Student:
        epochs = json.loads((folder / "note.json").read_text())["epochs"]
        after = self.after or (lambda prompt, text: self.loss(prompt, text) * 0.5**epochs)
        return cast(Student, Told(after, name=f"{self.name} after {epochs}"))

    def close(self) -> None:
        self.closed += 1


def scores_of(path: Path | None = None, **students: Told) -> Scores:
    return Scores(path, {name: lambda s=student: cast(Student, s) for name, student in students.items()})


def by_table(losses: Mapping[str, float], usual: float = 1.0) -> Loss:
    """A loss that looks at the completion alone."""
    return lambda prompt, text: losses.get(text, usual)


def nats(probability: float) -> float:
    return -math.log(probability)
