"""What a stage's teacher calls came to: one answer, and all of them added up."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Self, TypeVar

from lessons.errors import TeacherError
from teachers.base import Reply

T = TypeVar("T")

Reason = Literal["", "empty", "refused", "truncated", "invalid", "failed", "budget"]
"""Why there is no answer; "" where there is one. `budget`: it was never asked, a cap was reached."""

_LONGEST_TOKEN = 256
"""Characters that one token may stand for, at most: long runs of blanks are single tokens in some vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[T]):
    """What became of one sample that a teacher was asked for."""

    value: T | None = None
    """What the prompt's parser made of the reply; None where `reason` says why not."""
    reason: Reason = ""
    text: str = ""
    """The reply as it came, also where it could not be used."""
    call: str | None = None
    """Id of the call in the ledger whose reply this is; None where there is none."""
    repaired: str | None = None
    """Id of the call whose reply could not be parsed, where `call` is the repair turn that followed it."""
    detail: str = ""
    """For people: what the endpoint, the parser or the error said."""


def classify(reply: Reply, max_tokens: int | None = None) -> Reason:
    """Return why a reply is no answer, before anybody parses it. Only one that ended by itself, with a text, is.

    A text that is longer than so many tokens can be did not come from the model that was asked.
    """
    if max_tokens is not None and too_long(reply, max_tokens):
        return "failed"
    if reply.finish == "refused":
        return "refused"
    if reply.finish == "length":
        return "truncated"
    if reply.finish != "stop":
        return "failed"
    return "" if reply.text.strip() else "empty"


def too_long(reply: Reply, max_tokens: int) -> bool:
    """Whether the text is longer than so many tokens can be."""
    return len(reply.text) > _LONGEST_TOKEN * max(16, max_tokens)


@dataclass(slots=True, kw_only=True)
class CallTotals:
    """Counts that grow while a caller works: asked = parsed + all that is lost + what is still under way."""

    asked: int = 0
    """Samples asked for."""
    answered: int = 0
    """Samples that got a whole reply with a text."""
    parsed: int = 0
    """Samples that became a value."""
    repaired: int = 0
    """Samples whose first reply was invalid and whose repair turn was not; they are among the parsed."""
    lost: Counter[str] = field(default_factory=Counter[str])
    """Samples that became none, by reason."""
    sent: int = 0
    """Calls that went to the endpoint, repair turns included; the client's own retries are not counted."""
    from_ledger: int = 0
    """Calls that this run had made before, repair turns included."""
    from_cache: int = 0
    """Calls that the cache which runs share had, repair turns included: nothing was paid for them."""
    errors: Counter[str] = field(default_factory=Counter[str])
    """Calls that failed after all their tries, by HTTP status, or "connection" where there was none."""
    tokens: Counter[str] = field(default_factory=Counter[str])
    """Tokens of the calls sent, by kind: prompt, cached_prompt, completion, reasoning."""
    ledger_tokens: Counter[str] = field(default_factory=Counter[str])
    """Tokens of the calls from the ledger, by kind: what was not paid again."""
    unmeasured: int = 0
    """Calls, sent or from the ledger, whose reply did not tell its completion tokens: the sums lack them."""

    def copy(self) -> Self:
        """Return the counts as they stand now."""
        return replace(
            self,
            lost=Counter(self.lost),
            errors=Counter(self.errors),
            tokens=Counter(self.tokens),
            ledger_tokens=Counter(self.ledger_tokens),
        )

    def since(self, earlier: Self) -> Self:
        """Return what was added since a copy was taken: the totals of one stage."""
        return type(self)(
            asked=self.asked - earlier.asked,
            answered=self.answered - earlier.answered,
            parsed=self.parsed - earlier.parsed,
            repaired=self.repaired - earlier.repaired,
            lost=self.lost - earlier.lost,
            sent=self.sent - earlier.sent,
            from_ledger=self.from_ledger - earlier.from_ledger,
            from_cache=self.from_cache - earlier.from_cache,
            errors=self.errors - earlier.errors,
            tokens=self.tokens - earlier.tokens,
            ledger_tokens=self.ledger_tokens - earlier.ledger_tokens,
            unmeasured=self.unmeasured - earlier.unmeasured,
        )

    def settle(self, reply: Reply, *, sent: bool) -> None:
        """Count the tokens of a call."""
        used = reply.usage
        kinds = {
            "prompt": used.prompt,
            "cached_prompt": used.cached_prompt,
            "completion": used.completion,
            "reasoning": used.reasoning,
        }
        (self.tokens if sent else self.ledger_tokens).update({k: n for k, n in kinds.items() if n is not None})
        self.unmeasured += used.completion is None

    def error(self, error: TeacherError) -> None:
        """Count a call that failed after all its tries."""
        self.errors[str(error.status or "connection")] += 1

    def count(self, answer: Answered[T]) -> None:
        """Count what became of a sample."""
        self.answered += answer.reason in ("", "invalid")
        if answer.reason:
            self.lost[answer.reason] += 1
        else:
            self.parsed += 1
            self.repaired += answer.repaired is not None
