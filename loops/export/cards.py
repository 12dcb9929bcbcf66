"""The cards that go with a dataset or a model: what it is, where every part of it comes from, and what is not known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loops.reading import RunView
from loops.records import Prompts
from loops.store import read_record
from loops.views.gaps import Gaps, gaps
from loops.views.show import show
from loops.views.text import count, dollars, interval, one_line, p_value, percent, points
from students.open import HUB_ID
from teachers.ledger import read_calls

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


def dataset_card(run: RunView, rounds: Sequence[int], files: Mapping[str, int], license_id: str) -> str:
    """Return the README of a dataset, its metadata on top as the hub reads it."""
    meta: dict[str, Any] = {
        "license": license_id or "unknown",
        "tags": ["tutelage", "distillation", "synthetic"],
        "task_categories": ["text-generation"],
        "configs": [_config(file, place) for place, file in enumerate(files)],
    }
    return _rendered("dataset.md.j2", run, meta, rounds=rounds, files=files, license=license_id)


def model_card(run: RunView, index: int, *, merged: bool, base: str, license_id: str) -> str:
    """Return the README of a student: its exam, its training and its teacher. base: a hub id, or what it was."""
    is_hub_id = HUB_ID.fullmatch(base) is not None and not Path(base).is_dir()
    meta: dict[str, Any] = {
        "license": license_id or "unknown",
        **({"base_model": base, "base_model_relation": "finetune" if merged else "adapter"} if is_hub_id else {}),
        "library_name": "transformers" if merged else "peft",
        "pipeline_tag": "text-generation",
        "tags": ["tutelage", "distillation"],
    }
    turn = run.round(index)
    learned = turn.learned.learned if turn is not None and turn.learned is not None else None
    return _rendered(
        "model.md.j2", run, meta, index=index, merged=merged, base=base, learned=learned, license=license_id
    )


def _config(file: str, place: int) -> dict[str, Any]:
    """Return how the hub finds a file: the first is shown first; rows of different columns need names of their own."""
    name = file.removesuffix(".parquet")
    told = {"config_name": name, "data_files": [{"split": "train", "path": file}]}
    return told | ({"default": True} if place == 0 else {})


def _rendered(template: str, run: RunView, meta: Mapping[str, Any], **more: Any) -> str:
    view = gaps(run)
    spent = show(run).teacher
    body = (
        _environment()
        .get_template(template)
        .render(
            run=run, info=run.info, recipe=run.recipe, view=view, rows=_exam_rows(view), spent=spent,
            teachers=models_of(run), prompts=_prompts(run), instruction=_instruction(run), **more,
        )
    )  # fmt: skip
    return f"---\n{yaml.safe_dump(dict(meta), sort_keys=False, allow_unicode=True)}---\n\n{body}"


def _exam_rows(view: Gaps) -> list[dict[str, str]]:
    """Return the exam by skill as a card's table: before, after, change."""
    rows: list[dict[str, str]] = []
    for skill in view.skills:
        exams = {exam.round: exam for exam in skill.exams}
        before, after = exams.get(0), exams.get(view.current or 0)
        if before is None or after is None or before.accuracy is None or after.accuracy is None:
            continue
        change = skill.since_start
        rows.append(
            {
                "skill": skill.skill,
                "n": count(after.n),
                "before": f"{percent(before.accuracy)} {interval(before.low, before.high)}",
                "after": f"{percent(after.accuracy)} {interval(after.low, after.high)}",
                "change": f"{points(change.difference)} {interval(change.low, change.high)}, {p_value(change.p)}"
                if change
                else "",
            }
        )
    return rows


def models_of(run: RunView) -> list[str]:
    """Return the models that answered, as their endpoints name them; the run's name of its teacher where none says."""
    ledger = run.path / "calls.sqlite"
    named = {call.reply.model for call in read_calls(ledger)} if ledger.is_file() else set[str]()
    return sorted(named - {""}) or ([run.info.teacher] if run.info else [])


def _prompts(run: RunView) -> dict[str, tuple[str, ...]]:
    noted = read_record(run.path / "prompts.json", Prompts)
    return noted.versions if noted is not None else {}


def _instruction(run: RunView) -> str:
    """Return the system message that the exam asks under; "" where there is none."""
    for turn in run.rounds:
        for lesson in turn.lessons():
            return next((told["content"] for told in lesson.prompt if told["role"] == "system"), "")
    return ""


def _cell(value: object) -> str:
    """Return foreign text as one line that Markdown and a table show as it is, and nothing of it as markup."""
    text = one_line(str(value), 300)
    return "".join(f"\\{sign}" if sign in _MARKUP else sign for sign in text.replace("&", "&amp;").replace("<", "&lt;"))


_MARKUP = frozenset("\\`*_{}[]()#+!|>~")


def _environment() -> "Environment":
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=False, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(
        {"cell": _cell, "percent": percent, "points": points, "count": count, "dollars": dollars, "p_value": p_value}
    )
    return environment
