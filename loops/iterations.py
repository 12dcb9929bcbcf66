"""What a method made in earlier rounds, kept beside what it makes now, and mixed in equal parts."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

from lessons.ids import seed_of
from lessons.jsonl import read_jsonl, write_jsonl
from lessons.records import Lesson
from loops.round import Round


def kept(round_: Round, made: Sequence[Lesson]) -> list[list[Lesson]]:  # [round, the last one first][lesson]
    """Keep this round's lessons for later rounds; return them, then those of earlier rounds whose student was kept.

    Where nothing is kept (an estimate), there are only this round's.
    """
    earlier: list[Path] = sorted(round_.before.glob("lessons-*.jsonl"), reverse=True) if round_.before else []
    if round_.folder is not None:
        round_.folder.mkdir(parents=True, exist_ok=True)
        for path in earlier:
            shutil.copyfile(path, round_.folder / path.name)
        write_jsonl(round_.folder / f"lessons-{round_.index:04d}.jsonl", made)
    return [list(made), *(list(read_jsonl(path, Lesson)) for path in earlier)]


def equal_parts(round_: Round, rounds: Sequence[Sequence[Lesson]]) -> list[Lesson]:
    """Return as many lessons of each round as the one with fewest has, drawn by chance, in their order.

    Rounds without lessons do not count. What is left out is counted.
    """
    some = [lessons for lessons in rounds if lessons]
    least = min(map(len, some), default=0)
    rng = Random(seed_of(round_.seed, "equal parts"))
    mixed: list[Lesson] = []
    for lessons in some:
        mixed += [lessons[place] for place in sorted(rng.sample(range(len(lessons)), least))]
    round_.counts["left out so that each round has as many"] += sum(map(len, some)) - len(mixed)
    return mixed
