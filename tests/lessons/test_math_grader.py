import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.errors import GradeError
from lessons.graders import math_pool
from lessons.graders.math import MathGrader
from lessons.graders.math_kinds import parsed
from lessons.graders.math_pool import MathPool, shared_pool
from lessons.records import Problem

GRADER = MathGrader(seconds=60)  # generous: a busy machine must not change a verdict
HANGS = "9^{9^{9^{9^9}}}"


def grade(answer: str | None, text: str, grader: MathGrader = GRADER):
    return grader.grade(Problem(question="q", answer=answer), text)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("42", "number"),
        ("-1,234.5", "number"),
        (r"\frac{3}{4}", "number"),
        ("$12$", "number"),
        (r"5\text{ cm}", "number"),
        ("50%", "number"),
        ("7:05", "time"),
        ("7:05 p.m.", "time"),
        ("Monday", "word"),
        ("twenty-one", "word"),
        ("{1, 2}", "list"),
        (r"\{1,2\}", "list"),
        ("(1, 2)", "list"),
        ("1, 2", "list"),
        ("{5}", "list"),
        ("5x", "expression"),
        ("(x+1)(x-2)", "expression"),
        (r"\sqrt{2}", "expression"),
        ("x = 5", "expression"),
        ("3:4", "expression"),
        ("", "expression"),
    ],
)
def test_kinds(answer: str, kind: str) -> None:
    assert parsed(answer).kind == kind


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("4", "Answer: 4.0"),
        ("4", "Answer: 2^2"),
        ("4", "so she has 4"),
        ("5", "Answer: x = 5"),
        ("5", "Answer: 5 cm"),
        ("1,234", "#### 1234"),
        ("0.5", r"\boxed{\frac{1}{2}}"),
        (r"\frac12", "Answer: 0.5"),
        (r"\sqrt{2}", "Answer: $2^{1/2}$"),
        (r"2\sqrt{3}", r"so it is $\sqrt{12}$."),
        ("(x+1)^2", "Answer: x^2+2x+1"),
        ("3x+2", "Answer: 2+3x"),
        ("7:05", "Answer: 07:05"),
        ("7:05 pm", "Answer: 19:05"),
        ("7:05", "Answer: at 7:05 p.m."),
        ("Monday", "Answer: It is Monday."),
        ("hello", "hello"),
        ("{1,2,3}", "Answer: 3, 2, 1"),
        ("{1,2}", "Answer: {2, 1, 1}"),
        ("1, 2", "Answer: x = 2 or x = 1"),
        ("(1, 2)", "Answer: (1, 2)"),
        (r"(\frac12, 3)", "Answer: (0.5, 3)"),
        ("[1, 2)", "Answer: [1,2)"),
        (r"(-\infty, 3]", r"Answer: $(-\infty,3]$"),
    ],
)
def test_right(answer: str, text: str) -> None:
    assert grade(answer, text).score == 1.0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("7:05", "Answer: 7:30"),  # math-verify: true
        ("12", "Answer: 12 or 15"),  # math-verify: true
        ("hello", "Answer: olleh"),  # math-verify in LaTeX: true
        ("5", "Answer: 5x"),
        ("12", "Answer: 12, 15"),
        ("7:05 am", "Answer: 7:05 pm"),
        ("7:05", "Answer: 7:05 or 7:30"),
        ("Monday", "Answer: Monday or Tuesday"),
        ("(1, 2)", "Answer: (2, 1)"),
        ("(1, 2)", "Answer: [1, 2]"),
        ("{1, 2}", "Answer: (1, 2)"),
        ("{1, 2}", "Answer: {1, 2, 3}"),
        ("x = 1, y = 2", "Answer: x = 2, y = 1"),
        (r"\sqrt{2}", "Answer: 2"),
        ("x", "Answer: y"),
        ("3x+2", "I have no idea at all"),
        (r"\sqrt{2}", r"Answer: \@#"),
        ("4", "Answer: nan"),
        ("4", ""),
        ("{1}", ""),
    ],
)
def test_wrong(answer: str, text: str) -> None:
    assert grade(answer, text).score == 0.0


def test_notes() -> None:
    assert grade("12", "Answer: 12 or 15").note == "several answers"
    assert grade(r"\sqrt{2}", r"Answer: $\sqrt{2}$ or 2").note == "several answers"
    assert grade(r"\sqrt{2}", "").note == "no final answer"
    assert grade("7:05", "Answer: soon").note == "not a time"


@pytest.mark.parametrize("answer", [None, "", "  ", r"\@@"])
def test_an_unreadable_reference_is_never_a_0(answer: str | None) -> None:
    with pytest.raises(GradeError):
        grade(answer, "Answer: 3+x")


def test_same() -> None:
    assert GRADER.same(r"\frac{1}{2}", "0.5")
    assert GRADER.same("{1,2}", "{2,1}")
    assert not GRADER.same("7:05", "7:30")
    for one, other in (("", "1"), ("1", "12 or 15"), (r"\sqrt{2}", r"\@#")):
        with pytest.raises(GradeError):
            GRADER.same(one, other)


@pytest.mark.parametrize("text", [". 1111111111", "7.", "\ufffd\ufffd\ufffd", "Answer: 5"])
def test_one_number_or_none_where_several_are_asked_for_is_wrong_without_a_process(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(workers: int) -> Any:
        raise AssertionError("math-verify was asked")

    monkeypatch.setattr("lessons.graders.math.shared_pool", none)
    assert MathGrader().grade(Problem(question="Sort.", answer="23, 26, 30, 43"), text).score == 0.0


def test_a_hung_checker_is_killed_and_the_next_check_goes_on() -> None:
    pool = MathPool(1)
    assert pool.compare("4", "2^2", 60) == "equal"  # started, so that only the hang is timed
    began = time.monotonic()
    with pytest.raises(GradeError, match="0.5 seconds"):
        pool.compare("5", HANGS, 0.5)
    assert time.monotonic() - began < 20
    assert pool.compare("4", "2^2", 60) == "equal"
    assert pool.compare("4", "5", 60) == "different"
    pool.close()


def test_a_grade_whose_time_ran_out_is_unknown() -> None:
    with pytest.raises(GradeError, match="was stopped"):
        grade("5", f"Answer: {HANGS}", MathGrader(seconds=0.5))


def test_a_killed_worker_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = MathPool(1)
    assert pool.compare("4", "2^2", 60) == "equal"
    worker = pool._idle.queue[0]
    worker._process.kill()
    worker._process.wait()
    assert pool.compare("4", "2^2", 60) == "equal"
    assert pool._idle.queue[0] is not worker
    pool.close()


def test_a_worker_that_dies_at_work_is_an_error_and_its_place_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "math_worker.py"
    dying.write_text("print('{}', flush=True)\ninput()\n")
    pool = MathPool(1)
    with monkeypatch.context() as patched:
        patched.setattr(math_pool, "__file__", str(tmp_path / "math_pool.py"))
        for _ in range(2):
            with pytest.raises(GradeError, match="ended when it was asked"):
                pool.compare("4", "2^2", 60)
        dying.write_text("raise SystemExit")
        with pytest.raises(GradeError, match="to start"):
            pool.compare("4", "2^2", 60)
        patched.setattr(sys, "executable", str(tmp_path / "no python"))
        with pytest.raises(GradeError, match="cannot be started"):
            pool.compare("4", "2^2", 60)
    assert pool.compare("4", "2^2", 60) == "equal"
    pool.close()


def test_any_thread_may_grade() -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda n: grade(rf"\sqrt{{{n}}}", rf"Answer: {n}^{{1/2}}").score, range(2, 14)))
    assert done == [1.0] * 12


def test_a_fork_gets_processes_of_its_own() -> None:
    mine = shared_pool(3)
    assert shared_pool(3) is mine
    program = (
        "import os, sys\n"
        "from lessons.graders.math_pool import shared_pool\n"
        "mine = shared_pool(1)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(int(shared_pool(1) is mine))\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": root}, check=False)
    assert done.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX process groups")
def test_no_worker_outlives_its_caller() -> None:
    program = (
        "import os, signal\n"
        "from lessons.graders.math_pool import MathPool\n"
        "pool = MathPool(1)\n"
        "pool.compare('4', '2^2', 60)\n"
        "print(pool._idle.queue[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": root}, stdout=subprocess.PIPE, text=True, check=False
    )
    pid = int(done.stdout)
    ended = threading.Event()
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except FileNotFoundError:
            break
        ended.wait(0.1)
    else:
        pytest.fail(f"worker {pid} is still there")


@given(st.text(alphabet="0123456789.,:()[]{}= apmxor", max_size=30))
@settings(max_examples=200)
def test_parsing_never_fails(text: str) -> None:
    found = parsed(text)
    assert (found.kind == "number") == (found.number is not None)
    assert (found.kind == "time") == (found.time is not None)


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6), st.randoms())
def test_sets_do_not_know_order_and_tuples_do(items: list[int], rng) -> None:
    other = items[:]
    rng.shuffle(other)
    one, two = ", ".join(map(str, items)), ", ".join(map(str, other))
    assert GRADER.same(f"{{{one}}}", f"{{{two}}}")
    assert GRADER.same(f"({one})", f"({two})") == (items == other)


def test_knobs_are_checked() -> None:
    for knobs in ({"seconds": 0}, {"workers": 0}, {"tolerance": -1}):
        with pytest.raises(ValueError, match="must be"):
            MathGrader(**knobs)
