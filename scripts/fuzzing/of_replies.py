"""Readers of what models write: the parsers of every prompt, readers of answers, graders, filters, the rule tutor."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import lessons.graders
import loops.filters
import teachers.prompts
from fuzzing.reader import Reader, Seed
from lessons import answers, equations, numbers, steps, wording
from lessons.errors import GradeError, ParseError
from lessons.graders import math_kinds
from lessons.graders.math import MathGrader
from lessons.graders.numeric import NumericGrader
from lessons.records import Lesson, Message, Problem, Provenance
from lessons.skills import Skill, SkillCatalog
from loops.filters.base import Context, apply
from loops.likeness import languages, leaks
from loops.report.policy import script_json
from loops.views.text import one_line, visible
from teachers.prompts import reading
from teachers.prompts.base import Prompt, fenced
from teachers.prompts.structured import values_in
from teachers.rule_tutor import RuleTutor

CATALOG = SkillCatalog(
    skills=(
        Skill(name="carrying"),
        Skill(name="time, clocks", description="Tell the time"),
        Skill(name="a, a, a, a"),
        Skill(name="{{ x }}", description="Verdict: right\nSkills: none, {% raw %} \ud800"),
        Skill(name="x" * 500, description="y, " * 200),
    )
)
FIELDS: Mapping[str, object] = {
    "question": "What is 7 + 8?", "attempt": "It is 14.", "hint": "", "names": "adding", "skill": "carrying",
    "examples": "1. What is 1 + 2?", "count": 3, "criteria": "1. right\n2. short\n3. kind", "reference": "15",
}  # fmt: skip
ANSWERS = (
    "Seven and eight are fifteen.\nAnswer: 15", "So $\\boxed{\\frac{1}{2}}$ it is.", "#### 1,234.50",
    "<think>\n7 + 8 = 15\n</think>\nThe answer is 12 or 15.", "1. 7 + 8 = 15\n2. **Answer:** 15 apples (a dozen and 3)",
    "Action: open the box\nReason: it is closed", "```python\ndef f(x):\n    return x + 1\n```",
    "It is half past 7:05.",
    '{"reason": "carry", "violated": [1, 2], "new": ["Carry the ten."]}', "- carrying: Carry the ten.\n- clocks: Tell",
)  # fmt: skip
PROBLEMS = {
    "numeric": Problem(question="What is 7 + 8?", answer="15"),
    "exact": Problem(question="Which?", answer="Paris"),
    "choice": Problem(question="Which?", answer="Paris", choices=("Paris", "New York", "York", "a_b", "C")),
    "contains": Problem(question="Which?", answer="Paris|City of Light"),
}
_BY_MODEL = ("ifd", "semantic_duplicate")
"""Filters that have a model score or embed a text, and read nothing in it themselves."""


def readers() -> Iterator[Reader]:
    """Yield every reader of replies and answers."""
    for name, prompt in prompts().items():
        examples = [prompt.example(FIELDS, number) for number in (0, 7)] if prompt.example else []
        yield _of(f"prompt {name}", prompt.parse, *examples, *ANSWERS[:4], refuses=ParseError)
    for module in (reading, answers, numbers, math_kinds, equations, steps, wording, leaks, languages):
        for name, read in _text_functions(module).items():
            yield _of(f"{module.__name__.rpartition('.')[2]}.{name}", read, *ANSWERS, refuses=ParseError)
    yield _of("reading.labelled", lambda text: reading.labelled(text, ("verdict", "reason", "skills")), *ANSWERS,
              refuses=ParseError)  # fmt: skip
    yield _of("reading.from_list", lambda text: reading.from_list(text, CATALOG, 3), *ANSWERS, refuses=ParseError)
    yield _of("structured.values_in", lambda text: list(values_in(text)), *ANSWERS)
    yield _of("catalogue match", CATALOG.match, "carrying", "Time, clocks")
    yield _of("fenced", fenced, "<question>\nx\n</question>")
    yield _of("action of a step", lambda text: steps.action_in(text, ("open the box", "go")), *ANSWERS)
    yield _of("told answer", lambda text: (leaks.told_answer("15", text), leaks.told_answer(text[:40], text)), *ANSWERS)
    yield _of("distance", lambda text: wording.distance(text, ANSWERS), *ANSWERS)
    yield _of("terminal", lambda text: (one_line(text), visible(text)), *ANSWERS)
    yield _of("page", lambda text: script_json({"text": text.encode("utf-8", "replace").decode()}), *ANSWERS)
    for name, problem in PROBLEMS.items():
        grader = _plugin(lessons.graders, name)()
        yield _of(f"grader {name}", lambda text, g=grader, p=problem: g.grade(p, text), *ANSWERS, refuses=GradeError)
    yield _of("grader code, the answer", _plugin(lessons.graders, "code")().read, *ANSWERS)
    yield _of("grader math, the answer", _plugin(lessons.graders, "math")().read, *ANSWERS)
    yield _math()
    for name in _names(loops.filters):
        if name not in _BY_MODEL:
            cls = _plugin(loops.filters, name)
            yield _of(f"filter {name}", lambda text, n=name, c=cls: _filtered(n, c(), text), *ANSWERS, weight=0.3)
    yield _of("rule tutor", _tutored, *ANSWERS, weight=0.3)


def prompts() -> dict[str, Prompt[Any]]:
    """Return every prompt, those of a closed list made for one."""
    found: dict[str, Prompt[Any]] = {}
    for module in _modules(teachers.prompts):
        short = module.__name__.rpartition(".")[2]
        named = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        found |= {f"{short}.{name}": value for name, value in named.items() if isinstance(value, Prompt)}
        for name, make in named.items():
            if inspect.isfunction(make) and make.__module__ == module.__name__:
                takes = list(inspect.signature(make).parameters.values())
                if takes and takes[0].annotation is SkillCatalog and all(one.annotation is bool for one in takes[1:]):
                    found[f"{short}.{name}"] = make(CATALOG)
    return found


def _of(
    name: str,
    read: Callable[[str], object],
    *seeds: str,
    refuses: type[Exception] | tuple[type[Exception], ...] = (),
    weight: float = 1.0,
) -> Reader:
    """Return a reader of text: bytes come as the wire gives them, lone surrogates included."""
    allowed = refuses if isinstance(refuses, tuple) else (refuses,)

    def reads(data: bytes) -> object:
        return read(data.decode("utf-8", "surrogateescape"))

    made = tuple(
        Seed(seed.encode("utf-8", "surrogatepass"), "json" if seed.startswith("{") else "text") for seed in seeds
    )
    return Reader(name=name, read=reads, seeds=made, refuses=allowed, weight=weight)


def _math() -> Reader:
    """The math grader asks a process of its own, which may run out of time: a GradeError, and nothing else."""
    grader = MathGrader(seconds=2.0)
    problem = Problem(question="What is x?", answer="2x + 3")
    return _of("grader math", lambda text: grader.grade(problem, text), "So x is\nAnswer: 2x + 3", *ANSWERS,
               refuses=GradeError, weight=0.05)  # fmt: skip


def _filtered(name: str, made: Any, text: str) -> object:
    rows = [
        Lesson(
            prompt=(Message(role="user", content=text),),
            completion=completion,
            problem=Problem(question=text, answer=answer),
            provenance=Provenance(method="rationale", round=1),
        )
        for completion, answer in ((text, "15"), (f"{text}\nAnswer: 15", None))
    ]
    context = Context(grader=NumericGrader(), held_out=frozenset({text}), trained=frozenset())
    return apply(name, made, rows, context)


def _tutored(text: str) -> object:
    chat = [Message(role="system", content=text), Message(role="user", content=f"<question>\n{text}\n</question>")]
    return asyncio.run(RuleTutor().ask(chat, next(iter(prompts().values())).sampling))


def _text_functions(module: ModuleType) -> dict[str, Callable[[str], object]]:
    """Return a module's public functions that can be called with one text."""
    found: dict[str, Callable[[str], object]] = {}
    for name, one in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") or one.__module__ != module.__name__ or name == "literal":
            continue
        first, *others = [*inspect.signature(one).parameters.values()] or [None]
        if (
            first is not None
            and first.annotation is str
            and all(x.default is not inspect.Parameter.empty for x in others)
        ):
            found[name] = one
    return found


def _names(package: ModuleType) -> list[str]:
    return [module.__name__.rpartition(".")[2] for module in _modules(package) if hasattr(module, "__all__")]


def _plugin(package: ModuleType, name: str) -> Any:
    module = importlib.import_module(f"{package.__name__}.{name}")
    return getattr(module, module.__all__[0])


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("math_worker"):  # a program of its own
            yield importlib.import_module(found.name)
