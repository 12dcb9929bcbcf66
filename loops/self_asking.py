"""The student in the teacher's place: it is asked with a teacher's prompt, and its reply is read as a teacher's."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from lessons.errors import ParseError
from lessons.ids import seed_of
from lessons.records import LostReply
from loops.round import Round, Said
from students.base import Generation
from teachers.base import Sampling
from teachers.prompts.base import Prompt

T = TypeVar("T")


def ask_student(
    round_: Round, asked: Sequence[tuple[Prompt[T], Mapping[str, object]]], sampling: Sampling, draw: object
) -> list[list[Said[T]]]:  # [request][0 or 1]
    """Ask the round's student; what cannot be read is counted and kept as a teacher's lost reply is.

    sampling: length and temperature. draw: a name for these answers; other names draw other ones.

    Raises:
        StudentError: a prompt and its answer do not fit the student's positions.
    """
    how = Generation(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        batch_tokens=round_.generation.batch_tokens,
    )
    round_.make_room("student")
    chats = [prompt.messages(fields) for prompt, fields in asked]
    with round_.listener.bar("ask the student", len(chats)) as progress:
        seed = seed_of(round_.seed, "ask the student", draw)
        answers = round_.student.answer(chats, how, seed=seed, progress=progress)
    said: list[list[Said[T]]] = []
    for (prompt, _), (answer,) in zip(asked, answers, strict=True):
        try:
            said.append([Said(prompt.parse(answer.text), "")])
        except ParseError as error:
            said.append([])
            reason = "truncated" if answer.cut else "invalid"
            round_.lost.append(LostReply(prompt=f"{prompt.name}, of the student", reason=reason, detail=str(error)))
    return said
