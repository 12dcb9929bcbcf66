"""The tests' process: it runs the tests, and asks the answer's process for everything that belongs to the answer.

The code under test never runs here, so that nothing that it does can change what `assert`, `==` or `unittest` mean.
"""

import ast
import builtins
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from lessons.sandbox.channel import Channel
from lessons.sandbox.remote import Link, Remote, UnclearError, of_answer

WORDS = 200
"""Characters that are told of why a test failed."""

Report = Callable[[dict[str, Any]], None]


class _UnusableError(Exception):
    """The tests themselves cannot be run."""


def run(report: Report, channel: Channel, tests: str, entry_point: str) -> None:
    """Run the tests, and report each: {"passed": ..., "why": ...}, and at the end {"done": true}.

    {"unusable": why} is reported where the tests themselves are broken, {"unclear": why} where the verdict of one would
    rest on the word of the code under test.
    """
    try:
        _Tests(report, Link(channel), entry_point).run(tests)
    except _UnusableError as error:
        report({"unusable": str(error)[:WORDS]})
    except UnclearError as error:
        report({"unclear": str(error)[:WORDS]})
    else:
        report({"done": True})


class _Tests:
    def __init__(self, report: Report, link: Link, entry_point: str) -> None:
        self._report, self._link, self._entry_point = report, link, entry_point
        self._names: dict[str, Any] = {"__name__": "tests"}
        self._count = 0

    def run(self, tests: str) -> None:
        try:
            body = ast.parse(tests).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise _UnusableError(f"the tests are no Python: {error}") from error
        loaded = self._try(self._link.load)
        if loaded is not None:
            self._failed(loaded)
            return
        bound = self._try(lambda: self._bind(body))
        if bound is not None:
            self._failed(bound)
            return
        for place, statement in enumerate(body):
            error = self._run_statement(statement)
            if error is not None:  # what the tests that follow would be asked with is not there
                for _ in range(max(1, sum(map(_is_test, body[place + 1 :])))):
                    self._failed(error)
                return
        if not self._count:
            for test in self._named_tests():
                self._count_test(self._try(test))
        if not self._count:
            raise _UnusableError("there is no test: no assert, no check(...), no test_... function, no TestCase")

    def _run_statement(self, statement: ast.stmt) -> BaseException | None:
        """Run one statement; return what the answer raised where it is no test and the tests cannot go on."""
        program = compile(ast.Module([statement], []), "<tests>", "exec")
        before = self._link.asked
        error = self._try(lambda: exec(program, self._names))  # noqa: S102 - a test is code, and walled in like it
        if _is_test(statement):
            self._count_test(error)
            return None
        if error is not None and self._link.asked == before:
            raise _UnusableError(f"what prepares the tests fails by itself: {_words(error)}")
        return error

    def _named_tests(self) -> Iterator[Callable[[], object]]:
        """Yield the tests that stand in functions: `check(candidate)`, `test_...()`, methods of a TestCase."""
        check = self._names.get("check")
        if callable(check) and self._entry_point:
            yield lambda: check(self._names[self._entry_point])
        unittest: Any = sys.modules.get("unittest")  # slow to import, and there where the tests have a TestCase
        for name, value in list(self._names.items()):
            if unittest and isinstance(value, type) and issubclass(value, unittest.TestCase):
                for case in unittest.defaultTestLoader.loadTestsFromTestCase(value):
                    yield case.debug  # raises where a result would only note it
            elif name.startswith("test") and callable(value) and not isinstance(value, type | Remote):
                yield value

    def _bind(self, body: list[ast.stmt]) -> None:
        """Bind the names that the tests use and do not define: modules of Python's own, else the answer's objects."""
        wanted = _free_names(body) | ({self._entry_point} if self._entry_point else set())
        for name in sorted(wanted):
            if name in sys.stdlib_module_names:
                self._names[name] = importlib.import_module(name)
                continue
            try:
                self._names[name] = self._link.do("name", name)
            except NameError as error:
                if self._entry_point and name != self._entry_point:
                    raise _UnusableError(f"the tests use a name that nobody defines: {name}") from error
                self._names[name] = _Missing(name)

    def _try(self, do: Callable[[], object]) -> BaseException | None:
        try:
            do()
        except (UnclearError, _UnusableError):
            raise
        except BaseException as error:  # whatever a test raises, it has failed
            if type(error).__name__ == "SkipTest":
                raise _UnusableError(f"a test is skipped: {error}") from error
            if isinstance(error, TypeError) and "catching classes" in str(error):
                raise UnclearError("a test catches an error of the code's own class") from error
            return error
        return None

    def _count_test(self, error: BaseException | None) -> None:
        self._count += 1
        if error is None:
            self._report({"passed": True, "why": ""})
        else:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self._report({"passed": False, "why": _words(error)})


class _Missing:
    """Stands for a name that the answer should define and does not; raises at every use."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def __call__(self, *args: object, **named: object) -> Any:
        raise NameError(f"the code does not define {self.__dict__['name']}")

    def __getattr__(self, name: str) -> Any:
        return self()


def _is_test(statement: ast.stmt) -> bool:
    """Whether a statement is a test: it asserts something, or calls `check(...)` or something with "assert" in it."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    if any(isinstance(node, ast.Assert) for node in ast.walk(statement)):
        return True
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name == "check" or "assert" in name.casefold()
        case _:
            return False


def _free_names(body: list[ast.stmt]) -> set[str]:
    """Return the names that are read and nowhere bound."""
    read: set[str] = set()
    bound = set(dir(builtins)) | {"__name__"}
    for node in ast.walk(ast.Module(body, [])):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.add(name)
            case ast.ClassDef(name=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=alias):
                bound.add(alias or name.partition(".")[0])
            case _:
                continue
    return read - bound


def _words(error: BaseException) -> str:
    said = " ".join(str(error).split())
    if of_answer(error):
        return said[:WORDS]
    kind = type(error).__name__
    return (f"{kind}: {said}" if said else kind)[:WORDS]
