"""`tutelage new-method NAME`: a method to start from, a recipe that runs it, and a test that passes."""

import keyword
import re
from pathlib import Path

from lessons.errors import InputError
from lessons.jsonl import write_whole
from loops import plugins

NAME = re.compile(r"[a-z][a-z0-9_]*")

METHOD = '''"""@TITLE@: say in one line what the teacher writes."""

from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.methods.base import together
from loops.round import Round
from teachers.prompts.rationale import RATIONALE

__all__ = ["@CLASS@"]


@dataclass(frozen=True, slots=True, kw_only=True)
class @CLASS@:
    """Rationales for the failures on the widest gaps. Say here what yours does: `tutelage methods` shows this line."""

    paper: ClassVar[str] = "our own"
    teacher: ClassVar[str] = "rationales"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 call a lesson"
    skills: int = 2
    """How many skills, widest gap first. Each field is a knob of the recipe, and this is its help."""

    async def teach(self, round: Round) -> list[Lesson]:
        """Ask for a rationale of each failure that lacks one of the skills, and make each a lesson."""
        aimed = set(round.profile.worst(self.skills))
        attempts = [attempt for attempt in round.missed if aimed & set(attempt.missing)]
        told = await together(round.ask(RATIONALE, question=attempt.problem.question) for attempt in attempts)
        return [
            round.lesson(attempt.problem, said.value, attempt=attempt, skill=attempt.missing[0], calls=[said.call])
            for attempt, replies in zip(attempts, told, strict=True)
            for said in replies
        ]
'''

RECIPE = """# @TITLE@ on a made-up task. Teacher and student need neither a key nor a GPU: put your own in their place.
task: {id: skills_demo, skills: [carrying, units, change], train: 6, held_out: 4}
student: {model: tiny, answer: {max_tokens: 24}}
teacher: {kind: rule_tutor}
method: {id: "@NAME@:@CLASS@", skills: 2}
filters: [format, duplicate, verified]
diagnose: {by: needed, form: skill}
train: {epochs: 1}
gate: {rule: always}
"""

TEST = '''"""@TITLE@ runs a whole round of the loop, and every lesson leads back to a failure and a call."""

from pathlib import Path

from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson
from loops.run import Run

HERE = Path(__file__).parent


def test_every_lesson_comes_from_a_failure_that_lacked_an_aimed_skill(tmp_path: Path) -> None:
    done = Run.start(HERE / "@NAME@.yaml", tmp_path / "run").to_the_end()
    attempts = {attempt.id: attempt for attempt in read_jsonl(done[-1].folder / "attempts.jsonl", Attempt)}
    lessons = [
        lesson
        for lesson in read_jsonl(done[-1].folder / "lessons.jsonl", Lesson)
        if lesson.provenance.method == "@NAME@:@CLASS@"
    ]
    assert lessons
    for lesson in lessons:
        attempt = attempts[lesson.provenance.attempt or ""]
        assert attempt.failed
        assert lesson.provenance.skill in attempt.missing
        assert lesson.provenance.calls
    assert len({lesson.provenance.skill for lesson in lessons}) <= 2
'''


def scaffold(name: str, into: Path) -> tuple[Path, Path, Path]:
    """Write a method, its recipe and its test into a folder; return their paths.

    Raises:
        InputError: the name is no module's or is taken, or one of the files is there already: nothing is written then.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InputError(f"new-method {name!r}: a name has lower-case letters, digits and underscores: worst_first")
    if name in plugins.known("method"):
        raise InputError(f"new-method {name!r}: there is a method of this name already")
    words = name.split("_")
    marks = {"@NAME@": name, "@CLASS@": "".join(map(str.capitalize, words)), "@TITLE@": " ".join(words).capitalize()}
    files = {f"{name}.py": METHOD, f"{name}.yaml": RECIPE, f"test_{name}.py": TEST}
    taken = [into / file for file in files if (into / file).exists()]
    if taken:
        raise InputError(f"{taken[0]}: is there already; it is left as it is. Name another method, or another folder")
    try:
        into.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            for mark, word in marks.items():
                text = text.replace(mark, word)
            write_whole(into / file, text.encode(), private=False)
    except OSError as error:
        raise InputError(f"{into}: cannot be written ({error.strerror})") from error
    module, recipe, test = (into / file for file in files)
    return module, recipe, test
