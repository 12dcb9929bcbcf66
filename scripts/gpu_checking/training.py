"""How fast a student is trained, beside plain TRL, and which part of what the GPU could compute that is."""

import gc
import re
from typing import Any, NamedTuple

from bench_student import Trained, middle, ours, trl_as_shipped

from gpu_checking.memory import Memory
from lessons.records import Lesson, Message, Problem, Provenance
from students.chats import row_tokens
from students.hf import HFStudent

PEAKS = {
    "B200": 2250.0, "H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L40": 181.0,
    "L4": 121.0, "A10": 125.0, "RTX 5090": 209.5, "RTX 4090": 165.2, "RTX 3090": 71.0, "RTX A6000": 154.8,
}  # fmt: skip
"""Words in a GPU's name -> its dense bfloat16 peak with float32 sums, in 1e12 operations a second, from NVIDIA's data
sheets; the first that is found counts."""


class Shape(NamedTuple):
    """What the operations of one step are counted from."""

    base: int
    """Weights that every token is multiplied with, the head's included, the embedding's table not."""
    adapter: int
    """Weights of a LoRA adapter of rank 16 on all linear layers."""
    layers: int
    width: int
    """Of all heads of attention together."""


def peak_of(name: str) -> float | None:
    """Return a GPU's peak in 1e12 operations a second by its name; None where it is not known."""
    words = re.split(r"[\s-]+", name)
    return next((peak for known, peak in PEAKS.items() if all(word in words for word in known.split())), None)


def shape_of(model: Any, rank: int = 16) -> Shape:
    """Return the shape of a causal language model."""
    import torch

    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    head = model.get_output_embeddings()
    adapter = sum(rank * (one.in_features + one.out_features) for one in linear if one is not head)
    base = sum(one.weight.numel() for one in linear)
    config = model.config
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return Shape(base, adapter, config.num_hidden_layers, width)


def operations(shape: Shape, length: float) -> float:
    """Return the operations that training one token of a LoRA needs, in rows of so many tokens.

    Forward, a weight costs 2 operations a token; backward, 2 for what goes on to the layers below, and 2 more where the
    weight is trained itself: 4 for the base's weights, 6 for the adapter's. Attention costs 2 x width x length a layer
    forward (queries with keys and with values, half of them masked), and twice that backward. What is computed again,
    or left out because no loss needs it, counts as the model has it: the same figure for every way of training.
    """
    attention = 3 * 2 * shape.layers * shape.width * length
    return 4 * shape.base + 6 * shape.adapter + attention


def made_up(student: HFStudent, count: int, tokens: int, word: str = "number") -> list[Lesson]:
    """Return lessons of about so many tokens each, a quarter of them the prompt's, that say a word again and again."""
    words = " ".join(f"{word} {n}" for n in range(2000))
    each = len(student.tokenizer(words, add_special_tokens=False)["input_ids"]) / len(words)
    room = int(tokens / each)
    lessons: list[Lesson] = []
    for number in range(count):
        shifted = words[number % 97 :]
        question, answer = shifted[: room // 4].strip(), shifted[room // 4 : room].strip()
        prompt = (Message(role="user", content=question),)
        problem, provenance = Problem(question=question), Provenance(method="check", round=1)
        lessons.append(Lesson(prompt=prompt, completion=answer, problem=problem, provenance=provenance))
    return lessons


def measured(
    student: HFStudent, lessons: list[Lesson], batch: int, memory: Memory, *, precision: Any, peak: float | None
) -> dict[str, Any]:
    """Train both ways and return what each came to."""
    import torch

    rows = [row_tokens(student.tokenizer, one.prompt, one.completion, student.stops) for one in lessons]
    length = sum(map(len, rows)) / len(rows)
    model = student.base.model(torch.bfloat16)
    need = operations(shape_of(model), length)
    del model
    gc.collect()
    found: dict[str, Any] = {
        "tokens_per_lesson": round(length, 1),
        "lessons_per_step": batch,
        "steps": len(lessons) // batch,
    }
    with memory.phase("train"):
        found["ours"] = _figures(ours(student, lessons, 0, precision, batch), length * batch, need, peak)
    student.close()
    with memory.phase("train with TRL"):
        found["trl"] = _figures(trl_as_shipped(student, lessons, batch), length * batch, need, peak)
    student.close()
    found["ratio"] = round(found["ours"]["tokens_per_second"] / found["trl"]["tokens_per_second"], 2)
    return found


def _figures(trained: Trained, tokens: float, need: float, peak: float | None) -> dict[str, Any]:
    speed = tokens / middle(trained.seconds)
    utilisation = None if peak is None else round(speed * need / (peak * 1e12), 4)
    return {
        "tokens_per_second": round(speed, 1),
        "flop_utilisation": utilisation,
        "first_loss": round(trained.losses[0], 4),
        "last_loss": round(trained.losses[-1], 4),
    }
