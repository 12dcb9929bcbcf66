"""A small whole run, made by the project's own code: what the files of a run look like, for seeds."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import msgspec

from lessons.agreement import Agreement
from lessons.memory import Demonstration, Memory, Rubric
from lessons.records import LostReply
from loops.exams.records import TeacherExam, TeacherSkill
from loops.records import CatalogInfo, Clock, Frozen, FrozenPart, Prompts
from loops.store import now
from loops.watching.heartbeat import Heartbeat, here
from teachers.servers import ProcessId


@cache
def workspace() -> Path:
    """Return the folder that everything is written into; it goes when the process ends."""
    made = Path(tempfile.mkdtemp(prefix="tutelage-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108 - memory, not disk
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def folder(name: str) -> Path:
    """Return a folder of a reader's own."""
    made = workspace() / "".join(sign if sign.isalnum() else "-" for sign in name)
    made.mkdir()
    return made


@cache
def run_files() -> dict[str, bytes]:
    """Return path within the run folder -> content, of a made-up run of one round in which every file is there."""
    from made_up import Maker
    from synthesise_run import synthesise

    out = workspace() / "made-up"
    synthesise(out, Maker(rounds=1, skills=3, new=6, seed=0), train=10, held_out=10)
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
    files |= {name: msgspec.json.encode(record) for name, record in _others().items()}
    files["rounds/01/lost.jsonl"] += msgspec.json.encode(LostReply(prompt="p", reason="empty", detail="d")) + b"\n"
    return files


def _others() -> dict[str, msgspec.Struct]:
    """What a made-up run lacks."""
    memory = Memory(
        instructions="Work one thing at a time.",
        principles=("Carry the ten.",),
        rubrics=(Rubric(name="sums", criteria=("It is right.",), questions=("1 + 1?",)),),
        demonstrations=(Demonstration(question="1 + 1?", completion="Answer: 2", skills=("carrying",)),),
    )
    skill = TeacherSkill(graded=3, right=2, low=0.2, high=0.9)
    agreed = Agreement(n=3, observed=0.9, expected=0.5, kappa=0.5, low=0.1, high=0.8, per_skill={"carrying": 0.5})
    return {
        "clock.json": Clock(seconds=12.5),
        "prompts.json": Prompts(versions={"judge": ("0123456789abcdef",)}),
        "catalog.json": CatalogInfo(source="teacher", labelled=4, agreement=agreed),
        "live.json": Heartbeat(
            process=ProcessId(1, 2.5), place=here(), began=now(), beat=now(), moved=now(), round=1, stage="teach"
        ),
        "problems/frozen.json": Frozen(parts={"held_out": FrozenPart(problems=10, sha256="0" * 64)}),
        "rounds/00/teacher.json": TeacherExam(
            teacher="t",
            asked=4,
            graded=3,
            right=2,
            low=0.2,
            high=0.9,
            skills={"carrying": skill},
            lost={"empty": 1},
            student=0.3,
        ),
        "rounds/01/student/memory.json": memory,
    }
