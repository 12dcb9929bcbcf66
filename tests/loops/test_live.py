from collections import Counter

from loops.watching.live import WINDOW, Live
from loops.watching.progress import EVERY_PLAIN, Terminal
from teachers.accounts import Bill
from teachers.base import Usage
from teachers.budget import Budget, Caps
from teachers.limits import Limiter
from teachers.prices import Prices
from teachers.totals import CallTotals

PRICES = Prices(prompt=1.0, completion=2.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def totals(sent: int, asked: int = 1000, tokens: int = 50, **lost: int) -> CallTotals:
    done = CallTotals(asked=asked, sent=sent, parsed=sent - sum(lost.values()), lost=Counter(lost))
    done.tokens.update({"prompt": tokens * sent, "completion": tokens * sent})
    return done


def test_rates_are_of_the_last_seconds_and_not_of_the_whole():
    clock = Clock()
    live = Live(budget=Budget(Caps()), clock=clock)
    assert live.line(totals(0)).startswith("0.0 requests/s   0 tokens/s")
    for second in range(1, 31):  # 100 a second for ten seconds, then 4 a second
        clock.now = 100.0 + second
        sent = 100 * second if second <= 10 else 1000 + 4 * (second - 10)
        line = live.line(totals(sent, asked=2000))
    assert line.startswith("4.0 requests/s   400 tokens/s")
    assert "3 m 50 s left" in line  # 920 of 2,000 are left, at 4 a second
    assert WINDOW == 10.0


def test_the_line_says_what_is_spent_of_each_cap_what_was_lost_and_the_width():
    clock, limiter = Clock(), Limiter(clock=lambda: 0.0)
    limiter.width, limiter.pushed_back = 17.6, 3
    limiter._cool_until = 12.0
    spent = Bill(calls=7, tokens=Usage(prompt=900, completion=100), usd=1.5)
    budget = Budget(Caps(usd=20, tokens=5000, requests=50, hours=6), spent, prices=PRICES, clock=clock)
    live = Live(budget=budget, limiters=lambda: [limiter], clock=clock)
    live.line(totals(0))
    clock.now += 2
    counted = totals(20, truncated=3, invalid=1)
    counted.errors["500"] = 2
    line = live.line(counted)
    for part in (
        "$1.50 of $20.00", "1,000 of 5,000 tokens", "7 of 50 requests", "0.0 of 6 h",
        "lost truncated 3, 500 2, invalid 1", "width 17, pushed back 3 times", "waits 12 s as the endpoint asks",
    ):  # fmt: skip
        assert part in line
    assert "budget" not in Live(budget=Budget(Caps()), clock=clock).line(totals(1))


def test_in_a_log_the_line_comes_now_and_then_and_is_made_only_then(capsys):
    clock, made = Clock(), []
    terminal = Terminal(clock=clock)
    assert not terminal.console.is_terminal
    with terminal.live("teach") as told:
        for second in range(0, 100, 5):
            clock.now = 100.0 + second
            told(second, 100, lambda: made.append(1) or "4 requests/s")
    assert len(made) == 3
    assert EVERY_PLAIN == 30.0
    assert capsys.readouterr().err.splitlines()[0].split() == ["teach", "30", "of", "100", "4", "requests/s"]
