"""A teacher whose weights are here, for objectives that go by its token distributions."""

from typing import Any

from lessons.errors import StudentError
from lessons.records import Lesson
from students.chats import whole_text
from students.models import Base, with_weights
from students.objectives.base import Bench, Desk
from students.preflight import Checked
from students.runtime import device, dtype_of
from students.vocabulary import check_same, check_width

TRIED = 32
"""Lessons whose texts are tried on both tokenizers, beside the fixed probes."""


def open_teacher(model: str, checked: Checked, desk: Desk) -> Base:
    """Return a teacher's base model, once it is seen to read text as the student does.

    Raises:
        InputError: there is no such model.
        StudentError: its vocabulary is another one, or it has too few positions.
    """
    from students.open import open_base

    base = open_base(model)
    texts = [_text(desk.tokenizer, lesson) for lesson in checked.lessons[:TRIED]]
    check_same(desk.tokenizer, base.tokenizer(chat=False), texts, base.name)
    room = base.positions()
    if room is not None and checked.longest > room:
        raise StudentError(f"the teacher {base.name} has {room} positions, and a lesson has {checked.longest} tokens")
    return base


def teacher_model(base: Base, bench: Bench) -> Any:
    """Return the teacher's model on the student's device, without gradients.

    Raises:
        StudentError: its head has no place for a token of the lessons.
    """
    where = device()
    # Where the student computes in bfloat16, so does the teacher; a float32 student asks for exact figures.
    dtype = dtype_of("float32" if bench.desk.training.precision == "float32" else "auto", where)
    model = with_weights(base, None, dtype).to(where)
    ids = (token for row in bench.checked.rows for token in (*row.prompt, *row.completion))
    check_width(ids, int(model.get_output_embeddings().weight.shape[0]), base.name)
    return model


def _text(tokenizer: Any, lesson: Lesson) -> str:
    return whole_text(tokenizer, lesson.prompt, lesson.completion)
