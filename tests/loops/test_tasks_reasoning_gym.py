import builtins
import sys

import msgspec
import pytest

from lessons.errors import GradeError, InputError, MissingExtraError
from lessons.jsonl import encode_line
from lessons.records import Problem
from loops.plugins import build
from loops.tasks.reasoning_gym import REFUSED, ReasoningGym

pytest.importorskip("reasoning_gym")

FIT = (
    "basic_arithmetic",
    "calendar_arithmetic",
    "chain_sum",
    "coin_flip",
    "gcd",
    "lcm",
    "leg_counting",
    "letter_counting",
    "number_sorting",
    "products",
    "simple_equations",
    "spell_backward",
    "time_intervals",
)


@pytest.mark.parametrize("name", [*FIT, "gsm_symbolic", "mini_sudoku", "rectangle_count"])
def test_the_reference_scores_1_also_after_saving(name: str) -> None:
    task = ReasoningGym(name=name, train=8, held_out=4, gate=2)
    split = task.split(0)
    assert (len(split.train), len(split.held_out), len(split.gate)) == (8, 4, 2)
    everything = (*split.train, *split.held_out, *split.gate)
    assert len({p.id for p in everything}) == len({p.question for p in everything}) == 14
    for problem in everything:
        read = msgspec.json.decode(encode_line(problem), type=Problem)
        assert read == problem
        assert problem.skills == (name,)
        assert task.grader.grade(read, f"I thought about 7 things.\n{task.reference(problem)}").score == 1.0
        assert task.grader.grade(read, "Answer: zzz").score < 0.9


def test_a_split_is_the_same_for_a_seed_only() -> None:
    task = ReasoningGym(name="chain_sum", train=10, held_out=10)
    assert task.split(1) == task.split(1)
    assert {p.id for p in task.split(1).train}.isdisjoint(p.id for p in task.split(2).train)


def test_several_tasks_are_several_skills() -> None:
    task = ReasoningGym(name="chain_sum + gcd", train=5, held_out=4)
    split = task.split(0)
    assert task.catalog(split.train).names == ("chain_sum", "gcd")
    assert sorted(p.skills[0] for p in split.train) == ["chain_sum"] * 3 + ["gcd"] * 2
    for problem in split.train:
        assert task.grader.grade(problem, task.reference(problem)).score == 1


def test_a_recipe_names_it_with_a_colon() -> None:
    assert build("task", "reasoning_gym:gcd", where="task") == ReasoningGym(name="gcd")


def test_settings_reach_the_task() -> None:
    settings = {"chain_sum": {"min_terms": 2, "max_terms": 2}}
    task = ReasoningGym(name="chain_sum", train=5, held_out=5, settings=settings)
    for problem in task.split(0).train:
        assert problem.data["entry"]["metadata"]["num_terms"] == 2
    with pytest.raises(InputError, match="task.settings of chain_sum"):
        ReasoningGym(name="chain_sum", settings={"chain_sum": {"colour": 2}}).split(0)
    with pytest.raises(ValueError, match="settings name 'gcd'"):
        ReasoningGym(name="chain_sum", settings={"gcd": {}})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_trusted_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError) as error:
        ReasoningGym(name=name).split(0)
    assert REFUSED[name] in str(error.value)


def test_every_refused_name_exists() -> None:
    import reasoning_gym

    assert set(REFUSED) <= set(reasoning_gym.factory.DATASETS)


def test_no_offered_verifier_evaluates_the_answer() -> None:
    import inspect

    import reasoning_gym

    for name, (cls, _) in reasoning_gym.factory.DATASETS.items():
        if name in REFUSED or "score_answer" not in vars(cls):
            continue
        source = inspect.getsource(cls.score_answer).replace('eval(entry["answer"])', "")
        assert "eval(" not in source, name
        assert "parse_expr(" not in source, name


def test_names_are_checked() -> None:
    with pytest.raises(InputError, match="no task 'chain_sums'; did you mean chain_sum"):
        ReasoningGym(name="chain_sums").split(0)
    with pytest.raises(InputError, match="known: ab, "):
        ReasoningGym(name="qqqqqq").split(0)
    with pytest.raises(InputError, match="name a task"):
        ReasoningGym(name=" + ").split(0)


def test_a_task_that_is_used_up_says_so() -> None:
    few = {"coin_flip": {"min_trials": 3, "max_trials": 3}}
    with pytest.raises(InputError, match=r"reasoning_gym:coin_flip: \w+ asks for 300 problems, but only \d+ different"):
        ReasoningGym(name="coin_flip", settings=few).split(0)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MissingExtraError, match=r"tutelage\[tasks\]"):
        ReasoningGym(name="gcd").split(0)


def one() -> tuple[ReasoningGym, Problem]:
    task = ReasoningGym(name="chain_sum", train=1, held_out=1)
    return task, task.split(0).train[0]


def test_what_the_grader_reads() -> None:
    task, problem = one()
    right = problem.answer
    for text in (f"Answer: {right}", f"**Answer:** {right}.", f"so\n{right}", rf"\boxed{{{right}}}"):
        assert task.grader.grade(problem, text).score == 1, text
    assert task.grader.grade(problem, "  ").note == "no final answer"
    assert task.grader.grade(problem, f"Answer: {right} or 7").score < 1
    assert task.grader.same("12", " 12. ")
    assert task.grader.same("1,000", "1000")
    assert not task.grader.same("olleh", "hello")
    with pytest.raises(GradeError):
        task.grader.same("", "1")


def test_the_grader_raises_where_it_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    task, problem = one()
    with pytest.raises(GradeError, match="holds no entry"):
        task.grader.grade(Problem(question="q", answer="1"), "Answer: 1")
    with pytest.raises(GradeError, match="holds no entry"):
        task.grader.grade(msgspec.structs.replace(problem, data={"task": "countdown", "entry": {}}), "Answer: 1")
    from reasoning_gym.arithmetic.chain_sum import ChainSumDataset

    def raising(self: object, answer: str, entry: dict) -> float:
        raise KeyError("metadata")

    for verifier, said in ((raising, "failed on"), (lambda *_: float("nan"), "not in"), (lambda *_: 2, "not in")):
        monkeypatch.setattr(ChainSumDataset, "score_answer", verifier)
        with pytest.raises(GradeError, match=said):
            task.grader.grade(problem, "Answer: 1")


def test_a_huge_power_does_not_hang_a_verifier() -> None:
    task = ReasoningGym(name="coin_flip", train=1, held_out=1)
    problem = task.split(0).train[0]
    assert task.grader.grade(problem, "Answer: 1e999999999").score == 0


def test_hostile_text_runs_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    task = ReasoningGym(name="+".join(FIT), train=len(FIT), held_out=1)
    problems = task.split(0).train
    ran: list[object] = []
    monkeypatch.setattr(builtins, "hostile", ran.append, raising=False)
    for problem in problems:
        task.grader.grade(problem, "Answer: hostile(1)")
    assert ran == []
