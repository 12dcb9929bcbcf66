"""Procedural tasks with verifiers, from reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760)."""

import difflib
import importlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, cast

from lessons.answers import TEXT_LIMIT, final_answer, first_sentence, last_line, spelled_plainly
from lessons.errors import GradeError, InputError, MissingExtraError
from lessons.graders.base import Grade
from lessons.ids import seed_of
from lessons.numbers import NO_ANSWER, read_number
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.tasks.base import Split
from loops.tasks.drawing import checked_counts, shuffled, take, unused

__all__ = ["ReasoningGym"]

_NO_ANSWER = "its verifier scores the task's own answer below 1"
_EVAL = "its verifier runs the student's text as Python code"
REFUSED = {
    **dict.fromkeys(("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"), _NO_ANSWER),
    **dict.fromkeys(("arc_agi", "rearc"), f"{_NO_ANSWER} once the problem was saved and read again"),
    **dict.fromkeys(("binary_matrix", "n_queens", "spiral_matrix", "string_insertion"), f"{_EVAL} (eval)"),
    **dict.fromkeys(
        ("countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"),
        f"{_EVAL} (sympy's parse_expr is an eval)",
    ),
    "game_of_life_halting": "its verifier scores any text 1",
    "prime_factorization": "its verifier raises on an answer that is a word",
    "complex_arithmetic": "its verifier scores 'nan' 1",
    "composite": "name the tasks themselves, joined by '+'",
}
"""Tasks that are not offered, with the reason; measured with reasoning-gym 0.1.25."""

_TRIES = 20
"""Entries generated for each problem that is wanted, before a task counts as used up."""

_ANSWER = re.compile(r"\banswer:[ \t]*\n?", re.IGNORECASE)
_HUGE_POWER = re.compile(r"[eE][-+]?[\d_]{5}")

_STEP = 2**30
"""Distance between the seeds of two parts: entry i of a data set is drawn with seed + i, below 2**32."""


@dataclass(frozen=True, kw_only=True)
class ReasoningGym:
    """One or several of reasoning-gym's tasks, each a skill. Written `reasoning_gym:NAME` or `reasoning_gym:A+B`."""

    name: str
    """Name of a task, or several joined by "+", each with an equal share of the problems."""
    train: int = 300
    """Problems that the student is examined on."""
    held_out: int = 300
    """Problems of the exam that is reported."""
    gate: int = 0
    """Problems that decide whether a round's student is kept; 0 leaves it to the held-out ones."""
    final: int = 0
    """Problems that are examined once, when the run is over, so that nothing was chosen on them; 0: no final exam."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Task name -> its own settings in reasoning-gym, such as {chain_sum: {max_terms: 3}}."""

    def __post_init__(self) -> None:
        checked_counts(train=self.train, held_out=self.held_out, gate=self.gate, final=self.final)
        if stray := sorted(set(self.settings) - set(self.names)):
            raise ValueError(f"settings name {stray[0]!r}, which is not among the tasks {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks' names."""
        return tuple(dict.fromkeys(part.strip() for part in self.name.split("+") if part.strip()))

    @property
    def grader(self) -> "ReasoningGymGrader":
        """Asks the verifier of the problem's own task."""
        return ReasoningGymGrader(settings=json.dumps(self.settings, sort_keys=True))

    @property
    def instruction(self) -> str:
        """The system message."""
        return 'Solve the problem. Think step by step, and end with a line "Answer: X", where X is the answer alone.'

    def split(self, seed: int) -> Split:
        """Return generated problems; the parts are drawn with seeds that are far apart, and share no question.

        Raises:
            InputError: an unknown or refused task, wrong settings, or a task that has not so many different problems.
            MissingExtraError: reasoning-gym is not installed.
        """
        if not self.names:
            raise InputError("task.name: name a task of reasoning-gym, such as reasoning_gym:chain_sum")
        for name in self.names:
            _check_known(name)
        used: set[str] = set()
        # The exam first: where a task is nearly used up, the train part goes short, and says so.
        held_out = self._part("held_out", self.held_out, seed, used)
        gate = self._part("gate", self.gate, seed, used)
        final = self._part("final", self.final, seed, used)
        return Split(train=self._part("train", self.train, seed, used), held_out=held_out, gate=gate, final=final)

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the tasks' names: each is a skill."""
        return SkillCatalog.of_names(self.names)

    def reference(self, problem: Problem) -> str:
        """Return the answer line."""
        answer = str(problem.answer)
        return f"Answer:\n{answer}" if "\n" in answer else f"Answer: {answer}"

    def _part(self, part: str, count: int, seed: int, used: set[str]) -> tuple[Problem, ...]:
        shares = [count // len(self.names) + (at < count % len(self.names)) for at in range(len(self.names))]
        problems: list[Problem] = []
        for name, share in zip(self.names, shares, strict=True):
            if share:
                entries = _problems(name, self.settings.get(name, {}), share, seed_of(name, seed), part)
                problems += take(unused(entries, used, key=_question), share, part=part, source=f"reasoning_gym:{name}")
        return tuple(shuffled(problems, Random(seed_of("reasoning_gym", part, seed))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningGymGrader:
    """Reads the final answer and has it scored by the verifier of the problem's task, in [0, 1]."""

    settings: str = "{}"
    """JSON of task name -> its settings; some verifiers depend on them."""

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: what the verifier says, which may be between 0 and 1.

        Raises:
            GradeError: the problem is not one of reasoning-gym's, or the verifier failed.
        """
        name, entry = problem.data.get("task"), problem.data.get("entry")
        if not isinstance(name, str) or name in REFUSED or not isinstance(entry, dict):
            raise GradeError(f"problem {problem.id} holds no entry of reasoning-gym that can be scored")
        readings = _readings(text, lines=str(problem.answer).count("\n"))
        if not readings:
            return Grade(0.0, None, NO_ANSWER)
        verifier = _data_set(name, json.dumps(json.loads(self.settings).get(name, {}), sort_keys=True))
        scores = [(_score(verifier, reading, cast(dict[str, Any], entry), name), reading) for reading in readings]
        return Grade(*max(scores, key=lambda scored: scored[0]))

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none."""
        return next(iter(_readings(text, lines=0)), None)

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same number or spelled alike.

        Raises:
            GradeError: one of them is empty.
        """
        plain = spelled_plainly(one), spelled_plainly(other)
        if not all(plain):
            raise GradeError("an empty answer cannot be compared")
        numbers = read_number(one).value, read_number(other).value
        return plain[0] == plain[1] or (numbers[0] is not None and numbers[0] == numbers[1])


def _readings(text: str, *, lines: int) -> list[str]:
    """Return the ways to read the final answer: as it stands, and without what dresses it.

    lines: newlines of the reference answer; where it has some, everything behind the last "Answer:" is the answer.
    """
    raw = _ANSWER.split(text[-TEXT_LIMIT:])[1:]
    if lines:
        return [part for part in raw[-1:] if part.strip()] or [text[-TEXT_LIMIT:].strip("\n")] * bool(text.strip())
    answer = final_answer(text) or last_line(text)
    if answer is None:
        return []
    bare = answer.strip(" \t\n.\"'*_")
    whole = raw[-1].strip().partition("\n")[0].strip() if raw else ""
    return [reading for reading in dict.fromkeys((whole, answer, bare, first_sentence(bare))) if reading.strip()]


def _score(verifier: Any, answer: str, entry: dict[str, Any], name: str) -> float:
    if answer != entry.get("answer") and _HUGE_POWER.search(answer):
        return 0.0  # some verifiers (coin_flip) would compute 1e999999999 digit by digit, and cannot be stopped
    try:
        score = float(verifier.score_answer(answer, entry))
    except Exception as error:
        raise GradeError(f"the verifier of {name} failed on {answer[:60]!r}: {type(error).__name__}") from error
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise GradeError(f"the verifier of {name} scored {answer[:60]!r} {score}, which is not in [0, 1]")
    return score


def _problems(name: str, settings: Mapping[str, Any], count: int, seed: int, part: str) -> Iterator[Problem]:
    first = seed % (_STEP // 2) + _STEP * ("held_out", "gate", "train", "final").index(part)
    tries = _TRIES * count + 100
    known = json.dumps(settings, sort_keys=True)
    data = _data_set(name, known, size=tries, seed=first)
    verifier = _data_set(name, known)
    for at in range(tries):
        # Saved and read again, as the run folder does: what a verifier then still accepts can be graded later.
        entry = json.loads(json.dumps(data[at], default=str))
        answer = entry.get("answer")
        if not isinstance(answer, str) or verifier.score_answer(answer, entry) != 1:
            raise InputError(f"reasoning_gym:{name} is refused: {_NO_ANSWER}")
        yield Problem(
            question=str(entry["question"]),
            answer=answer,
            skills=(name,),
            source=f"reasoning_gym/{name}:{first + at}",
            data={"task": name, "entry": entry},
        )


def _question(problem: Problem) -> str:
    return problem.question  # in a grid or a row of signs every character counts


def _check_known(name: str) -> None:
    if name in REFUSED:
        raise InputError(f"reasoning_gym:{name} is refused: {REFUSED[name]}")
    known = sorted(set(_package().factory.DATASETS) - set(REFUSED))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"reasoning-gym has no task {name!r}; {hint}")


@cache
def _data_set(name: str, settings: str, size: int = 1, seed: int = 0) -> Any:
    try:
        return _package().create_dataset(name, size=size, seed=seed, **json.loads(settings))
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"task.settings of {name}: {error}") from error


def _package() -> Any:
    try:
        return importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise MissingExtraError("reasoning-gym", extra="tasks", needed_for="the task reasoning_gym") from error
