"""IFD and reverse IFD by hand, with a student whose scores the tests can see."""

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest
import yaml

from lessons.errors import InputError, StudentError
from lessons.records import Message
from loops import ifd
from loops.filters.base import Context, Drop
from loops.filters.ifd import IFD
from loops.recipe import resolve
from loops.scores import Scores
from students.base import Student
from tests.loops.filtering import CONTEXT, lesson, reasons


class Known:
    """A student that scores every word alike: after a chat that holds the word, else after none."""

    def __init__(self, digest: str = "known", after: float = -1.0, alone: float = -3.0) -> None:
        self.digest, self.after, self.alone = digest, after, alone
        self.asked: list[tuple[tuple[Message, ...], str]] = []

    def score(self, rows: Sequence[tuple[Sequence[Message], str]], *, progress: Any = None) -> list[list[float]]:
        self.asked += [(tuple(chat), text) for chat, text in rows]
        if any("too long" in text for _, text in rows):
            raise StudentError("a row has 2000 tokens, and there is room for 1024")
        return [self._score(" ".join(turn["content"] for turn in chat), text) for chat, text in rows]

    def _score(self, chat: str, text: str) -> list[float]:
        return [-math.inf if w == "never" else self.after if w in chat.split() else self.alone for w in text.split()]


def scores(**students: Known) -> Scores:
    return Scores(None, {name: lambda one=one: cast(Student, one) for name, one in students.items()})


def row(asked: str, said: str) -> tuple[tuple[Message, ...], str]:
    return ({"role": "system", "content": "Think."}, {"role": "user", "content": asked}), said


def test_ifd_by_hand() -> None:
    student = Known()
    # Of "a b c d" the chat tells a and b: loss (1 + 1 + 3 + 3) / 4 = 2 after it, 3 alone, so exp(2 - 3).
    found = ifd.ifd(scores(now=student), [row("a b", "a b c d"), row("x", "a b"), row("a b", "a b")])
    assert found == [pytest.approx(math.exp(-1)), pytest.approx(1.0), pytest.approx(math.exp(-2))]
    assert (row("a b", "a b c d")[0], "a b c d") in student.asked
    assert ((), "a b c d") in student.asked  # the header of the assistant's turn, and nothing else


def test_reverse_ifd_asks_for_what_the_user_said_last_after_the_answer() -> None:
    student = Known()
    found = ifd.reverse_ifd(scores(now=student), [row("a b c d", "a b"), row("a", "x")])
    assert found == [pytest.approx(math.exp(-1)), pytest.approx(1.0)]
    (guess, text), (nothing, alone) = student.asked[:2]
    assert text == alone == "a b c d"
    assert nothing == ()
    assert guess == ({"role": "user", "content": f"a b\n\n{ifd.GUESS}"},)


def test_what_cannot_be_told_is_nan_and_never_passes_a_bound() -> None:
    given = scores(now=Known())
    rows = [row("a", " "), row("a", "too long"), row("a", "never"), row("a", "a")]
    found = ifd.ifd(given, rows)
    assert [math.isnan(one) for one in found] == [True, True, True, False]
    assert [math.isnan(one) for one in ifd.reverse_ifd(given, [((), "a"), row("a", " "), row("a", "a")])] == [
        True,
        True,
        False,
    ]
    lessons = [lesson("a", text) for text in ("too long", "a")]
    assert reasons(IFD(below=math.inf), lessons, Context(grader=CONTEXT.grader, scores=given)) == [
        "IFD cannot be told",
        "kept",
    ]


def test_a_student_that_takes_no_row_says_why() -> None:
    with pytest.raises(StudentError, match="room for 1024"):
        ifd.ifd(scores(now=Known()), [row("a", "too long"), row("a", "it is too long")])


def test_many_rows_keep_their_order_over_chunks_with_one_that_does_not_fit() -> None:
    rows = [row("a b", f"a {n}" if n % 3 else f"b a n{n}") for n in range(2 * ifd.PAIRS + 5)]
    rows[300] = row("a", "too long")
    found = ifd.ifd(scores(now=Known()), rows)
    for place, one in enumerate(found):
        if place == 300:
            assert math.isnan(one)
        else:
            assert one == pytest.approx(math.exp(-1) if place % 3 else math.exp(-4 / 3))


def test_a_ratio_beyond_all_numbers_is_infinite() -> None:
    given = scores(now=Known(after=-2000.0, alone=-1.0))
    assert ifd.ifd(given, [row("a", "a")]) == [math.inf]
    found = reasons(IFD(below=math.inf), [lesson("a", "a")], Context(grader=CONTEXT.grader, scores=given))
    assert found == ["IFD too high"]


def judged(judge: IFD, *texts: tuple[str, str], **students: Known) -> list[str]:
    context = Context(grader=CONTEXT.grader, scores=scores(**(students or {"now": Known()})))
    return reasons(judge, [lesson(asked, said) for asked, said in texts], context)


def test_the_bounds() -> None:
    # IFD: e^-1 = 0.37, 1, e^-2 = 0.14; reverse IFD: e^-2, 1, e^-2.
    texts = (("a b", "a b c d"), ("x", "a b"), ("a b", "a b"))
    assert judged(IFD(), *texts) == ["kept", "IFD too high", "kept"]
    assert judged(IFD(above=0.2), *texts) == ["kept", "IFD too high", "IFD too low"]
    assert judged(IFD(below=0.3), *texts) == ["IFD too high", "IFD too high", "kept"]
    assert judged(IFD(below=2.0, reverse_below=1.0), *texts) == ["kept", "reverse IFD too high", "kept"]


def test_reverse_scores_are_asked_for_only_where_they_can_matter() -> None:
    student = Known()
    assert judged(IFD(reverse_below=1.0), ("x", "a b"), now=student) == ["IFD too high"]
    assert len(student.asked) == 2


def test_another_student_may_score() -> None:
    now, base = Known("now"), Known("base", after=-4.0)
    assert judged(IFD(scorer="base"), ("a", "a"), now=now, base=base) == ["IFD too high"]
    assert not now.asked


def test_without_a_student_the_filter_says_so() -> None:
    with pytest.raises(InputError, match="there is none here"):
        reasons(IFD(), [lesson("a", "a")])
    assert IFD.needs_scores


@pytest.mark.parametrize("knobs", [{"above": 1.0}, {"above": -0.1}, {"reverse_below": 0.0}, {"below": math.nan}])
def test_bounds_out_of_order_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above must be|reverse_below must be"):
        IFD(**cast(Any, knobs))


def test_a_real_student_finds_a_repeated_prompt_helpful_or_not_but_finite() -> None:
    from students.open import open_student

    given = Scores(None, {"now": lambda: open_student("tiny")})
    for ratio in (*ifd.ifd(given, [row("2+2?", "4")]), *ifd.reverse_ifd(given, [row("2+2?", "4")])):
        assert 0 < ratio < math.inf
    assert not isinstance(
        IFD(below=1e9, reverse_below=1e9).judge(
            [lesson("2+2?", "4")], Context(grader=CONTEXT.grader, scores=given)
        )[0],
        Drop,
    )  # fmt: skip


def test_no_bound_is_null_and_a_recipe_holds_no_infinite_number() -> None:
    base = {"task": "skills_demo", "student": "tiny", "teacher": {"kind": "rule_tutor"}, "method": "rationale"}
    recipe = resolve({**base, "filters": [{"id": "ifd", "below": None}]})
    assert recipe.filters[0]["below"] is None
    assert resolve(yaml.safe_load(yaml.safe_dump(recipe.plain()))).digest == recipe.digest
    with pytest.raises(InputError, match=r"filters\[0\].below: must be a finite number, got inf"):
        resolve({**base, "filters": [{"id": "ifd", "below": math.inf}]})
