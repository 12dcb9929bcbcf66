"""Selectors by mixtures and quotas: balance, skill_it, hard_quota, hard_share, each against a case by hand."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.records import Lesson, Problem
from loops.hardness import by_success
from loops.selectors.balance import TAPIR, Balance
from loops.selectors.base import Choice
from loops.selectors.hard_quota import HardQuota
from loops.selectors.hard_share import HardShare
from loops.selectors.skill_it import SkillIt
from loops.store import read_yaml
from tests.loops.selecting import Told, attempt, bank, lesson, profile, scores_of


def parts(lessons: Sequence[Lesson]) -> dict[str | None, int]:
    return dict(Counter(one.provenance.skill for one in lessons))


def choice(seed: int = 0, **more: Any) -> Choice:
    return Choice(**{"profile": profile({"a": (10, 5), "b": (10, 2)}), "rng": Random(seed), **more})


# --- balance ----------------------------------------------------------------------------------------------------------


def test_the_category_histogram_is_the_target_after_resampling() -> None:
    candidates = bank(Math=500, reasoning=300, sport=400)
    target = {"math": 0.5, "reasoning": 0.25, "sport": 0.25}
    chosen = Balance(target=target).select(candidates, 200, choice())
    assert parts(chosen) == {"Math": 100, "reasoning": 50, "sport": 50}
    assert {one.weight for one in chosen} == {1.0}
    assert {one.share for one in chosen if one.provenance.skill == "Math"} == {0.2}


def test_what_is_too_rare_weighs_more() -> None:
    # 60 of a, 20 of b, each wanted at a half of 80: b has 20 alone, so a gets 60, and they weigh 40 / 60 and 40 / 20.
    candidates = bank(a=60, b=20)
    chosen = Balance().select(candidates, 80, choice())
    assert parts(chosen) == {"a": 60, "b": 20}
    weights = {one.provenance.skill: one.weight for one in chosen}
    assert weights == pytest.approx({"a": 2 / 3, "b": 2.0})
    mass = Counter[str | None]()
    for one in chosen:
        mass[one.provenance.skill] += one.weight  # pyright: ignore[reportArgumentType]
    assert mass["a"] == pytest.approx(mass["b"]) == pytest.approx(40)
    spread = Balance(short="spread").select(candidates, 80, choice())
    assert {one.weight for one in spread} == {1.0}
    assert parts(spread) == {"a": 60, "b": 20}


def test_weights_that_lessons_have_are_kept() -> None:
    heavy = [msgspec.structs.replace(one, weight=3.0) for one in bank(a=2)] + bank(b=1)
    chosen = Balance().select(heavy, 3, choice())
    assert {one.provenance.skill: one.weight for one in chosen} == pytest.approx({"a": 3.0 * 0.75, "b": 1.5})


def test_others_share_what_the_target_leaves_them() -> None:
    candidates = bank(**{"Code-Debug": 100, "x": 100, "y": 100})
    chosen = Balance(target={"code debug": 0.6, "others": 0.4}).select(candidates, 100, choice())
    assert parts(chosen) == {"Code-Debug": 60, "x": 20, "y": 20}
    # Without "others", the unnamed come only when the named have run out.
    assert parts(Balance(target={"code debug": 0.6}).select(candidates, 120, choice())) == {
        "Code-Debug": 100, "x": 10, "y": 10,
    }  # fmt: skip


def test_the_released_operators_mixture() -> None:
    assert len(TAPIR) == 32
    assert math.fsum(TAPIR.values()) == pytest.approx(1.0)
    chosen = Balance(mixture="tapir").select(bank(math=99, sport=99, cooking=99), 225, choice())
    # 0.167 : 0.017 : 0.041 of what these have together, 0.225; math has 99 rows alone, the rest goes 17 : 41.
    assert parts(chosen) == {"math": 99, "sport": 37, "cooking": 89}
    weight = {one.provenance.skill: one.weight for one in chosen}
    assert weight["math"] * 99 / (weight["sport"] * 37) == pytest.approx(0.167 / 0.017)


def test_subjects_may_be_balanced_in_the_place_of_skills() -> None:
    def of(subject: str, number: int) -> Lesson:
        one = lesson(f"{subject} {number}")
        return msgspec.structs.replace(one, problem=msgspec.structs.replace(one.problem, subject=subject))

    candidates = [of(subject, number) for subject, count in (("x", 30), ("y", 90)) for number in range(count)]
    chosen = Balance(of="subject").select(candidates, 40, choice())
    assert Counter(one.problem.subject for one in chosen) == {"x": 20, "y": 20}


@pytest.mark.parametrize("target", [{"a": -0.1, "b": 1.0}, {"a": math.inf}, {"a": math.nan}])
def test_shares_that_are_none_are_refused(target: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="target: every share must be at least 0"):
        Balance(target=target)
    with pytest.raises(ValueError, match="target: some share must be above 0"):
        Balance(target={"a": 0.0})


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1),
    st.dictionaries(st.sampled_from(["a", "b", "c", "others"]), st.floats(0.01, 1)),
    st.integers(1, 90),
)
def test_weights_make_the_mass_the_target_wherever_there_are_rows(
    available: dict[str, int], target: dict[str, float], budget: int
) -> None:
    selector = Balance(target=target)
    chosen = selector.select(bank(**available), budget, choice())
    shares = selector.shares_of(sorted({selector.kind(one) for one in chosen}))
    mass = Counter[str]()
    for one in chosen:
        mass[selector.kind(one)] += one.weight if shares[selector.kind(one)] > 0 else 0  # pyright: ignore[reportArgumentType]
    whole = sum(mass.values())
    if whole:
        wanted = {kind: share for kind, share in shares.items() if share > 0}
        assert {kind: mass[kind] / whole for kind in wanted} == pytest.approx(wanted)


# --- skill_it ---------------------------------------------------------------------------------------------------------

LOSSES = [
    {"a": 0.9, "b": 0.4, "c": 0.5},
    {"a": 0.7, "b": 0.4, "c": 0.3},
    {"a": 0.5, "b": 0.3, "c": 0.3},
    {"a": 0.4, "b": 0.3, "c": 0.1},
]
GRAPH = {"a": ["b"], "b": ["c"]}


def closed_form(values: dict[str, float]) -> dict[str, float]:
    whole = math.fsum(math.exp(value) for value in values.values())
    return {skill: math.exp(value) / whole for skill, value in values.items()}


def test_the_mixture_is_the_closed_form() -> None:
    seen = {skill: LOSSES[1][skill] + LOSSES[2][skill] + LOSSES[3][skill] for skill in "abc"}  # w = 3
    assert seen == pytest.approx({"a": 1.6, "b": 1.0, "c": 0.7})
    wanted = closed_form({"a": 0.5 * (1.6 + 0.5 * 1.0), "b": 0.5 * (1.0 + 0.5 * 0.7), "c": 0.5 * 0.7})
    assert SkillIt(helps=GRAPH).mixture(LOSSES) == pytest.approx(wanted)
    identity = closed_form({skill: 0.8 * value for skill, value in seen.items()})
    assert SkillIt(eta=0.8).mixture(LOSSES) == pytest.approx(identity)
    assert SkillIt(eta=0).mixture(LOSSES) == pytest.approx(dict.fromkeys("abc", 1 / 3))
    # Only the window is remembered: rounds before it change nothing.
    assert SkillIt(helps=GRAPH).mixture([{"a": 99.0, "b": 0.0, "c": 0.0}, *LOSSES[1:]]) == pytest.approx(wanted)
    last = closed_form({skill: 0.5 * loss for skill, loss in LOSSES[3].items()})
    assert SkillIt(window=1).mixture(LOSSES) == pytest.approx(last)


def test_the_first_round_goes_by_the_graph_alone() -> None:
    wanted = closed_form({"a": 0.5 * 1.5, "b": 0.5 * 1.5, "c": 0.5 * 1.0})  # exp(eta * A * 1)
    assert SkillIt(helps=GRAPH).mixture(LOSSES[:1]) == pytest.approx(wanted)
    measured = closed_form({"a": 0.5 * (0.9 + 0.2), "b": 0.5 * (0.4 + 0.25), "c": 0.5 * 0.5})
    assert SkillIt(helps=GRAPH, first="measured").mixture(LOSSES[:1]) == pytest.approx(measured)


def test_one_target_has_the_mean_of_its_window() -> None:
    mean_c = (0.3 + 0.3 + 0.1) / 3
    wanted = closed_form({"a": 0.0, "b": 0.5 * 0.5 * mean_c, "c": 0.5 * mean_c})
    assert SkillIt(helps=GRAPH, targets=("c",)).mixture(LOSSES) == pytest.approx(wanted)
    both = closed_form({"a": 0.5 * 0.5 * 1.0, "b": 0.5 * (1.0 + 0.5 * 0.7), "c": 0.5 * 0.7})
    assert SkillIt(helps=GRAPH, targets=("b", "c")).mixture(LOSSES) == pytest.approx(both)


def test_the_codes_options_by_hand() -> None:
    relative = {s: math.fsum(LOSSES[r][s] / LOSSES[0][s] for r in (1, 2, 3)) for s in "abc"}
    wanted = closed_form({skill: 0.5 * value for skill, value in relative.items()})
    assert SkillIt(relative=True).mixture(LOSSES) == pytest.approx(wanted)
    eta = 0.5 * (0.9 + 0.4 + 0.5) / (0.4 + 0.3 + 0.1)
    growing = closed_form({"a": eta * 1.6, "b": eta * 1.0, "c": eta * 0.7})
    assert SkillIt(growing=True).mixture(LOSSES) == pytest.approx(growing)
    edge = 0.5 / 8  # the fourth round
    halved = closed_form({"a": 0.5 * (1.6 + edge * 1.0), "b": 0.5 * (1.0 + edge * 0.7), "c": 0.5 * 0.7})
    assert SkillIt(helps=GRAPH, halving=True).mixture(LOSSES) == pytest.approx(halved)
    plain = SkillIt(helps={"a": ["b"]}).mixture(LOSSES)
    apart = SkillIt(helps={"a": ["b"]}, isolated=True).mixture(LOSSES)
    assert apart["c"] == pytest.approx(1 / 3)
    assert apart["a"] / apart["b"] == pytest.approx(plain["a"] / plain["b"])
    assert math.fsum(apart.values()) == pytest.approx(1.0)


def test_large_exponents_do_not_overflow() -> None:
    shares = SkillIt(eta=1e6).mixture(LOSSES)
    assert shares == pytest.approx({"a": 1.0, "b": 0.0, "c": 0.0})


def test_losses_are_what_the_examinations_missed() -> None:
    seen = [profile({"a": (10, 8), "b": (10, 1), "new": (0, 0)}), profile({"a": (10, 6), "b": (10, 1), "new": (4, 4)})]
    where = choice(profile=seen[-1], profiles=seen, index=2)
    chosen = SkillIt(eta=2.0).select(bank(a=200, b=200, new=200), 200, where)
    # `new` was not tried in round 1: the mean of the others, 0.45, stands for it.
    wanted = closed_form({"a": 2 * 1.4, "b": 2 * 0.2, "new": 2 * 1.45})
    assert parts(chosen) == {s: pytest.approx(200 * share, abs=1) for s, share in wanted.items()}


@dataclass(frozen=True)
class Plain:
    instruction: str = "Think."

    def reference(self, problem: Problem) -> str:
        return f"Answer: {problem.answer}"


def test_token_losses_are_measured_and_earlier_ones_read_again(tmp_path: Path) -> None:
    problems = [Problem(question=f"{s} {n}", answer=str(n), skills=(s,)) for s in "ab" for n in range(5)]
    problems.append(Problem(question="solved", answer="9", solution="by hand", skills=("b",)))
    problems.append(Problem(question="nobody knows", skills=("b",)))
    heard: list[tuple[str, str]] = []

    def loss(scale: float) -> Told:
        def of(prompt: Sequence[Any], text: str) -> float:
            assert prompt[0] == {"role": "system", "content": "Think."}
            heard.append((prompt[1]["content"], text))
            return scale * (2.0 if prompt[1]["content"].startswith("a") else 1.0)

        return Told(of, name=f"scale {scale}")

    selector = SkillIt(loss="tokens", validation=0)
    folders = [tmp_path / "01" / "select", tmp_path / "02" / "select"]
    seen = profile({"a": (9, 3), "b": (9, 3)})
    task = cast(Any, Plain())
    one = choice(profile=seen, problems=problems, task=task, folder=folders[0], scores=scores_of(now=loss(1.0)))
    selector.select(bank(a=50, b=50), 40, one)
    assert ("solved", "by hand") in heard
    assert ("a 3", "Answer: 3") in heard
    assert "nobody knows" not in {question for question, _ in heard}
    assert read_yaml(folders[0] / "skill_losses.json") == {"losses": {"a": 2.0, "b": 1.0}}
    two = choice(
        profile=seen, problems=problems, task=task, index=2, folder=folders[1], folders=folders[:1],
        scores=scores_of(now=loss(0.5)),
    )  # fmt: skip
    chosen = selector.select(bank(a=100, b=100), 100, two)
    part = closed_form({"a": 0.5 * (2.0 + 1.0), "b": 0.5 * (1.0 + 0.5)})
    assert parts(chosen) == {"a": round(100 * part["a"]), "b": round(100 * part["b"])}


def test_few_validation_problems_are_the_same_ones_every_time() -> None:
    problems = [Problem(question=f"a {n}", answer=str(n), skills=("a",)) for n in range(50)]
    asked: list[set[str]] = []
    for order in (problems, problems[::-1]):
        student = Told(lambda prompt, text: 1.0)
        heard = set[str]()
        student.loss = lambda prompt, text, heard=heard: heard.add(text) or 1.0
        where = choice(problems=order, task=cast(Any, Plain()), scores=scores_of(now=student))
        SkillIt(loss="tokens", validation=8).select(bank(a=9), 3, where)
        asked.append(heard)
    assert asked[0] == asked[1]
    assert len(asked[0]) == 8


def test_skill_it_names_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match=r"select.helps: there is no skill 'aa'; "):
        SkillIt(helps={"aa": ["b"]}).select(bank(a=2), 1, choice())
    with pytest.raises(InputError, match=r"select.targets: there is no skill 'z'"):
        SkillIt(targets=("z",)).select(bank(a=2), 1, choice())
    with pytest.raises(InputError, match="skill_it goes by how probable the student finds texts"):
        SkillIt(loss="tokens").select(bank(a=2), 1, choice())
    nobody = [Problem(question="q", skills=("a",))]
    student = Told(lambda prompt, text: 1.0)
    no_answers = choice(problems=nobody, task=cast(Any, Plain()), scores=scores_of(now=student))
    with pytest.raises(InputError, match="no train problem has a reference answer to score"):
        SkillIt(loss="tokens").select(bank(a=2), 1, no_answers)
    with pytest.raises(ValueError, match="eta, edge and validation must be at least 0, window at least 1"):
        SkillIt(window=0)


# --- hardness and quotas ----------------------------------------------------------------------------------------------


def test_hardness_by_success_looks_at_the_problem_then_its_seed_then_its_skill() -> None:
    attempts = [attempt("hard", 0.0), attempt("hard", 0.5, sample=1), attempt("easy", 1.0), attempt("unsure", None)]
    hard = attempts[0].problem
    new = lesson("new", seed=hard.id)
    written = msgspec.structs.replace(
        lesson("written"), problem=Problem(question="written", answer="2", parent=hard.id)
    )
    rows = [lesson("hard"), lesson("easy"), new, written, lesson("unseen", skill="a"), lesson("unsure", skill="b"),
            lesson("nothing known", skill="z"), lesson("no skill", skill=None)]  # fmt: skip
    seen = profile({"a": (10, 4), "b": (10, 9)})
    assert by_success(rows, attempts, seen) == pytest.approx([0.75, 0.0, 0.75, 0.75, 0.4, 0.9, 0.5, 0.5])


def rolled(**right: int) -> list[Any]:
    """8 attempts at each problem, so many of them right."""
    return [attempt(name, float(number < count), sample=number) for name, count in right.items() for number in range(8)]


def answers(**counts: int) -> list[Lesson]:
    return [lesson(name, f"way {number}") for name, count in counts.items() for number in range(count)]


def questions(lessons: Sequence[Lesson]) -> dict[str, int]:
    return dict(Counter(one.problem.question for one in lessons))


def test_hard_problems_have_their_quota_before_easy_ones_get_a_row() -> None:
    # hard and harder have fewer than 4 of 8 right; even has 4 and is not hard, as in GSI's script.
    attempts = rolled(hard=3, harder=1, even=4, easy=8)
    candidates = answers(easy=8, even=8, hard=6, harder=2)
    selector = HardQuota()
    chosen = questions(selector.select(candidates, 6, choice(attempts=attempts)))
    assert chosen == {"hard": 4, "harder": 2}  # 4 of 6, and both that there are
    chosen = questions(selector.select(candidates, 16, choice(attempts=attempts)))
    assert chosen["hard"] >= 4
    assert chosen["harder"] == 2
    assert sum(chosen.values()) == 16
    # A tight budget is spread over all hard problems first.
    chosen = questions(selector.select(answers(hard=6, harder=6, easy=9), 4, choice(attempts=attempts)))
    assert chosen == {"hard": 2, "harder": 2}


def test_no_problem_has_more_rows_than_the_cap() -> None:
    candidates = answers(easy=40, hard=40)
    attempts = rolled(hard=0, easy=8)
    chosen = questions(HardQuota().select(candidates, 80, choice(attempts=attempts)))
    assert chosen == {"easy": 10, "hard": 10}  # ReST-EM's 10 for each problem
    unbound = questions(HardQuota(per_problem=0).select(candidates, 80, choice(attempts=attempts)))
    assert unbound == {"easy": 40, "hard": 40}
    few = questions(HardQuota(per_problem=2).select(candidates, 80, choice(attempts=attempts)))
    assert few == {"easy": 2, "hard": 2}


@pytest.mark.parametrize("budget", [3, 5, 9, 14])
def test_shares_are_the_chances_of_being_drawn(budget: int) -> None:
    candidates = answers(hard=7, harder=5, easy=6)
    attempts = rolled(hard=0, harder=2, easy=8)
    selector = HardQuota(at_least_hard=2, per_problem=5)
    drawn = Counter[str]()
    shares: dict[str, float] = {}
    tries = 600
    for seed in range(tries):
        for one in selector.select(candidates, budget, choice(seed, attempts=attempts)):
            drawn[one.id] += 1
            assert one.share is not None
            assert shares.setdefault(one.id, one.share) == pytest.approx(one.share)
    assert math.fsum(shares.values()) == pytest.approx(budget)
    for one, share in shares.items():
        assert drawn[one] / tries == pytest.approx(share, abs=4.5 * math.sqrt(share * (1 - share) / tries) + 1e-9)


def test_quota_knobs_are_checked() -> None:
    with pytest.raises(ValueError, match="at_least_hard and per_problem must be at least 0, hard_below in"):
        HardQuota(hard_below=4)


def test_the_hard_share_rises_over_the_rounds() -> None:
    attempts = [attempt(f"hard {n}", 0.0) for n in range(50)] + [attempt(f"easy {n}", 0.8) for n in range(50)]
    candidates = [lesson(f"{kind} {n}") for kind in ("hard", "easy") for n in range(50)]
    counts: list[int] = []
    for index in range(1, 6):
        chosen = HardShare().select(candidates, 40, choice(attempts=attempts, index=index))
        assert len(chosen) == 40
        counts.append(sum(one.problem.question.startswith("hard") for one in chosen))
    assert counts == [12, 20, 28, 36, 40]  # 0.3, 0.5, 0.7, 0.9 and all
    # A gap of 2 points of 10 is not above the bound: 0.8 is easy.
    assert HardShare(above=0.19).select(candidates, 100, choice(attempts=attempts)) != []
    harder = HardShare(start=1.0, above=0.19).select(candidates, 100, choice(attempts=attempts))
    assert len(harder) == 100


def test_the_hard_share_may_go_by_loss() -> None:
    candidates = [lesson(f"{n}", f"c{n}") for n in range(20)]
    student = Told(lambda prompt, text: 3.0 if int(text[1:]) < 10 else 1.0)
    where = choice(scores=scores_of(now=student))
    chosen = HardShare(by="loss", above=2.0).select(candidates, 10, where)
    assert sum(int(one.completion[1:]) < 10 for one in chosen) == 3
    with pytest.raises(InputError, match="hard_share goes by how probable the student finds texts"):
        HardShare(by="loss").select(candidates, 10, choice())
