"""An object of the answer as the tests see it: what they ask of it is done in the answer's process.

What comes back as plain data is compared by the tests' process itself. An object that stayed behind equals no plain
data, whatever its class says of itself, and arithmetic between the two is refused: both would let the code under test
name the verdict, and would show it what is expected.
"""

import builtins
from collections import deque
from typing import Any, NoReturn, cast

from lessons.sandbox.channel import Channel, GoneError
from lessons.sandbox.values import BadValueError, decode, encode


class AnswerError(Exception):
    """An error within the answer, of a class that only the answer has."""


class UnclearError(BaseException):
    """A test asks for what cannot be told without believing the code under test. No `except Exception` takes it."""


class Link:
    """The tests' side of the conversation with the answer's process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.asked = 0
        """How often the answer was asked for anything."""
        self.gone = ""
        """Why the answer cannot be asked any more; "" while it can."""

    def load(self) -> None:
        """Wait until the code has run once.

        Raises:
            Exception: what the code raised.
        """
        self.asked += 1
        self._value(self._received())

    def do(self, operation: str, *args: object, **named: object) -> Any:
        """Have something done with the answer's objects; lists and the like that it changes are changed here too.

        Raises:
            Exception: what it raised there, as the nearest built-in class; see `of_answer`.
            UnclearError: an argument is nothing that can cross.
        """
        self.asked += 1
        if self.gone:
            raise _as_error("RuntimeError", self.gone)
        try:
            sent = {"do": operation, "args": encode(list(args), _stay), "named": encode(named, _stay)}
            self._channel.send(sent)
        except BadValueError as error:
            raise UnclearError(f"a test hands over what cannot be sent: {error}") from error
        except GoneError as error:
            self._end(error)
        value = self._value(self._received())
        try:
            given, after = value
            for argument, changed in zip(args, after, strict=True):
                if changed is not None:
                    _change(argument, decode(changed, self._stayed))
            return decode(given, self._stayed)
        except (BadValueError, TypeError, ValueError) as error:
            self._end(GoneError(f"it sends {error}"))

    def _received(self) -> Any:
        try:
            return self._channel.receive()
        except GoneError as error:
            self._end(error)

    def _value(self, reply: Any) -> Any:
        match reply:
            case {"value": value}:
                return value
            case {"error": str(kind), "text": str(text)}:
                raise _as_error(kind, text)
            case _:
                return self._end(GoneError("it sends no reply"))

    def _end(self, error: GoneError) -> NoReturn:
        self.gone = f"the code's process cannot be asked any more: {error}"
        raise _as_error("RuntimeError", self.gone) from error

    def _stayed(self, told: list[Any]) -> object:
        number, own = told
        if not isinstance(number, int) or not isinstance(own, bool):
            raise BadValueError("no object")
        return Remote(self, number, own)


class Remote:
    """One object that stayed in the answer's process."""

    __slots__ = ("_link", "_number", "_own")

    def __init__(self, link: Link, number: int, own: bool) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_own", own)

    def __call__(self, *args: object, **named: object) -> Any:
        """Call it in the answer's process."""
        return _do("call", self, *args, **named)

    def __getattr__(self, name: str) -> Any:
        return _do("getattr", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        _do("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        _do("delattr", self, name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, Remote) and bool(_do("isinstance", instance, self))

    def __len__(self) -> int:
        return _do("len", self)

    def __iter__(self) -> Any:
        return iter(found) if not isinstance(found := _do("iter", self), Remote) else found

    def __next__(self) -> Any:
        return _do("next", self)

    def __reversed__(self) -> Any:
        return _do("reversed", self)

    def __bool__(self) -> bool:
        return bool(_do("bool", self))

    def __str__(self) -> str:
        return _do("str", self)

    def __repr__(self) -> str:
        return _do("repr", self)

    def __int__(self) -> int:
        return _do("int", self)

    def __float__(self) -> float:
        return _do("float", self)

    def __hash__(self) -> int:
        return _do("hash", self)

    def __contains__(self, member: object) -> bool:
        return bool(_do("contains", self, member))

    def __getitem__(self, key: object) -> Any:
        return _do("getitem", self, key)

    def __setitem__(self, key: object, value: object) -> None:
        _do("setitem", self, key, value)

    def __delitem__(self, key: object) -> None:
        _do("delitem", self, key)

    def __neg__(self) -> Any:
        return _do("neg", self)

    def __abs__(self) -> Any:
        return _do("abs", self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and bool(_do("eq", self, other))


def _between(operation: str) -> Any:
    def done(self: Remote, other: object) -> Any:
        if isinstance(other, Remote):
            return _do(operation, self, other)
        if object.__getattribute__(self, "_own"):
            words = f"a test works out {operation!r} between an object of the code's own class and plain data"
            raise UnclearError(words)
        return NotImplemented

    return done


for _operation in ("lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_operation}__", _between(_operation))
for _operation in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul"):
    setattr(Remote, f"__{_operation}__", _between(_operation))
    setattr(Remote, f"__r{_operation}__", _between(_operation))


def _do(operation: str, first: Remote, *args: object, **named: object) -> Any:
    link: Link = object.__getattribute__(first, "_link")
    return link.do(operation, first, *args, **named)


def _stay(value: object) -> list[Any]:
    if isinstance(value, Remote):
        return ["object", object.__getattribute__(value, "_number")]
    raise UnclearError(f"a test hands the code a value of the kind {type(value).__name__!r}, which cannot cross")


def _change(argument: object, changed: object) -> None:
    match argument, changed:
        case (list(), list()) | (bytearray(), bytearray()):
            cast("list[object]", argument)[:] = cast("list[object]", changed)
        case (dict(), dict()) | (set(), set()):
            container = cast("set[object]", argument)
            container.clear()
            container.update(cast("set[object]", changed))
        case deque(), deque():
            row = cast("deque[object]", argument)
            row.clear()
            row.extend(cast("deque[object]", changed))
        case _:
            raise BadValueError("an argument of another kind")


def _as_error(kind: str, text: str) -> Exception:
    """Return the error of the answer as one of this process: of the built-in class, where there is one."""
    cls = getattr(builtins, kind, None)
    if not (isinstance(cls, type) and issubclass(cls, Exception)) or cls is Exception:
        cls = AnswerError
    error = cls.__new__(cls)
    error.args = (text,)
    error.add_note(_OF_ANSWER)
    return error


_OF_ANSWER = "raised in the answer's process"


def of_answer(error: BaseException) -> bool:
    """Whether an error was raised in the answer's process, not by the tests."""
    return _OF_ANSWER in getattr(error, "__notes__", ())
