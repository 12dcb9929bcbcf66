"""TAPIR by hand: MFD above 2, task types, new problems by the mixture, style by type, fewer easy ones every round."""

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lessons.errors import InputError
from lessons.records import Lesson, Provenance
from lessons.skills import SkillCatalog, SkillProfile
from loops import plugins
from loops.filters.base import Context
from loops.methods.tapir import Tapir
from loops.rolling import one_each
from loops.selectors.balance import TAPIR, Balance
from loops.selectors.base import Choice
from loops.task_types import CODE, OTHERS, PLAIN, STEPS
from teachers.prompts.rating import RATING
from teachers.prompts.styled_answer import STYLED_ANSWER
from teachers.prompts.task_type import task_type
from teachers.prompts.typed_problems import TYPED_PROBLEMS
from tests.loops.memory_methods import Numbers, Says, attempt, problem, teach

TYPE_SYSTEM = task_type(SkillCatalog.of_names(["x"])).system
# Question -> (rating of the teacher's answer, of the student's): MFD 3, 2, 9, -1, and 5 for the sonnet.
RATED = {"Sum?": (9, 6), "Product?": (9, 7), "Proof?": (10, 1), "Easy?": (8, 9), "Sonnet?": (8, 3)}
TYPES = {"Sum?": "Type: math", "Product?": "Type: Math", "Proof?": "It is reasoning.", "Easy?": "Type: history"}
PROBLEMS = [problem(question, str(n), "adding", solution=f"S{n}") for n, question in enumerate(RATED)]
ATTEMPTS = [attempt(p, f"by the student: {p.question}", *(["adding"] if n else [])) for n, p in enumerate(PROBLEMS)]


def rate(fields: dict[str, str]) -> str:
    teachers, students = RATED[fields["task"]]
    return f"Reason: so.\nRating: {students if 'by the student' in fields['answer'] else teachers}"


def write(fields: dict[str, str]) -> str:
    made = [f"Question: a new one on {fields['type']}, like {fields['examples'][2:6]} and {n}?" for n in range(9)]
    return "\n".join(made[: int(fields["count"])])


SAYS: dict[Any, Says] = {
    STYLED_ANSWER.system: lambda f: f"Taught: {f['question']}",
    RATING.system: rate,
    TYPE_SYSTEM: lambda f: TYPES.get(f["question"], "A sonnet, what else"),
    TYPED_PROBLEMS.system: write,
}


def test_a_problem_is_hard_where_the_judge_is_more_than_delta_apart(tmp_path: Path) -> None:
    lessons, round_, asked = teach(Tapir(expand=0, hard_share=1.0), SAYS, ATTEMPTS, tmp_path)
    # MFD 3, 9 and 5 are above 2; exactly 2 is not.
    assert [lesson.problem.question for lesson in lessons] == ["Sum?", "Proof?", "Sonnet?"]
    assert [lesson.provenance.skill for lesson in lessons] == ["math", "reasoning", OTHERS]
    assert [lesson.completion for lesson in lessons] == ["Taught: Sum?", "Taught: Proof?", "Taught: Sonnet?"]
    assert (round_.counts["hard problems"], round_.counts["easy problems"]) == (3, 2)
    styled = [(f["question"], f["style"]) for s, f in asked if s == STYLED_ANSWER.system and f["style"]]
    assert styled == [("Sum?", STEPS), ("Proof?", STEPS), ("Sonnet?", PLAIN)]
    rated = [f for s, f in asked if s == RATING.system]
    assert len(rated) == 10
    assert all(f["reference"] == "none is given" for f in rated)  # the judge sees no reference
    assert all(len(lesson.provenance.calls) == 4 for lesson in lessons)
    assert len(teach(Tapir(expand=0, hard_share=1.0, delta=1.9), SAYS, ATTEMPTS, tmp_path / "b")[0]) == 4


def test_an_empty_attempt_has_the_lowest_rating_unasked_and_a_lost_rating_leaves_the_problem_out(
    tmp_path: Path,
) -> None:
    blank = [attempt(PROBLEMS[3], " ", "adding"), ATTEMPTS[2]]
    lost = {**SAYS, RATING.system: lambda f: "Rating: 12" if f["task"] == "Proof?" else rate(f)}
    lessons, round_, asked = teach(Tapir(expand=0, hard_share=1.0), lost, blank, tmp_path)
    assert [lesson.problem.question for lesson in lessons] == ["Easy?"]  # 8 - 1
    assert sum(s == RATING.system and f["task"] == "Easy?" for s, f in asked) == 1
    assert Counter(reply.reason for reply in round_.lost) == {"invalid": 2}


def test_new_problems_follow_the_mixture_over_the_types_that_have_hard_ones(tmp_path: Path) -> None:
    lessons, _, asked = teach(Tapir(expand=200, hard_share=1.0), SAYS, ATTEMPTS, tmp_path)
    wanted = Counter[str]()
    for system, fields in asked:
        if system == TYPED_PROBLEMS.system:
            assert int(fields["count"]) <= 2
            wanted[fields["type"]] += int(fields["count"])
    assert wanted.total() == 600
    whole = 0.167 + 0.167 + 0.041
    for kind, share in (("math", 0.167 / whole), ("reasoning", 0.167 / whole), (OTHERS, 0.041 / whole)):
        # Five standard deviations of a binomial draw.
        assert abs(wanted[kind] - 600 * share) < 5 * (600 * share * (1 - share)) ** 0.5
    new = [lesson for lesson in lessons if lesson.problem.parent]
    assert {lesson.problem.parent for lesson in new} <= {PROBLEMS[n].id for n in (0, 2, 4)}
    assert all(lesson.problem.answer is None and len(lesson.provenance.calls) == 5 for lesson in new)
    examples = [f["examples"] for s, f in asked if s == TYPED_PROBLEMS.system and f["type"] == "math"]
    assert set(examples) == {"- Sum?"}  # the easy product is no example


def test_a_target_of_ones_own_is_met_exactly_where_it_leaves_no_choice(tmp_path: Path) -> None:
    _, _, asked = teach(Tapir(target={"Math": 1.0, "reasoning": 0}, expand=3, hard_share=1.0), SAYS, ATTEMPTS, tmp_path)
    assert {f["type"] for s, f in asked if s == TYPED_PROBLEMS.system} == {"Math"}
    assert sum(int(f["count"]) for s, f in asked if s == TYPED_PROBLEMS.system) == 9
    assert Tapir(target={"a": 1.0, "b": 3.0}).shares(["a", "b", "c"]) == {"a": 0.25, "b": 0.75, "c": 0.0}
    assert Tapir(types="skills").shares(["a", "b"]) == {"a": 0.5, "b": 0.5}


def test_what_is_known_or_asked_in_an_exam_is_not_new(tmp_path: Path) -> None:
    says = {**SAYS, TYPED_PROBLEMS.system: lambda f: "Question: EASY?\nQuestion: Of the  exam?"}
    context = Context(grader=Numbers(), held_out=frozenset({"of the exam?"}))  # type: ignore[arg-type]
    lessons, round_, _ = teach(Tapir(hard_share=1.0), says, ATTEMPTS, tmp_path, context=context)
    assert len(lessons) == 3
    assert round_.counts["problem not new"] >= 3


@pytest.mark.parametrize(("index", "easy"), [(1, 3), (2, 3), (3, 1), (5, 0)])
def test_the_share_of_hard_lessons_rises_with_the_rounds(index: int, easy: int, tmp_path: Path) -> None:
    # Three hard lessons: at 0.3 seven easy ones are wanted and there are three; at 0.5 three; at 0.7 one; at 1 none.
    attempts = [*ATTEMPTS, attempt(problem("Easy too?", "1", "adding", solution="S"), "by the student: x")]
    says = {**SAYS, RATING.system: lambda f: "Rating: 8" if f["task"] == "Easy too?" else rate(f)}
    lessons, _, _ = teach(Tapir(expand=0), says, attempts, tmp_path, index=index)
    mixed = lessons[3:]
    assert len(mixed) == easy
    assert {lesson.completion for lesson in mixed} <= {"S1\nAnswer: 1", "S3\nAnswer: 3", "S\nAnswer: 1"}
    types = {"Product?": "math", "Easy?": "history", "Easy too?": OTHERS}
    assert all(lesson.provenance.skill == types[lesson.problem.question] for lesson in mixed)


def test_types_may_be_the_skills_and_then_nobody_is_asked_for_them(tmp_path: Path) -> None:
    lessons, _, asked = teach(Tapir(types="skills", expand=1), SAYS, ATTEMPTS, tmp_path)
    assert TYPE_SYSTEM not in {system for system, _ in asked}
    assert {lesson.provenance.skill for lesson in lessons} == {"adding"}


def test_code_has_a_style_of_its_own(tmp_path: Path) -> None:
    says = {**SAYS, TYPE_SYSTEM: lambda f: "Type: Code Debug"}
    _, _, asked = teach(Tapir(expand=0, hard_share=1.0), says, ATTEMPTS, tmp_path)
    assert {f["style"] for s, f in asked if s == STYLED_ANSWER.system and f["style"]} == {CODE}


def test_the_category_histogram_after_resampling_is_the_released_one() -> None:
    # 40 candidates of each type, 1,000 rows: what TAPIR's types have too few candidates for is made up by their weight.
    def lesson(kind: str, n: int) -> Lesson:
        where = Provenance(method="tapir", round=1, skill=kind)
        return Lesson(prompt=(), completion=f"{kind} {n}", problem=problem(f"{kind} {n}?", "1"), provenance=where)

    candidates = [lesson(kind, n) for kind in TAPIR for n in range(200)]
    choice = Choice(profile=SkillProfile(), rng=Random(0))
    chosen = Balance(mixture="tapir").select(candidates, 1000, choice)
    rows = Counter(one.provenance.skill or "" for one in chosen)
    assert rows.total() == 1000
    assert {kind: rows[kind] for kind in TAPIR} == {kind: round(1000 * share) for kind, share in TAPIR.items()}
    few = [one for one in candidates if one.provenance.skill != "math" or int(one.completion.split()[1]) < 50]
    weight = Counter[str]()
    for one in Balance(mixture="tapir").select(few, 1000, Choice(profile=SkillProfile(), rng=Random(0))):
        weight[one.provenance.skill or ""] += one.weight  # type: ignore[assignment]
    assert weight["math"] / weight.total() == pytest.approx(0.167)
    assert weight["code debug"] / weight.total() == pytest.approx(0.083)


def test_one_answer_of_a_problem_is_judged(tmp_path: Path) -> None:
    twice = [*ATTEMPTS, *(attempt(p, "again", "adding") for p in PROBLEMS)]
    _, round_, asked = teach(Tapir(expand=0), SAYS, twice, tmp_path)
    assert len(one_each(round_, "all")) == 5
    assert sum(system == RATING.system for system, _ in asked) == 10


def test_knobs_are_checked() -> None:
    with pytest.raises(InputError, match=r"method: hard_share must lie in \(0, 1\]"):
        plugins.build("method", {"id": "tapir", "hard_share": 0}, where="method")
