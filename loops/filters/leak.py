"""Drop what gives away what only the teaching side saw: the solution in the prompt, "as the hint says" in a reply."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson, Message
from loops.filters.base import Context, Drop, normal
from loops.likeness.leaks import shared_run, telling_phrase, told_answer, without

__all__ = ["Leak"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Keeps candidates whose prompt shows nothing but the problem, and whose completion does not speak of more.

    LEAP (arXiv 2410.05434) has its teacher never reveal privileged facts; this looks whether it did. A critique's
    prompt holds the student's attempt, which may be as the reference is: there only privileged text and phrases count.
    """

    paper: ClassVar[str] = "our own: checks LEAP's rule (arXiv:2410.05434)"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    run: int = 8
    """Words in a row that the prompt must not share with the reference solution or the privileged chat, unless the
    question has them; 4 to 7 words count as a whole. 8 is the least of GPT-3's check (arXiv 2005.14165, appendix C)."""
    answer: bool = True
    """Drop where the prompt tells the reference answer: "the answer is 12". A number that merely occurs tells nothing.
    Problems with choices are left out, since their prompts show all of them."""
    completion: bool = False
    """Drop also where the completion has a run of the privileged chat that the prompt has not. For hints that must stay
    untold, as in LEAP; not where the completion is to carry the privileged text over (prompt distillation)."""
    phrases: tuple[str, ...] = ()
    """Phrases that betray the teacher's sight beside those known ("according to the reference", "as the hint says")."""

    def __post_init__(self) -> None:
        if self.run < 2:
            raise ValueError(f"run must be at least 2, got {self.run}")

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [next(self._faults(lesson), lesson) for lesson in lessons]

    def _faults(self, lesson: Lesson) -> Iterator[Drop]:
        problem = lesson.problem
        # What the student said in earlier turns is its own, and the system message the task's.
        asked = "\n\n".join(turn["content"] for turn in lesson.prompt if turn["role"] == "user")
        beside = without(asked, problem.question)
        if lesson.privileged is not None:
            if normal(_text(lesson.privileged)) == normal(_text(lesson.prompt)):
                yield Drop("the prompt is the privileged chat")
            for turn in lesson.privileged:
                if run := shared_run(turn["content"], beside, [problem.question], self.run):
                    yield Drop("privileged text in the prompt", run)
                elif self.completion and (run := shared_run(turn["content"], lesson.completion, [asked], self.run)):
                    yield Drop("privileged text in the completion", run)
        if lesson.verdict is None:
            if problem.solution and (run := shared_run(problem.solution, beside, [problem.question], self.run)):
                yield Drop("reference solution in the prompt", run)
            if self.answer and problem.answer and not problem.choices and told_answer(problem.answer, asked):
                yield Drop("answer in the prompt", problem.answer[:200])
        if phrase := telling_phrase(lesson.completion, asked, self.phrases):
            yield Drop("speaks of what the student does not see", phrase)


def _text(turns: Sequence[Message]) -> str:
    return "\n".join(turn["content"] for turn in turns)
