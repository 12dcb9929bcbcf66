"""The split is frozen before anything else, and stays as it was frozen."""

import shutil
from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.jsonl import read_jsonl, write_jsonl
from lessons.records import Problem
from loops.exams.freezing import check, freeze, without_overlap
from loops.reading import RunView
from loops.recipe import resolve
from loops.store import RunFolder
from loops.tasks.base import Split
from loops.watching.progress import Silent
from loops.work import PARTS, Work

RECIPE = {
    "task": {"id": "skills_demo", "train": 3, "held_out": 3, "gate": 2, "final": 2, "warm_up": 1},
    "student": "tiny",
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
}


def problem(question: str) -> Problem:
    return Problem(question=question, answer="1")


def frozen(path: Path) -> Work:
    recipe = resolve(RECIPE)
    work = Work(folder=RunFolder(path), recipe=recipe, listener=Silent())
    work.folder.start(recipe.plain())
    freeze(work)
    return work


def test_every_part_is_written_with_its_digest_and_nobody_has_been_asked(tmp_path: Path) -> None:
    work = frozen(tmp_path / "run")
    run = RunView.open(tmp_path / "run")
    assert run.frozen is not None
    sizes = {part: row.problems for part, row in run.frozen.parts.items()}
    assert sizes == {"held_out": 24, "final": 16, "gate": 16, "warm_up": 8, "train": 24}
    assert sizes == {part: sum(1 for _ in run.problems(part)) for part in sizes}
    assert not {"teacher", "base"} & set(work.__dict__)  # neither was even made
    work.folder.release()


@pytest.mark.parametrize("part", [part for part in PARTS if part != "pool"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, part: str) -> None:
    work = frozen(tmp_path / "run")
    freeze(work)  # unchanged: it goes on
    path = tmp_path / "run/problems" / f"{part}.jsonl"
    before = path.read_bytes()
    rows = list(read_jsonl(path, Problem))
    write_jsonl(path, rows[:-1])
    with pytest.raises(InputError, match=rf"{part}\.jsonl: had other content when the run's problems were frozen") as e:
        freeze(work)
    assert "\n" not in str(e.value)
    path.unlink()
    with pytest.raises(
        InputError, match=rf"{part}\.jsonl: held {len(rows)} problems when the run's problems were frozen, and is gone"
    ):
        freeze(work)
    path.write_bytes(before)
    freeze(work)
    work.folder.release()


def test_a_file_that_was_not_there_is_refused_and_an_old_run_passes(tmp_path: Path) -> None:
    work = frozen(tmp_path / "run")
    folder = tmp_path / "run/problems"
    shutil.copy(folder / "train.jsonl", folder / "pool.jsonl")
    with pytest.raises(InputError, match=r"pool\.jsonl: was not there when"):
        check(folder)
    (folder / "frozen.json").unlink()  # as runs of the first version are
    check(folder)
    work.folder.release()


def test_what_is_taught_shares_no_question_with_any_exam() -> None:
    one, two, three, four = (problem(f"Question {n}?") for n in "1234")
    again = [problem(f"question  {n}?") for n in "123"]
    split = Split(
        train=(four, again[0]),
        pool=(again[1], four),
        warm_up=(again[2],),
        held_out=(one,),
        gate=(two,),
        final=(three,),
    )
    clean, gone = without_overlap(split)
    assert (clean.train, clean.pool, clean.warm_up, gone) == ((four,), (four,), (), 3)
    assert (clean.held_out, clean.gate, clean.final) == ((one,), (two,), (three,))


def test_a_final_problem_that_every_round_asks_is_refused() -> None:
    one, two = problem("One?"), problem("Two?")
    with pytest.raises(InputError, match=r"1 final problems are asked in every round's exam too.*'TWO\?'"):
        without_overlap(Split(train=(problem("Three?"),), held_out=(one, two), final=(problem("TWO?"),)))
