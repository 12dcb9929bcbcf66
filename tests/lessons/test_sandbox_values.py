"""What crosses between the two processes: every plain value comes back, and nothing foreign breaks the reader."""

import os
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.sandbox import syscalls
from lessons.sandbox.channel import LARGEST, Channel, GoneError
from lessons.sandbox.values import BadValueError, decode, dumps, encode, loads

hashable = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=20)
    | st.complex_numbers(allow_nan=False, max_magnitude=1e300) | st.fractions() | st.decimals(allow_nan=False)
    | st.dates() | st.datetimes() | st.times() | st.timedeltas()
)  # fmt: skip
values = st.recursive(
    hashable | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 5)) | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=3).map(deque)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=12,
)


def no_object(value: object) -> Any:
    raise AssertionError(f"{value!r} did not cross")


def crossed(value: object) -> Any:
    return decode(loads(dumps(encode(value, no_object))), no_object)


@given(values)
def test_every_plain_value_comes_back_as_it_was(value: object) -> None:
    again = crossed(value)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("nan"), "\ud800", -0.0, [1, [2, (3, {4: {5}})]], Fraction(1, 3), Decimal("1.10"),
     date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC), time(4, 5), timedelta(1, 2, 3), deque([1])],
)  # fmt: skip
def test_the_odd_ones_too(value: object) -> None:
    assert repr(crossed(value)) == repr(value)


def test_whole_numbers_of_any_length() -> None:
    for number in (10**5000, -(10**5000), 2**53, -(2**53), 2**53 - 1, True):
        assert crossed(number) == number
        assert type(crossed(number)) is type(number)


def test_a_class_of_the_senders_own_comes_as_what_it_is() -> None:
    class Sly(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    class Words(str):
        def __str__(self) -> str:
            return "another"

    assert type(crossed(Sly(3))) is int
    assert crossed([Sly(3)]) == [3]
    assert crossed(Sly(3)) != 4
    assert crossed(Words("mine")) == "mine"


def test_what_is_no_plain_data_stays() -> None:
    stayed: list[object] = []

    def stay(value: object) -> list[Any]:
        stayed.append(value)
        return ["object", 7, False]

    data = loads(dumps(encode([1, len, {"a": object}], stay)))
    assert stayed == [len, object]
    assert decode(data, lambda told: f"object {told[0]}") == [1, "object 7", {"a": "object 7"}]


def test_what_holds_itself_is_refused() -> None:
    row: list[object] = []
    row.append(row)
    with pytest.raises(BadValueError, match="nested"):
        encode(row, no_object)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["int", "set", "dict", "object", "fraction", "range", "date", "decimal", "bytes", "0x1", "0x0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=10,
)  # fmt: skip


@given(json_like)
def test_any_data_is_a_value_or_refused(data: object) -> None:
    try:
        decode(data, lambda told: object())
    except BadValueError as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_the_end(raw: bytes) -> None:
    assert_is_read(raw, lambda channel: channel.receive())


def test_a_length_beyond_all_bounds_is_not_waited_for() -> None:
    assert_is_read(b"\xff\xff\xff\xff", lambda channel: channel.receive())
    assert_is_read(b"\x00\x00\x00\x05[[[[[", lambda channel: channel.receive())
    with pytest.raises(BadValueError, match="at once"):
        Channel(-1, -1).send("x" * (LARGEST + 1))


def assert_is_read(raw: bytes, do: Callable[[Channel], object]) -> None:
    read, write = os.pipe()
    try:
        os.write(write, raw)
        os.close(write)
        do(Channel(read, -1))
    except GoneError as error:
        assert str(error)
    finally:
        os.close(read)


def test_a_large_message_goes_through_a_small_pipe() -> None:
    read, write = os.pipe()
    sent = ["x" * 10**6, list(range(1000))]
    sender = threading.Thread(target=Channel(-1, write).send, args=(sent,))
    sender.start()
    assert Channel(read, -1).receive() == sent
    sender.join()
    os.close(read)
    with pytest.raises(GoneError):
        Channel(-1, write).send("nobody reads")
    os.close(write)


def run_filter(program: bytes, machine: int, number: int, args: tuple[int, ...] = ()) -> int:
    """Run a filter as the kernel does; return its verdict."""
    import struct

    data = struct.pack("<IIQ6Q", number, machine, 0, *(*args, *(0,) * (6 - len(args))))
    steps = list(struct.iter_unpack("HBBI", program))
    at, value = 0, 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                value &= operand
            case 0x15:
                at += if_true if value == operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
X86 = {"socket": 41, "connect": 42, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101,
       "truncate": 76, "chmod": 90, "link": 86, "symlink": 88, "mkdir": 83, "open": 2, "creat": 85, "mount": 165,
       "setrlimit": 160, "prctl": 157, "seccomp": 317, "bpf": 321, "memfd_create": 319, "execveat": 322, "unshare": 272,
       "process_vm_readv": 310, "io_uring_setup": 425, "clone3": 435, "openat2": 437, "pidfd_open": 434, "sendto": 44,
       "sendmsg": 46, "tgkill": 234, "rt_sigqueueinfo": 129, "setuid": 105, "keyctl": 250, "shmget": 29}  # fmt: skip


def test_the_filter_lets_pass_what_is_on_the_list_and_nothing_else() -> None:
    machine, program = syscalls.MACHINES["x86_64"], syscalls.program("x86_64")
    assert run_filter(program, machine, 0) == ALLOW  # read
    assert run_filter(program, machine, 202) == ALLOW  # futex
    for name, number in X86.items():
        assert run_filter(program, machine, number) == REFUSE, name
    allowed = [number for number in range(600) if run_filter(program, machine, number) == ALLOW]
    known = [numbers[0] for numbers in syscalls._ALLOWED.values()]
    assert sorted(allowed) == sorted([*known, 72, 257, 302])  # fcntl, openat and prlimit64 with nothing but zeros
    assert run_filter(program, machine, 0 | 0x40000000) == REFUSE  # the 32-bit convention's numbers
    assert run_filter(program, 0x40000003, 0) == KILL  # 32-bit code
    assert len(program) // 8 <= 4096


@pytest.mark.parametrize(
    ("number", "args", "verdict"),
    [
        (257, (0, 0, os.O_RDONLY), ALLOW),
        (257, (0, 0, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), ALLOW),  # Landlock says where
        (257, (0, 0, os.O_RDONLY | os.O_TRUNC), REFUSE),
        (16, (0, 0x5401), ALLOW),
        (16, (0, 0x5412), REFUSE),  # TIOCSTI
        (16, (0, 0x8901), REFUSE),  # FIOSETOWN
        (72, (0, 4), ALLOW),
        (72, (0, 8), REFUSE),  # F_SETOWN
        (72, (0, 10), REFUSE),  # F_SETSIG
        (302, (0, 7, 0), ALLOW),
        (302, (0, 7, 1), REFUSE),
        (302, (0, 7, 1 << 32), REFUSE),
    ],
)
def test_the_filter_looks_at_arguments(number: int, args: tuple[int, ...], verdict: int) -> None:
    assert run_filter(syscalls.program("x86_64"), syscalls.MACHINES["x86_64"], number, args) == verdict


def test_both_machines_have_a_filter() -> None:
    arm, program = syscalls.MACHINES["aarch64"], syscalls.program("aarch64")
    assert run_filter(program, arm, 63) == ALLOW  # read
    assert run_filter(program, arm, 198) == REFUSE  # socket
    assert run_filter(program, arm, 220) == REFUSE  # clone
    assert run_filter(program, arm, 221) == REFUSE  # execve
    assert run_filter(program, syscalls.MACHINES["x86_64"], 63) == KILL
    with pytest.raises(ValueError, match="riscv64"):
        syscalls.program("riscv64")
