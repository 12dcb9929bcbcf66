"""Lessons held against the exams: exact, by runs of words, by meaning; the index beside a search that tries all."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.graders.exact import ExactGrader
from lessons.records import Check, Dropped, Lesson, Problem, Provenance
from loops.exams.contamination import EXAMPLES, audit
from loops.exams.index import LEAST, RUN, ExamIndex, words_of
from loops.filters.base import Context, Drop, apply
from loops.filters.contamination import Contamination
from loops.filters.overlap import Overlap

LONG = "Natalia sold clips to forty eight of her friends in April, and then half as many in May."
SOLVED = "In May she sold half of what she had sold in April to her friends, so twenty four, and in all seventy two."
SHORT = "How many clips did Natalia sell in all of May?"  # 10 words
TINY = "What is 2 + 2?"


def problem(question: str, **more: str) -> Problem:
    return Problem(question=question, answer="1", **more)


def lesson(question: str, completion: str = "Answer: 1", **more: str) -> Lesson:
    return Lesson(
        prompt=({"role": "system", "content": LONG}, {"role": "user", "content": question}),
        completion=completion,
        problem=problem(question),
        provenance=Provenance(method="m", round=1),
        **more,
    )


def shared_by_trying(text: str, exams: Sequence[Problem]) -> set[str]:
    """Ids of the problems that a text shares a run with, the slow and obvious way."""
    words, found = words_of(text), set[str]()
    spaced = f" {' '.join(words)} "
    for one in exams:
        for source, whole in ((one.question, True), (one.solution or "", False)):
            theirs = words_of(source)
            runs = [theirs[at : at + RUN] for at in range(len(theirs) - RUN + 1)]
            if whole and LEAST <= len(theirs) < RUN:
                runs = [theirs]
            if any(f" {' '.join(run)} " in spaced for run in runs):
                found.add(one.id)
    return found


# Few words, so that runs are shared by chance; signs and cases that must not count; signs that are words of their own.
word = st.sampled_from(["a", "A", "b", "b,", "(a", "7", "é", "E\u0301", "\u6570", "\u5b66", "-", "_", "ﬁ"])
text = st.lists(word, max_size=30).map(" ".join)


@given(st.lists(st.tuples(text, text), max_size=5), st.lists(text, max_size=5))
def test_the_index_finds_what_trying_all_finds(exams: list[tuple[str, str]], texts: list[str]) -> None:
    problems = [problem(question, solution=solution) for question, solution in exams]
    index = ExamIndex({"held_out": problems[:3], "final": problems[3:]})
    for one in texts:
        found = {owner.problem.id for shared in index.shared(one) for owner in index.owners(shared)}
        assert found == shared_by_trying(one, problems)


@given(text, text, text)
def test_a_run_is_found_wherever_it_stands(before: str, question: str, after: str) -> None:
    index = ExamIndex({"gate": [problem(question)]})
    hits = list(index.shared(f"{before} {question} {after}"))
    assert bool(hits) == (len(words_of(question)) >= LEAST)
    assert index.short == (len(words_of(question)) < LEAST)


def test_case_punctuation_white_space_and_wide_forms_do_not_count() -> None:
    index = ExamIndex({"held_out": [problem(LONG)]})
    assert any(index.shared(LONG.upper().replace(" ", "\n\t").replace(",", " --- ")))
    assert any(index.shared(LONG.replace("clips", "ｃｌｉｐｓ")))
    assert not any(index.shared(LONG.replace("April", "June")))  # no 13 words in a row are left
    assert words_of("鸡兔同笼 3只") == ["鸡", "兔", "同", "笼", "3", "只"]


def test_wording_of_the_task_is_told_from_a_leak() -> None:
    template = "Please solve the following little riddle and write down nothing but the number of"
    exams = [problem(f"{template} apples that Ann has."), problem(f"{template} pears that Bo has.")]
    index = ExamIndex({"held_out": exams}, [problem(f"{template} plums that Cy has."), problem("Another thing.")])
    assert index.baseline == 0.5
    worded, leaked = lesson(f"{template} nuts that Di has."), lesson(exams[0].question + " Now.")
    found = audit(1, [worded, leaked], index)
    assert (found.rows["13-gram"], found.own, found.share) == (2, 1, 1.0)
    assert ExamIndex({"held_out": exams}).baseline is None
    context = Context(grader=ExactGrader(), exams=index)
    assert reasons(Contamination(), [worded, leaked], context) == ["", "shares a run of words with an exam problem"]
    assert all(reasons(Contamination(wording=True), [worded, leaked], context))
    assert not any(reasons(Contamination(words=False), [worded, leaked], context))


def reasons(judge: Contamination | Overlap, lessons: list[Lesson], context: Context) -> list[str]:
    return [str(v) if isinstance(v, Drop) else "" for v in judge.judge(lessons, context)]


def test_an_audit_counts_rows_parts_and_kinds_and_keeps_examples() -> None:
    index = ExamIndex(
        {"held_out": [problem(LONG)], "gate": [problem(SHORT), problem(TINY)], "final": [problem("?", solution=SOLVED)]}
    )
    lessons = [
        lesson(TINY.replace(" ", "  ").upper()),  # exact, though too short for runs of words
        lesson("A question of its own?", f"They asked: {SHORT}"),  # in the completion, as a whole
        lesson("Another?", "no", rejected=SOLVED),  # in what the student is to leave alone
        lesson(LONG),
        lesson("Is it 2 + 2?"),
        lesson("clean"),
    ]
    gone = [
        Dropped(lesson=lessons[3], check=Check(filter="overlap", passed=False, reason="a question of the exam")),
        Dropped(lesson=lessons[3], check=Check(filter="verified", passed=False, reason="wrong answer")),
    ]
    found = audit(3, iter(lessons), index, dropped=gone)
    assert (found.round, found.lessons, found.problems, found.short) == (3, 6, 4, 2)
    assert found.rows == {"exact": 2, "13-gram": 3}
    assert found.dropped == {"exact": 1}
    assert found.touched == {"held_out": 1, "gate": 2, "final": 1}
    kinds = [(one.lesson, one.part, one.kind, one.where) for one in found.examples]
    assert kinds == [
        (lessons[0].id, "gate", "exact", "prompt"),
        (lessons[3].id, "held_out", "exact", "prompt"),
        (lessons[1].id, "gate", "13-gram", "completion"),
        (lessons[2].id, "final", "13-gram", "completion"),
        (lessons[3].id, "held_out", "13-gram", "prompt"),
    ]
    assert found.examples[2].text == " ".join(words_of(SHORT))


def test_the_system_message_is_the_tasks_own_and_does_not_count() -> None:
    index = ExamIndex({"held_out": [problem(LONG)]})  # every lesson's system message is this text
    assert audit(1, [lesson("clean")], index).rows == {"exact": 0, "13-gram": 0}


def test_many_rows_keep_few_examples() -> None:
    index = ExamIndex({"held_out": [problem(LONG)]})
    found = audit(1, (lesson(LONG, f"Answer: {n}") for n in range(500)), index)
    assert (found.rows["13-gram"], len(found.examples)) == (500, 2 * EXAMPLES)


@pytest.mark.parametrize("where", ["problem", "prompt"])
def test_overlap_drops_a_question_of_any_exam_wherever_it_is_asked(where: str) -> None:
    exams = ExamIndex({"final": [problem(TINY)]})
    asked = lesson(TINY.lower()) if where == "problem" else lesson("Criticise.")
    if where == "prompt":
        asked = Lesson(
            prompt=({"role": "user", "content": TINY},), completion="4", problem=problem("other"),
            provenance=asked.provenance,
        )  # fmt: skip
    _, dropped = apply("overlap", Overlap(), [asked, lesson("clean")], Context(grader=ExactGrader(), exams=exams))
    assert [drop.lesson for drop in dropped] == [asked]
    assert audit(1, [asked], exams).rows["exact"] == 1


def test_without_exams_nothing_is_dropped() -> None:
    assert reasons(Contamination(), [lesson(LONG)], Context(grader=ExactGrader())) == [""]
    with pytest.raises(ValueError, match="cosine must be above 0"):
        Contamination(cosine=0)
