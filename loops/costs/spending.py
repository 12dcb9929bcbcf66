"""What the teacher had cost by the end of each round: where a point of a learning curve stands on its axis of cost."""

from loops.reading import RoundView, RunView
from teachers.accounts import Account, entries, spent_until
from teachers.ledger import written_until

AT_END = "ledger/calls"
"""Count in a stage's marker: the number of the ledger's last call when the stage was done."""


def spent_by_round(run: RunView) -> dict[int, Account]:
    """Return round -> all calls from the run's beginning to the end of that round's exam; unfinished rounds have none.

    `used` is what the round's student costs whoever begins with nothing; `paid` lacks what other runs had bought
    before. A round is left out where the run's folder does not tell: there is no ledger, or nothing was paid for and
    the run is of a version that did not note the ledger's length.
    """
    path = run.path / "calls.sqlite"
    if not path.is_file():
        return {}
    return run.faults.spare(path, lambda: _spent(run), {})


def calls_since(run: RunView, turn: RoundView) -> int | None:
    """Return how many calls of the ledger came after the last finished stage; None where that is not told."""
    path = run.path / "calls.sqlite"
    ends = [marker.counts.get(AT_END) for earlier in run.rounds for marker in earlier.markers.values()]
    known = [end for end in ends if end is not None]
    if turn.index and not known:
        return None
    now = run.faults.spare(path, lambda: entries(path), None)
    return None if now is None else max(0, now - max(known, default=0))


def _spent(run: RunView) -> dict[int, Account]:
    path = run.path / "calls.sqlite"
    told = {turn.index: turn.markers["exam"] for turn in run.rounds if "exam" in turn.markers}
    ends = {index: marker.counts.get(AT_END) for index, marker in told.items()}
    late = {index: told[index].finished for index, end in ends.items() if end is None and told[index].finished}
    if late:  # a run of an older version: by the time at which the calls were made
        ends |= dict(zip(late, written_until(path, list(late.values())), strict=True))
    known = {index: end for index, end in ends.items() if end is not None}
    return dict(zip(known, spent_until(path, list(known.values())), strict=True))
