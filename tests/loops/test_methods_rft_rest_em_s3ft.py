"""RFT, ReST-EM and S3FT: what of the student's own answers is kept."""

from pathlib import Path

import pytest

from loops.methods.rest_em import RestEm
from loops.methods.rft import RejectionSampling
from loops.methods.s3ft import SelfToSupervised
from loops.rolling import AT_ONCE, parts
from tests.loops.teaching import attempt, last, own_prompt, problem, teach, texts

ONE, TWO = problem("one", "7"), problem("two", "9")

DRAWN = [
    "3+4=7 pens.\nAnswer: 7",  # the first with 3+4
    "Add: 3 + 4 = 7.\nAnswer: 7",  # calculates as the first
    "There are 9-2=7.\nAnswer: 7",  # another way
    "3+5=7 so\nAnswer: 7",  # right by a false equation
    "3+4=7 but\nAnswer: 8",  # wrong answer
    "It is so.\nAnswer: 7",  # no equation
]


def test_rft_keeps_one_right_solution_for_each_list_of_equations(tmp_path: Path) -> None:
    lessons, round_, teacher, student = teach(
        RejectionSampling(samples=6), [attempt(ONE)], tmp_path, say=lambda chat, n: DRAWN[n]
    )
    # Kept by key: 3+4=7, 9-2=7, none. When the second 3+4 text comes, nothing else is kept, so the first stays.
    assert texts(lessons) == ["one comes first.\nAnswer: 7", DRAWN[0], DRAWN[2], DRAWN[5]]
    assert all(lesson.prompt == own_prompt(ONE) for lesson in lessons)
    assert {lesson.provenance.skill for lesson in lessons} == {"ordering"}  # the missing one
    assert dict(round_.counts) == {
        "own answers": 6,
        "own answers wrong or not gradable": 1,
        "right answers with a false equation": 1,
        "right answers that calculate like another": 1,
        "reference solutions": 1,
    }
    (chats, generation, samples, _), = student.asked  # fmt: skip
    assert (chats, samples) == ([own_prompt(ONE)], 6)
    assert (generation.temperature, generation.max_tokens) == (0.7, 256)
    assert teacher.requests == []


def test_rft_replaces_a_text_by_one_farther_from_the_others(tmp_path: Path) -> None:
    near, far, other = "3+4=7\nAnswer: 7", "So we see that 3+4=7 pens.\nAnswer: 7", "9-2=7\nAnswer: 7"
    drawn = [near, other, far]
    lessons, *_ = teach(
        RejectionSampling(samples=3, gold=False), [attempt(ONE)], tmp_path, say=lambda chat, n: drawn[n]
    )
    assert texts(lessons) == [far, other]


def test_rft_takes_the_papers_numbers_by_default() -> None:
    assert (RejectionSampling().samples, RejectionSampling().temperature) == (100, 0.7)


def test_rft_without_the_check_and_the_reference(tmp_path: Path) -> None:
    method = RejectionSampling(samples=6, equations=False, gold=False)
    lessons, *_ = teach(method, [attempt(ONE)], tmp_path, say=lambda chat, n: DRAWN[n])
    assert texts(lessons) == [DRAWN[0], DRAWN[2], DRAWN[3], DRAWN[5]]
    bare = problem("bare", "7", None)
    lessons, *_ = teach(RejectionSampling(samples=1), [attempt(bare)], tmp_path, say=lambda c, n: "No.\nAnswer: 0")
    assert lessons == []  # a bare answer is no solution to merge


def test_rft_of_missed_asks_once_for_each_missed_problem(tmp_path: Path) -> None:
    attempts = [attempt(ONE, score=1.0), attempt(TWO), attempt(TWO, "again")]
    _, _, _, student = teach(RejectionSampling(samples=2, of="missed"), attempts, tmp_path)
    assert [chat for chats, *_ in student.asked for chat in chats] == [own_prompt(TWO)]
    _, _, _, student = teach(RejectionSampling(samples=2), attempts, tmp_path)
    assert [chat for chats, *_ in student.asked for chat in chats] == [own_prompt(ONE), own_prompt(TWO)]


def test_many_samples_are_drawn_a_stretch_at_a_time() -> None:
    stretches = list(parts(range(100), 100))
    assert [item for stretch in stretches for item in stretch] == list(range(100))
    assert max(len(stretch) for stretch in stretches) * 100 <= AT_ONCE
    assert [len(stretch) for stretch in parts(range(3), 10 * AT_ONCE)] == [1, 1, 1]


def test_stretches_do_not_change_what_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [attempt(problem(f"p{n}", "7")) for n in range(5)]

    def say(chat: object, n: int) -> str:
        return f"{last(chat)} {n}+0={n}\nAnswer: 7"  # type: ignore[arg-type]

    whole, _, _, once = teach(RejectionSampling(samples=4), problems, tmp_path, say=say)
    monkeypatch.setattr("loops.rolling.AT_ONCE", 8)
    apart, _, _, thrice = teach(RejectionSampling(samples=4), problems, tmp_path, say=say)
    assert apart == whole
    assert (len(once.asked), len(thrice.asked)) == (1, 3)
    assert len({seed for *_, seed in (*once.asked, *thrice.asked)}) == 1


def test_rest_em_keeps_ten_different_right_answers_of_a_problem(tmp_path: Path) -> None:
    def say(chat: object, n: int) -> str:
        return f"Way {n // 2}.\nAnswer: {7 if n % 8 else 0}"  # every other the same; every eighth wrong

    lessons, round_, _, student = teach(RestEm(), [attempt(ONE)], tmp_path, say=say)
    # 32 drawn, 4 wrong (0, 8, 16, 24); 28 right in 16 ways, 12 of them twice: 10 kept.
    assert texts(lessons) == [f"Way {n}.\nAnswer: 7" for n in range(10)]
    assert dict(round_.counts) == {
        "own answers": 32,
        "own answers wrong or not gradable": 4,
        "right answers that were there already": 12,
        "right answers above the cap": 6,
    }
    assert student.asked[0][1].temperature == 0.7
    assert RestEm().earlier is False


def test_s3ft_prefers_own_answers_then_paraphrases_then_references(tmp_path: Path) -> None:
    right, mended, stuck, bare = (problem(name, "7") for name in ("right", "mended", "stuck", "bare"))
    bare = problem("bare", None, None)
    attempts = [
        attempt(right, "Mine, wrong.\nAnswer: 1"),
        attempt(right, "Mine.\nAnswer: 7", 1.0),
        attempt(mended, "No.\nAnswer: 3"),
        attempt(stuck, "No.\nAnswer: 3"),
        attempt(bare, "?", None),
    ]

    def say(chat: object, n: int) -> str:
        return "In my words.\nAnswer: 7" if "mended" in last(chat) else "Lost.\nAnswer: 2"  # type: ignore[arg-type]

    lessons, round_, teacher, student = teach(SelfToSupervised(), attempts, tmp_path, say=say)
    assert texts(lessons) == ["Mine.\nAnswer: 7", "In my words.\nAnswer: 7", "stuck comes first.\nAnswer: 7"]
    assert [lesson.prompt for lesson in lessons] == [own_prompt(right), own_prompt(mended), own_prompt(stuck)]
    assert lessons[0].provenance.attempt == attempts[1].id  # the answer that it is
    assert dict(round_.counts) == {
        "own answers": 1, "paraphrased references": 1, "references": 1, "problems without an answer": 1,
    }  # fmt: skip
    (chats, *_), = student.asked  # only what was missed is asked, with the reference in sight  # fmt: skip
    assert [("mended comes first.\nAnswer: 7" in last(c), "stuck comes first." in last(c)) for c in chats] == [
        (True, False),
        (False, True),
    ]
    assert teacher.requests == []


def test_s3ft_without_paraphrases_asks_nothing(tmp_path: Path) -> None:
    lessons, _, _, student = teach(SelfToSupervised(paraphrases=0), [attempt(ONE)], tmp_path)
    assert texts(lessons) == ["one comes first.\nAnswer: 7"]
    assert student.asked == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: RejectionSampling(samples=0),
        lambda: RestEm(per_problem=0),
        lambda: SelfToSupervised(paraphrases=2, temperature=0.0),
    ],
)
def test_impossible_knobs_are_refused(make) -> None:
    with pytest.raises(ValueError, match="must be|needs"):
        make()
