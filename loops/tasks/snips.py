"""SNIPS, the intents of spoken commands (Coucke et al. 2018, arXiv 1805.10190; the splits of snipsco/nlu-benchmark)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lessons.answers import question_key
from lessons.errors import InputError
from lessons.graders.choice import ChoiceGrader
from lessons.ids import seed_of
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.tasks.base import Split
from loops.tasks.drawing import balanced, checked_counts, rows_of, shuffled, take, text_of, unused

__all__ = ["Snips"]

INTENTS = (
    "AddToPlaylist",
    "BookRestaurant",
    "GetWeather",
    "PlayMusic",
    "RateBook",
    "SearchCreativeWork",
    "SearchScreeningEvent",
)
ADVICE = (
    "write train.jsonl and validate.jsonl with the fields text and intent, from "
    "https://github.com/snipsco/nlu-benchmark (2017-06-custom-intent-engines)"
)


@dataclass(frozen=True, kw_only=True)
class Snips:
    """Name the intent of a command, one of seven. The intents are choices and skills alike.

    The exam comes from validate.jsonl; everything else comes from train.jsonl, without the commands that stand in
    validate.jsonl too (11 rows).
    """

    folder: str = "data/snips"
    """Folder that holds train.jsonl and validate.jsonl; a relative one is taken from the current directory."""
    warm_up: int = 70
    """Commands, in turn from each intent, that are taught before round 1; 70 is 10 of each."""
    train: int = 350
    """Commands that the student is examined on."""
    balanced: bool = True
    """Draw the train commands in turn from each intent, instead of as often as the data has them."""
    pool: int = 0
    """Commands that lessons may be taken from; 0 for all that are left."""
    gate: int = 0
    """Commands that decide whether a round's student is kept; 0 leaves it to the held-out ones."""
    final: int = 0
    """Commands, from train.jsonl, that are examined once, when the run is over, so that nothing was chosen on them; 0:
    no final exam."""
    held_out: int = 700
    """Commands of the exam, 1 to 700: of validate.jsonl's 700 rows 695 differ, and each is asked once."""

    def __post_init__(self) -> None:
        checked_counts(
            train=self.train, held_out=self.held_out, warm_up=self.warm_up, pool=self.pool, gate=self.gate,
            final=self.final,
        )  # fmt: skip

    @property
    def grader(self) -> ChoiceGrader:
        """Finds the one intent that is named; letters are not used."""
        return ChoiceGrader(letters=False)

    @property
    def instruction(self) -> str:
        """The system message."""
        return f"Which intent does this command have? One of: {', '.join(INTENTS)}. Reply with its name only."

    def split(self, seed: int) -> Split:
        """Return the commands, drawn at random.

        Raises:
            InputError: the data is not there or not as it should be, or there are not so many commands.
        """
        test, train = Path(self.folder) / "validate.jsonl", Path(self.folder) / "train.jsonl"
        rows = list(_problems(test))
        if self.held_out > len(rows):
            raise InputError(f"{test}: held_out asks for {self.held_out:,} commands, but there are {len(rows):,}")
        held_out = tuple(unused(shuffled(rows, Random(seed_of("snips", "held_out", seed))), set()))[: self.held_out]
        used = {question_key(problem.question) for problem in rows}
        rest = list(unused(shuffled(_problems(train), Random(seed_of("snips", "train", seed))), used))
        warm_up = take(iter(balanced(rest, _intent)), self.warm_up, part="warm_up", source=train)
        rest = _without(rest, warm_up)
        order = balanced(rest, _intent) if self.balanced else rest
        taught = take(iter(order), self.train, part="train", source=train)
        left = iter(_without(rest, taught))
        gate = take(left, self.gate, part="gate", source=train)
        final = take(left, self.final, part="final", source=train)
        pool = take(left, self.pool, part="pool", source=train) if self.pool else tuple(left)
        return Split(train=taught, held_out=held_out, pool=pool, warm_up=warm_up, gate=gate, final=final)

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the seven intents."""
        return SkillCatalog.of_names(INTENTS)

    def reference(self, problem: Problem) -> str:
        """Return the name of the intent."""
        return str(problem.answer)


def _intent(problem: Problem) -> str:
    return problem.skills[0]


def _without(problems: Sequence[Problem], taken: Sequence[Problem]) -> list[Problem]:
    gone = {problem.id for problem in taken}
    return [problem for problem in problems if problem.id not in gone]


def _problems(path: Path) -> Iterator[Problem]:
    for line, row in rows_of(path, advice=ADVICE):
        intent = text_of(row, "intent", path, line)
        if intent not in INTENTS:
            raise InputError(f"{path}: line {line}: field 'intent' is {intent!r}, none of {', '.join(INTENTS)}")
        question = text_of(row, "text", path, line).strip()
        source = f"snips/{path.name}:{line}"
        yield Problem(question=question, answer=intent, choices=INTENTS, skills=(intent,), source=source)
