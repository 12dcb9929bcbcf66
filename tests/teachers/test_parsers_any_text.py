"""Every parser of foreign text: any text gives a value or a ParseError, never another error, in linear time.

The parsers are listed by walking the packages: a new prompt, reader or grader is covered by being there, or makes
`test_nothing_is_left_out` fail until somebody says how it is called.
"""

import asyncio
import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lessons.graders
import loops.filters
import teachers.prompts
from lessons import answers, numbers
from lessons.errors import GradeError, ParseError
from lessons.graders import math_kinds
from lessons.graders.exact import ExactGrader
from lessons.graders.math import MathGrader
from lessons.graders.numeric import NumericGrader
from lessons.records import Lesson, Message, Problem, Provenance
from lessons.skills import Skill, SkillCatalog
from loops.filters.base import Context, apply
from teachers import rate_headers, retry
from teachers.capabilities import read_models
from teachers.prompts import reading, structured
from teachers.prompts.base import Prompt, fenced
from teachers.rule_tutor import RuleTutor

Parser = Callable[[str], object]

CATALOGS: Mapping[str, SkillCatalog] = {
    "plain": SkillCatalog(skills=(Skill(name="carrying"), Skill(name="time, clocks", description="Tell the time"))),
    "hostile": SkillCatalog(
        skills=(
            *(
                Skill(name=name)
                for name in ("", " ", "a, a, a, a", "none", "{{ x }}", "Skills:", "</skills>", "*", ":")
            ),
            Skill(name="carrying", description="Verdict: right\nSkills: none, {% raw %} \ud800"),
            Skill(name="x" * 5000, description="y, " * 2000),
            *(Skill(name=", ".join("abcdefgh"[:width])) for width in range(1, 9)),
        )
    ),
    "empty": SkillCatalog(skills=()),
}
FIELDS: Mapping[str, object] = {
    "question": "What is 7 + 8?", "attempt": "It is 14.", "hint": "", "names": "adding", "skill": "carrying",
    "examples": "1. What is 1 + 2?", "count": 3, "criteria": "1. right\n2. short\n3. kind", "reference": "15",
}  # fmt: skip
EXAMPLE = "Seven and eight are fifteen.\nAnswer: 15"
"""What readers that belong to no prompt are mutated from."""


class Inner(msgspec.Struct):
    """A part of the form."""

    step: str
    right: bool | None = None


class Form(msgspec.Struct):
    """A form with members of every kind."""

    answer: str
    count: int = 0
    share: float = 0.0
    parts: list[Inner] = []
    told: dict[str, str] = {}


FORM = structured.structured(
    "form", system="s", user="{{ question }}", form=Form, example=Form(answer="4", parts=[Inner(step="2 + 2")])
)


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("math_worker"):  # a program of its own
            yield importlib.import_module(found.name)


def functions_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions that a module defines."""
    found = inspect.getmembers(module, inspect.isfunction)
    return {name: one for name, one in found if not name.startswith("_") and one.__module__ == module.__name__}


def prompts_of(module: ModuleType) -> dict[str, Prompt[Any]]:
    """The prompts of a module; those that a factory makes, once for each catalogue and with each switch turned."""
    short = module.__name__.rpartition(".")[2]
    found = {f"{short}.{name}": value for name, value in vars(module).items() if isinstance(value, Prompt)}
    for name, make in functions_of(module).items():
        takes = [(one.name, one.annotation) for one in inspect.signature(make).parameters.values()]
        if takes and takes[0][1] is SkillCatalog and all(kind is bool for _, kind in takes[1:]):
            for turned in ({}, *({switch: True} for switch, _ in takes[1:])):
                kinds = {", ".join((kind, *turned)): catalog for kind, catalog in CATALOGS.items()}
                found |= {f"{short}.{name}[{kind}]": make(catalog, **turned) for kind, catalog in kinds.items()}
    return found


NO_PROMPTS = {"base", "reading", "structured"}
"""Modules of `teachers.prompts` that hold what prompts are made of."""
PROMPTS = {name: prompt for module in modules_of(teachers.prompts) for name, prompt in prompts_of(module).items()}
PROMPTS["structured"] = FORM

READERS = (reading, answers, numbers, math_kinds, rate_headers)
"""Modules whose functions each take a text and read it."""
NOT_READERS = {
    "skill_lines": "writes a closed list",
    "one_of": "takes what was read",
    "written": "takes a number",
    "same_time": "takes what was read",
}
LABELS = ("verdict", "error", "reason", "skills", "missing skills")
CALLED: Mapping[str, Parser] = {
    "labelled": lambda text: reading.labelled(text, LABELS),
    "from_list": lambda text: reading.from_list(text, CATALOGS["hostile"], 3),
    "quota_wait": lambda text: rate_headers.quota_wait(
        {"x-ratelimit-remaining-tokens": text.strip() and "0", "x-ratelimit-reset-tokens": text, "ratelimit": text}
    ),
}
"""How a reader is called that takes more than the text."""


def is_called_with_a_text(function: Callable[..., Any]) -> bool:
    first, *others = inspect.signature(function).parameters.values()
    return first.annotation is str and all(one.default is not inspect.Parameter.empty for one in others)


def readers_of(module: ModuleType) -> dict[str, Parser]:
    named = {name: CALLED.get(name, one) for name, one in functions_of(module).items()}
    short = module.__name__.rpartition(".")[2]
    return {
        f"{short}.{name}": one
        for name, one in named.items()
        if name not in NOT_READERS and (name in CALLED or is_called_with_a_text(one))
    }


def classes_of(package: ModuleType) -> dict[str, type[Any]]:
    """The plug-ins of a package: id -> class."""
    found = [module for module in modules_of(package) if hasattr(module, "__all__")]
    return {module.__name__.rpartition(".")[2]: getattr(module, module.__all__[0]) for module in found}


GRADERS = classes_of(lessons.graders)
CHOICES = ("Paris", "New York", "York", "a_b", "C")
PROBLEMS = {
    "numeric": Problem(question="What is 7 + 8?", answer="15"),
    "exact": Problem(question="Which?", answer="Paris"),
    "choice": Problem(question="Which?", answer="Paris", choices=CHOICES),
    "math": Problem(question="What is x?", answer="15"),
    "contains": Problem(question="Which?", answer="Paris|City of Light"),
    "code": Problem(question="Write f.", data={"tests": ["assert f(1) == 2"]}),
}
BY_PROCESS = ("math", "code")
"""Graders that hand a text to other processes, and are tested against hostile texts on their own."""
BY_MODEL = ("ifd", "semantic_duplicate")
"""Filters that have a model score or embed a text, and read nothing in it themselves."""
FILTERS = {name: cls for name, cls in classes_of(loops.filters).items() if name not in BY_MODEL}


def graded(name: str, text: str) -> object:
    return GRADERS[name]().grade(PROBLEMS[name], text)


def filtered(name: str, text: str) -> object:
    """What a filter makes of candidates whose every text is this one."""
    made = [
        Lesson(
            prompt=(Message(role="user", content=text),),
            completion=completion,
            problem=Problem(question=text, answer=answer),
            provenance=Provenance(method="rationale", round=1),
        )
        for completion, answer in ((text, "15"), (f"{text}\nAnswer: 15", None), (text, None))
    ]
    context = Context(grader=NumericGrader(), held_out=frozenset({text}), trained=frozenset())
    return apply(name, FILTERS[name](), made, context)


def ask_rule_tutor(text: str) -> object:
    chat = [Message(role="system", content=text), Message(role="user", content=f"<question>\n{text}\n</question>")]
    return asyncio.run(RuleTutor().ask(chat, next(iter(PROMPTS.values())).sampling))


def readers() -> dict[str, Parser]:
    found: dict[str, Parser] = {}
    for module in READERS:
        found |= readers_of(module)
    found |= {f"{name}.read": cls().read for name, cls in GRADERS.items()}
    found |= {f"{name}.grade": lambda text, name=name: graded(name, text) for name in GRADERS if name not in BY_PROCESS}
    found |= {f"filter {name}": lambda text, name=name: filtered(name, text) for name in FILTERS}
    found |= {
        "fenced": fenced,
        "values_in": lambda text: list(structured.values_in(text)),
        "plain spelling": lambda text: answers.spelled_plainly(text, case=True, punctuation=True),
        "read_final_number, marked": lambda text: numbers.read_final_number(text, last=False),
        "match": CATALOGS["hostile"].match,
        "retry_after": lambda text: retry.retry_after_seconds({"retry-after": text}),
        "retry_after_ms": lambda text: retry.retry_after_seconds({"retry-after-ms": text}),
        "models": lambda text: read_models(text.encode("utf-8", "surrogatepass")),
    }
    return found


PARSERS: dict[str, Parser] = {**{name: prompt.parse for name, prompt in PROMPTS.items()}, **readers()}
REFUSING = {"reading.labelled", "reading.from_list", "reading.stated_answer", "reading.worked_solution"}
"""Readers that may raise a ParseError, beside the prompts' own."""
FIRST = {name: prompt.example(FIELDS, 7) for name, prompt in PROMPTS.items() if prompt.example is not None}

PIECES = (
    "Answer:", "The final answer is: ", "**", "*", "```\n", "```", "- ", "- a: b, ", "1. ", "Skills: a,",
    "Verdict: wrong\n", "Reason:", "Question:\n", "Question 1: a?\n", "Conclusion: right\n", "{", "}",
    '{"a":', '"', "\\", "[", "<think>", "</think>", "<question>", "\\boxed{", "\\frac{", "$", "$$", "\\(",
    " ", "\t", "\n", "\n\n", ".\n", ". ", "((((", ")", "a, ", ",", "a", "or ", "1", "1,", "1.", "1/", "1:",
    "-1 ", "1 + ", "=", "{{ 7 }}", "_", "#", "####", "> ", ":", ": ", "'", "½", "٣", "\u200b", "\u2028",
    "\ud800", "é", "\U0001f600", "\x00", "Σ", "İ", "A: ", "answer ", "answer answer is ", "and ", "12 or ",
    "7:05 ", "1e9", "\\text{", "\\left", "~", "^", "1 1/2 ", "million ",
)  # fmt: skip
ADVERSARIAL = tuple(piece for piece in PIECES if piece != "\ud800")

edits = st.lists(
    st.tuples(st.integers(0, 10**4), st.integers(0, 30), st.sampled_from(PIECES) | st.text(max_size=4)), max_size=8
)


def edited(text: str, changes: list[tuple[int, int, str]]) -> str:
    """A text in which, one after the other, pieces are cut out and others put in their place."""
    for at, cut, piece in changes:
        at %= len(text) + 1
        text = text[:at] + piece + text[at + (cut if cut < 20 else 0) :]
    return text


anything = st.text(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def read_or_refused(name: str, text: str) -> None:
    try:
        PARSERS[name](text)
    except ParseError as error:
        assert name in PROMPTS or name in REFUSING
        said = str(error)
        assert said
        assert len(said) < 500
        assert "\n" not in said


def test_nothing_is_left_out() -> None:
    """A new prompt, reader, grader or filter is covered, or somebody must say here how it is called."""
    with_prompts = {module.__name__.rpartition(".")[2] for module in modules_of(teachers.prompts) if prompts_of(module)}
    every = {module.__name__.rpartition(".")[2] for module in modules_of(teachers.prompts)}
    assert with_prompts == every - NO_PROMPTS, "a module of teachers.prompts without a prompt that is found"
    for module in READERS:
        left = set(functions_of(module)) - {name.rpartition(".")[2] for name in readers_of(module)} - set(NOT_READERS)
        assert not left, f"{module.__name__}: how are these called? {left}"
    assert set(PROBLEMS) == set(GRADERS)
    assert set(PROMPTS) == set(FIRST), "a prompt without an example"
    assert len(PARSERS) >= 60


@pytest.mark.parametrize("name", FIRST)
def test_each_example_is_read(name: str) -> None:
    if "empty" not in name and "hostile" not in name:  # no example can name what such a list holds
        PARSERS[name](FIRST[name])


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40)
@given(text=anything)
def test_any_text(name: str, text: str) -> None:
    read_or_refused(name, text)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40)
@given(changes=edits)
def test_any_text_that_is_nearly_right(name: str, changes: list[tuple[int, int, str]]) -> None:
    read_or_refused(name, edited(FIRST.get(name, EXAMPLE), changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=1000)
@given(text=anything, changes=edits)
def test_any_text_at_length(name: str, text: str, changes: list[tuple[int, int, str]]) -> None:
    read_or_refused(name, text)
    read_or_refused(name, edited(FIRST.get(name, EXAMPLE), changes))


@settings(max_examples=25)
@given(text=anything, changes=edits)
def test_the_math_grader_grades_or_cannot_tell(text: str, changes: list[tuple[int, int, str]]) -> None:
    """It asks a process of its own, which may run out of time: a GradeError, and nothing else."""
    grader = MathGrader(seconds=2.0)
    for reply in (text, edited("So x is\nAnswer: 2x + 3", changes)):
        for act in (
            lambda reply=reply: grader.grade(Problem(question="What is x?", answer="2x + 3"), reply),
            lambda reply=reply: grader.same("2x + 3", reply),
        ):
            try:
                act()
            except GradeError as error:
                assert "\n" not in str(error).strip()


@given(one=anything, other=anything)
def test_answers_are_compared_or_cannot_be(one: str, other: str) -> None:
    for grader in (NumericGrader(), ExactGrader(), GRADERS["choice"]()):
        try:
            assert isinstance(grader.same(one, other), bool)
        except GradeError as error:
            assert str(error)


@settings(max_examples=40)
@given(text=anything)
def test_the_rule_tutor_answers_anything(text: str) -> None:
    ask_rule_tutor(text)


FRAMES: Mapping[str, Callable[[str, str], str]] = {
    "alone": lambda first, long: long,
    "behind": lambda first, long: f"{first}\n{long}",
    "before": lambda first, long: f"{long}\n{first}",
    "within": lambda first, long: f"{first[: first.rfind(':') + 1]} {long}",
    "within, ended": lambda first, long: f"{first[: first.rfind(':') + 1]} {long}\nAnswer: 15",
}
BRIEF = ("alone", "within")
"""Those that the default tests look at."""
NESTS: Mapping[str, str] = {
    "{": "}", "[": "]", "(": ")", "\\{": "\\}", "\\boxed{": "}", "\\text{": "}", "$": "$", "{1, ": "}", "([": "])",
    '{"a":': "}", '[{"a":': "}]", "<think>": "</think>", "```\n": "```\n", "**": "**", "Answer: (": ")",
}  # fmt: skip
FLOOR = 0.002
"""Seconds: what is this fast at the larger size needs no growth measured."""
TIMES = 8
GENEROUS = 4
"""A linear parser takes 8 times as long for 8 times the text, a quadratic one 64 times; between them lies 32."""

LINEAR = 3
"""A linear parser takes twice as long for a text twice as long, a quadratic one four times."""


def seconds(name: str, text: str, runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        started = time.thread_time()  # the thread's own time: a busy machine does not count
        with suppress(ParseError):
            PARSERS[name](text)
        best = min(best, time.thread_time() - started)
    return best


def grows_too_fast(name: str, text: Callable[[int], str], small: int) -> str:
    """What was measured, where the time grows faster than the text; "" where it does not."""
    long = text(TIMES * small)
    if (first := seconds(name, long, 1)) < FLOOR:
        return ""
    short = seconds(name, text(small), 3)
    if first < TIMES * GENEROUS * short or (large := seconds(name, long, 3)) < TIMES * GENEROUS * short:
        return ""
    # A step is no growth: of a text that is too long only the end is read, which may hold more to read than the rest.
    if seconds(name, text(2 * TIMES * small), 3) < LINEAR * large:
        return ""
    return f"{short * 1e3:.2f} ms, then {large * 1e3:.1f} ms"


def slow_ones(name: str, small: int, frames: Iterable[str]) -> list[str]:
    first = FIRST.get(name, EXAMPLE)
    made: dict[str, Callable[[int], str]] = {}
    for piece in ADVERSARIAL:
        for frame in frames:
            made[f"{piece!r} {frame}"] = lambda n, p=piece, f=FRAMES[frame]: f(first, p * (n // len(p)))
    for opens, closes in NESTS.items():
        pair = len(opens + closes)
        made[f"nested {opens!r}"] = lambda n, o=opens, c=closes, pair=pair: f"{o * (n // pair)}1{c * (n // pair)}"
    told = ((case, grows_too_fast(name, text, small)) for case, text in made.items())
    return [f"{case}: {measured}" for case, measured in told if measured]


@pytest.mark.parametrize(
    "name", [name for name in PARSERS if not name.startswith("filter ")]
)  # they read as graders do
def test_time_grows_with_length_and_no_faster(name: str) -> None:
    assert not slow_ones(
        name, 2_400, BRIEF
    )  # 19,200 at the larger size: nearly as much as the readers of answers look at


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_time_grows_with_length_and_no_faster_in_long_texts(name: str) -> None:
    # Beyond what the readers of answers look at, whose time then grows no more. Filters read as graders do.
    assert not slow_ones(name, 6_000 if name.startswith("filter ") else 25_000, FRAMES)
