"""What a run folder lacks: what has not been done yet, and what is gone or damaged. One sentence each."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from loops.costs.spending import calls_since
from loops.reading import RoundView, RunView
from loops.records import STAGES
from loops.views.text import count, one_line, styled
from loops.watching.heartbeat import read_heartbeat
from loops.watching.standing import State, standing

if TYPE_CHECKING:
    from rich.console import RenderableType

_NOTHING = hashlib.sha256(b"").hexdigest()

_YET = {
    "freeze": "the problems are not frozen yet",
    "catalog": "no catalogue of skills yet",
    "label": "the problems have no labels yet",
    "examine": "no answers yet",
    "diagnose": "no diagnosis and no profile yet",
    "teach": "no candidates yet",
    "filter": "nothing is kept or dropped yet",
    "select": "no lessons are chosen yet",
    "learn": "no student yet",
    "exam": "no exam yet",
    "noise": "the noise floor is not measured yet",
    "final": "no final exam yet",
}
"""What there would be when the stage is done."""

_QUIET = ("select", "learn")
"""Stages that never ask the teacher."""


def missing(run: RunView) -> tuple[str, ...]:
    """Return what the run lacks, most weighty first; nothing for a whole finished run.

    Call it last: damage is noted when a file is read.
    """
    return (*_unfinished(run), *_no_ledger(run), *_gone(run), *_damaged(run))


def stands(standing: State, state: str) -> str:
    """Return where a run stands as text: "finished", "killed in round 2, teach"."""
    if standing == "finished":
        return standing
    return f"running, {state.removeprefix('in ')}" if standing == "running" else f"{standing} {state}"


def lacks(sentences: Sequence[str]) -> "list[RenderableType]":
    """Return what a run lacks as lines for a terminal; nothing where it is whole."""
    from rich.padding import Padding

    return [Padding(styled(f"missing: {one_line(told, 400)}", "yellow"), (0, 0, 0, 2)) for told in sentences]


def unfinished_stage(run: RunView) -> tuple[RoundView | None, str]:
    """Return the round and the stage that a run that is not finished stands in; "" between rounds and at the end."""
    if not run.rounds:
        return None, "freeze"
    last = run.rounds[-1]
    beat = read_heartbeat(run.path)
    if beat is not None and beat.stage and beat.round == last.index and beat.stage not in last.markers:
        return last, beat.stage
    if last.index or last.metrics is not None:
        return last, last.next_stage or ""
    # A run of a version that left no word of its stages.
    catalog = () if (run.path / "catalog.yaml").is_file() else ("catalog",)
    warm_up = ("learn",) if (run.path / "problems" / "warm_up.jsonl").is_file() else ()
    stages = ("freeze", *catalog, "label", *warm_up, "exam")
    return last, next((stage for stage in stages if stage not in last.markers), "exam")


def _unfinished(run: RunView) -> Iterator[str]:
    stand = standing(run)
    if stand.state == "finished":
        return
    turn, stage = unfinished_stage(run)
    told = [part for part in (_calls(run, turn, stage), _YET.get(stage, "")) if part]
    verb = {"running": "is", "killed": "was killed", "stopped": "was stopped"}[stand.state]
    where = f"in {stage}" if stage else "at its end" if turn is None or turn.index else "after the first exam"
    whose = f"round {turn.index}" if turn is not None and turn.index else "the run"
    sentence = f"{whose} {verb} {where}{': ' if told else ''}{'; '.join(told)}"
    if stand.reason:
        sentence += f" ({stand.reason})"
    yield f"{sentence}; `{stand.resume}` goes on" if stand.resume else sentence
    planned, begun = run.info.rounds if run.info else 0, run.rounds[-1].index if run.rounds else 0
    if begun < planned:
        yield (
            f"round {planned} has not begun"
            if begun + 1 == planned
            else (f"rounds {begun + 1} to {planned} have not begun")
        )


def _calls(run: RunView, turn: RoundView | None, stage: str) -> str:
    """Say how many of the stage's calls are paid for already."""
    if not stage or stage in _QUIET or turn is None or not (run.path / "calls.sqlite").is_file():
        return ""
    calls = calls_since(run, turn)
    if not calls:
        return ""
    beat = read_heartbeat(run.path)
    total = beat.total if beat is not None and (beat.round, beat.stage) == (turn.index, stage) else 0
    if total >= calls:
        return f"{count(calls)} of {count(total)} calls are in the ledger"
    return "1 call of it is in the ledger" if calls == 1 else f"{count(calls)} calls of it are in the ledger"


def _no_ledger(run: RunView) -> Iterator[str]:
    asked = any(
        number for turn in run.rounds for marker in turn.markers.values() for name, number in marker.counts.items()
        if name.endswith("/asked")
    )  # fmt: skip
    if asked and not (run.path / "calls.sqlite").is_file():
        yield "calls.sqlite is not there: what the teacher was asked and what it cost is not known"


def _gone(run: RunView) -> Iterator[str]:
    """Yield the outputs of finished stages that are gone or empty, and the stages whose marker is."""
    for turn in run.rounds:
        place = turn.folder.relative_to(run.path).as_posix()
        for stage, marker in turn.markers.items():
            for name, digest in marker.outputs.items():
                path = turn.folder / name
                if not path.is_file():
                    yield f"{place}/{name} is not there, though {stage} is done"
                elif digest != _NOTHING and not path.stat().st_size:
                    yield f"{place}/{name} is empty, though {stage} wrote something"
        if turn.index and turn.next_stage is None:
            yield from (f"round {turn.index}: {stage} has no marker" for stage in STAGES if stage not in turn.markers)


def _damaged(run: RunView) -> Iterator[str]:
    _ = (run.info, run.finished, run.recipe, run.final, run.frozen)  # small: read here, whatever the view has read
    for turn in run.rounds:
        _ = (turn.markers, turn.profile, turn.learned, turn.metrics, turn.noise, turn.contamination)
    yield from (f"{name}: {told}" for name, told in run.faults.found.items())
