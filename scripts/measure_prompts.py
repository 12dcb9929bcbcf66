"""Measure the diagnosis and critique prompts of a teacher on real attempts whose verdict is known.

    python scripts/measure_prompts.py --solutions model_solutions.jsonl --model NAME --base-url URL --key VARIABLE

Asks for the missing skills and for a critique of N wrong and M right solutions, and prints JSON: how many replies could
be parsed, what was lost and why, how often the teacher's verdict is the true one, which skills it names, tokens, time.
No reference answer is shown to the teacher. A second run with the same ledger asks nothing again.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from lessons.skills import Skill, SkillCatalog
from lessons.statistics import wilson
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.openai import OpenAITeacher
from teachers.prompts.critique import CRITIQUE
from teachers.prompts.missing_skills import missing_skills


def chosen(path: Path, wrong: int, right: int, seed: int) -> list[dict[str, Any]]:
    """Return some wrong and some right solutions, the same for a seed."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(seed)
    parts = [[row for row in rows if row["is_correct"] is truth] for truth in (False, True)]
    return rng.sample(parts[0], wrong) + rng.sample(parts[1], right)


def summary(name: str, rows: list[dict[str, Any]], answers: list[Any]) -> dict[str, Any]:
    """Return what became of one prompt's replies."""
    pairs = [(row["is_correct"], answer.value) for row, answer in zip(rows, answers, strict=True)]
    parsed = [(truth, value) for truth, value in pairs if value is not None]
    found: dict[str, Any] = {"prompt": name, "asked": len(pairs), "parsed": len(parsed)}
    found["lost"] = dict(Counter(answer.reason for answer in answers if answer.reason))
    for label, truth in (("wrong", False), ("right", True)):
        verdicts = [value.verdict for is_right, value in parsed if is_right is truth]
        hits = sum(verdict == label for verdict in verdicts)
        interval = [round(bound, 3) for bound in wilson(hits, len(verdicts))]
        found[f"{label} solutions called {label}"] = {"n": len(verdicts), "hits": hits, "interval": interval}
    skills = [value.skills for is_right, value in parsed if not is_right and hasattr(value, "skills")]
    if name == "missing_skills":
        found["wrong solutions with a skill named"] = sum(bool(named) for named in skills)
        found["skills"] = Counter(skill for named in skills for skill in named).most_common()
    return found


async def main() -> None:
    """Ask, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solutions", type=Path, required=True, help="JSON lines: question, solution, is_correct")
    parser.add_argument("--skills", type=Path, default=Path(__file__).parent / "skills" / "gsm8k.yaml")
    parser.add_argument("--model", required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--key", default="OPENAI_API_KEY", help="name of the environment variable that holds the key")
    parser.add_argument("--wrong", type=int, default=200)
    parser.add_argument("--right", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-seed", action="store_true", help="send no seed: vLLM's CPU engine dies of one")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--ledger", type=Path, default=Path("measure_prompts.sqlite"))
    given = parser.parse_args()
    rows = chosen(given.solutions, given.wrong, given.right, given.seed)
    listed = yaml.safe_load(given.skills.read_text(encoding="utf-8"))["skills"]
    diagnose = missing_skills(SkillCatalog(skills=tuple(Skill(**row) for row in listed)))
    teacher = OpenAITeacher(model=given.model, base_url=given.base_url, key=given.key, send_seed=not given.no_seed)
    results: list[dict[str, Any]] = []
    with Ledger.open(given.ledger) as ledger:
        for prompt in (diagnose, CRITIQUE):
            caller = Caller(teacher, ledger, in_flight=given.in_flight, seed=given.seed)
            started = time.perf_counter()
            asked = (caller.ask(prompt, {"question": r["question"], "attempt": r["solution"]}) for r in rows)
            answers = [answer for (answer,) in await asyncio.gather(*asked)]
            found = summary(prompt.name, rows, answers)
            found["seconds"] = round(time.perf_counter() - started, 1)
            found["tokens"] = dict(caller.totals.tokens + caller.totals.ledger_tokens)
            found["repaired"] = caller.totals.repaired
            results.append(found)
    await teacher.aclose()
    print(json.dumps({"model": given.model, "seed": given.seed, "results": results}, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
