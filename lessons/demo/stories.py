"""Demo skills that are told as short stories, and those of clock and calendar."""

from random import Random

from lessons.demo.form import WEEKDAYS, DemoSkill, Facts, whole


def _two_steps_fits(facts: Facts) -> bool:
    a, b, c = whole(facts, "a", "b", "c")
    return 20 <= a <= 69 and 3 <= b <= a - 5 and 3 <= c <= 30 and b <= 39


def _two_steps(facts: Facts, slip: bool) -> tuple[str, str]:
    a, b, c = whole(facts, "a", "b", "c")
    sign, middle = ("+", a + b) if slip else ("-", a - b)  # slip: adds what goes away
    return f"{a}{sign}{b}={middle}. {middle}+{c}={middle + c}.", str(middle + c)


def _change_fits(facts: Facts) -> bool:
    a, b, c = whole(facts, "a", "b", "c")
    return 3 <= a <= 24 and 2 <= b <= 7 and c % 10 == 0 and a * b < c <= min(100, a * b + 60)


def _change(facts: Facts, slip: bool) -> tuple[str, str]:
    a, b, c = whole(facts, "a", "b", "c")
    if slip:  # pays for one only
        return f"{c}-{a}={c - a}.", str(c - a)
    return f"{b}*{a}={a * b}. {c}-{a * b}={c - a * b}.", str(c - a * b)


def _clock_draw(rng: Random) -> dict[str, str]:
    return {"time": f"{rng.randint(1, 10)}:{5 * rng.randint(1, 11):02d}", "n": str(5 * rng.randint(1, 11))}


def _time(facts: Facts) -> tuple[int, int]:
    hour, minute = facts["time"].split(":")
    return int(hour), int(minute)


def _clock_fits(facts: Facts) -> bool:
    hour, minute = _time(facts)
    (n,) = whole(facts, "n")
    return 1 <= hour <= 10 and 5 <= n <= 55 and minute + n >= 60


def _clock(facts: Facts, slip: bool) -> tuple[str, str]:
    hour, minute = _time(facts)
    (n,) = whole(facts, "n")
    total = minute + n
    steps = f"{minute}+{n}={total}. {total}-60={total - 60}."
    if slip:  # forgets the full hour
        return steps, f"{hour}:{total - 60:02d}"
    return f"{steps} {hour}+1={hour + 1}.", f"{hour + 1}:{total - 60:02d}"


def _clock_truth(facts: Facts) -> str:
    hour, minute = _time(facts)
    return "{}:{:02d}".format(*divmod(60 * hour + minute + int(facts["n"]), 60))


def _weekday_draw(rng: Random) -> dict[str, str]:
    return {"n": str(rng.randint(2, 27)), "day": rng.choice(WEEKDAYS), "way": rng.choice(("after", "before"))}


def _weekday_fits(facts: Facts) -> bool:
    (n,) = whole(facts, "n")
    return 2 <= n <= 27 and n % 7 > 0


def _weekday(facts: Facts, slip: bool) -> tuple[str, str]:
    (n,) = whole(facts, "n")
    step = 1 if facts["way"] == "after" else -1
    start = WEEKDAYS.index(facts["day"])
    first = 0 if slip else 1  # slip: counts the first day too
    counted = [WEEKDAYS[(start + step * k) % 7] for k in range(first, n % 7 + first)]
    weeks = f"{n}-{n - n % 7}={n % 7}. " if n > 7 else ""
    way = "on" if step > 0 else "back"
    return f"{weeks}Count {n % 7} {way} from {facts['day']}: {', '.join(counted)}.", counted[-1]


def _weekday_truth(facts: Facts) -> str:
    n = int(facts["n"])
    return WEEKDAYS[(WEEKDAYS.index(facts["day"]) + (n if facts["way"] == "after" else -n)) % 7]


STORIES = (
    DemoSkill(
        name="two steps",
        description="Solve a story in which something goes away and then something is added.",
        fine=("two-step word problems", "following a story in order"),
        templates=(
            "{name} has {a} {thing}, gives away {b} and then finds {c} more. How many {thing} does {name} have now?",
            "A bus has {a} people. At a stop {b} get off and {c} get on. How many people are on the bus?",
            "A shop has {a} {thing}. It sells {b} and then buys {c} more. How many {thing} does the shop have?",
        ),
        draw=lambda rng: {"a": str(rng.randint(20, 69)), "b": str(rng.randint(3, 39)), "c": str(rng.randint(3, 30))},
        fits=_two_steps_fits,
        truth=lambda facts: str(int(facts["a"]) - int(facts["b"]) + int(facts["c"])),
        work=_two_steps,
    ),
    DemoSkill(
        name="change",
        description="Find the change after buying several things at one price.",
        fine=("making change", "prices and change"),
        templates=(
            "One book costs {a} dollars. {name} buys {b} books and pays with {c} dollars. How many dollars come back?",
            "A ticket costs {a} dollars. {name} buys {b} tickets and pays {c} dollars. What is the change in dollars?",
            "{name} pays {c} dollars for {b} toys that cost {a} dollars each. How much change does {name} get?",
        ),
        draw=lambda rng: {
            "a": str(rng.randint(3, 24)),
            "b": str(rng.randint(2, 7)),
            "c": str(10 * rng.randint(1, 10)),
        },
        fits=_change_fits,
        truth=lambda facts: str(int(facts["c"]) - int(facts["a"]) * int(facts["b"])),
        work=_change,
    ),
    DemoSkill(
        name="clock",
        description="Add minutes to a time of day, past the full hour.",
        fine=("adding minutes to a time", "clock arithmetic"),
        templates=(
            "It is {time}. What time is it {n} minutes later?",
            "A film starts at {time} and lasts {n} minutes. When does it end?",
            "{name} leaves at {time} and walks for {n} minutes. At what time does {name} arrive?",
        ),
        draw=_clock_draw,
        fits=_clock_fits,
        truth=_clock_truth,
        work=_clock,
    ),
    DemoSkill(
        name="weekdays",
        description="Find the day of the week some days before or after another.",
        fine=("counting days of the week", "calendar arithmetic"),
        templates=(
            "Which day of the week is {n} days {way} {day}?",
            "{name} travels {n} days {way} a {day}. On which day of the week does {name} travel?",
            "A match is {n} days {way} {day}. Which day of the week is the match?",
        ),
        draw=_weekday_draw,
        fits=_weekday_fits,
        truth=_weekday_truth,
        work=_weekday,
    ),
)
