"""Strike the loop at random moments and at its file-system calls, go on with it, hold it against an undisturbed run.

    python scripts/chaos.py [--kills 200] [--faults 100] [--seed 0] [--jobs 1] [--small] [--only N ...]

Each trial is a run of one of three small recipes: a tiny student, a teacher over HTTP, every stage. It is struck once,
in a fifth of the trials a second time, then resumed until it is done, and resumed once more. In the end everything that
it came to must be byte for byte what the undisturbed run came to, the teacher may have been asked again for what was
in flight and for nothing else, and no file may have been half-written under its own name.

kills   SIGKILL, SIGTERM, SIGINT and SIGINT twice, at a moment drawn from the length of the undisturbed run.
faults  at a call drawn from those of one kind (open, write, rename, ...) on the run's files and the shared cache of
        replies, by whoever makes it, SQLite included: the process is killed, a write is torn, the disk is full, the
        device fails, rights are lost, the clock jumps. Needs a C compiler and Linux; left out, and said, without.

Exit code 1 where a trial did not end as it should. --small: six trials of the quickest recipe. --keep: leave the
folders of the trials there; else only those that went wrong are left.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaotic import faults, recipes
from chaotic.faults import FILE_FAULTS, SIGNALS
from chaotic.trials import Bench, Trial, Undisturbed
from chaotic.warm import Nursery

from teachers.loopback import LoopbackServer
from teachers.rule_tutor import RuleTutor

SMALL = ("SIGKILL", "SIGTERM", "SIGINT", "kill at a call", "torn write, killed", "disk full (ENOSPC)")


def kinds(kills: int, file_faults: int) -> list[str]:
    """Return the kind of each trial, each as often as the others."""
    names = [list(SIGNALS)[number % len(SIGNALS)] for number in range(kills)]
    return names + [list(FILE_FAULTS)[number % len(FILE_FAULTS)] for number in range(file_faults)]


def trials(
    wanted: Sequence[tuple[int, str]], shim: Path | None, folder: Path, told: argparse.Namespace
) -> Iterator[Trial]:
    """Yield the trials, which are wanted as (number, kind), in their order."""
    benches: SimpleQueue[tuple[Bench, dict[str, Undisturbed]]] = SimpleQueue()
    with ExitStack() as stack, ThreadPoolExecutor(told.jobs) as pool:
        for job in range(told.jobs):
            server = stack.enter_context(LoopbackServer(RuleTutor(error_rate=0.2)))
            bench = Bench(stack.enter_context(Nursery(shim)), server, folder / str(job))
            bench.folder.mkdir()
            small = list(recipes.recipes(bench.folder).items())[: 1 if told.small else None]
            benches.put((bench, {name: bench.undisturbed(name, recipe) for name, recipe in small}))

        def one(asked: tuple[int, str]) -> Trial:
            number, kind = asked
            bench, whole = benches.get()
            try:
                name = list(whole)[number % len(whole)]
                before = set(bench.folder.iterdir())
                done = bench.trial(number, name, whole[name], kind, Random(f"{told.seed} {number}"))
                if told.keep is None and not done.wrong:
                    for made in set(bench.folder.iterdir()) - before:
                        shutil.rmtree(made, ignore_errors=True)
                return done
            finally:
                benches.put((bench, whole))

        yield from pool.map(one, wanted)


def table(found: Sequence[Trial]) -> str:
    """Return the table of docs/reliability.md."""
    rows = [
        "| fault | trials | identical | lost | repeated, at most | repeated, in all |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    tried = [kind for kind in (*SIGNALS, *FILE_FAULTS) if any(one.kind == kind for one in found)]
    for kind in (*tried, ""):
        of = [one for one in found if one.kind == kind or not kind]
        right, again = sum(not one.wrong for one in of), [max(one.repeated, 0) for one in of]
        rows.append(
            f"| {kind or 'all'} | {len(of)} | {right} | {sum(one.lost for one in of)} | {max(again)} | {sum(again)} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Run the trials, print each that went wrong and the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="trials at once, each with a warm process of its own")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", type=Path, help="write every trial there, a JSON object a line")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="repeat only these of the trials")
    parser.add_argument("--keep", type=Path)
    told = parser.parse_args()
    folder = told.keep or Path(tempfile.mkdtemp(prefix="tutelage-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    shim = faults.built(folder)
    wanted = list(SMALL) if told.small else kinds(told.kills, told.faults)
    Random(told.seed).shuffle(wanted)  # so that what has been done when it is broken off is of every kind
    numbered = [(number, kind) for number, kind in enumerate(wanted) if not told.only or number in told.only]
    if isinstance(shim, str):
        print(f"file-system faults are left out: {shim}")
        numbered = [(number, kind) for number, kind in numbered if kind in SIGNALS]
    found: list[Trial] = []
    began = time.monotonic()
    library = shim if isinstance(shim, Path) else None
    with ExitStack() as stack:
        out = stack.enter_context(told.json.open("w", encoding="utf-8")) if told.json else None
        for one in trials(numbered, library, folder, told):
            found.append(one)
            if out is not None:
                out.write(json.dumps(one._asdict()) + "\n")
                out.flush()
            if one.wrong:
                where = f", struck {one.struck!r}" if one.struck else ""
                print(f"trial {one.number}: {one.recipe}, {one.plan}{where}, ended {one.code}")
                print(*(f"  {fault}" for fault in one.wrong), sep="\n", flush=True)
    print(f"{len(found)} trials in {time.monotonic() - began:.0f} s, seed {told.seed}\n\n{table(found)}")
    wrong = sum(bool(one.wrong) for one in found)
    if not wrong and told.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"\n{wrong} went wrong; see {folder}")
    return 1 if wrong or len(found) < len(numbered) else 0


if __name__ == "__main__":
    sys.exit(main())
