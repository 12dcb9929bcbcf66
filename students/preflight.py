"""What would train silently wrong is refused before the first step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lessons.errors import StudentError
from lessons.records import Lesson
from students.chats import Row, completion_offsets, prompt_tokens, row_tokens, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Lessons as tokens, each one fit to be trained on."""

    rows: tuple[Row, ...]
    """In the lessons' order."""
    weights: tuple[float, ...]
    token_weights: tuple[tuple[float, ...], ...] = ()
    """Weight of each completion token, [row][token]."""
    lessons: tuple[Lesson, ...] = ()
    """The lesson of each row."""
    others: tuple[Row, ...] = ()
    """A second text of each row: the worse one of a pair, or what the teaching side sees."""
    desirable: tuple[bool, ...] = ()
    """Whether each row is to be made more likely, for objectives that learn from bad examples too."""
    left_out: int = 0
    """Replayed lessons that lack what the objective needs, and are not trained on."""
    trains_others: bool = False
    """Whether the second texts carry loss too."""

    @property
    def trained_tokens(self) -> int:
        """Completion tokens that carry loss, over one pass."""
        weighed = sum(weight > 0 for weights in self.token_weights for weight in weights)
        return weighed + sum(len(row.completion) for row in self.others if self.trains_others)

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens, over one pass."""
        return sum(len(row.prompt) for row in self.rows)

    @property
    def longest(self) -> int:
        """Tokens of the longest lesson."""
        return max(len(row) for row in (*self.rows, *self.others))

    @property
    def longest_completion(self) -> int:
        """Completion tokens of the lesson that has most."""
        return max(len(row.completion) for row in (*self.rows, *self.others))


def preflight(
    tokenizer: Any, lessons: Sequence[Lesson], stops: frozenset[int], *, max_length: int, context: int | None = None
) -> Checked:
    """Render and check all lessons.

    stops: ids of the tokens that end a turn. max_length: tokens that a lesson may have. context: positions that the
    model has; None where it does not say.

    Raises:
        StudentError: there are no lessons, or one of them cannot be trained on as it stands; names the lesson, what is
            wrong with it, and what to do.
    """
    if not lessons:
        raise StudentError("there are no lessons to learn from; the selector kept none")
    if context is not None and max_length > context:
        raise StudentError(
            f"train.max_length is {max_length}, but the student has {context} positions; set it to at most that"
        )
    rows = tuple(_check(tokenizer, lesson, stops, max_length) for lesson in lessons)
    return Checked(
        rows=rows,
        weights=tuple(lesson.weight for lesson in lessons),
        token_weights=tuple(token_weights(tokenizer, lesson, row) for lesson, row in zip(lessons, rows, strict=True)),
        lessons=tuple(lessons),
    )


def check_weight(lesson: Lesson) -> None:
    """Refuse a weight that is none.

    Raises:
        StudentError: it is not above 0, or not finite.
    """
    if not (math.isfinite(lesson.weight) and lesson.weight > 0):
        raise StudentError(f"lesson {lesson.id}: its weight is {lesson.weight}; a weight is above 0 and finite")


def token_weights(tokenizer: Any, lesson: Lesson, row: Row) -> tuple[float, ...]:
    """Return the weight of each completion token by the lesson's spans: a token belongs to a span that holds one of
    its characters, the last such span counts, and the end of the turn weighs 1.

    Raises:
        StudentError: a span lies outside of the completion or its weight is negative, or no token has any weight.
    """
    if not lesson.spans:
        return (1.0,) * len(row.completion)
    name, length = f"lesson {lesson.id}", len(lesson.completion)
    for span in lesson.spans:
        if not 0 <= span.start < span.end <= length:
            raise StudentError(
                f"{name}: the span {span.start}-{span.end} does not lie in its completion of {length} characters"
            )
        if not (math.isfinite(span.weight) and span.weight >= 0):
            raise StudentError(f"{name}: the span {span.start}-{span.end} has the weight {span.weight}; at least 0")
    try:
        offsets = completion_offsets(tokenizer, lesson.prompt, lesson.completion, row)
    except StudentError as error:
        raise StudentError(f"{name}: {error}") from error
    weights = [1.0] * len(row.completion)
    for place, (begin, end) in enumerate(offsets):
        held = [span.weight for span in lesson.spans if begin < span.end and span.start < end]
        if held:
            weights[place] = held[-1]
    if not any(weights[:-1]):
        raise StudentError(f"{name}: its spans leave no token of its completion any weight, so nothing is trained")
    return tuple(weights)


def _check(tokenizer: Any, lesson: Lesson, stops: frozenset[int], max_length: int) -> Row:
    name = f"lesson {lesson.id}"
    if not lesson.completion.strip():
        raise StudentError(
            f"{name}: the completion is empty, so there is nothing to learn; drop it with the format filter"
        )
    check_weight(lesson)
    if lesson.prompt and lesson.prompt[-1]["role"] == "assistant":
        raise StudentError(f"{name}: its prompt ends with the assistant's own turn; end it with the user's")
    try:
        row = row_tokens(tokenizer, lesson.prompt, lesson.completion, stops)
    except StudentError as error:
        raise StudentError(f"{name}: {error}") from error
    if len(row.completion) < 2:
        raise StudentError(
            f"{name}: no token of its completion is trained, only the end of the turn; the chat template leaves it out"
        )
    _same_words(tokenizer, lesson, row, stops, name)
    if row.prompt != prompt_tokens(tokenizer, lesson.prompt):
        raise StudentError(f"{name}: its prompt has other tokens in training than in answering; fix the chat template")
    if len(row) > max_length:
        raise StudentError(
            f"{name}: {len(row.prompt)} prompt and {len(row.completion)} completion tokens are {len(row)}, "
            f"and train.max_length is {max_length}; raise it, or drop long lessons with the format filter"
        )
    return row


def _same_words(tokenizer: Any, lesson: Lesson, row: Row, stops: frozenset[int], name: str) -> None:
    """Refuse a row whose trained tokens do not hold the whole completion: the mask would cover a part of the answer."""
    trained, meant = text_of(tokenizer, row.completion, stops), lesson.completion
    if _squeezed(meant) not in _squeezed(trained):
        raise StudentError(
            f"{name}: its trained tokens read {_short(trained)} and not its completion {_short(meant)}; "
            "the chat template changes it"
        )


def _squeezed(text: str) -> str:
    """The text without any white space: templates and tokenizers may trim it."""
    return "".join(text.split())


def _short(text: str, most: int = 60) -> str:
    return repr(text if len(text) <= most else text[: most - 1] + "…")
