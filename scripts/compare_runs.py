"""Compare groups of finished runs: accuracy before and after, over seeds, with intervals.

    python scripts/compare_runs.py profile=runs/p0,runs/p1,runs/p2 uniform=runs/u0,runs/u1,runs/u2

The first group is compared with each other one, run by run in the order given (the same seed side by side): the mean of
the paired differences with Student's t interval over seeds, and the exact McNemar test pooled over all seeds' problems.
Prints JSON.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from scipy import stats

from lessons.jsonl import read_jsonl
from lessons.records import Attempt
from lessons.statistics import mcnemar
from loops.records import ExamMetrics, Finished
from loops.store import read_record


def last_round(run: Path) -> int:
    """Return the round whose exam is the run's result."""
    finished = read_record(run / "finished.json", Finished)
    if finished is None:
        raise SystemExit(f"{run}: has not finished")
    return finished.best


def accuracy(run: Path, index: int) -> float:
    """Return the held-out accuracy of a round."""
    metrics = read_record(run / "rounds" / f"{index:02d}" / "metrics.json", ExamMetrics)
    if metrics is None:
        raise SystemExit(f"{run}: round {index} has no exam")
    return metrics.accuracy


def right(run: Path, index: int) -> dict[str, bool]:
    """Return problem id -> right, of a round's exam."""
    return {a.problem.id: a.right for a in read_jsonl(run / "rounds" / f"{index:02d}" / "exam.jsonl", Attempt)}


def mean_with_interval(values: list[float]) -> dict[str, Any]:
    """Return mean, the values, and Student's t 95 % interval of the mean."""
    found: dict[str, Any] = {"mean": round(statistics.mean(values), 4), "values": [round(v, 4) for v in values]}
    if len(values) > 1:
        reach = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        found["interval"] = [round(found["mean"] - reach, 4), round(found["mean"] + reach, 4)]
    return found


def main() -> None:
    """Read the runs and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", help="NAME=RUN,RUN,...")
    groups = {
        name: [Path(run) for run in runs.split(",")]
        for name, _, runs in (group.partition("=") for group in parser.parse_args().groups)
    }
    results: dict[str, Any] = {}
    for name, runs in groups.items():
        before = [accuracy(run, 0) for run in runs]
        after = [accuracy(run, last_round(run)) for run in runs]
        gain = [late - early for early, late in zip(before, after, strict=True)]
        results[name] = {
            "before": mean_with_interval(before),
            "after": mean_with_interval(after),
            "gain": mean_with_interval(gain),
        }
    first, *others = groups
    for other in others:
        pairs = list(zip(groups[first], groups[other], strict=True))
        gained = lost = 0
        for ours, theirs in pairs:
            mine, other_right = right(ours, last_round(ours)), right(theirs, last_round(theirs))
            gained += sum(mine[p] and not other_right[p] for p in mine)
            lost += sum(other_right[p] and not mine[p] for p in mine)
        difference = [accuracy(a, last_round(a)) - accuracy(b, last_round(b)) for a, b in pairs]
        results[f"{first} minus {other}"] = mean_with_interval(difference) | {
            f"{first} only": gained,
            f"{other} only": lost,
            "p": mcnemar(gained, lost),
        }
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
