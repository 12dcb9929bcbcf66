"""Demo skills of plain arithmetic. The steps go column by column, since a small model's tokenizer splits digits."""

from random import Random

from lessons.demo.form import DemoSkill, Facts, whole

_UNITS = {
    ("metres", "centimetres"): 100,
    ("hours", "minutes"): 60,
    ("minutes", "seconds"): 60,
    ("kilograms", "grams"): 1000,
    ("weeks", "days"): 7,
    ("feet", "inches"): 12,
}
_WRONG_FACTOR = {100: 10, 60: 100, 1000: 100, 7: 10, 12: 10}


def _two(rng: Random, low: int = 11, high: int = 99) -> dict[str, str]:
    return {"a": str(rng.randint(low, high)), "b": str(rng.randint(low, high))}


def _carry_fits(facts: Facts) -> bool:
    a, b = whole(facts, "a", "b")
    return 11 <= a <= 99 and 11 <= b <= 99 and a % 10 + b % 10 >= 10


def _carry(facts: Facts, slip: bool) -> tuple[str, str]:
    (tens_a, a), (tens_b, b) = (divmod(x, 10) for x in whole(facts, "a", "b"))
    if slip:  # forgets the carry
        return f"Ones: {a}+{b}={a + b}, write {a + b - 10}. Tens: {tens_a}+{tens_b}={tens_a + tens_b}.", (
            f"{tens_a + tens_b}{a + b - 10}"
        )
    tens = tens_a + tens_b + 1
    return (
        f"Ones: {a}+{b}={a + b}, write {a + b - 10}, carry 1. Tens: {tens_a}+{tens_b}+1={tens}.",
        f"{tens}{a + b - 10}",
    )


def _borrow_fits(facts: Facts) -> bool:
    a, b = whole(facts, "a", "b")
    return 11 <= b < a <= 99 and a % 10 < b % 10 and a // 10 - 1 > b // 10


def _borrow(facts: Facts, slip: bool) -> tuple[str, str]:
    (tens_a, a), (tens_b, b) = (divmod(x, 10) for x in whole(facts, "a", "b"))
    if slip:  # takes the smaller digit from the larger one
        return f"Ones: {b}-{a}={b - a}. Tens: {tens_a}-{tens_b}={tens_a - tens_b}.", f"{tens_a - tens_b}{b - a}"
    ones, tens = 10 + a - b, tens_a - 1 - tens_b
    return f"Ones: {a} is less than {b}, so 1{a}-{b}={ones}. Tens: {tens_a}-1-{tens_b}={tens}.", f"{tens}{ones}"


def _product_fits(facts: Facts) -> bool:
    a, b = whole(facts, "a", "b")
    return 12 <= a <= 99 and a % 10 > 0 and 3 <= b <= 9


def _product(facts: Facts, slip: bool) -> tuple[str, str]:
    a, b = whole(facts, "a", "b")
    tens, ones = a // 10 * (1 if slip else 10), a % 10  # slip: forgets the zero of the tens
    total = tens * b + ones * b
    return f"{tens}*{b}={tens * b}. {ones}*{b}={ones * b}. {tens * b}+{ones * b}={total}.", str(total)


def _remainder_fits(facts: Facts) -> bool:
    a, b = whole(facts, "a", "b")
    return 3 <= b <= 9 and 2 * b < a <= 10 * b and a % b > 0


def _remainder(facts: Facts, slip: bool) -> tuple[str, str]:
    a, b = whole(facts, "a", "b")
    times = a // b - slip  # slip: stops one multiple too early
    return f"{times}*{b}={times * b}. {a}-{times * b}={a - times * b}.", str(a - times * b)


def _percent_fits(facts: Facts) -> bool:
    a, b = whole(facts, "a", "b")
    return a % 10 == 0 and 20 <= a <= 90 and b % 10 == 0 and 30 <= b <= 600


def _percent(facts: Facts, slip: bool) -> tuple[str, str]:
    times, tenth = (x // 10 for x in whole(facts, "a", "b"))
    sign, result = ("+", times + tenth) if slip else ("*", times * tenth)  # slip: adds where it must multiply
    return f"10% of {facts['b']} is {tenth}. {times}{sign}{tenth}={result}.", str(result)


def _unit_draw(rng: Random) -> dict[str, str]:
    (big, small), factor = rng.choice(list(_UNITS.items()))
    return {"big": big, "small": small, "a": str(rng.randint(2, 9)), "b": str(rng.randint(1, factor - 1))}


def _unit_fits(facts: Facts) -> bool:
    a, b = whole(facts, "a", "b")
    factor = _UNITS.get((facts["big"], facts["small"]))
    return factor is not None and 2 <= a <= 9 and 1 <= b < factor


def _unit(facts: Facts, slip: bool) -> tuple[str, str]:
    a, b = whole(facts, "a", "b")
    factor = _UNITS[facts["big"], facts["small"]]
    factor = _WRONG_FACTOR[factor] if slip else factor
    return f"{a} {facts['big']} are {a}*{factor}={a * factor} {facts['small']}. {a * factor}+{b}={a * factor + b}.", (
        str(a * factor + b)
    )


ARITHMETIC = (
    DemoSkill(
        name="carrying",
        description="Add two two-digit numbers whose ones make ten or more, and carry.",
        fine=("adding two-digit numbers", "addition with a carry"),
        templates=(
            "What is {a} + {b}?",
            "Add {a} and {b}.",
            "{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
        ),
        draw=_two,
        fits=_carry_fits,
        truth=lambda facts: str(sum(whole(facts, "a", "b"))),
        work=_carry,
    ),
    DemoSkill(
        name="borrowing",
        description="Subtract two-digit numbers where the ones of the first are too small, and borrow.",
        fine=("subtracting two-digit numbers", "subtraction with a borrow"),
        templates=(
            "What is {a} - {b}?",
            "Subtract {b} from {a}.",
            "{name} has {a} {thing} and loses {b} of them. How many {thing} does {name} have left?",
        ),
        draw=_two,
        fits=_borrow_fits,
        truth=lambda facts: str(int(facts["a"]) - int(facts["b"])),
        work=_borrow,
    ),
    DemoSkill(
        name="products",
        description="Multiply a two-digit number by a one-digit number in parts.",
        fine=("multiplying by one digit", "multiplication of two-digit numbers"),
        templates=(
            "What is {a} times {b}?",
            "Multiply {a} by {b}.",
            "There are {b} boxes with {a} {thing} each. How many {thing} are there in all?",
        ),
        draw=lambda rng: {"a": str(rng.randint(12, 99)), "b": str(rng.randint(3, 9))},
        fits=_product_fits,
        truth=lambda facts: str(int(facts["a"]) * int(facts["b"])),
        work=_product,
    ),
    DemoSkill(
        name="remainders",
        description="Divide a number and tell what is left over.",
        fine=("division with a remainder", "finding what is left over"),
        templates=(
            "What is the remainder when {a} is divided by {b}?",
            "Divide {a} by {b}. What is left over?",
            "{name} shares {a} {thing} equally among {b} children. How many {thing} are left over?",
        ),
        draw=lambda rng: {"a": str(rng.randint(7, 90)), "b": str(rng.randint(3, 9))},
        fits=_remainder_fits,
        truth=lambda facts: str(int(facts["a"]) % int(facts["b"])),
        work=_remainder,
    ),
    DemoSkill(
        name="percentages",
        description="Take a percentage that is a multiple of ten from a round number.",
        fine=("percent of a number", "calculating percentages"),
        templates=(
            "What is {a}% of {b}?",
            "Find {a} percent of {b}.",
            "{name} has {b} {thing} and sells {a}% of them. How many {thing} does {name} sell?",
        ),
        draw=lambda rng: {"a": str(10 * rng.randint(2, 9)), "b": str(10 * rng.randint(3, 60))},
        fits=_percent_fits,
        truth=lambda facts: str(int(facts["a"]) * int(facts["b"]) // 100),
        work=_percent,
    ),
    DemoSkill(
        name="units",
        description="Convert a length, time or weight given in two units to the smaller unit.",
        fine=("converting units", "units of measure"),
        templates=(
            "How many {small} are {a} {big} and {b} {small}?",
            "Convert {a} {big} and {b} {small} to {small}.",
            "{name} measures {a} {big} and {b} {small}. How many {small} is that in all?",
        ),
        draw=_unit_draw,
        fits=_unit_fits,
        truth=lambda facts: str(
            int(facts["a"]) * _UNITS[facts["big"], facts["small"]] + int(facts["b"]),
        ),
        work=_unit,
    ),
)
