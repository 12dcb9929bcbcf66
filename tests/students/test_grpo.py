"""grpo: TRL's trainer, the task's grader as reward."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_lowercase

import msgspec
import pytest

from lessons.errors import GradeError, StudentError
from lessons.graders.base import Grade
from lessons.records import Lesson, Problem
from students.base import Training
from students.hf import HFStudent
from students.learning import divisor
from students.objectives.grpo import Grpo
from students.reinforcing import graded

Make = Callable[..., Lesson]


class Vowels:
    """Right: the text has an e. It reads an answer where there are letters, and cannot judge what begins with an x."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def grade(self, problem: Problem, text: str) -> Grade:
        self.seen.append(text)
        if problem.answer is None or text.startswith("x"):
            raise GradeError("cannot tell")
        letters = "".join(c for c in text if c.isascii() and c.isalpha())
        return Grade(float("e" in text), letters or None)

    def read(self, text: str) -> str | None:
        return text or None

    def same(self, one: str, other: str) -> bool:
        return one == other


class Letters(Vowels):
    """Right: the text has a small letter."""

    def grade(self, problem: Problem, text: str) -> Grade:
        found = "".join(c for c in text if c in ascii_lowercase)
        return Grade(float(bool(found)), found or None)


class Together(Vowels):
    def grade_many(self, asked: Sequence[tuple[Problem, str]]) -> list[Grade | GradeError]:
        return [Grade(1.0, "e") for _ in asked]


def changed(training: Training, **more: object) -> Training:
    return msgspec.structs.replace(training, **more)


@pytest.fixture
def questions(lesson: Make) -> list[Lesson]:
    def with_answer(word: str) -> Lesson:
        made = lesson(f"say {word}", "e")
        return msgspec.structs.replace(made, problem=msgspec.structs.replace(made.problem, answer="e"))

    return [with_answer(word) for word in ("red", "green", "blue", "cyan")]


def chance(student: HFStudent, questions: list[Lesson]) -> float:
    """The mean probability that an answer begins with a small letter, exactly."""
    rows = [(each.prompt, letter) for each in questions for letter in ascii_lowercase]
    return sum(math.exp(logs[0]) for logs in student.score(rows)) / len(questions)


def test_the_reward_is_refts():
    grpo = Grpo()
    assert grpo.reward(Grade(1.0, "4")) == 1.0
    assert grpo.reward(Grade(0.0, "5")) == 0.1
    assert grpo.reward(Grade(0.0, None)) == 0.0
    assert grpo.reward(Grade(0.6, "5")) == 0.6
    assert grpo.reward(GradeError("no reference")) is None


@pytest.mark.parametrize("rank", [0, 4])
def test_the_share_of_right_answers_rises(
    student: HFStudent, questions: list[Lesson], steady: Training, tmp_path: Path, rank: int
):
    training = changed(
        steady, objective=Grpo(rollouts=8, max_tokens=6), epochs=25, rank=rank, batch_size=4, micro_batch_size=32,
        learning_rate=3e-3,
    )  # fmt: skip
    taught, learned = student.learn(questions, tmp_path, training, grader=Letters())
    assert chance(taught, questions) > (1.1 if rank else 2) * chance(student, questions)
    assert len(learned.losses) == 25
    assert learned.notes["share of right answers"] > 0.45
    assert learned.notes["mean reward"] == pytest.approx(learned.notes["share of right answers"])
    assert learned.trained_tokens > 0


def test_it_goes_on_after_sft_as_stat_does_and_a_heavy_divergence_holds_it(
    student: HFStudent, questions: list[Lesson], steady: Training, training: Training, tmp_path: Path
):
    knows, _ = student.learn(questions, tmp_path, changed(training, rank=4, epochs=4))
    on = changed(steady, start="last", epochs=15, batch_size=4, micro_batch_size=16, learning_rate=3e-3)
    free, _ = knows.learn(questions, tmp_path, changed(on, objective=Grpo(max_tokens=6)), grader=Letters())
    held, _ = knows.learn(questions, tmp_path, changed(on, objective=Grpo(max_tokens=6, kl=50.0)), grader=Letters())
    assert chance(free, questions) > 1.03 * chance(knows, questions)

    def moved(after: HFStudent) -> float:
        rows = [(each.prompt, each.completion) for each in questions]
        pairs = zip(after.score(rows), knows.score(rows), strict=True)
        return sum(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))

    assert moved(held) < moved(free)


def test_one_seed_gives_one_adapter_and_the_answers_do_not_depend_on_the_split(
    student: HFStudent, questions: list[Lesson], steady: Training, tmp_path: Path
):
    training = changed(steady, objective=Grpo(max_tokens=6), order="shuffled", batch_size=2, micro_batch_size=8)
    graders = [Vowels() for _ in range(4)]
    names: list[str] = []
    for n, (seed, micro) in enumerate(((1, 8), (1, 8), (2, 8), (1, 2))):
        how = changed(training, micro_batch_size=micro)
        names.append(student.learn(questions, tmp_path / str(n), how, seed=seed, grader=graders[n])[1].adapter)
    assert names[0] == names[1] != names[2]
    assert graders[0].seen == graders[1].seen != graders[2].seen
    first = 4 * 2 + 1  # the check before the first step, and the answers of the first step
    assert graders[3].seen[:first] == graders[0].seen[:first]


def test_fewer_lessons_than_a_step_takes_are_trained_on_all_the_same(
    student: HFStudent, questions: list[Lesson], steady: Training, tmp_path: Path
):
    """TRL's own sampler leaves an unfinished step out: it would train on nothing, and say nothing."""
    training = changed(steady, objective=Grpo(max_tokens=4), epochs=2, batch_size=8, micro_batch_size=8)
    grader = Vowels()
    _, learned = student.learn(questions[:3], tmp_path, training, grader=grader)
    assert learned.steps == 2
    assert len(grader.seen) == 1 + 2 * 8 * 4


def test_lessons_of_one_problem_are_one(student: HFStudent, questions: list[Lesson], steady: Training, tmp_path: Path):
    twice = [*questions, *[msgspec.structs.replace(each, completion="ee") for each in questions]]
    training = changed(steady, objective=Grpo(max_tokens=4), epochs=1, batch_size=4)
    grader = Vowels()
    _, learned = student.learn(twice, tmp_path, training, grader=grader)
    assert len(grader.seen) == 1 + 4 * 4
    assert learned.steps == 1


def test_what_cannot_be_judged_counts_for_nothing(
    student: HFStudent, questions: list[Lesson], steady: Training, tmp_path: Path
):
    class Blind(Vowels):
        def grade(self, problem: Problem, text: str) -> Grade:
            if self.seen:
                raise GradeError("cannot tell")
            return super().grade(problem, text)

    training = changed(steady, objective=Grpo(max_tokens=4), epochs=2, batch_size=4)
    taught, learned = student.learn(questions, tmp_path, training, grader=Blind())
    assert learned.notes["answers that could not be judged"] == 2 * 4 * 4
    rows = [(each.prompt, each.completion) for each in questions]
    for one, other in zip(taught.score(rows), student.score(rows), strict=True):
        assert one == pytest.approx(other, abs=1e-6)  # no advantage, no step


def test_refusals(student: HFStudent, questions: list[Lesson], lesson: Make, steady: Training, tmp_path: Path):
    training = changed(steady, objective=Grpo(max_tokens=4))
    with pytest.raises(StudentError, match="there is none that grades by rule"):
        student.learn(questions, tmp_path, training)
    with pytest.raises(StudentError, match="can judge none of the lessons' problems: cannot tell"):
        student.learn([lesson("q", "a")], tmp_path, training, grader=Vowels())
    with pytest.raises(StudentError, match="are more than the student's 1024 positions"):
        student.learn(questions, tmp_path, changed(training, objective=Grpo(max_tokens=1021)), grader=Vowels())
    with pytest.raises(StudentError, match="there are no lessons"):
        student.learn([], tmp_path, training, grader=Vowels())
    with pytest.raises(ValueError, match="rollouts must be at least 2"):
        Grpo(rollouts=1)


def test_a_grader_that_grades_many_is_asked_at_once_and_answers_divide_a_step():
    problem = Problem(question="q", answer="e")
    assert graded(Together(), [(problem, "z")]) == [Grade(1.0, "e")]
    told = graded(Vowels(), [(problem, "e"), (problem, "x")])
    assert isinstance(told[1], GradeError)
    assert [divisor(12, asked) for asked in (1, 5, 8, 100)] == [1, 4, 6, 12]
