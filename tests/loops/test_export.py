"""What a run leaves for others: a dataset that TRL reads, an adapter, a whole model, each with its card."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree
from threading import Thread
from typing import Any

import pytest
import yaml

from lessons.errors import InputError
from lessons.jsonl import read_jsonl, write_jsonl
from lessons.records import Dropped, Lesson, Message
from loops.export.cards import dataset_card
from loops.export.command import export
from loops.export.dataset import export_lessons
from loops.export.student import export_student
from loops.reading import RunView
from loops.recipe import resolve
from loops.run import Run
from students.base import Generation
from students.tiny import tiny
from teachers.ledger import read_calls

RECIPE = {
    "task": {"id": "skills_demo", "skills": ["carrying", "clock"], "train": 6, "held_out": 4, "gate": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor", "error_rate": 0.3},
    "method": "rationale",
    "train": {"epochs": 1, "start": "last"},
    "gate": {"rule": "always"},
    "rounds": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    Run.start(resolve(RECIPE), path).to_the_end()
    return path


def meta_of(card: Path) -> dict[str, Any]:
    _, front, _ = card.read_text().split("---\n", 2)
    return yaml.safe_load(front)


def test_a_dataset_holds_every_trained_row_once_with_where_it_comes_from(run: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    done = export_lessons(run, tmp_path / "data", with_dropped=True)
    trained = [lesson for index in (1, 2) for lesson in read_jsonl(run / f"rounds/0{index}/lessons.jsonl", Lesson)]
    gone = [drop for index in (1, 2) for drop in read_jsonl(run / f"rounds/0{index}/dropped.jsonl", Dropped)]
    assert gone
    assert done.rounds == (1, 2)
    assert done.files == {"train.parquet": len({one.id for one in trained}), "dropped.parquet": len(gone)}
    files = {"train": str(tmp_path / "data/train.parquet"), "dropped": str(tmp_path / "data/dropped.parquet")}
    rows = load_dataset("parquet", data_files={"train": files["train"]}, cache_dir=str(tmp_path / "cache"))["train"]
    by_id = {lesson.id: lesson for lesson in trained}
    assert [row["id"] for row in rows] == list(dict.fromkeys(lesson.id for lesson in trained))
    calls = {call.id for call in read_calls(run / "calls.sqlite")}
    for row in rows:
        lesson = by_id[row["id"]]
        assert row["prompt"] == [dict(told) for told in lesson.prompt]
        assert row["completion"] == [{"role": "assistant", "content": lesson.completion}]
        assert set(row["calls"]) == set(lesson.provenance.calls) <= calls
        assert bool(row["teachers"]) == bool(row["calls"])
        assert row["rounds"]
    caused = [row for row in rows if row["method"] == "rationale"]
    assert caused
    assert all(row["attempt"] and row["student_answer"] is not None and row["diagnosis"] for row in caused)
    reasons = load_dataset("parquet", data_files={"d": files["dropped"]}, cache_dir=str(tmp_path / "cache"))["d"]
    assert [(row["dropped_by"], row["reason"]) for row in reasons] == [(d.check.filter, d.check.reason) for d in gone]


def test_the_card_names_teacher_licence_and_prompt_versions(run: Path, tmp_path: Path) -> None:
    export_lessons(run, tmp_path / "data", license="cc-by-4.0")
    card = (tmp_path / "data/README.md").read_text()
    assert meta_of(tmp_path / "data/README.md")["license"] == "cc-by-4.0"
    assert meta_of(tmp_path / "data/README.md")["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.parquet"}
    ]
    assert "rule\\_tutor-" in card
    versions = json.loads((run / "prompts.json").read_bytes())["versions"]
    assert "rationale" in versions
    assert all(version in card for found in versions.values() for version in found)
    export_lessons(run, tmp_path / "data")  # again: an earlier export is replaced, and no licence is said to be none
    assert meta_of(tmp_path / "data/README.md")["license"] == "unknown"


def test_preference_pairs_have_a_file_of_their_own(run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet
    from msgspec.structs import replace

    copied = copytree(run, tmp_path / "pairs")
    path = copied / "rounds/01/lessons.jsonl"
    first, *rest = read_jsonl(path, Lesson)
    write_jsonl(path, [replace(first, rejected="Answer: nothing"), *rest])
    done = export_lessons(copied, tmp_path / "data", index=1)
    assert done.files == {"preference.parquet": 1, "train.parquet": len({one.id for one in rest})}
    (row,) = pyarrow.parquet.read_table(tmp_path / "data/preference.parquet").to_pylist()
    assert row["rejected"] == [{"role": "assistant", "content": "Answer: nothing"}]
    assert row["chosen"] == [{"role": "assistant", "content": first.completion}]
    names = [config["config_name"] for config in meta_of(tmp_path / "data/README.md")["configs"]]
    assert sorted(names) == ["preference", "train"]


def test_a_whole_model_answers_as_the_student_does(run: Path, tmp_path: Path) -> None:
    from students.open import open_student

    export_student(run, tmp_path / "model", merged=True, license="apache-2.0")
    learned = RunView.open(run).rounds[2].learned
    assert learned is not None
    student = tiny(adapter=run / "rounds/02/student" / learned.learned.adapter)
    prompts = [(Message(role="user", content=f"What is {n} + {n}?"),) for n in range(6)]
    greedy = Generation(max_tokens=16)
    assert open_student(str(tmp_path / "model"), precision="float32").answer(prompts, greedy) == student.answer(
        prompts, greedy
    )
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".safetensors", ".json", ".md", ".jinja"}
    card = (tmp_path / "model/README.md").read_text()
    metrics = RunView.open(run).rounds[2].metrics
    assert metrics is not None
    assert f"{100 * metrics.accuracy:.1f} % now" in card
    assert "| carrying |" in card
    assert meta_of(tmp_path / "model/README.md") == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tutelage", "distillation"],
    }


def test_an_adapter_names_its_base(run: Path, tmp_path: Path) -> None:
    export_student(run, tmp_path / "adapter", index=1)
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_bytes())
    assert settings["base_model_name_or_path"] == "tiny"
    saved = next((run / "rounds/01/student").glob("adapter-*/adapter_model.safetensors"))
    assert (tmp_path / "adapter/adapter_model.safetensors").read_bytes() == saved.read_bytes()
    assert not (tmp_path / "adapter/student.json").exists()


def test_a_student_trained_whole_is_exported_as_a_model(run: Path, tmp_path: Path) -> None:
    copied = copytree(run, tmp_path / "whole")
    (weights,) = (copied / "rounds/02/student").glob("adapter-*")
    (weights / "adapter_config.json").unlink()  # rank 0 leaves a whole model's files
    with pytest.raises(InputError, match=r"round 2 trained all weights \(rank 0\), not an adapter: export model"):
        export_student(copied, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("what", "more", "words"),
    [
        ("lesson", {}, "export: there is no 'lesson'; did you mean lessons"),
        ("lessons", {"index": 7}, "round 7 has no lessons; rounds that have: 1, 2"),
        ("adapter", {"index": 0}, "round 0 has trained no student; rounds that have: 1, 2"),
        ("lessons", {"push_to": "just-a-name"}, "--push 'just-a-name': expected OWNER/NAME"),
        ("lessons", {"push_to": "../../etc/x"}, "expected OWNER/NAME"),
    ],
)
def test_bad_input_is_one_line(run: Path, tmp_path: Path, what: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        export(run, what, tmp_path / "out", **more)
    assert not list(tmp_path.iterdir())


def test_what_is_no_export_is_never_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is there already and is no export"):
        export_lessons(run, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_hostile_names_are_text_in_a_card(make_run) -> None:
    hostile = "\n---\nlicense: mit\n---\n<script>alert(1)</script>[x](javascript:alert(1)) | {{ 7*7 }} \x1b[31m\u202e"
    run = RunView.open(make_run(hostile=hostile))
    card = dataset_card(run, [1], {"train.parquet": 1}, "")
    assert yaml.safe_load(card.split("---\n", 2)[1])["license"] == "unknown"
    body = card.split("---\n", 2)[2]
    assert "<script" not in body
    assert "](javascript" not in body
    assert "49" not in re.findall(r"\{\{ 7.{0,3}7 \}\}|49 ", body)
    assert "\x1b" not in body
    assert "\u202e" not in body
    assert "license: mit\n" not in body


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as an upload of small files needs; it keeps what it got."""

    seen: list[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        self.seen.append((self.path, self.headers.get("Authorization") or "", body))
        host = f"http://{self.headers['Host']}"
        if not self.headers.get("Authorization"):
            self._say(401, {"error": "Invalid username or password."})
            return
        if self.path.endswith("/repos/create"):
            told: Any = {"url": f"{host}/datasets/me/data", "name": "me/data", "id": "1"}
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            told = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif "/commit/" in self.path:
            told = {"commitUrl": f"{host}/datasets/me/data/commit/0", "commitOid": "0" * 40, "success": True}
        else:
            told = {"type": "user", "name": "me"}
        self._say(200, told)

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization") or "", b""))
        self._say(200, {"siblings": [], "id": "me/data", "sha": "0" * 40})

    def _say(self, status: int, told: Any) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    seen: list[tuple[str, str, bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Hub,), {"seen": seen}))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()


def pushed(run: Path, out: Path, endpoint: str, *more: str, token: str | None) -> subprocess.CompletedProcess[str]:
    gone = ("HF_HUB_OFFLINE", "HF_TOKEN", "TRANSFORMERS_OFFLINE")
    env = {name: value for name, value in os.environ.items() if name not in gone}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(out.parent / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    env |= {"HF_TOKEN": token} if token else {}
    command = [
        sys.executable,
        "-c",
        "from loops.cli import main; main()",
        "export",
        str(run),
        "lessons",
        "--out",
        str(out),
        "--json",
        *more,
    ]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_push_sends_the_export_to_the_hub_private_by_default(run: Path, tmp_path: Path, hub) -> None:
    endpoint, seen = hub
    token = "hf_thisIsTheSecretOfATest"
    done = pushed(run, tmp_path / "data", endpoint, "--push", "me/data", token=token)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pushed"] == f"{endpoint}/datasets/me/data"
    made = next(json.loads(body) for path, _, body in seen if path.endswith("/repos/create"))
    assert (made["type"], made["visibility"]) == ("dataset", "private")
    commit = next(body for path, _, body in seen if "/commit/" in path)
    sent = [json.loads(line)["value"] for line in commit.splitlines() if b'"file"' in line]
    assert {told["path"] for told in sent} == {"README.md", "train.parquet"}
    assert all(authorization == f"Bearer {token}" for _, authorization, _ in seen)
    assert token not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


def test_a_push_without_a_log_in_or_a_hub_is_one_line_and_keeps_the_export(run: Path, tmp_path: Path, hub) -> None:
    endpoint, seen = hub
    done = pushed(run, tmp_path / "data", endpoint, "--push", "me/data", token=None)
    assert done.returncode == 2
    assert "HF_TOKEN" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not any("/commit/" in path for path, _, _ in seen)
    gone = pushed(run, tmp_path / "data", "http://127.0.0.1:9", "--push", "me/data", token="hf_other")
    assert gone.returncode == 2
    assert gone.stderr.startswith("tutelage: --push me/data: ")
    assert len(gone.stderr.strip().splitlines()) == 1
    assert (tmp_path / "data/train.parquet").is_file()
