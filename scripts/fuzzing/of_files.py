"""Readers of files that people write or hand on: recipes, problems, catalogues, records, runs; the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzzing.reader import Kind, Reader, Seed
from fuzzing.run_folder import folder, run_files
from lessons.errors import InputError
from lessons.jsonl import read_jsonl
from lessons.memory import Memory
from lessons.records import Attempt, Dropped, Lesson, LostReply, Problem, Record
from lessons.skills import SkillProfile
from loops.catalog.file import read_catalog, read_labels
from loops.changing import changed
from loops.exams.records import Contamination, TeacherExam
from loops.recipe import load
from loops.records import (
    CatalogInfo,
    Clock,
    ExamMetrics,
    FinalExam,
    Finished,
    Frozen,
    Marker,
    NoiseFloor,
    Prompts,
    RoundLearned,
    RunInfo,
)
from loops.store import read_record, read_yaml
from loops.tasks.gsm8k import Gsm8k
from loops.tasks.jsonl import Jsonl
from loops.tasks.snips import Snips
from loops.views import finding
from loops.watching.heartbeat import Heartbeat, read_heartbeat

RECIPE = b"""\
task: {id: skills_demo, train: 24, held_out: 8, skills: [carrying, products]}
student: {model: tiny, answer: {max_tokens: 8}, adapter: {rank: 4, alpha: 8}}
teacher: {kind: openai, model: m, base_url: "http://127.0.0.1:1/v1", key: LOOPBACK_KEY, headers: {X-A: $B}}
method: {id: stat_syn, new: 2, solutions: 3, agree: 2}
filters: [format, {id: length, most: 100}, verified]
select: {id: profile, budget: 40, replay: 0.3}
train: {epochs: 1, learning_rate: 2e-4, objective: sft}
diagnose: {by: teacher}
gate: {rule: significant, alpha: 0.05}
budget: {usd: 1.5, hours: 6}
rounds: 3
seed: 0
"""
RECIPE_2 = b"""\
task: &task
  id: skills_demo
  train: 24
student: tiny
teacher:
  kind: pool
  members:
    - {kind: rule_tutor}
    - {kind: vllm, model: m, placement: separate, flags: {max_num_seqs: 4}}
method: rationale
order: easy_to_hard
"""
PROBLEMS = b"\n".join(
    json.dumps({"question": f"What is {n} + {n}?", "answer": n + n, "skills": ["adding"], "choices": ["1", str(n + n)],
                "solution": f"{n} and {n} make {n + n}.", "tests": ["assert f(1)"], "entry_point": "f"}).encode()
    for n in range(1, 9)
)  # fmt: skip
GSM8K = b"\n".join(
    json.dumps({"question": f"Ann has {n} pens and buys {n}. How many?", "answer": f"{n} + {n} = <<{n}+{n}={n + n}>>\n"
                f"#### {n + n}"}).encode()
    for n in range(1, 30)
)  # fmt: skip
SNIPS = b"\n".join(
    json.dumps({"text": f"play song {n}", "intent": name, "label": name, "slots": {}}).encode()
    for n in range(6)
    for name in ("PlayMusic", "GetWeather")
)
CATALOG = b"""\
# The closed list of skills.
skills:
- {name: carrying, description: Carry the ten., subject: sums, was: [carry, "the ten"]}
- name: clocks
  description: Tell the time.
- plain name
"""
LABELS = b'{"problem":"0123456789abcdef","skills":["clocks"],"again":["carrying"],"by":"t","entries":{"clocks":"ab"}}\n'
CHANGES = (b"rounds=3", b"method.new=4", b"select.replay=0.5", b"teacher.prices={prompt: 1.5}", b"train={epochs: 2}")
LINES: dict[str, tuple[type[Record], str]] = {
    "problems": (Problem, "problems/train.jsonl"), "attempts": (Attempt, "rounds/01/attempts.jsonl"),
    "lessons": (Lesson, "rounds/01/lessons.jsonl"), "dropped": (Dropped, "rounds/01/dropped.jsonl"),
    "lost": (LostReply, "rounds/01/lost.jsonl"),
}  # fmt: skip
RECORDS: dict[str, type[Record]] = {
    "run.json": RunInfo, "finished.json": Finished, "final.json": FinalExam, "clock.json": Clock,
    "prompts.json": Prompts, "catalog.json": CatalogInfo, "live.json": Heartbeat, "problems/frozen.json": Frozen,
    "rounds/00/noise.json": NoiseFloor, "rounds/00/teacher.json": TeacherExam, "rounds/01/metrics.json": ExamMetrics,
    "rounds/01/profile.json": SkillProfile, "rounds/01/learned.json": RoundLearned,
    "rounds/01/contamination.json": Contamination, "rounds/01/.done/teach.json": Marker,
    "rounds/01/student/memory.json": Memory,
}  # fmt: skip


def readers() -> Iterator[Reader]:
    """Yield every reader of files that people write or hand on."""
    yield _file("recipe", "recipe.yaml", load, "yaml", RECIPE, RECIPE_2, weight=0.1)
    yield _file("YAML of a run", "recipe.yaml", read_yaml, "yaml", RECIPE, RECIPE_2, weight=0.3)
    yield Reader(name="--set", read=lambda data: changed({"method": "stat_syn"}, _text(data)), weight=0.5,
                 refuses=(InputError,), seeds=tuple(Seed(one, "text") for one in CHANGES))  # fmt: skip
    yield _file("catalogue", "skills.yaml", _catalog, "yaml", CATALOG, weight=0.3)
    yield _file("labels", "skills.labels.jsonl", lambda path: read_labels(_beside(path)), "jsonl", LABELS)
    yield _file("problems of the user", "train.jsonl", _problems, "jsonl", PROBLEMS)
    yield _file("GSM8K", "train.jsonl", _of_folder(Gsm8k, "test.jsonl", GSM8K), "jsonl", GSM8K)
    yield _file("SNIPS", "train.jsonl", _of_folder(Snips, "validate.jsonl", SNIPS), "jsonl", SNIPS)
    for name, (kind, file) in LINES.items():
        seed = b"\n".join((run_files()[file]).split(b"\n")[:3])
        yield _file(f"lines of {name}", "some.jsonl", _lines(kind), "jsonl", seed)
    for name, kind in RECORDS.items():
        yield _file(f"record {name}", "one.json", _record(kind), "json", run_files()[name])
    yield _file("heartbeat", "live.json", lambda path: _beat(path.parent), "json", run_files()["live.json"])
    firsts = tuple(Seed(run_files()[file].split(b"\n")[0], "json") for _, file in LINES.values())
    yield Reader(name="ids of lines", read=_ids, refuses=_DECODING, seeds=firsts)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _file(
    name: str, file: str, read: Callable[[Path], object], kind: Kind, *seeds: bytes, weight: float = 1.0
) -> Reader:
    """Return a reader of a path, at which the input lies."""

    def reads(data: bytes) -> object:
        path = folder(name) / file
        path.write_bytes(data)
        return read(path)

    made = tuple(Seed(seed, kind) for seed in seeds)
    return Reader(name=name, read=reads, seeds=made, refuses=(InputError,), weight=weight)


def _beside(path: Path) -> Path:
    (path.parent / "skills.json").write_bytes(run_files()["catalog.json"])
    return path.parent / "skills.yaml"


def _catalog(path: Path) -> object:
    return read_catalog(path)


def _problems(path: Path) -> object:
    split = Jsonl(train=str(path), held_out=0.3).split(0)
    return [problem.id for problem in (*split.train, *split.held_out)]


def _of_folder(task: Any, test: str, good: bytes) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        beside = path.parent / test
        if not beside.exists():
            beside.write_bytes(good)
        split = task(folder=str(path.parent), train=8, held_out=8).split(0)
        return [problem.id for problem in split.train]

    return read


def _lines(kind: type[Record]) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        return [getattr(one, "id", None) for one in read_jsonl(path, kind)]

    return read


def _record(kind: type[Record]) -> Callable[[Path], object]:
    return lambda path: read_record(path, kind)


def _beat(run: Path) -> object:
    beat = read_heartbeat(run)
    return beat and beat.living


def _ids(data: bytes) -> object:
    for made in (finding.lesson_id, finding.dropped_id, finding.problem_id, finding.attempt_ids):
        try:
            made(data)
        except _DECODING:
            continue
    return None


def _decoding() -> tuple[type[Exception], ...]:
    import msgspec

    return (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


_DECODING = _decoding()
"""What those who call these turn into a note on the file."""
