"""One other tool, measured as `bench_teacher.py` measures ours, by that tool's own Python; nothing of ours is imported.

PYTHON scripts/bench_rivals.py {curator,distilabel} BASE_URL REQUESTS IN_FLIGHT FOLDER
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RIVALS: dict[str, Callable[[str, int, int, str], int]] = {}


def rival(run: Callable[[str, int, int, str], int]) -> Callable[[str, int, int, str], int]:
    """Note a tool under its function's name; the function returns how many rows came back with an answer."""
    RIVALS[run.__name__] = run
    return run


@rival
def curator(base_url: str, requests: int, in_flight: int, folder: str) -> int:
    """bespokelabs-curator, its `openai` backend, its cache on disk."""
    os.environ |= {"CURATOR_CACHE_DIR": folder, "TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1"}
    # It downloads a tokenizer when it is imported, and fails without a network; litellm, which it needs, has a copy.
    litellm = find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", f"{Path(litellm.origin).parent}/litellm_core_utils/tokenizers")
    from bespokelabs import curator as bespoke
    from datasets import Dataset

    class Ask(bespoke.LLM):
        def prompt(self, row: dict[str, Any]) -> str:
            return row["question"]

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {"question": row["question"], "answer": response.strip()}

    limits = {"max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 1_000_000_000, "max_retries": 2}
    backend = {"base_url": base_url, "max_concurrent_requests": in_flight, **limits}
    ask = Ask(model_name="bench", backend="openai", backend_params=backend)
    rows = Dataset.from_list([{"question": f"What is {number} + 2?"} for number in range(requests)])
    begin()
    out = ask(rows)
    return sum(bool(row["answer"]) for row in getattr(out, "dataset", out))


@rival
def distilabel(base_url: str, requests: int, in_flight: int, folder: str) -> int:
    """distilabel, one TextGeneration step."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(name="bench", cache_dir=folder) as pipeline:
        rows = [{"instruction": f"What is {number} + 2?"} for number in range(requests)]
        load = LoadDataFromDicts(data=rows, batch_size=in_flight)
        llm = OpenAILLM(
            model="bench", base_url=base_url, api_key="bench-teacher", generation_kwargs={"max_new_tokens": 16}
        )
        load >> TextGeneration(llm=llm, input_batch_size=in_flight)
    begin()
    out = pipeline.run(use_cache=False)
    return sum(answer is not None for answer in out["default"]["train"]["generation"])


begun: dict[str, float] = {}


def begin() -> None:
    """Start the clocks: imports and set-up are not counted."""
    begun.update(wall=time.perf_counter(), cpu=spent())


def spent() -> float:
    """Return the processor seconds of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Run one tool, and print one line of JSON."""
    name, base_url, requests, in_flight, folder = sys.argv[1:6]
    os.environ["OPENAI_API_KEY"] = "bench-teacher"
    good = RIVALS[name](base_url, int(requests), int(in_flight), folder)
    wall, cpu = time.perf_counter() - begun["wall"], spent() - begun["cpu"]
    print(
        "RESULT "
        + json.dumps(
            {
                "requests_per_second": round(int(requests) / wall, 1),
                "wall_seconds": round(wall, 3),
                "cpu_milliseconds_per_request": round(1000 * cpu / int(requests), 3),
                "good_share": good / int(requests),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
