"""Running a bench: the work that arms share is done once, each run goes on where it stopped."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from lessons.errors import InputError, RoundError
from loops.benching.planning import Arm, Bench, Equal, bench_of, equalised, same, stem_of
from loops.recipe import Recipe
from loops.records import RunInfo
from loops.run import Run
from loops.store import RunFolder, dump_yaml, read_record, write_record
from loops.watching.progress import Listener
from loops.watching.stopping import Stop
from teachers.accounts import account

NOT_COPIED = (".lock", ".owner.json", "live.json")
"""What belongs to the process that made a stem, not to its work."""


class BenchRun(NamedTuple):
    """One run of a bench."""

    arm: str
    seed: int
    folder: Path
    stopped: str = ""
    """Why its round could not go on; empty where it came to its end."""


def run_bench(
    arms: Sequence[Arm],
    into: Path,
    seeds: int,
    equal: Equal | None,
    amount: float | None,
    listener: Listener,
    stop: Stop | None = None,
) -> list[BenchRun]:
    """Run every arm with every seed, one after the other; what is done is not done again.

    A run whose round cannot go on (it has nothing to train on, too many replies were lost) does not end the bench: it
    is told with the others, and tried again by the next call.

    Raises:
        InputError: a recipe is wrong, or the folder holds another bench.
        RoundError: the first arm's round cannot go on, and what it took is the cap of the others.
        TutelageError: a run cannot go on; the next call goes on with it.
        Stopped: `stop` was asked to.
    """
    stop = stop or Stop()
    bench = bench_of(arms, seeds, equal, amount)
    note = into / "bench.json"
    try:
        before = read_record(note, Bench)
    except InputError as error:
        raise InputError(f"{note}: is no bench ({error}); name another folder") from error
    if before is not None and not same(before, bench):
        raise InputError(f"{into}: holds another bench (its recipes, --equal or --amount differ); name another folder")
    into.mkdir(parents=True, exist_ok=True)
    write_record(note, bench)
    done: list[BenchRun] = []
    for seed in bench.seeds:
        most = amount
        for arm in arms:
            recipe = arm.recipe(seed, equalised(equal, most))
            folder = into / "runs" / f"{arm.name}-s{seed}"
            listener.line(f"== {arm.name}, seed {seed}: {folder}")
            _begun(recipe, into / "stems" / stem_of(recipe), folder, listener, stop)
            by_first = equal if most is None and equal in ("teacher_tokens", "cost") else None
            stopped = ""
            if not (folder / "finished.json").exists():
                try:
                    _stoppable(Run.start(recipe, folder, listener), stop).to_the_end()
                except RoundError as error:
                    if by_first is not None:
                        raise
                    stopped = str(error)
                    listener.line(f"== {arm.name}, seed {seed} stopped: {stopped}")
            if by_first is not None:
                most = taken(folder, by_first)
            done.append(BenchRun(arm.name, seed, folder, stopped))
    return done


def taken(folder: Path, equal: Equal) -> float:
    """Return what a run has taken: teacher tokens, or dollars.

    Raises:
        InputError: the teacher does not tell its tokens, or its prices are not known.
    """
    used = account(folder / "calls.sqlite").used
    if equal == "cost":
        if used.unpriced or not used.usd:
            raise InputError(f"{folder}: its teacher's prices are not known, or 0; give --amount, or --equal lessons")
        return used.usd
    total = (used.tokens.prompt or 0) + (used.tokens.completion or 0)
    if used.unmeasured or not total:
        raise InputError(f"{folder}: asked no teacher, or one that tells no tokens; give --amount, or put it last")
    return float(total)


def _stoppable(run: Run, stop: Stop) -> Run:
    run.work.stop = stop
    return run


def _begun(recipe: Recipe, stem: Path, folder: Path, listener: Listener, stop: Stop) -> None:
    """Give a run that is not begun what the stem has done; the stem is brought as far as the first lesson of round 1.

    Seen from the run, the work was its own: its ledger holds the calls of the diagnosis, so that they count.
    """
    if (folder / "recipe.yaml").exists():
        return
    if RunFolder(stem).marker(1, "diagnose") is None:
        begun = (stem / "recipe.yaml").exists()
        stemming = Run.resume(stem, listener) if begun else Run.start(recipe, stem, listener)
        _stoppable(stemming, stop).up_to(1, "teach")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(stem, part, ignore=shutil.ignore_patterns(*NOT_COPIED))
    info = read_record(part / "run.json", RunInfo)
    if info is not None:
        changed = msgspec.structs.replace(
            info,
            id=folder.name,
            recipe_digest=recipe.digest,
            method=recipe.method["id"],
            rounds=recipe.rounds,
        )
        write_record(part / "run.json", changed)
    (part / "recipe.yaml").write_bytes(dump_yaml(recipe.plain()))
    (part / "finished.json").unlink(missing_ok=True)  # a stem of fewer rounds may have come to its end
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
