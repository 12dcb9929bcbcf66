"""Write a whole run folder without running anything: as many rounds, skills and lessons as asked for. Prints its path.

    python scripts/synthesise_run.py OUT [--rounds 5] [--skills 12] [--lessons 10000] [--a-round] [--seed 0]

The stories, the student's slips and the teacher's words are made up; the records, the store, the exam's statistics and
the ledger are the project's own, so that every command can look at the folder. `--lessons` counts the new lessons that
are trained on, in all rounds together, or with `--a-round` in each. What a stage took and a call cost is made up too.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
from made_up import Maker

from lessons.jsonl import write_jsonl
from lessons.records import Attempt, Check, Dropped, Lesson, LostReply, Message, Problem, Provenance
from lessons.skills import SkillProfile
from loops.exams.gate import judge, sum_up
from loops.exams.records import Contamination, SharedText
from loops.recipe import resolve
from loops.records import FinalExam, Finished, NoiseFloor, RoundLearned, RunInfo
from loops.store import RunFolder, write_record
from students.base import Learned

DROPS = (
    ("verified", "wrong answer", 9),
    ("near_duplicate", "too like another lesson", 6),
    ("stat_syn", "solutions disagree", 5),
    ("format", "no final answer", 2),
    ("contamination", "13-gram of the exam", 1),
)


def write_round(run: RunFolder, make: Maker, index: int, train: Sequence[Problem], exam: Sequence[Problem]) -> None:
    """Write a round from its first stage to its training."""
    folder, took = run.round(index), Random(f"seconds{index}{make.seed}").uniform
    said = make.answers(train, index - 1)
    write_jsonl(folder / "answers.jsonl", said)
    counts = {
        "examine/attempts": len(said),
        "examine/right": sum(a.right for a in said),
        "examine/failed": sum(a.failed for a in said),
    }
    _finish(run, make, index, "examine", ("answers.jsonl",), counts, took(150, 210))
    attempts = make.diagnosed(said)
    missed = [attempt for attempt in attempts if attempt.missing]
    write_jsonl(folder / "attempts.jsonl", attempts)
    write_record(folder / "profile.json", SkillProfile.of(attempts, make.names))
    counts = {"diagnose/asked": len(missed), "diagnose/failures": counts["examine/failed"]}
    _finish(run, make, index, "diagnose", ("attempts.jsonl", "profile.json"), counts, took(50, 90))
    made = list(make.candidates(missed, index, round(make.new * 1.4)))
    lost = [LostReply(prompt="solution", reason="truncated", detail="cut at 512 tokens")] * max(1, len(made) // 60)
    write_jsonl(folder / "candidates.jsonl", made)
    write_jsonl(folder / "lost.jsonl", lost)
    counts = {
        "teach/asked": 2 * len(made) + len(lost),
        "teach/answered": 2 * len(made) + len(lost),
        "teach/parsed": 2 * len(made),
    }
    _finish(run, make, index, "teach", ("candidates.jsonl", "lost.jsonl"), counts, took(300, 900))
    kept, dropped = sift(made, make.new)
    write_jsonl(folder / "kept.jsonl", kept)
    write_jsonl(folder / "dropped.jsonl", dropped)
    write_jsonl(folder / "dropped_by_method.jsonl", (drop for drop in dropped if drop.check.filter == "stat_syn"))
    drops = Counter(f"drop/{drop.check.filter}: {drop.check.reason}" for drop in dropped)
    _finish(
        run, make, index, "filter", ("kept.jsonl", "dropped.jsonl"), {"filter/kept": len(kept), **drops}, took(2, 9)
    )
    rng = Random(f"select{index}{make.seed}")
    new = [
        msgspec.structs.replace(x, weight=rng.choice((0.5, 1.0, 1.5)), share=round(rng.uniform(0.02, 0.3), 4))
        for x in kept[: make.new]
    ]
    replay = [
        Lesson(
            prompt=(Message(role="user", content=a.problem.question),), completion=a.text, problem=a.problem,
            provenance=Provenance(method="replay", round=index, attempt=a.id, skill=a.problem.skills[0]),
        )
        for a in attempts if a.right
    ][: make.new // 10]  # fmt: skip
    rows = [*new, *replay]
    rng.shuffle(rows)
    write_jsonl(folder / "lessons.jsonl", rows)
    write_record(folder / "contamination.json", contamination(index, rows, exam))
    _finish(
        run, make, index, "select", ("lessons.jsonl",), {"select/new": len(new), "select/replayed": len(replay)}, 0.4
    )
    steps = max(20, len(rows) // 16)
    losses = tuple(
        round(0.28 + (0.55 - 0.06 * index) / (1 + 8 * step / steps) + rng.uniform(-0.02, 0.02), 4)
        for step in range(steps)
    )
    learned = Learned(
        lessons=len(rows), steps=steps, trained_tokens=90 * len(rows), loss_first=losses[0], loss_last=losses[-1],
        seconds=took(300, 500), adapter=f"{index:08x}", losses=losses,
    )  # fmt: skip
    write_record(
        folder / "learned.json", RoundLearned(student=f"{index:08x}", taught=f"{index - 1:08x}", learned=learned)
    )
    _finish(run, make, index, "learn", ("learned.json",), {"learn/steps": steps}, learned.seconds)
    asyncio.run(make.flush(run.path / "calls.sqlite"))


def sift(made: Sequence[Lesson], least: int) -> tuple[list[Lesson], list[Dropped]]:
    """Drop as many as the reasons' weights say, and leave at least this many."""
    names = ("format", "duplicate", "verified", "near_duplicate", "overlap")
    passed = tuple(Check(filter=name, passed=True) for name in names)
    kept: list[Lesson] = []
    dropped: list[Dropped] = []
    for number, lesson in enumerate(made):
        rng = Random(f"sift{lesson.id}")
        if rng.random() < 0.26 and len(made) - number + len(kept) > least:
            name, reason, _ = rng.choices(DROPS, weights=[drop[2] for drop in DROPS])[0]
            before = names.index(name) if name in names else 0
            check = Check(filter=name, passed=False, reason=reason, detail=f"{rng.randint(10, 99)} of 100")
            dropped.append(Dropped(lesson=msgspec.structs.replace(lesson, checks=passed[:before]), check=check))
        else:
            kept.append(msgspec.structs.replace(lesson, checks=passed))
    return kept, dropped


def contamination(index: int, rows: Sequence[Lesson], exam: Sequence[Problem]) -> Contamination:
    """Return what an audit of the rows might have found."""
    touched = rows[:: len(rows) // 5 + 1]
    examples = tuple(
        SharedText(
            lesson=row.id, problem=problem.id, part="held_out", kind="13-gram", where="prompt",
            text=" ".join(problem.question.lower().split()[:13]),
        )
        for row, problem in zip(touched, exam, strict=False)
    )  # fmt: skip
    return Contamination(
        round=index, lessons=len(rows), problems=len(exam), rows={"exact": 0, "13-gram": len(examples)}, own=1,
        touched={"held_out": len(examples)}, dropped={"13-gram": 12}, baseline=0.004, examples=examples,
    )  # fmt: skip


def write_final(run: RunFolder, make: Maker, best: int, count: int) -> None:
    """Write the final exam of the first student and of the one that the run ends with."""
    problems = make.problems("final", count)
    write_jsonl(run.path / "problems" / "final.jsonl", problems)
    exams = {level: make.answers(problems, level) for level in (0, best)}
    for level, attempts in exams.items():
        write_jsonl(run.round(level) / "final.jsonl", attempts)
    base = sum_up(0, f"{0:08x}", exams[0], skills=make.names)
    last = sum_up(best, f"{best:08x}", exams[best], skills=make.names, before=exams[0], start=exams[0])
    write_record(run.path / "final.json", FinalExam(round=best, metrics=last, base=base))


def write_exam(run: RunFolder, make: Maker, index: int, exams: list[list[Attempt]], before: int) -> bool:
    """Write a round's exam against that of the student that the round started with; return whether it was kept."""
    folder = run.round(index)
    was = exams[before] if index else None
    metrics = sum_up(
        index, f"{index:08x}", exams[index], skills=make.names, before=was, start=exams[0] if index else None
    )
    promoted, verdict = True, "the student before any lesson"
    if metrics.change is not None:
        promoted, verdict = judge(metrics.change, rule="significant", alpha=0.05)
    write_jsonl(folder / "exam.jsonl", exams[index])
    write_record(folder / "metrics.json", msgspec.structs.replace(metrics, promoted=promoted, verdict=verdict))
    counts = {"exam/right": metrics.right, "exam/graded": metrics.n, "exam/promoted": int(promoted)}
    _finish(run, make, index, "exam", ("exam.jsonl", "metrics.json"), counts, 41.0)
    return promoted


def _finish(
    run: RunFolder,
    make: Maker,
    index: int,
    stage: str,
    outputs: tuple[str, ...],
    counts: dict[str, int],
    seconds: float,
) -> None:
    make.now += timedelta(seconds=seconds)
    marker = run.finish(index, stage, outputs, counts, seconds)
    path = run.path / "rounds" / f"{index:02d}" / ".done" / f"{stage}.json"
    write_record(path, msgspec.structs.replace(marker, finished=make.stamp()))


def synthesise(out: Path, make: Maker, *, train: int = 2_000, held_out: int = 600) -> Path:
    """Write the run and return its folder."""
    recipe = resolve(
        {
            "task": {"id": "skills_demo"},
            "student": "tiny",
            "teacher": {"kind": "rule_tutor"},
            "method": {"id": "stat_syn", "new": 2, "solutions": 3, "agree": 2},
            "rounds": make.rounds,
            "seed": make.seed,
        }
    )
    run = RunFolder(out)
    run.start(recipe.plain())
    asked, exam = make.problems("train", train), make.problems("held_out", held_out)
    write_jsonl(out / "problems" / "held_out.jsonl", exam)
    write_jsonl(out / "problems" / "train.jsonl", asked)
    write_record(
        out / "run.json",
        RunInfo(
            id=out.name,
            recipe_digest=recipe.digest,
            version="0.1.0",
            created=make.stamp(),
            task="word problems, made up",
            student="student-0.5b, made up",
            teacher="qwen3-32b, made up",
            method="stat_syn",
            rounds=make.rounds,
            held_out=len(exam),
            final=held_out // 2,
            train=len(asked),
            overlap=3,
            notes=("written by scripts/synthesise_run.py: nothing was run",),
        ),
    )
    exams = [make.answers(exam, level) for level in range(make.rounds + 1)]
    write_exam(run, make, 0, exams, 0)
    best = 0
    for index in range(1, make.rounds + 1):
        write_round(run, make, index, asked, exam)
        best = index if write_exam(run, make, index, exams, best) else best
    write_record(
        run.round(0) / "noise.json", NoiseFloor(n=len(exam), changed=21, flipped=9, difference=0.005, floor=0.0129)
    )
    write_final(run, make, best, held_out // 2)
    write_record(out / "finished.json", Finished(best=best, finished=make.stamp()))
    run.release()
    return out


def main() -> None:
    """Read the command line and write the run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path, help="the run folder; must be new or empty")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skills", type=int, default=12)
    parser.add_argument("--lessons", type=int, default=10_000, help="new lessons trained on, in all rounds together")
    parser.add_argument("--a-round", action="store_true", help="as many new lessons in each round")
    parser.add_argument("--train", type=int, default=2_000, help="train problems, all of them examined in every round")
    parser.add_argument("--held-out", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    new = asked.lessons if asked.a_round else -(-asked.lessons // asked.rounds)
    make = Maker(rounds=asked.rounds, skills=asked.skills, new=new, seed=asked.seed)
    print(synthesise(asked.out, make, train=asked.train, held_out=asked.held_out))


if __name__ == "__main__":
    main()
