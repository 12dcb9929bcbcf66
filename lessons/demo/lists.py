"""Demo skills on lists of numbers and words. The steps restate the list in the order asked for, then select."""

from itertools import accumulate, pairwise
from random import Random

from lessons.demo.form import DemoSkill, Facts, listed, numbers

# fmt: off
_WORDS = (
    "apple", "bread", "cloud", "dance", "earth", "flute", "grape", "horse", "island", "jacket", "kitten", "lemon",
    "mouse", "night", "ocean", "pencil", "queen", "river", "stone", "table", "uncle", "violin", "window",
    "yellow", "zebra", "basket", "candle", "dragon", "forest", "garden", "hammer", "insect", "jungle", "kettle",
    "ladder", "magnet", "needle", "orange", "planet", "rabbit", "saddle", "ticket", "valley", "wallet",
)
# fmt: on


def _numbers(rng: Random, count: int, low: int = 11, high: int = 99) -> dict[str, str]:
    return {"numbers": listed(rng.sample(range(low, high + 1), count))}


def _distinct(facts: Facts, count: int) -> bool:
    values = numbers(facts)
    return len(values) == count == len(set(values)) and min(values) >= 10 and max(values) <= 99


def _largest(facts: Facts, slip: bool) -> tuple[str, str]:
    values = numbers(facts)
    if slip:  # overlooks the largest
        values.remove(max(values))
    return f"Largest so far: {listed(list(accumulate(values, max)))}.", str(max(values))


def _second(facts: Facts, slip: bool) -> tuple[str, str]:
    ordered = sorted(numbers(facts))
    if slip:  # takes the smallest
        return f"In order: {listed(ordered)}. The first is {ordered[0]}.", str(ordered[0])
    return f"In order: {listed(ordered)}. The second is {ordered[1]}.", str(ordered[1])


def _sort(facts: Facts, slip: bool) -> tuple[str, str]:
    left, steps, ordered = numbers(facts), list[str](), list[int]()
    while len(left) > 1:
        smallest = sorted(left)[1 if slip and len(left) == 2 else 0]  # slip: the last two in the wrong order
        left.remove(smallest)
        ordered.append(smallest)
        steps.append(f"Take {smallest}, left {listed(left)}.")
    return " ".join(steps), listed(ordered + left)


def _evens(facts: Facts, slip: bool) -> tuple[str, str]:
    values = numbers(facts)
    counts = list(accumulate(int(value % 2 == slip) for value in values))  # slip: counts the odd ones
    told = ", ".join(f"{value}: {count}" for value, count in zip(values, counts, strict=True))
    return f"Even so far: {told}.", str(counts[-1])


def _sequence_draw(rng: Random) -> dict[str, str]:
    start, step = rng.randint(2, 60), rng.randint(2, 12)
    return {"numbers": listed([start + step * k for k in range(4)])}


def _sequence_fits(facts: Facts) -> bool:
    values = numbers(facts)
    steps = {after - before for before, after in pairwise(values)}
    return len(values) == 4 and len(steps) == 1 and 2 <= min(steps) <= 12 and values[-1] <= 99


def _sequence(facts: Facts, slip: bool) -> tuple[str, str]:
    first, second, *_, last = numbers(facts)
    step = second - first + slip  # slip: gets the step wrong by one
    return f"{second}-{first}={step}. {last}+{step}={last + step}.", str(last + step)


def _average_fits(facts: Facts) -> bool:
    values = numbers(facts)
    return len(values) == 3 and sum(values) % 3 == 0 and min(values) >= 2 and max(values) <= 40


def _average(facts: Facts, slip: bool) -> tuple[str, str]:
    x, y, z = numbers(facts)
    steps = f"{x}+{y}={x + y}. {x + y}+{z}={x + y + z}."
    if slip:  # forgets to divide
        return steps, str(x + y + z)
    return f"{steps} {x + y + z}/3={(x + y + z) // 3}.", str((x + y + z) // 3)


def _letters_fits(facts: Facts) -> bool:
    words = facts["words"].split(", ")
    return 3 <= len(words) <= 5 and any(word[0] != word[-1] for word in words)


def _letters(facts: Facts, slip: bool) -> tuple[str, str]:
    words, at = facts["words"].split(", "), -1 if slip else 0  # slip: takes the last letters
    return ", ".join(f"{word}: {word[at]}" for word in words) + ".", "".join(word[at] for word in words)


LISTS = (
    DemoSkill(
        name="largest",
        description="Find the largest of some numbers.",
        fine=("finding the largest number", "comparing numbers"),
        templates=(
            "Which of these numbers is the largest: {numbers}?",
            "Find the largest number: {numbers}.",
            "{name} draws the numbers {numbers}. Which is the largest?",
        ),
        draw=lambda rng: _numbers(rng, 5),
        fits=lambda facts: _distinct(facts, 5),
        truth=lambda facts: str(max(numbers(facts))),
        work=_largest,
    ),
    DemoSkill(
        name="second smallest",
        description="Find the second smallest of some numbers.",
        fine=("finding the second smallest number", "ranking numbers"),
        templates=(
            "Which of these numbers is the second smallest: {numbers}?",
            "Find the second smallest number: {numbers}.",
            "{name} draws the numbers {numbers}. Which is the second smallest?",
        ),
        draw=lambda rng: _numbers(rng, 4),
        fits=lambda facts: _distinct(facts, 4),
        truth=lambda facts: str(min(set(numbers(facts)) - {min(numbers(facts))})),
        work=_second,
    ),
    DemoSkill(
        name="sorting",
        description="Put some numbers in order, smallest first.",
        fine=("sorting numbers", "putting numbers in order"),
        templates=(
            "Sort these numbers from smallest to largest: {numbers}.",
            "Put {numbers} in order, smallest first.",
            "{name} draws the numbers {numbers}. Write them in order, smallest first.",
        ),
        draw=lambda rng: _numbers(rng, 4),
        fits=lambda facts: _distinct(facts, 4),
        truth=lambda facts: listed(sorted(numbers(facts))),
        work=_sort,
    ),
    DemoSkill(
        name="counting evens",
        description="Count the even numbers among some numbers.",
        fine=("counting even numbers", "telling even from odd"),
        templates=(
            "How many of these numbers are even: {numbers}?",
            "Count the even numbers: {numbers}.",
            "{name} draws the numbers {numbers}. How many of them are even?",
        ),
        draw=lambda rng: _numbers(rng, 5),
        fits=lambda facts: _distinct(facts, 5),
        truth=lambda facts: str(sum(1 for value in numbers(facts) if str(value)[-1] in "02468")),
        work=_evens,
    ),
    DemoSkill(
        name="sequences",
        description="Continue a sequence that grows by the same step.",
        fine=("continuing a number sequence", "finding a pattern in numbers"),
        templates=(
            "What number comes next: {numbers}?",
            "Continue the sequence {numbers} by one number.",
            "{name} counts {numbers} and goes on with the same step. What is the next number?",
        ),
        draw=_sequence_draw,
        fits=_sequence_fits,
        truth=lambda facts: str(2 * numbers(facts)[3] - numbers(facts)[2]),
        work=_sequence,
    ),
    DemoSkill(
        name="averages",
        description="Find the average of three numbers.",
        fine=("finding the average", "mean of numbers"),
        templates=(
            "What is the average of {numbers}?",
            "Find the mean of the numbers {numbers}.",
            "{name} scores {numbers} points in three games. What is the average score?",
        ),
        draw=lambda rng: _numbers(rng, 3, 2, 40),
        fits=_average_fits,
        truth=lambda facts: str(sum(numbers(facts)) // 3),
        work=_average,
    ),
    DemoSkill(
        name="first letters",
        description="Join the first letters of some words.",
        fine=("joining first letters", "taking letters from words"),
        templates=(
            "Join the first letters of these words: {words}.",
            "What do the first letters of {words} spell?",
            "{name} writes down the first letter of each word: {words}. What does {name} write?",
        ),
        draw=lambda rng: {"words": ", ".join(rng.sample(_WORDS, 4))},
        fits=_letters_fits,
        truth=lambda facts: "".join(word[0] for word in facts["words"].split(", ")),
        work=_letters,
    ),
)
