"""Hold a teacher's critiques against the first wrong step that people marked: CHAMP (arXiv 2406.18321).

    python scripts/measure_critiques.py --champ v0.json --model NAME --base-url URL --key VARIABLE [--wrong 120]

CHAMP's file is `champ_dataset/dataset_files/v0.json` of the package champ-dataset: solutions of competition problems by
large models, each with the characters of its first wrong step, or none where it is right. Asks for a critique of N
wrong and M right solutions, their lines numbered as steps, and prints JSON: how many replies could be read, how often
the verdict is the true one, what a filter by the verdict would save (precision and recall for wrong solutions), and how
often the first step that the critique names is the marked one, beside a critic that always names the same step. No
reference is shown. A second run with the same ledger asks nothing again.
"""

import argparse
import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lessons.statistics import wilson
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.openai import OpenAITeacher
from teachers.prompts.critique import CRITIQUE
from teachers.prompts.relabel import shown_lines

STEP = re.compile(r"\bstep\s{0,3}#?(\d{1,3})\b", re.IGNORECASE)


class Solution(NamedTuple):
    """A solution that people have marked."""

    question: str
    lines: tuple[str, ...]
    wrong: int | None
    """Number of the first wrong line, from 1; None where the solution is right."""


def solutions(path: Path) -> list[Solution]:
    """Return CHAMP's marked solutions, in the file's order."""
    found: list[Solution] = []
    for problem in json.loads(path.read_text(encoding="utf-8"))["problems"].values():
        for marked in (problem["fws_annotations"] or {}).values():
            text, begin = str(marked["text"]), marked["start_idx"]
            wrong = None
            if begin is not None:  # the line in which the mark begins; a mark may begin at the blanks before it
                before = text[: begin + len(text[begin:]) - len(text[begin:].lstrip())]
                wrong = max(1, sum(bool(line.strip()) for line in (before + "x").splitlines()))
            lines = tuple(line.strip() for line in text.splitlines() if line.strip())
            found.append(Solution(str(problem["_text"]), lines, wrong))
    return found


def part(hits: int, count: int) -> dict[str, Any]:
    """Return a share with Wilson's 95 % interval."""
    return {"of": count, "hits": hits, "interval": [round(bound, 3) for bound in wilson(hits, count)]}


def summary(chosen: Sequence[Solution], answers: Sequence[Any]) -> dict[str, Any]:
    """Return how the critiques compare with the marks."""
    read = [
        (solution, answer.value) for solution, answer in zip(chosen, answers, strict=True) if answer.value is not None
    ]
    wrong = [(solution, said) for solution, said in read if solution.wrong is not None]
    right = [(solution, said) for solution, said in read if solution.wrong is None]
    caught = sum(said.verdict == "wrong" for _, said in wrong)
    accused = sum(said.verdict == "wrong" for _, said in right)
    named = [(solution.wrong, STEP.search(said.text)) for solution, said in wrong if said.verdict == "wrong"]
    told = [(marked, int(found[1])) for marked, found in named if found]
    commonest = Counter(solution.wrong for solution, _ in wrong).most_common(1)
    return {
        "asked": len(chosen),
        "read": len(read),
        "lost": dict(Counter(answer.reason for answer in answers if answer.reason)),
        "wrong solutions called wrong (recall)": part(caught, len(wrong)),
        "called wrong that are wrong (precision)": part(caught, caught + accused),
        "wrong among all, which calling all wrong would reach": part(len(wrong), len(read)),
        "right solutions called right": part(len(right) - accused, len(right)),
        "critiques that name a step": part(len(told), len(named)),
        "first named step is the marked one": part(sum(marked == said for marked, said in told), len(told)),
        "the commonest marked step": {"step": commonest[0][0], **part(commonest[0][1], len(wrong))} if wrong else {},
        "steps of a solution, mean": round(sum(len(one.lines) for one in chosen) / max(1, len(chosen)), 1),
    }


async def main() -> None:
    """Ask, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champ", type=Path, required=True, help="v0.json of the package champ-dataset")
    parser.add_argument("--model", required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--key", default="OPENAI_API_KEY", help="name of the environment variable that holds the key")
    parser.add_argument("--wrong", type=int, default=120)
    parser.add_argument("--right", type=int, default=60)
    parser.add_argument("--longest", type=int, default=3000, help="characters of a solution at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-seed", action="store_true", help="send no seed: vLLM's CPU engine dies of one")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--ledger", type=Path, default=Path("measure_critiques.sqlite"))
    given = parser.parse_args()
    short = [one for one in solutions(given.champ) if sum(map(len, one.lines)) <= given.longest]
    rng = random.Random(given.seed)
    halves = [[one for one in short if (one.wrong is not None) is wrong] for wrong in (True, False)]
    chosen = [
        one
        for half, count in zip(halves, (given.wrong, given.right), strict=True)
        for one in rng.sample(half, min(count, len(half)))
    ]
    teacher = OpenAITeacher(model=given.model, base_url=given.base_url, key=given.key, send_seed=not given.no_seed)
    with Ledger.open(given.ledger) as ledger:
        caller = Caller(teacher, ledger, in_flight=given.in_flight, seed=given.seed)
        started = time.perf_counter()
        asked = (caller.ask(CRITIQUE, {"question": one.question, "attempt": shown_lines(one.lines)}) for one in chosen)
        answers = [answer for (answer,) in await asyncio.gather(*asked)]
        found = summary(chosen, answers)
        found["seconds"] = round(time.perf_counter() - started, 1)
        found["tokens"] = dict(caller.totals.tokens + caller.totals.ledger_tokens)
    await teacher.aclose()
    print(json.dumps({"model": given.model, "seed": given.seed, **found}, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
