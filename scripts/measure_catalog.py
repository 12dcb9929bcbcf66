"""Measure a teacher as a maker of skill catalogues, on real attempts whose verdict is known.

    python scripts/measure_catalog.py --solutions model_solutions.jsonl --model NAME --base-url URL --out FOLDER

Takes N wrong (and M right) solutions from a file with the fields question, model, solution, is_correct, such as GSM8K's
model_solutions.jsonl, and does what a run does before its first lesson: names skills, merges them into a closed list,
labels every problem, labels a sample of them twice (Cohen's kappa), asks what each wrong solution lacked. Everything is
left in the folder, to be read by people and programs; a summary is printed as JSON. No reference answer is shown to the
teacher. The same command again asks nothing again, and goes on where it was stopped.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lessons.jsonl import write_jsonl
from lessons.records import Attempt, Problem
from lessons.skills import SkillCatalog, SkillProfile
from lessons.statistics import wilson
from loops.catalog.file import CatalogFile, Label, read_catalog, write_catalog_file, write_labels
from loops.catalog.stages import described
from loops.catalog.writing import joined, label, planned, with_labels, write_catalog
from loops.diagnosis.attempts import Way, by_teacher
from loops.records import CatalogInfo
from loops.store import write_record
from loops.views.text import one_line, visible
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.openai import OpenAITeacher
from teachers.totals import CallTotals


def chosen(path: Path, wrong: int, right: int, seed: int) -> list[Attempt]:
    """Return some wrong and some right solutions as attempts, the same for a seed."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(seed)
    parts = [[row for row in rows if row["is_correct"] is truth] for truth in (False, True)]
    drawn = rng.sample(parts[0], min(wrong, len(parts[0]))) + rng.sample(parts[1], min(right, len(parts[1])))
    return [
        Attempt(
            problem=Problem(question=row["question"], source=path.name),
            student=row["model"],
            text=row["solution"],
            score=float(row["is_correct"]),
        )
        for row in drawn
    ]


def share(hits: int, of: int) -> dict[str, Any]:
    """Return a share with Wilson's 95 % interval."""
    return {"n": of, "hits": hits, "interval": [round(bound, 3) for bound in wilson(hits, of)]}


def spent(totals: CallTotals, started: float) -> dict[str, Any]:
    """Return what a stage's calls came to."""
    return {
        "asked": totals.asked,
        "parsed": totals.parsed,
        "lost": dict(totals.lost),
        "repaired": totals.repaired,
        "sent": totals.sent,
        "from ledger": totals.from_ledger,
        "tokens": dict(totals.tokens + totals.ledger_tokens),
        "seconds": round(time.perf_counter() - started, 1),
    }


async def catalogued(
    given: argparse.Namespace, teacher: OpenAITeacher, ledger: Ledger, problems: Sequence[Problem]
) -> tuple[SkillCatalog, dict[str, Label], dict[str, Any]]:
    """Write the list and the labels, as `tutelage catalog` does; return them with what they came to."""
    found: dict[str, Any] = {}
    path, started = given.out / "skills.yaml", time.perf_counter()
    caller = Caller(teacher, ledger, in_flight=given.in_flight, seed=given.seed)
    if given.catalog:
        catalog, info = read_catalog(given.catalog).catalog, CatalogInfo(source="file")
    else:
        rng = random.Random(given.seed)
        made = await write_catalog(problems, caller, given.skill_sample, rng)
        catalog = made.catalog
        info = CatalogInfo(source="teacher", sample=made.sample, names=made.names, cut=made.cut)
        found["catalogue calls"] = spent(caller.totals, started)
    write_catalog_file(path, CatalogFile(catalog, {}))
    caller, started = Caller(teacher, ledger, in_flight=given.in_flight, seed=given.seed), time.perf_counter()
    plan = planned(problems, catalog, {}, given.agreement_sample, given.seed)
    labels = joined({}, await label(plan, caller, catalog, Counter(), by=teacher.name))
    info = described(info, catalog, problems, labels, {}, teacher.name)
    write_labels(path, labels, info)
    found["label calls"] = spent(caller.totals, started)
    found["catalogue"] = {
        "skills": len(catalog.skills),
        "problems named": info.sample,
        "fine names": info.names,
        "lists that could not be merged": info.cut,
        "labelled": info.labelled,
        "none fits": info.unlabelled,
        "lost": info.lost,
        "skills a labelled problem": round(sum(len(one.skills) for one in labels.values()) / max(1, info.labelled), 2),
        "problems of each skill": Counter(name for one in labels.values() for name in one.skills).most_common(),
    }
    if info.agreement is not None:
        figures = msgspec.to_builtins(info.agreement)
        found["agreement"] = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()
        } | {"flagged": info.flagged, "worst": info.agreement.worst(5), "per_skill": info.agreement.per_skill}
    return catalog, labels, found


async def diagnosed(
    given: argparse.Namespace,
    teacher: OpenAITeacher,
    ledger: Ledger,
    attempts: Sequence[Attempt],
    catalog: SkillCatalog,
) -> tuple[list[Attempt], dict[str, Any]]:
    """Ask what each wrong solution lacked, and for the teacher's verdict on the right ones."""
    caller, started = Caller(teacher, ledger, in_flight=given.in_flight, seed=given.seed), time.perf_counter()
    counts: Counter[str] = Counter()
    right = frozenset(place for place, attempt in enumerate(attempts) if attempt.right)
    found = await by_teacher(attempts, caller, catalog, counts, Way(check=right))
    verdicts = {
        kind: [one.diagnosis.verdict for one in found if one.diagnosis and one.diagnosis.verdict and one.right is truth]
        for kind, truth in (("wrong", False), ("right", True))
    }
    by_the_teacher = [one for one in found if one.missing and one.diagnosis and one.diagnosis.by == "teacher"]
    return found, {
        "diagnosis calls": spent(caller.totals, started),
        "diagnosis": {
            **{f"{kind} called {kind}": share(said.count(kind), len(said)) for kind, said in verdicts.items()},
            "wrong with missing skills named by the teacher": share(
                len(by_the_teacher), sum(one.failed for one in found)
            ),
            "missing skills": Counter(name for one in by_the_teacher for name in one.missing).most_common(),
            "errors": Counter(str(one.diagnosis.error) for one in found if one.failed and one.diagnosis).most_common(),
            "notes": dict(counts),
        },
    }


def readable(attempts: Sequence[Attempt], labels: Mapping[str, Label]) -> str:
    """Return the diagnoses as text for people; what a model wrote is shown with its control signs written out."""
    blocks: list[str] = []
    for number, one in enumerate(attempts, start=1):
        told = one.diagnosis
        needed = labels[one.problem.id].skills if one.problem.id in labels else ()
        lines = [
            f"{number}. {'right' if one.right else 'wrong'}, by {one_line(one.student)}",
            f"question: {one_line(one.problem.question, 2000)}",
            *(f"  | {visible(line)}" for line in one.text.splitlines()),
            f"needs: {', '.join(map(one_line, needed)) or 'not labelled'}",
            f"lacks: {', '.join(map(one_line, one.missing)) or 'nothing that is told'}",
        ]
        if told is not None:
            error = f", {told.error}" if told.error else ""
            lines.append(f"told by: {told.by}{error}, verdict {told.verdict or 'none'}: {one_line(told.reason, 500)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def settings() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solutions", type=Path, required=True, help="JSON lines, see above")
    parser.add_argument("--model", required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument(
        "--key-variable",
        default="OPENAI_API_KEY",
        help="variable that holds the key; '': none",
    )
    parser.add_argument("--label", default="", help="name of the teacher in the ledger, where its port changes")
    parser.add_argument("--no-seed", action="store_true", help="send no seed: vLLM's CPU engine dies of one")
    parser.add_argument("--wrong", type=int, default=300)
    parser.add_argument("--right", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--catalog", type=Path, help="take this list, and let the teacher label and diagnose only")
    parser.add_argument("--skill-sample", type=int, default=60)
    parser.add_argument("--agreement-sample", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True, help="folder for all that comes of it")
    return parser.parse_args()


async def main() -> None:
    """Ask, write down, and print what came of it."""
    given = settings()
    attempts = chosen(given.solutions, given.wrong, given.right, given.seed)
    problems = list({attempt.problem.id: attempt.problem for attempt in attempts}.values())
    given.out.mkdir(parents=True, exist_ok=True)
    teacher = OpenAITeacher(
        model=given.model,
        base_url=given.base_url,
        key=given.key_variable,
        send_seed=not given.no_seed,
        label=given.label,
    )
    summary: dict[str, Any] = {
        "teacher": teacher.name, "seed": given.seed, "problems": len(problems),
        "wrong": sum(one.failed for one in attempts), "right": sum(one.right for one in attempts),
    }  # fmt: skip
    try:
        with Ledger.open(given.out / "calls.sqlite") as ledger:
            catalog, labels, found = await catalogued(given, teacher, ledger, problems)
            summary |= found
            skills = {key: one.skills for key, one in labels.items()}
            with_skills = {one.id: one for one in with_labels(problems, skills)}
            labelled = [msgspec.structs.replace(one, problem=with_skills[one.problem.id]) for one in attempts]
            done, found = await diagnosed(given, teacher, ledger, labelled, catalog)
            summary |= found
    finally:
        await teacher.aclose()
    write_jsonl(given.out / "attempts.jsonl", done)
    write_record(given.out / "profile.json", SkillProfile.of(done, catalog.names))
    (given.out / "diagnoses.txt").write_text(readable(done, labels), encoding="utf-8")
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    (given.out / "summary.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    asyncio.run(main())
