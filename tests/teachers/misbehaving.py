"""Every way in which an endpoint may misbehave, who gets which of them, and what must become of each sample."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lessons.ids import digest
from teachers.base import Reply, Usage
from teachers.loopback import Fault, Seen
from teachers.retry import RetryPolicy
from teachers.scripted import ScriptedTeacher
from teachers.totals import Reason

USAGE = {"prompt_tokens": 7, "completion_tokens": 2}
"""Of every answer that tells it."""
LURE = "77777"
"""The text of a fault: it can be parsed, and is nobody's answer."""
PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1>77777</body></html>"
PUT_OFF = RetryPolicy().put_off
DATE = "Wed, 21 Oct 2065 07:28:00 GMT"


def number_in(text: str) -> int:
    return int("".join(sign for sign in text if sign.isdigit()))


GOOD = ScriptedTeacher(
    replies=lambda messages, sampling: Reply(
        text=str(number_in(messages[1]["content"])), usage=Usage(prompt=7, completion=2)
    )
)
"""Answers the number that it is asked about."""


def choice(text: str, index: int = 0, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}


def completion(*choices: Mapping[str, Any], **members: Any) -> bytes:
    return json.dumps({"choices": choices, "usage": USAGE} | members).encode()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to misbehave."""

    fault: Callable[[int], Fault]
    """Of the number that was asked about."""
    reason: Reason
    """What becomes of a sample whose every reply is so; "": it does no harm."""
    again: bool = False
    """Whether it is tried again within a call."""
    put_off: bool = False
    whole: bool = False
    """Whether it is a reply, bad as it may be: it is kept, and never bought again."""
    paid: bool = False
    """Whether it was paid for."""
    told: bool = True
    """Whether it tells its tokens, where it was paid for."""


def fails(fault: Fault, *, again: bool = True, put_off: bool = False) -> Kind:
    return Kind(fault=lambda number: fault, reason="failed", again=again, put_off=put_off)


def bad(reason: Reason, *choices: Mapping[str, Any], whole: bool = True) -> Kind:
    body = completion(*choices)
    return Kind(fault=lambda number: Fault(raw=body), reason=reason, whole=whole, paid=True)


def harmless(fault: Callable[[int], Fault], *, told: bool = True) -> Kind:
    return Kind(fault=fault, reason="", whole=True, paid=True, told=told)


def raw(body: bytes, status: int = 200, **headers: str) -> Fault:
    return Fault(raw=body, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


LURED = completion(choice(LURE))
KINDS: dict[str, Kind] = {
    # no reply; the same request is tried again
    "500": fails(Fault(status=500)),
    "503": fails(Fault(status=503)),
    "503 and a wait": fails(Fault(status=503, headers={"Retry-After": "2"})),
    "429": fails(Fault(status=429), put_off=True),
    "429 and a wait": fails(Fault(status=429, headers={"Retry-After": "30"}), put_off=True),
    "429 until a date": fails(Fault(status=429, headers={"Retry-After": DATE}), put_off=True),
    "429 and no sense": fails(Fault(status=429, headers={"Retry-After": "?", "retry-after-ms": "nan"}), put_off=True),
    "reset": fails(Fault(cut=True)),
    "reset in the body": fails(Fault(raw=LURED, cut_body=True)),
    "reset in the body of an error": fails(Fault(raw=LURED, status=500, cut_body=True)),
    "truncated JSON": fails(raw(LURED[:-9])),
    "two answers in one": fails(raw(LURED + LURED)),
    "a stream": fails(raw(b"data: " + LURED + b"\n\n", Content_Type="text/event-stream")),
    "no gzip": fails(raw(LURED, Content_Encoding="gzip")),
    "a page, 200": fails(raw(PAGE, Content_Type="text/html")),
    "a page, 502": fails(raw(PAGE, 502, Content_Type="text/html")),
    "nowhere": fails(raw(b"", 302, Location="http://[::1/")),
    "no body": fails(raw(b"")),
    "no choices": fails(raw(completion())),
    "no message": fails(raw(completion({"index": 0}))),
    "an error, 200": fails(raw(b'{"error": {"message": "upstream \\ud83d is down", "code": 502}}')),
    "invalid UTF-8": fails(raw(LURED.replace(b"77", b"7\xff7"))),
    "stall": fails(Fault(delay=40.0)),
    "drip": fails(Fault(raw=LURED, drip=0.03)),
    # no reply, and none to be had
    "too long": fails(Fault(status=400, code="context_length_exceeded"), again=False),
    # replies that are no answers
    "empty": bad("empty", choice("")),
    "blank": bad("empty", choice(" \n")),
    "nothing": bad("empty", {"message": {"content": None}, "finish_reason": "stop"}),
    "refusal": bad("refused", choice(LURE, refusal="I will not.")),
    "filtered": bad("refused", choice(LURE, finish="content_filter")),
    "cut": bad("truncated", choice(LURE, finish="length")),
    "prose": bad("invalid", choice(f"It is {LURE}.")),
    "half a surrogate pair": bad("invalid", choice(f"{LURE}\ud83d")),
    # replies that broke off, or that no model wrote: paid for, and asked for again by the next run
    "abort": bad("failed", choice(LURE, finish="abort"), whole=False),
    "10 MB": bad("failed", choice("7" * 10_000_000), whole=False),
    # odd, and good
    "no usage": harmless(lambda number: raw(completion(choice(str(number)), usage=None)), told=False),
    "the same id": harmless(lambda number: raw(completion(choice(str(number)), id="chatcmpl-1"))),
    "a wrong type": harmless(lambda number: raw(completion(choice(str(number))), Content_Type="image/png")),
    "too many choices": harmless(
        lambda number: raw(completion(choice(LURE, 2), choice(str(number), 0), choice("", 1, "length")))
    ),
}
SLOW = ("stall", "drip", "10 MB")
"""Kinds that take long; fewer samples get them."""


@dataclass(kw_only=True)
class Plan:
    """What the server does to the requests about each number, in turn; then no more, or the last for ever."""

    scripts: Mapping[int, Sequence[str]]
    for_ever: bool = False
    healed: bool = False
    came: Counter[int] = field(default_factory=Counter[int])

    def __call__(self, seen: Seen) -> Fault | None:
        number = number_in(seen.body["messages"][1]["content"])
        place = self.came[number]
        self.came[number] += 1
        kind = None if self.healed else self.at(number, place)
        return kind.fault(number) if kind else None

    def at(self, number: int, place: int) -> Kind | None:
        script = self.scripts.get(number, ())
        if place < len(script):
            return KINDS[script[place]]
        return KINDS[script[-1]] if script and self.for_ever else None


def spread(share: float, numbers: Sequence[int], *, for_ever: bool) -> Plan:
    """Give a share of the numbers a fault each, once or twice where it is not for ever; a hash decides."""
    fast = [name for name in KINDS if name not in SLOW]
    names = [*fast, *SLOW, *fast * 4]
    drawn = sorted(numbers, key=lambda number: digest(["misbehaving", number]))[: round(share * len(numbers))]
    times = {number: 1 if for_ever else 1 + place // 7 % 2 for place, number in enumerate(drawn)}
    return Plan(scripts={n: [names[i % len(names)]] * times[n] for i, n in enumerate(drawn)}, for_ever=for_ever)


@dataclass(kw_only=True)
class Outcome:
    """What must become of one sample."""

    reason: Reason = ""
    repaired: bool = False
    requests: int = 0
    whole: int = 0
    """Replies in the ledger."""
    broken: int = 0
    """Replies that were paid for and are not kept."""
    told: int = 0
    """Of both, those that tell their tokens."""
    asked_again: bool = False
    """Whether the next run sends for it."""


def outcome(plan: Plan, number: int, attempts: int) -> Outcome:
    """Reckon what must become of one sample, from the policy alone."""
    end = Outcome()
    end.reason = _call(plan, number, attempts, end)
    if end.reason == "invalid":
        again = _call(plan, number, attempts, end)
        end.reason, end.repaired = ("", True) if not again else ("invalid", False)
    return end


def _call(plan: Plan, number: int, attempts: int, end: Outcome) -> Reason:
    faults = put_off = 0
    while True:
        kind = plan.at(number, end.requests)
        end.requests += 1
        if kind is None or kind.paid:
            end.whole += kind is None or kind.whole
            end.broken += kind is not None and not kind.whole
            end.told += kind is None or kind.told
            end.asked_again = kind is not None and not kind.whole
            return kind.reason if kind else ""
        faults, put_off = faults + (not kind.put_off), put_off + kind.put_off
        if not kind.again or attempts == 1 or faults >= attempts or put_off >= PUT_OFF:
            end.asked_again = True
            return "failed"
