"""How fast and how exact near-duplicates are removed, beside datasketch and pairwise ROUGE as LLM2LLM computes it.

Lessons are made up: stories of three to five sentences from 64 frames with names, things, places and numbers, and a
worked answer; 3 in 10 are an earlier one with a run of words replaced, left out or added, so that their Jaccard indices
spread from 0.6 to 0.98. Each part runs in a process of its own, one after the other; memory is its highest, lessons
included. Seconds are those of the filter alone; on a busy machine the processor's are the ones to compare. An F-measure
of just 0.95 is above it in the rouge_score package, by rounding, and is not in ours: it may keep one more.

    python scripts/bench_filters.py [--lessons 1000000] [--sample 20000] [--pairwise 300] [--seed 0] > figures.json
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

THRESHOLD = 0.8
ROUGE = 0.95

NAMES = "Ana Ben Cleo Dan Eva Finn Gia Hugo Ines Jan Kim Leo Mia Noor Otto Pia Quinn Rosa Sam Tara Uma Vik Wim Yara Zoe"
THINGS = (
    "apples pens books stamps eggs rolls shells coins tiles beads cards plants stones cups keys lamps maps nails oars "
    "pipes ropes shoes tents vases wheels bricks candles drums fans gloves hats jars kites ladders masks notebooks"
)
PLACES = "market school library harbour farm station museum bakery garden workshop theatre kitchen garage office camp"
OPENINGS = (
    "{name} has {a} {thing} and buys {b} more at the {place}",
    "There are {a} {thing} in the {place}, and {name} brings another {b}",
    "{name} packs {a} {thing} into boxes that hold {b} each",
    "In the {place} {name} counts {a} {thing}, of which {b} are broken",
    "A {place} sells {thing} at {a} cents, and {name} pays with a note of {b} euros",
    "{name} and {other} share {a} {thing} that they found near the {place}",
    "Every morning {name} takes {a} {thing} to the {place} and leaves {b} of them there",
    "The {place} orders {a} {thing} for {b} visitors",
)
MIDDLES = (
    "On the way home {c} of them get lost",
    "{other} then takes away {c} {thing2} and promises to bring them back",
    "Later that day {name} gives {c} to {other}, who had none before",
    "Each of the {c} children gets the same number",
    "A week later the price goes up by {c} per cent",
    "Half of what is left goes to the {place2}, which has {c} {thing2} already",
    "{other} says that {c} more would be needed for the {place2}",
    "They are put on {c} shelves beside the {thing2}",
)
QUESTIONS = (
    "How many {thing} does {name} have in the end?",
    "How many are left for {other}?",
    "What does {name} pay for all of them together?",
    "How many {thing} are there now in the {place}?",
    "By how much does that differ from {d}?",
    "After how many days are there {d} of them?",
    "Is that more than {d}, and by how many?",
    "How many boxes does {name} need?",
)
STEPS = (
    "First add {a} and {b}, which is {ab}.",
    "Take {c} from it, so that {abc} remain.",
    "The {thing} of {other} do not count here.",
    "Since {a} times {b} is {a_b}, that is what the {place} gets.",
    "Half of {ab} goes away.",
    "What is asked for is the difference to {d}.",
    "The {c} that come later are added at the end.",
    "Nothing happens to the {thing2} in the {place2}.",
)


def main() -> None:
    """Measure, and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--lessons", type=int, default=1_000_000, help="lessons that our filter is timed on")
    options.add_argument("--sample", type=int, default=20_000, help="lessons whose pairs are compared with the truth")
    options.add_argument("--pairwise", type=int, default=300, help="questions that are compared pair by pair")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--part", choices=sorted(PARTS), help="measure this alone, in this process")
    given = options.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part](given)))
        return
    figures: dict[str, Any] = {"machine": machine(), "seed": given.seed}
    for part in PARTS:
        print(f"{part} ...", file=sys.stderr)
        command = [sys.executable, __file__, "--part", part]
        for name in ("lessons", "sample", "pairwise", "seed"):
            command += [f"--{name}", str(getattr(given, name))]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        figures[part] = json.loads(done.stdout)
    figures["extrapolated"] = extrapolated(figures, given.lessons)
    print(json.dumps(figures, indent=1))


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, and how busy it was at the beginning."""
    return {
        "processors": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }  # fmt: skip


def stories(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield made-up questions with their worked answers; 3 in 10 are nearly an earlier one."""
    rng = Random(seed)
    recent: list[tuple[str, str]] = []
    for _ in range(count):
        if recent and rng.random() < 0.3:
            question, answer = recent[rng.randrange(len(recent))]
            made = (edited(question, rng), answer)
        else:
            made = story(rng)
        if len(recent) < 5000:
            recent.append(made)
        else:
            recent[rng.randrange(5000)] = made
        yield made


def story(rng: Random) -> tuple[str, str]:
    """Return a new question and its worked answer, some 60 words in all."""
    names, things, places = NAMES.split(), THINGS.split(), PLACES.split()
    a, b, c, d = (rng.randint(2, 999) for _ in range(4))
    name, other = rng.sample(names, 2)
    thing, thing2 = rng.sample(things, 2)
    place, place2 = rng.sample(places, 2)
    facts: dict[str, Any] = {
        "a": a, "b": b, "c": c, "d": d, "ab": a + b, "abc": a + b - c, "a_b": a * b, "name": name, "other": other,
        "thing": thing, "thing2": thing2, "place": place, "place2": place2,
    }  # fmt: skip
    frames = [rng.choice(OPENINGS), *rng.sample(MIDDLES, rng.randint(1, 3))]
    question = ". ".join(frame.format(**facts) for frame in frames) + ". " + rng.choice(QUESTIONS).format(**facts)
    answer = " ".join(step.format(**facts) for step in rng.sample(STEPS, rng.randint(2, 4)))
    return question, f"{answer}\nAnswer: {a + b - c}"


def edited(text: str, rng: Random) -> str:
    """Return a text with a run of 1 to 7 words replaced, left out, or added."""
    words = text.split()
    at, width = rng.randrange(len(words)), rng.randint(1, 7)
    kind = rng.random()
    fresh = rng.choices(THINGS.split(), k=width)
    if kind < 0.6:
        words[at : at + width] = fresh
    elif kind < 0.8:
        words[at:at] = fresh[: max(1, width // 2)]
    else:
        del words[at : at + max(1, width // 2)]
    return " ".join(words)


def lessons(count: int, seed: int) -> "list[Any]":
    """Return made-up lessons as the loop has them."""
    from lessons.records import Lesson, Problem, Provenance

    system = {"role": "system", "content": "Solve the problem. End with a line 'Answer: ...'."}
    provenance = Provenance(method="made_up", round=1)
    return [
        Lesson(
            prompt=(system, {"role": "user", "content": question}),  # type: ignore[arg-type]
            completion=answer,
            problem=Problem(question=question, answer=answer.rpartition(" ")[2]),
            provenance=provenance,
        )
        for question, answer in stories(count, seed)
    ]


def peak_gb() -> float:
    """Return the most memory that this process has had, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


class Watch:
    """Seconds since it was made, by the clock and of this process's own work."""

    def __init__(self) -> None:
        self.clock, self.work = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        """Return both, as figures."""
        seconds, worked = time.perf_counter() - self.clock, time.process_time() - self.work
        return {"seconds": round(seconds, 3), "processor_seconds": round(worked, 3)}


def ours(given: argparse.Namespace) -> dict[str, Any]:
    """Time the filter `near_duplicate` over lessons."""
    from lessons.graders.exact import ExactGrader
    from loops.filters.base import Context, Drop
    from loops.filters.near_duplicate import NearDuplicate

    rows = lessons(given.lessons, given.seed)
    before, context = peak_gb(), Context(grader=ExactGrader())
    watch = Watch()
    verdicts = NearDuplicate(threshold=THRESHOLD).judge(rows, context)
    took = watch.stop()
    return {
        "lessons": len(rows), **took, "dropped": sum(isinstance(one, Drop) for one in verdicts),
        "peak_gb": peak_gb(), "peak_gb_of_the_lessons": before,
        "words_of_a_lesson": round(sum(len(" ".join(texts(row)).split()) for row in rows[:1000]) / 1000, 1),
    }  # fmt: skip


def texts(row: Any) -> list[str]:
    """Return what the filter compares of a lesson."""
    from loops.likeness.shingles import parts_of

    return parts_of(row, "both")


def pairs(given: argparse.Namespace) -> dict[str, Any]:
    """Compare the pairs at Jaccard 0.8 that are found, ours and datasketch's, with all that there are."""
    from loops.likeness.minhash import near_pairs

    rows = [texts(row) for row in lessons(given.sample, given.seed)]
    truth = exact_pairs(rows)
    watch = Watch()
    found = set(near_pairs(rows, threshold=THRESHOLD))
    return {"lessons": len(rows), "pairs": len(truth), **watch.stop(), **rates(found, truth)}


def datasketch(given: argparse.Namespace) -> dict[str, Any]:
    """Let datasketch find the same pairs: its own bands for the threshold, the same runs of words, 128 permutations."""
    from datasketch import MinHash, MinHashLSH

    rows = [texts(row) for row in lessons(given.sample, given.seed)]
    truth = exact_pairs(rows)
    watch = Watch()
    index, found = MinHashLSH(threshold=THRESHOLD, num_perm=128), set[tuple[int, int]]()
    for place, parts in enumerate(rows):
        made = MinHash(num_perm=128)
        made.update_batch([" ".join(run).encode() for run in runs(parts)])
        found |= {(int(str(other)), place) for other in index.query(made)}
        index.insert(str(place), made)
    return {"lessons": len(rows), **watch.stop(), "peak_gb": peak_gb(), **rates(found, truth)}


def runs(parts: Sequence[str], n: int = 3) -> set[tuple[str, ...]]:
    """Return the runs of words by their definition: no hashes, no arrays."""
    from loops.exams.index import words_of

    found: set[tuple[str, ...]] = set()
    for part in parts:
        words = words_of(part)
        found |= {tuple(words[at : at + n]) for at in range(max(1, len(words) - n + 1))}
    return found


def exact_pairs(rows: Sequence[Sequence[str]]) -> set[tuple[int, int]]:
    """Return every pair whose Jaccard index reaches the threshold: counts of common runs, all against all."""
    import numpy as np
    from scipy.sparse import csr_matrix

    numbers: dict[tuple[str, ...], int] = {}
    sets = [[numbers.setdefault(run, len(numbers)) for run in sorted(runs(row))] for row in rows]
    starts = np.cumsum([0, *map(len, sets)])
    columns = np.concatenate([np.array(one) for one in sets])
    has = csr_matrix((np.ones(len(columns), np.int32), columns, starts), shape=(len(rows), len(numbers)))
    sizes, turned, step = np.diff(starts), has.T.tocsr(), 250
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), step):
        common = (has[start : start + step] @ turned).tocoo()
        one, other = common.row + start, common.col
        near = (one < other) & (common.data >= THRESHOLD * (sizes[one] + sizes[other] - common.data) - 1e-9)
        found |= set(zip(one[near].tolist(), other[near].tolist(), strict=True))
    return found


def rates(found: set[tuple[int, int]], truth: set[tuple[int, int]]) -> dict[str, Any]:
    """Return how many of the true pairs were found, and how many of those found are true."""
    right = len(found & truth)
    return {
        "found": len(found), "recall": round(right / max(1, len(truth)), 4),
        "precision": round(right / max(1, len(found)), 4),
    }  # fmt: skip


def rouge(given: argparse.Namespace) -> dict[str, Any]:
    """Time our ROUGE-L index on the sample's questions, and hold it to the pairwise result on the first ones."""
    from loops.likeness.rouge import Rouge

    questions = [question for question, _ in stories(given.sample, given.seed)]
    figures: dict[str, Any] = {"threshold": ROUGE, "questions": len(questions)}
    for name, some in (("", questions), ("_of_the_first", questions[: given.pairwise])):
        watch, index, kept = Watch(), Rouge(some, ROUGE), 0
        for question in some:
            if index.near(question) is None:
                index.add(question)
                kept += 1
        figures |= {f"{key}{name}": value for key, value in {**watch.stop(), "kept": kept}.items()}
    return figures


def pairwise_rouge(given: argparse.Namespace) -> dict[str, Any]:
    """Compare each question with every one kept before it, by the rouge_score package: how LLM2LLM goes about it."""
    from rouge_score import rouge_scorer

    questions = [question for question, _ in stories(given.pairwise, given.seed)]
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    watch, kept, compared = Watch(), list[str](), 0
    for question in questions:
        compared += len(kept)
        if all(scorer.score(other, question)["rougeL"].fmeasure <= ROUGE for other in kept):
            kept.append(question)
    took = watch.stop()
    return {
        "threshold": ROUGE, "questions": len(questions), "kept": len(kept), "pairs_at_most": compared,
        **took, "seconds_of_a_pair": took["processor_seconds"] / max(1, compared),
    }  # fmt: skip


def extrapolated(figures: dict[str, Any], count: int) -> dict[str, Any]:
    """Return what the others would take for all lessons: reckoned from their smaller sizes, not measured."""
    sketch, pair = figures["datasketch"], figures["pairwise_rouge"]["seconds_of_a_pair"]
    share = figures["rouge"]["kept"] / figures["rouge"]["questions"]
    return {
        "how": "processor seconds; datasketch grows with the lessons; pairwise ROUGE: a pair x lessons^2 / 2 x kept",
        "lessons": count,
        "datasketch_seconds": round(sketch["processor_seconds"] * count / sketch["lessons"]),
        "pairwise_rouge_days": round(pair * count**2 / 2 * share / 86400, 1),
        "pairwise_rouge_hours_of_the_sample": round(pair * sketch["lessons"] ** 2 / 2 * share / 3600, 2),
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "ours": ours, "pairs": pairs, "datasketch": datasketch, "rouge": rouge, "pairwise_rouge": pairwise_rouge,
}  # fmt: skip

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
