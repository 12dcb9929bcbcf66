"""Selectors by what the student finds probable: ifd, learning_percentage, lobass, and the pilot that two train."""

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest

from lessons.errors import InputError, RoundError
from lessons.records import Lesson
from loops import plugins
from loops.selectors.base import Choice
from loops.selectors.ifd import ByDifficulty
from loops.selectors.learning_percentage import LearningPercentage, learning_percentage
from loops.selectors.lobass import LoBaSS
from loops.selectors.pilot import pilot
from loops.store import read_yaml
from students.base import Training
from tests.loops.selecting import Told, bank, by_table, lesson, profile, scores_of


def choice(**more: Any) -> Choice:
    return Choice(**{"profile": profile({"a": (10, 5)}), "rng": Random(0), **more})


def told(lessons: Sequence[Lesson]) -> list[str]:
    return [one.completion for one in lessons]


# --- ifd --------------------------------------------------------------------------------------------------------------

ALONE = {"helped much": 4.0, "helped": 3.0, "hardly helped": 2.0, "not helped": 2.0, "hindered": 1.0}
AFTER = {"helped much": 1.0, "helped": 2.0, "hardly helped": 1.9, "not helped": 2.0, "hindered": 1.5}
"""IFD = exp(after - alone): e^-3, e^-1, e^-0.1, 1, e^0.5."""


def by_difficulty(guesses: dict[str, float] | None = None) -> Told:
    def loss(prompt: Sequence[Any], text: str) -> float:
        if text in ALONE:
            return AFTER[text] if prompt else ALONE[text]
        if not prompt:
            return 1.0  # a question alone
        (turn,) = prompt
        return (guesses or {}).get(turn["content"].partition("\n")[0], 0.5)

    return Told(loss)


CANDIDATES = [lesson(f"q of {text}", text) for text in ALONE]


def test_ifd_takes_the_top_fraction_of_those_below_one() -> None:
    where = choice(scores=scores_of(now=by_difficulty()))
    assert told(ByDifficulty(fraction=0.4).select(CANDIDATES, 99, where)) == ["hardly helped", "helped"]
    assert told(ByDifficulty(fraction=1.0).select(CANDIDATES, 99, where)) == ["hardly helped", "helped", "helped much"]
    assert told(ByDifficulty(fraction=1.0).select(CANDIDATES, 1, where)) == ["hardly helped"]
    assert told(ByDifficulty(fraction=0.01).select(CANDIDATES, 99, where)) == ["hardly helped"]  # one at least
    loose = ByDifficulty(fraction=0.2, below=math.inf)
    assert told(loose.select(CANDIDATES, 99, where)) == ["hindered"]


def test_ifd_may_ask_that_the_answer_tells_the_question_too() -> None:
    # The question is no likelier after "hardly helped" (1.0 as alone): its r-IFD is 1.
    where = choice(scores=scores_of(now=by_difficulty({"hardly helped": 1.0, "helped": 0.9})))
    chosen = ByDifficulty(fraction=1.0, reverse_below=1.0).select(CANDIDATES, 99, where)
    assert told(chosen) == ["helped", "helped much"]


def test_ifd_may_be_scored_by_another_student() -> None:
    where = choice(scores=scores_of(now=Told(lambda prompt, text: 9.0, name="other"), base=by_difficulty()))
    assert told(ByDifficulty(fraction=0.2, scorer="base").select(CANDIDATES, 9, where)) == ["hardly helped"]


def test_ifd_says_when_nothing_is_within_its_bounds() -> None:
    where = choice(scores=scores_of(now=by_difficulty()))
    with pytest.raises(RoundError, match="ifd found none of 5 candidates within its bounds"):
        ByDifficulty(below=0.01).select(CANDIDATES, 9, where)
    with pytest.raises(InputError, match="select: ifd goes by how probable the student finds texts"):
        ByDifficulty().select(CANDIDATES, 9, choice())
    with pytest.raises(ValueError, match="fraction must be in"):
        ByDifficulty(fraction=0)


# --- the pilot --------------------------------------------------------------------------------------------------------


def piloting(folder: Path, student: Told, **more: Any) -> Choice:
    known = {"now": student, "base": student, **more.pop("students", {})}
    given = {"training": Training(epochs=2.0), "folder": folder, "seed": 3, **more}
    return choice(scores=scores_of(**known), student=known["now"], **given)


def test_the_pilot_is_trained_once_and_found_again(tmp_path: Path) -> None:
    student = Told(by_table({}))
    where = piloting(tmp_path, student)
    candidates = bank(a=5)
    first = pilot(candidates, where)
    assert [len(lessons) for lessons in student.learned] == [5]
    (folder,) = tmp_path.iterdir()
    assert read_yaml(folder / "pilot.json") == {"adapter": "adapter-1", "digest": first.digest}
    # A stage that begins again, with the candidates in another order: nothing is trained.
    again = pilot(candidates[::-1], piloting(tmp_path, student))
    assert again.digest == first.digest
    assert len(student.learned) == 1
    # Other candidates, another seed, other epochs: another pilot.
    pilot(candidates[1:], where)
    pilot(candidates, piloting(tmp_path, student, seed=4))
    pilot(candidates, where, epochs=1.0)
    assert len(student.learned) == 4
    assert [training.epochs for training in student.trainings] == [2.0, 2.0, 2.0, 1.0]


def test_a_pilot_that_was_cut_off_or_damaged_is_trained_again(tmp_path: Path) -> None:
    student = Told(by_table({}))
    pilot(bank(a=5), piloting(tmp_path, student))
    (folder,) = tmp_path.iterdir()
    (folder / "pilot.json").unlink()  # the note is written last
    for path in (folder / "adapter-1").iterdir():
        path.unlink()
    (folder / "adapter-1").rmdir()
    pilot(bank(a=5), piloting(tmp_path, student))
    assert len(student.learned) == 2


def test_the_pilot_starts_where_training_starts(tmp_path: Path) -> None:
    base, now = Told(by_table({}), name="base"), Told(by_table({}), name="now")
    pilot(bank(a=2), piloting(tmp_path, now, students={"base": base}))
    assert (len(base.learned), len(now.learned)) == (1, 0)
    last = Training(start="last")
    pilot(bank(a=2), piloting(tmp_path, now, students={"base": base}, training=last))
    assert (len(base.learned), len(now.learned)) == (1, 1)


def test_a_pilot_learns_plainly_and_no_bad_example(tmp_path: Path) -> None:
    student = Told(by_table({}))
    bad = msgspec.structs.replace(lesson("bad"), desirable=False)
    training = msgspec.structs.replace(Training(), objective=plugins.build("objective", "dpo", where="x"))
    pilot([*bank(a=2), bad], piloting(tmp_path, student, training=training))
    assert bad not in student.learned[0]
    assert student.trainings[0].objective == Training().objective


def test_a_pilot_needs_a_student_and_a_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a pilot is trained on the candidates, and there is no student here"):
        pilot(bank(a=2), choice())
    with pytest.raises(InputError, match="there is no folder here"):
        pilot(bank(a=2), piloting(cast(Path, None), Told(by_table({}))))


# --- lobass -----------------------------------------------------------------------------------------------------------

BEFORE = {"half": 4.0, "much of little": 1.0, "worse": 1.0, "unchanged": 2.0, "quarter": 4.0, "known": 0.0}
REFERENCE = {"half": 2.0, "much of little": 0.1, "worse": 1.5, "unchanged": 2.0, "quarter": 3.0, "known": 0.0}


def test_lobass_takes_what_was_learned_and_drops_what_was_not(tmp_path: Path) -> None:
    # (4 - 2) / 4 = 0.5; 0.9; -0.5; 0; 0.25; and what was known is not learned.
    candidates = [lesson(f"q of {text}", text) for text in BEFORE]
    student = Told(by_table(BEFORE), after=by_table(REFERENCE))
    where = piloting(tmp_path, student)
    assert told(LoBaSS(fraction=1.0).select(candidates, 99, where)) == ["much of little", "half", "quarter"]
    assert told(LoBaSS(fraction=0.3).select(candidates, 99, where)) == ["much of little", "half"]  # ceil(0.3 * 6)
    assert told(LoBaSS(fraction=1.0, above=0.3).select(candidates, 9, where)) == ["much of little", "half"]
    plain = LoBaSS(fraction=1.0, normalised=False).select(candidates, 99, where)
    assert told(plain) == ["half", "quarter", "much of little"]  # falls of 2, 1 and 0.9
    assert len(student.learned) == 1


def test_lobass_by_the_formula() -> None:
    assert LoBaSS().learnability(2.0, 0.5) == 0.75
    assert LoBaSS(normalised=False).learnability(2.0, 0.5) == 1.5
    assert LoBaSS().learnability(0.0, 0.5) == 0.0


def test_lobass_says_when_nothing_was_learned(tmp_path: Path) -> None:
    student = Told(by_table({}), after=by_table({}))
    with pytest.raises(RoundError, match="lobass: the pilot got better at none of 3 candidates"):
        LoBaSS().select(bank(a=3), 9, piloting(tmp_path, student))


# --- learning percentage ----------------------------------------------------------------------------------------------


def test_learning_percentage_by_hand() -> None:
    assert learning_percentage(10.0, 4.0, 2.0) == 0.75
    assert learning_percentage(10.0, 12.0, 2.0) == -0.25  # it got worse before it got better
    assert math.isnan(learning_percentage(10.0, 4.0, 10.0))
    assert math.isnan(learning_percentage(math.inf, 4.0, 2.0))
    assert learning_percentage(10.0, 4.0) == 0.6


def perplexities(**of: float) -> Told:
    return Told(by_table({name: math.log(value) for name, value in of.items()}), name=str(sorted(of.items())))


def test_lessons_that_are_learned_late_come_first() -> None:
    scores = scores_of(
        base=perplexities(early=10, late=10, never=10),
        last=perplexities(early=3, late=9, never=10),
        now=perplexities(early=2, late=2, never=11),
    )  # LP = 7/8, 1/8, none
    candidates = [lesson(f"q {text}", text) for text in ("early", "late", "never")]
    where = choice(scores=scores)
    assert told(LearningPercentage(fraction=1.0).select(candidates, 9, where)) == ["late", "early", "never"]
    assert told(LearningPercentage().select(candidates, 9, where)) == ["late"]


def test_before_the_student_has_learned_twice_lessons_are_drawn(tmp_path: Path) -> None:
    same = Told(by_table({}))
    where = choice(scores=scores_of(base=same, last=same, now=same))
    chosen = LearningPercentage(fraction=0.5).select(bank(a=10), 99, where)
    assert len(chosen) == 5
    assert {one.share for one in chosen} == {0.5}
    assert same.asked == []


def test_a_pilots_epochs_may_be_the_checkpoints(tmp_path: Path) -> None:
    # Told's loss halves in an epoch: 4 -> 2 -> 1 and 2 -> 1 -> 0.5. LP by perplexities: the first is learned earlier.
    student = Told(by_table({"big": 4.0, "small": 2.0}))
    candidates = [lesson("q big", "big"), lesson("q small", "small")]
    late = {loss: (math.exp(loss) - math.exp(loss / 2)) / (math.exp(loss) - math.exp(loss / 4)) for loss in (4.0, 2.0)}
    assert late[2.0] < late[4.0]
    where = piloting(tmp_path, student)
    assert told(LearningPercentage(of="pilot", fraction=1.0).select(candidates, 9, where)) == ["small", "big"]
    assert [training.epochs for training in student.trainings] == [1.0, 2.0]
    first = LearningPercentage(of="first_epoch", fraction=1.0).select(candidates, 9, where)
    assert told(first) == ["small", "big"]  # (e^2 - e) / e^2 = 0.63 and (e^4 - e^2) / e^4 = 0.86
    assert len(student.trainings) == 2  # the first epoch's pilot was there
    with pytest.raises(
        InputError, match="select.of: pilot compares the first epoch with the last, and train.epochs is 1;"
    ):
        LearningPercentage(of="pilot").select(candidates, 9, piloting(tmp_path, student, training=Training(epochs=1.0)))


@pytest.mark.slow
def test_a_real_pilot_learns_and_is_kept(tmp_path: Path) -> None:
    from students.tiny import tiny

    student = tiny(threads=1)
    candidates = [lesson(f"What is {n} + {n}?", f"It is {2 * n}.") for n in range(12)]
    where = piloting(tmp_path, cast(Any, student), training=Training(epochs=3.0, rank=4, max_length=256))
    chosen = LoBaSS(fraction=0.5).select(candidates, 99, where)
    assert 0 < len(chosen) <= 6
    assert chosen == LoBaSS(fraction=0.5).select(candidates, 99, piloting(tmp_path, cast(Any, tiny(threads=1)),
        training=Training(epochs=3.0, rank=4, max_length=256)))  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 1
