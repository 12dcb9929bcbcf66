"""What a run had spent when each of its exams was taken: the axes that learning curves are drawn against."""

from lessons.records import Record
from loops.costs.spending import spent_by_round
from loops.reading import RunView


class Spending(Record, frozen=True, kw_only=True):
    """What had been spent up to a round's exam."""

    round: int
    seconds: float
    """Of the stages, added up."""
    tokens: int | None
    """The teacher's, prompt and completion, replies that a shared cache had included; None where that is not known."""
    usd: float | None
    """Paid; None where the price of a paid call is not known."""


def spending(run: RunView) -> tuple[Spending, ...]:
    """Return what had been spent up to every exam, round by round."""
    accounts = spent_by_round(run)
    found: list[Spending] = []
    seconds = 0.0
    for turn in run.rounds:
        seconds += sum(marker.seconds for marker in turn.markers.values())
        if turn.metrics is None:
            continue
        account = accounts.get(turn.index)
        used = account.used.tokens if account else None
        told = [number for number in (used.prompt, used.completion) if number is not None] if used else []
        found.append(
            Spending(
                round=turn.index,
                seconds=seconds,
                tokens=sum(told) if told else None,
                usd=None if account is None or account.paid.unpriced else account.paid.usd,
            )
        )
    return tuple(found)
