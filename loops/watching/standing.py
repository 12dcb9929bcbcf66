"""Where a run stands, for those who watch: running, finished, stopped or killed, and how to go on with it."""

import shlex
from typing import Literal

from lessons.records import Record
from loops.reading import RunView
from loops.watching.heartbeat import Heartbeat, read_heartbeat, seconds_since
from loops.watching.holders import held

State = Literal["running", "finished", "stopped", "killed"]


class Standing(Record, frozen=True, kw_only=True):
    """One look at a run, from its folder and its heartbeat. Texts are as they were said: whoever shows them escapes."""

    state: State
    where: str
    """The round and the stage, for people: "round 2 of 3, teach"; "" where the run has ended."""
    doing: str = ""
    done: int = 0
    total: int = 0
    """Of what is counted now; 0 where it is not known."""
    line: str = ""
    """Figures about the calls that go on."""
    said: str = ""
    """The last line that the run said."""
    quiet: float = 0.0
    """Seconds since something last went on, while it runs."""
    reason: str = ""
    """Why it ended before its last round."""
    resume: str = ""
    """The command that goes on with it; "" where it runs or is finished."""


def standing(run: RunView) -> Standing:
    """Say where a run stands. A process that is gone without a word was killed."""
    beat = read_heartbeat(run.path)
    if beat is not None and beat.living:
        return Standing(
            state="running",
            where=_where(run, beat),
            doing=beat.doing,
            done=beat.done,
            total=beat.total,
            line=beat.line,
            said=beat.said,
            quiet=seconds_since(beat.moved),
        )
    if held(run.path):  # it has begun just now, or is of a version that left no word
        return Standing(state="running", where=run.state.removeprefix("in "))
    if run.finished is not None:
        return Standing(state="finished", where="", reason=run.finished.budget)
    resume = f"tutelage resume {shlex.quote(str(run.path))}"
    if beat is None:  # nobody has run it, or a version that left no word
        return Standing(state="stopped", where=run.state, resume=resume)
    killed = not beat.ended
    return Standing(
        state="killed" if killed else "stopped",
        where=run.state if not killed else _where(run, beat),
        said=beat.said,
        reason=beat.reason,
        resume=resume,
    )


def _where(run: RunView, beat: Heartbeat) -> str:
    if not beat.stage:
        return run.state.removeprefix("in ")
    if not beat.round:
        return {"exam": "first exam", "learn": "warm-up"}.get(beat.stage, beat.stage)
    rounds = f" of {run.info.rounds}" if run.info else ""
    return f"round {beat.round}{rounds}, {beat.stage}"
