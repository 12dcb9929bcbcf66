"""The answer's process: it runs the code that a model wrote, and does with its objects what the tests' process asks.

It never sees a test: what it is asked to do, and with which arguments, is all that it learns. Nothing that it sends is
more than a value, so that it can only claim what a function of its own could have returned.
"""

import builtins
import operator
import sys
import types
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from lessons.sandbox.channel import Channel
from lessons.sandbox.values import BadValueError, decode, encode

MODULE = "answer"
"""Name under which the code runs: not `__main__`, so that what a script does only when it is started is left out."""

TEXT = 300
"""Characters of an error's own words that cross."""

_CHANGED_IN_PLACE = (list, dict, set, bytearray, deque)


def _called(function: Callable[..., object], *args: object, **named: object) -> object:
    return function(*args, **named)


OPERATIONS: dict[str, Callable[..., object]] = {
    "call": _called, "getattr": getattr, "setattr": setattr, "delattr": delattr, "isinstance": isinstance,
    "len": len, "iter": iter, "next": next, "reversed": reversed, "bool": bool, "str": str, "repr": repr, "int": int,
    "float": float, "hash": hash, "contains": operator.contains, "getitem": operator.getitem,
    "setitem": operator.setitem, "delitem": operator.delitem, "neg": operator.neg, "abs": operator.abs,
    "eq": operator.eq, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow, "and": operator.and_,
    "or": operator.or_, "xor": operator.xor, "matmul": operator.matmul,
}  # fmt: skip
"""What the tests' process may have done with the answer's objects."""


def answer(channel: Channel, code: str) -> None:
    """Run the code, then do what is asked until nobody asks any more.

    Raises:
        GoneError: the tests' process has ended.
    """
    _Answerer(channel).run(code)


class _Answerer:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._objects: list[object] = []  # [number by which the other side knows it]
        self._module = types.ModuleType(MODULE)
        sys.modules[MODULE] = self._module  # dataclasses look their module up
        self._operations: dict[str, Callable[..., object]] = {**OPERATIONS, "name": self._name}

    def run(self, code: str) -> None:
        names = vars(self._module)

        def load() -> None:
            exec(compile(code, "<answer>", "exec"), names)  # noqa: S102 - that is what the walls are for

        self._channel.send(self._reply(load))
        while True:
            asked = self._channel.receive()
            reply = self._reply(lambda asked=asked: self._done(asked))
            try:
                self._channel.send(reply)
            except BadValueError as error:
                self._channel.send({"error": "ValueError", "text": f"what is returned is {error}"})

    def _reply(self, do: Callable[[], Any]) -> dict[str, Any]:
        try:
            return {"value": do()}
        except MemoryError:
            return {"error": "MemoryError", "text": "the memory that it may have is used up"}
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it ends a call, never the tests
            return {"error": _known_kind(error), "text": _words_of(error)}

    def _name(self, name: str) -> object:
        try:
            return vars(self._module)[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def _done(self, asked: dict[str, Any]) -> Any:
        args = cast("list[object]", decode(asked["args"], self._stayed))
        named = cast("dict[str, object]", decode(asked["named"], self._stayed))
        value = self._operations[asked["do"]](*args, **named)
        after = [encode(arg, self._stay) if isinstance(arg, _CHANGED_IN_PLACE) else None for arg in args]
        return [encode(value, self._stay), after]

    def _stay(self, value: object) -> list[Any]:
        self._objects.append(value)
        return ["object", len(self._objects) - 1, type(value).__module__ == MODULE]

    def _stayed(self, told: list[Any]) -> object:
        return self._objects[told[0]]


def _known_kind(error: BaseException) -> str:
    """Return the name of the error's nearest built-in class, which the tests' process knows too."""
    for kind in type(error).__mro__:
        if getattr(builtins, kind.__name__, None) is kind:
            return kind.__name__
    return "Exception"


def _words_of(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:TEXT]
    except BaseException:  # noqa: BLE001 - an error's own __str__ is code like any other
        return type(error).__name__[:TEXT]
