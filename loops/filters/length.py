"""Drop what is too short or too long, prompt and completion each by itself, or the one against the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lessons.errors import InputError
from lessons.records import Lesson
from loops.exams.index import words_of
from loops.filters.base import Context, Drop
from loops.likeness.shingles import parts_of
from students.memory import bare

__all__ = ["Length"]

_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Keeps candidates whose prompt (all turns but the system message) and completion have lengths within bounds."""

    paper: ClassVar[str] = "our own: bounds; LLM2LLM's teacher is told to keep a question under 100 words"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    unit: Literal["words", "characters", "tokens"] = "words"
    """What is counted. Words are runs of letters and digits, or signs of scripts without spaces. Tokens are the
    student's own, without those of its chat template."""
    prompt_least: int = 1
    """Of the prompt, at least."""
    prompt_most: int = 400
    """Of the prompt, at most; 0 sets no bound. Our choice."""
    completion_least: int = 1
    """Of the completion (and of the rejected one of a pair), at least."""
    completion_most: int = 600
    """Of the completion (and of the rejected one of a pair), at most; 0 sets no bound. Our choice."""
    ratio_least: float = 0.0
    """Length of the completion over that of the prompt, at least."""
    ratio_most: float = 0.0
    """Length of the completion over that of the prompt, at most; 0 sets no bound."""

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "ratio"):
            least, most = getattr(self, f"{name}_least"), getattr(self, f"{name}_most")
            if least < 0 or most < 0 or (most and least > most):
                raise ValueError(
                    f"{name}_least and {name}_most must be at least 0 and in order, got {least} and {most}"
                )

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself.

        Raises:
            InputError: tokens are to be counted, and there is no student here that can.
        """
        verdicts: list[Lesson | Drop] = []
        for start in range(0, len(lessons), _BATCH):
            batch = lessons[start : start + _BATCH]
            prompts = self._lengths(["\n".join(parts_of(lesson, "prompt")) for lesson in batch], context)
            completions = self._lengths([lesson.completion for lesson in batch], context)
            rejected = self._lengths([lesson.rejected or "" for lesson in batch], context)
            for lesson, *lengths in zip(batch, prompts, completions, rejected, strict=True):
                verdicts.append(self._one(lesson, *lengths))
        return verdicts

    def _one(self, lesson: Lesson, prompt: int, completion: int, rejected: int) -> Lesson | Drop:
        sizes = [("prompt", prompt, self.prompt_least, self.prompt_most)]
        sizes.append(("completion", completion, self.completion_least, self.completion_most))
        if lesson.rejected is not None:
            sizes.append(("rejected completion", rejected, self.completion_least, self.completion_most))
        for name, size, least, most in sizes:
            if size < least:
                return Drop(f"{name} too short", f"{size} {self.unit}")
            if most and size > most:
                return Drop(f"{name} too long", f"{size} {self.unit}")
        ratio = completion / max(1, prompt)
        if ratio < self.ratio_least:
            return Drop("completion too short for its prompt", f"{ratio:.2f} times as long")
        if self.ratio_most and ratio > self.ratio_most:
            return Drop("completion too long for its prompt", f"{ratio:.2f} times as long")
        return lesson

    def _lengths(self, texts: Sequence[str], context: Context) -> list[int]:
        if self.unit == "characters":
            return [len(text) for text in texts]
        if self.unit == "words":
            return [len(words_of(text)) for text in texts]
        student = None if context.scores is None else bare(context.scores.student("now"))
        tokenizer: Any = getattr(student, "tokenizer", None)
        if tokenizer is None:
            raise InputError("filter 'length': there is no student here that counts tokens; set unit to words")
        return [len(tokens) for tokens in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
