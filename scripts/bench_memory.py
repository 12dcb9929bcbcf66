"""How much memory stages take with ten thousand lessons, and with a hundred times as many. Prints one JSON object.

    python scripts/bench_memory.py [--lessons 10000 100000 1000000] [--stages filter select report] [--seed 0]

Each stage runs in a process of its own, in a run that is real up to it: the tiny student was examined and diagnosed,
and the candidates are made up (stories of some 60 words with worked answers, 3 in 10 nearly an earlier one, as in
bench_filters.py). `peak_mb` is the process's highest resident memory, `growth_mb` is that less the peak with the least
lessons, `seconds` the stage's. Training is left out: `report` is of a run whose lessons are chosen. `teach` asks the
demo's tutor for every lesson, which takes a millisecond or two each.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

STAGES = ("teach", "filter", "select", "report")
AFTER = {"teach": "filter", "filter": "select", "select": "learn"}
"""Where a run stops that does this stage."""
FILTERS = ("format", "length", "duplicate", "near_duplicate")


def recipe(lessons: int, seed: int, write: bool) -> Any:
    """Return the recipe of a run; `write`: its method writes so many lessons itself."""
    from loops.recipe import resolve

    method: Any = {"id": "bench_memory:Many", "lessons": lessons} if write else "rationale"
    return resolve(
        {
            "task": {"id": "skills_demo", "train": 4, "held_out": 2},
            "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 2}},
            "teacher": {"kind": "rule_tutor", "error_rate": 0.0},
            "method": method, "filters": list(FILTERS),
            "select": {"id": "profile", "floor": 0.5, "replay": 0.1}, "examine": {"noise": False},
            "preflight": {"problems": 0}, "rounds": 1, "seed": seed,
        }
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """Asks for the solutions of new problems, some thousand at a time, until there are enough lessons."""

    paper: ClassVar[str] = "none: it measures memory"
    lessons: int = 1000
    """Lessons that it writes."""

    async def teach(self, round: Any) -> Any:  # noqa: A002 - the design's word
        """Ask in chunks; what is written is handed to the round's own store."""
        from lessons.demo import skills as demo
        from lessons.records import Problem
        from loops.methods.base import together
        from teachers.prompts.rationale import RATIONALE

        missed, made = round.missed, round.written()
        for start in range(0, self.lessons, 2000):
            problems = [
                Problem(question=question, answer=answer, skills=(skill,))
                for place in range(start, min(start + 2000, self.lessons))
                for skill in [round.catalog.names[place % len(round.catalog.names)]]
                for question, answer in [demo.generate(skill, Random(place))]
            ]
            replies = await together(round.ask(RATIONALE, question=one.question) for one in problems)
            made.extend(
                round.lesson(problem, one.value, attempt=missed[place % len(missed)], calls=(one.call,))
                for place, (problem, said) in enumerate(zip(problems, replies, strict=True))
                for one in said
            )
        return made.records()


def made_up(count: int, seed: int, skills: tuple[str, ...]) -> Iterator[Any]:
    """Yield candidates of a first round."""
    from bench_filters import stories

    from lessons.records import Lesson, Problem, Provenance

    system = {"role": "system", "content": "Solve the problem. Think in one short line, then end with 'Answer: X'."}
    for place, (question, answer) in enumerate(stories(count, seed)):
        skill = skills[place % len(skills)]
        yield Lesson(
            prompt=(system, {"role": "user", "content": question}),  # type: ignore[arg-type]
            completion=answer,
            problem=Problem(
                question=question, answer=answer.rpartition(" ")[2], skills=(skill,), source=f"made up {place}"
            ),
            provenance=Provenance(
                method="made_up", round=1, skill=skill, seed=f"{place % 32:016x}", attempt=f"{place % 32:016x}",
                calls=(f"{2 * place:016x}", f"{2 * place + 1:016x}"),
            ),
        )  # fmt: skip


def begin(folder: Path, lessons: int, seed: int) -> None:
    """Make a run that stops before its method writes the lessons."""
    from loops.run import Run

    Run.start(recipe(lessons, seed, True), folder).up_to(1, "teach")


def prepare(folder: Path, lessons: int, seed: int) -> None:
    """Make a run that stops before its filters, with made-up candidates."""
    from lessons.jsonl import write_jsonl
    from loops.run import Run

    run = Run.start(recipe(lessons, seed, False), folder)
    run.up_to(1, "teach")
    into = run.work.folder.round(1)
    count = write_jsonl(into / "candidates.jsonl", made_up(lessons, seed, run.work.catalog.names))
    for name in ("lost.jsonl", "dropped_by_method.jsonl"):
        write_jsonl(into / name, [])
    outputs = ("candidates.jsonl", "lost.jsonl", "dropped_by_method.jsonl")
    run.work.folder.finish(1, "teach", outputs, {"teach/candidates": count}, 1.0)


def stage(name: str, folder: Path) -> dict[str, Any]:
    """Do one stage in this process, and return what it took."""
    from loops.report import write_report
    from loops.run import Run

    before, began = peak(), time.perf_counter()
    if name == "report":
        write_report(folder)
    else:
        Run.resume(folder).up_to(1, AFTER[name])
    return {"peak_mb": peak(), "before_mb": before, "seconds": round(time.perf_counter() - began, 1)}


def peak() -> int:
    """Return the highest resident memory of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def main() -> None:
    """Read the command line; measure in processes of their own, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--lessons", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the runs are made; default a temporary folder")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "RUN"), help="do this alone, in this process")
    asked = parser.parse_args()
    if asked.one:
        what, folder = asked.one[0], Path(asked.one[1])
        made = {"begin": begin, "prepare": prepare}.get(what)
        print(json.dumps(made(folder, asked.lessons[0], asked.seed) if made else stage(what, folder)))
        return
    with tempfile.TemporaryDirectory() as own:
        into = asked.folder or Path(own)
        print(json.dumps(measured(into, sorted(asked.lessons), asked.stages, asked.seed), indent=1))


def measured(into: Path, sizes: list[int], stages: list[str], seed: int) -> dict[str, Any]:
    """Measure every stage with each number of lessons; return stage -> lessons -> figures."""
    found: dict[str, dict[str, Any]] = {name: {} for name in stages}
    for size in sizes:
        if "teach" in stages:
            alone("begin", into / f"teach-{size}", size, seed)
            found["teach"][str(size)] = alone("teach", into / f"teach-{size}", size, seed)
        if set(stages) - {"teach"}:
            alone("prepare", into / f"run-{size}", size, seed)
        for name in STAGES[1:]:
            if any(one in stages for one in STAGES[STAGES.index(name) :]):  # what a later stage reads is made first
                done = alone(name, into / f"run-{size}", size, seed)
                if name in stages:
                    found[name][str(size)] = done
    for figures in found.values():
        least = min((one["peak_mb"] for one in figures.values()), default=0)
        for one in figures.values():
            one["growth_mb"] = one["peak_mb"] - least
    return {"seed": seed, "filters": FILTERS, **found}


def alone(what: str, folder: Path, lessons: int, seed: int) -> Any:
    """Do one thing in a process of its own."""
    print(f"{what} {lessons:,} ...", file=sys.stderr)
    command = [sys.executable, __file__, "--one", what, str(folder), "--lessons", str(lessons), "--seed", str(seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
