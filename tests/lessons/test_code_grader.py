"""The grader `code`: verdicts, what code cannot do while it is graded, and that no verdict can be forged."""

import os
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import GradeError, InputError
from lessons.graders import code as code_module
from lessons.graders.base import CheckedGrader, Grade, ManyGrader
from lessons.graders.code import CodeGrader, fenced_blocks
from lessons.records import Problem
from lessons.sandbox import start
from lessons.sandbox.confine import Confinement, confinement

confined = pytest.mark.skipif(not confinement().possible, reason=f"code cannot be confined: {confinement().told}")
GRADER = CodeGrader(seconds=20)  # generous: a busy machine must not change a verdict
SHORT = CodeGrader(seconds=1)
SQUARES = ["assert f(2) == 4", "assert f(3) == 9"]


def grade(code: str, tests: object = SQUARES, entry_point: str = "f", grader: CodeGrader = GRADER) -> Grade:
    problem = Problem(question="q", data={"tests": tests, "entry_point": entry_point})
    return grader.grade(problem, f"So:\n```python\n{textwrap.dedent(code)}\n```\nDone.")


UNITTEST = """
import unittest
class T(unittest.TestCase):
    def test_it(self):
        self.assertEqual(f(3), 9)
"""
CHECK = "def check(candidate):\n    assert candidate(3) == 9"
PYTEST = "def test_two():\n    assert f(2) == 4\ndef test_three():\n    assert f(3) == 9"
STACK = """
class Stack:
    def __init__(self): self.rows = []
    def push(self, x): self.rows.append(x)
    def __len__(self): return len(self.rows)
    def pop(self): return self.rows.pop()
"""
USES_STACK = """
s = Stack()
s.push(3)
assert isinstance(s, Stack) and len(s) == 1
assert s.pop() == 3
assert s.rows == []
assert s == s and s != Stack()
"""
POINT = """
from dataclasses import dataclass
@dataclass
class P:
    x: int
    def __add__(self, other): return P(self.x + other.x)
"""
USES_POINT = "assert (P(1) + P(2)).x == 3 and P(1) == P(1) and str(P(1)) == 'P(x=1)'"
VALUES = """
from datetime import date
from fractions import Fraction
def f(x): return {1, (2, "a")}, 10**40, b"x", 1.5, None, Fraction(1, x), date(2026, 1, x), float("inf"), 2 + 1j
"""
USES_VALUES = """
from datetime import date
from fractions import Fraction
told = f(3)
assert told == ({1, (2, "a")}, 10**40, b"x", 1.5, None, Fraction(1, 3), date(2026, 1, 3), float("inf"), 2 + 1j)
assert type(told) is tuple and type(told[0]) is set
"""
RAISES = "try:\n    f(1)\n    assert False\nexcept KeyError:\n    pass"


@confined
@pytest.mark.parametrize(
    ("code", "tests", "entry_point", "score"),
    [
        ("def f(x): return x * x", SQUARES, "f", 1),
        ("def f(x): return 2 * x", SQUARES, "f", 0),
        ("def g(x): return x * x", SQUARES, "f", 0),
        ("def f(x) return x", SQUARES, "f", 0),
        ("def f(x): return x * x", CHECK, "f", 1),
        ("def f(x): return x", CHECK, "f", 0),
        ("def f(x): return x * x", PYTEST, "", 1),
        ("def f(x): return x * x", UNITTEST, "f", 1),
        ("def f(x): return [x * x]", UNITTEST, "f", 0),
        ("def f(a): a.sort()", "a = [3, 1, 2]\nf(a)\nassert a == [1, 2, 3]", "f", 1),
        ("def f(d): d['x'] = 1", "d = {}\nf(d)\nassert d == {'x': 1}", "f", 1),
        ("def f(x): return math.sqrt(x)\nimport math", "assert math.isclose(f(2) ** 2, 2)", "", 1),
        ("def f(n):\n    for i in range(n):\n        yield i", "assert list(f(3)) == [0, 1, 2]", "f", 1),
        ("def f(x): raise KeyError(x)", RAISES, "f", 1),
        ("def f(x): raise ValueError(x)", RAISES, "f", 0),
        (VALUES, USES_VALUES, "f", 1),
        (STACK, USES_STACK, "", 1),
        (POINT, USES_POINT, "", 1),
        ("import asyncio\nasync def g(x): return x * x\ndef f(x): return asyncio.run(g(x))", SQUARES, "f", 1),
        ("def f(x):\n    open('note', 'w').write(str(x * x))\n    return int(open('note').read())", SQUARES, "f", 1),
        ("def f(x): return x * x\nif __name__ == '__main__':\n    raise SystemExit(input())", SQUARES, "f", 1),
    ],
)
def test_verdicts(code: str, tests: object, entry_point: str, score: float) -> None:
    found = grade(code, tests, entry_point)
    assert found.score == score, found.note
    assert found.answer is not None
    assert bool(found.note) == (score < 1)


@confined
def test_a_part_of_the_tests() -> None:
    tests = ["assert f(0) == 0", "assert f(2) == 4", "assert f(3) == 9", "assert f(1) == 7"]
    partial = CodeGrader(partial=True, seconds=20)
    assert grade("def f(x): return x + x if x < 3 else 9", tests).score == 0
    assert grade("def f(x): return x + x if x < 3 else 9", tests, grader=partial).score == 0.75
    assert grade("def f(x): return x * x", SQUARES, grader=partial).score == 1
    broken_off = grade(
        "def f(x): raise ValueError('no')", ["a = f(1)", "assert a == 1", "assert a > 0"], grader=partial
    )
    assert broken_off.score == 0
    assert broken_off.note == "0 of 2 tests passed; ValueError: no"


FORGERIES = {
    "prints what the grader would read": """
        import os, sys, struct, json
        for told in ({"passed": True, "why": ""}, {"done": True}, {"passed": 2, "failed": 0, "unclear": "", "why": ""}):
            raw = json.dumps(told).encode()
            for number in range(40):
                try:
                    os.write(number, struct.pack(">I", len(raw)) + raw)
                except OSError:
                    pass
        def f(x): return 0
    """,
    "prints": "print('ok', flush=True)\nprint('2 passed')\ndef f(x): return 0",
    "leaves with 0 at once": "import os\nos._exit(0)",
    "leaves with 0 when called": "import os\ndef f(x): os._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "SystemExit when called": "def f(x): raise SystemExit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
    "an AssertionError that none is": """
        import builtins
        builtins.AssertionError = type("A", (BaseException,), {})
        builtins.all = builtins.any = builtins.bool = lambda *_: True
        builtins.__import__ = lambda *_, **__: None
        def f(x): return 0
    """,
    "an object that equals everything": """
        class Equal:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 0
        def f(x): return Equal()
    """,
    "a number that equals everything": """
        class Equal(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def f(x): return Equal(1)
    """,
    "a type that lies about itself": """
        class Liar:
            __class__ = int
            def __eq__(self, other): return True
            def __int__(self): return 4
            __index__ = __int__
        def f(x): return Liar()
    """,
    "the runner's own modules": """
        import sys
        for module in list(sys.modules.values()):
            for name in ("run", "answer", "_watched", "of_answer"):
                if hasattr(module, name):
                    setattr(module, name, lambda *_: {"value": True})
        def f(x): return 0
    """,
    "what is left in memory": """
        import gc, sys
        frame, seen = sys._getframe(), []
        while frame:
            seen += [repr(v) for v in (*frame.f_locals.values(), *frame.f_globals.values())]
            frame = frame.f_back
        seen += [repr(o) for o in gc.get_objects() if isinstance(o, (str, dict, list, tuple))]
        told = (chr(61) * 2 + chr(32) + chr(52)) in "".join(seen)
        def f(x): return x * x if told else 0
    """,
    "the parent's memory": """
        import os
        def f(x):
            for path in (f"/proc/{os.getppid()}/mem", f"/proc/{os.getppid()}/environ", "/proc/self/maps"):
                try:
                    open(path, "rb").read(1)
                    return x * x
                except PermissionError:
                    pass
    """,
    "the tests' file": """
        import os
        def f(x): return x * x if any("tests" in open(p, "rb").read() for p in os.listdir(".")) else 0
    """,
}


@confined
@pytest.mark.parametrize("name", FORGERIES)
def test_a_verdict_cannot_be_forged(name: str) -> None:
    found = grade(FORGERIES[name])
    assert found.score == 0
    assert found.note


REFUSED = {
    "a connection": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 1)",
    "a datagram": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    "a socket of this machine": "import socket\nsocket.socket(socket.AF_UNIX).connect('/run/x')",
    "a name server": "import socket\nsocket.getaddrinfo('example.org', 80)",
    "a file elsewhere": "open('OUTSIDE', 'w')",
    "a file elsewhere, by truncation": "import os\nos.truncate('KEPT', 0)",
    "a file elsewhere, opened to be emptied": "import os\nos.open('KEPT', os.O_RDONLY | os.O_TRUNC)",
    "a file elsewhere, renamed": "import os\nos.rename('KEPT', 'taken')",
    "a file elsewhere, deleted": "import os\nos.remove('KEPT')",
    "a file elsewhere, with other rights": "import os\nos.chmod('KEPT', 0)",
    "a file elsewhere, linked here": "import os\nos.link('KEPT', 'mine')",
    "a symbolic link": "import os\nos.symlink('KEPT', 'mine')",
    "a folder": "import os\nos.mkdir('mine')",
    "a user's file": "open('KEPT').read()",
    "a list of the home folder": "import os\nos.listdir(os.path.expanduser('~root'))",
    "the list of users": "open('/etc/passwd').read()",
    "memory shared by name": "open('/dev/shm/tutelage-test', 'w')",
    "a terminal": "open('/dev/tty', 'w')",
    "a child": "import os\nos.fork()",
    "a program": "import subprocess\nsubprocess.run(['/bin/true'])",
    "another program in its place": "import os\nos.execv('/bin/true', ['true'])",
    "a thread": "import threading\nthreading.Thread(target=print).start()",
    "a pool of processes": "import multiprocessing\nmultiprocessing.Pool(2).map(abs, [1])",
    "a signal to its parent": "import os\nos.kill(os.getppid(), 0)",
    "a signal to all": "import os\nos.kill(-1, 0)",
    "signals by way of a file": "import fcntl, os\nfcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
    "more memory than it may have": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "another user": "import os\nos.setuid(12345)",
    "rights": "import ctypes, os\nif ctypes.CDLL(None).unshare(0x10000000): raise PermissionError",
    "another process's memory": """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(16, os.getppid(), 0, 0) < 0: raise PermissionError
    """,
    "the kernel's queues": "import ctypes\nif ctypes.CDLL(None).syscall(425, 4, None) < 0: raise PermissionError",
}  # fmt: skip


@confined
@pytest.mark.parametrize("name", REFUSED)
def test_the_walls(name: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("whole")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attack = textwrap.dedent(REFUSED[name])
        for word, value in (
            ("PORT", str(server.getsockname()[1])), ("KEPT", str(kept)), ("OUTSIDE", str(tmp_path / "new"))
        ):  # fmt: skip
            attack = attack.replace(word, value)
        body = textwrap.indent(attack, "        ")
        code = (
            f"def f():\n    try:\n{body}\n    except (OSError, RuntimeError, ValueError) as e:\n        return str(e)\n"
        )
        tests = "told = f()\nassert told is not None, 'it was let through'\nassert isinstance(told, str), told"
        found = grade(code, tests)
    assert found.score == 1, f"{name}: {found.note}"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert kept.read_text() == "whole"


@confined
def test_nothing_of_ours_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    read, write = os.pipe()
    os.set_inheritable(read, True)
    try:
        code = """
            import os
            def f():
                open_ones = [n for n in range(3, 64) if _is_open(n)]
                return sorted(os.environ), len(open_ones), os.listdir("."), os.getcwd()
            def _is_open(number):
                try:
                    os.fstat(number)
                    return True
                except OSError:
                    return False
        """
        tests = (
            "names, open_ones, files, folder = f()\n"
            "assert not [n for n in names if 'KEY' in n or 'TOKEN' in n or n in ('HOME', 'USER')], names\n"
            "assert open_ones == 2, open_ones\n"  # the two pipes to and from the tests
            "assert files == [] and 'tutelage-code-' in folder"
        )
        assert grade(code, tests).score == 1, grade(code, tests).note
    finally:
        os.close(read)
        os.close(write)


@confined
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def f(x):\n    while True: pass", "computing time"),
        ("while True: print('x' * 100000)", "computing time"),
        ("def f(x): return [0] * 10**10", "memory"),
        ("def f(x):\n    rows = []\n    while True: rows.append(bytearray(10**7))", "memory"),
        ("def f(x): open('big', 'wb').write(b'x' * 10**8)", "File too large"),
        ("def f(x):\n    for n in range(10**6): open(f'f{n}', 'wb').write(b'x' * 4_000_000)", "written more than"),
        ("def f(x):\n    for n in range(10**6): open(f'f{n}', 'wb').close()", "written more than"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x): return 'x' * 10**8", "at once"),
        ("def f(x):\n    a = []\n    a.append(a)\n    return a", "nested"),
        ("def f(x):\n    while True: yield 1", "AssertionError"),
        ("import ctypes\ndef f(x): ctypes.string_at(0)", "SIGSEGV"),
        ("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef f(x):\n    while True: pass", "computing"),
    ],
)  # fmt: skip
def test_what_runs_away_is_ended_and_wrong(code: str, told: str) -> None:
    found = grade(code, grader=SHORT if "computing" in told else GRADER)
    assert found.score == 0
    assert told in found.note


@confined
def test_code_that_waits_for_ever_is_wrong() -> None:
    found = grade("import time\ndef f(x): time.sleep(1000)", grader=SHORT)
    assert found.score == 0
    assert "waits for something" in found.note


@confined
@pytest.mark.parametrize(
    ("tests", "told"),
    [
        (None, "has no tests"),
        ([], "has no tests"),
        ([1], "has no tests"),
        ("   ", "has no tests"),
        ("assert f(", "no Python"),
        ("x = 1", "there is no test"),
        ("import nothing_of_this_name\nassert f(1) == 1", "fails by itself"),
        ("assert f(2) == unknown_name", "a name that nobody defines: unknown_name"),
        ("while True: pass\nassert f(1)", "by themselves|not got round"),
        ("assert f(lambda x: x) == 1", "cannot cross"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.skipTest('later')",
            "skipped",
        ),
    ],
)
def test_tests_that_cannot_tell_are_no_verdict(tests: object, told: str) -> None:
    with pytest.raises(GradeError, match=told):
        grade("def f(x): return x * x", tests, grader=SHORT)


@confined
@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("class M:\n    def __sub__(self, o): return 0.0\ndef f(x): return M()", "assert abs(f(2) - 4) < 1e-6"),
        ("class M:\n    def __lt__(self, o): return True\ndef f(x): return M()", "assert f(2) < 5"),
        ("class Own(Exception): pass\ndef f(x): raise Own", "try:\n    f(2)\nexcept Own:\n    assert True"),
    ],
)
def test_a_verdict_on_the_codes_own_word_is_none(code: str, test: str) -> None:
    with pytest.raises(GradeError):
        grade(code, test, entry_point="")


@confined
def test_many_at_once_and_from_many_threads() -> None:
    problem = Problem(question="q", data={"tests": SQUARES, "entry_point": "f"})
    none = Problem(question="q")
    asked = [(problem, f"```python\ndef f(x): return x * x + {n % 2}\n```") for n in range(6)]
    found = GRADER.grade_many([*asked, (none, "```\n1\n```")])
    assert [one.score for one in found[:6] if isinstance(one, Grade)] == [1, 0, 1, 0, 1, 0]
    assert isinstance(found[6], GradeError)
    with ThreadPoolExecutor(3) as pool:
        again = list(pool.map(lambda pair: GRADER.grade(*pair).score, asked))
    assert again == [1, 0, 1, 0, 1, 0]
    assert isinstance(GRADER, ManyGrader)
    assert isinstance(GRADER, CheckedGrader)
    GRADER.check()


@confined
def test_a_grade_can_be_got_again() -> None:
    code = "def f(x): return ''.join({'a', 'b', 'c', 'd', 'e'})"
    assert len({grade(code, "assert f(1) < 'c'").score for _ in range(4)}) == 1


@confined
def test_packages_only_where_they_are_asked_for() -> None:
    code = "import msgspec\ndef f(x): return msgspec.json.decode(b'%d' % (x * x))"
    assert "ModuleNotFoundError" in grade(code).note
    assert grade(code, grader=CodeGrader(packages=True, seconds=20)).score == 1


@confined
def test_a_killed_caller_leaves_nothing_behind(tmp_path: Path) -> None:
    program = (
        "from lessons.graders.code import CodeGrader\nfrom lessons.records import Problem\n"
        "CodeGrader(seconds=60).grade(Problem(question='q', data={'tests': 'assert f(1)'}), "
        "'```python\\ndef f(x):\\n    while True: pass\\n```')"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    while len(below := _descendants(caller.pid)) < 3:  # the program, the answer's process and the tests'
        assert caller.poll() is None
    caller.kill()
    caller.wait()
    while any(_lives(pid) for pid in below):
        os.sched_yield()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descendants(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [one for child in map(int, text.split()) for one in (child, *_descendants(child))]


def test_where_nothing_can_be_confined_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = Confinement(False, "the kernel has no Landlock")
    monkeypatch.setattr(start, "confinement", lambda: lacking)
    monkeypatch.setattr(code_module, "confinement", lambda: lacking)
    with pytest.raises(GradeError, match="not run where it cannot be confined: the kernel has no Landlock"):
        grade("raise SystemExit")
    with pytest.raises(InputError, match="runs no code that it cannot confine: the kernel has no Landlock"):
        GRADER.check()


@pytest.mark.parametrize("knobs", [{"seconds": 0}, {"memory_mb": 1}, {"file_mb": 0}, {"workers": 0}])
def test_knobs_in_their_ranges(knobs: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="or more"):
        CodeGrader(**knobs)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na = 1\n```", "a = 1\n"),
        ("first\n```py\na = 1\n```\nthen\n```\nb = 2\n```\nso", "b = 2\n"),
        ("```python\na = 1\n```\n```text\n1\n```", "a = 1\n"),
        ("```python\na = 1\nb", "a = 1\nb"),
        ("~~~~python\na = '''\n```\n'''\n~~~~", "a = '''\n```\n'''\n"),
        ("````python\n```\nx = 1\n```\n````", "```\nx = 1\n```\n"),
        ("def f(x):\n    return x", "def f(x):\n    return x"),
        ("<think>```python\nwrong\n```</think>```python\nright\n```", "right\n"),
        ("I do not know.", None),
        ("```bash\nls\n```", None),
        ("```python\n\n```", None),
        ("", None),
    ],
)
def test_the_code_of_an_answer(text: str, code: str | None) -> None:
    assert GRADER.read(text) == code


def test_an_answer_without_code_is_one_without_an_answer() -> None:
    found = GRADER.grade(Problem(question="q", data={"tests": SQUARES}), "I would square it.")
    assert found == (0.0, None, "no final answer")
    with pytest.raises(GradeError, match="cannot be told"):
        GRADER.same("a = 1", "a = 1")


lines = st.lists(st.sampled_from(["```", "```python", "````", "~~~", "~~~py", "x = 1", "", "  ```", "`a`", "```a`b"]))


@given(lines.map("\n".join) | st.text(max_size=200))
def test_any_text_has_blocks_or_none(text: str) -> None:
    blocks = fenced_blocks(text)
    for language, code in blocks or ():
        assert code in text
        assert "\n" not in language
    assert GRADER.read(text) is None or GRADER.read(text) in text


@given(st.lists(st.text("abc =+\n", max_size=30), min_size=1, max_size=4))
def test_blocks_that_were_written_are_read(codes: list[str]) -> None:
    text = "\n".join(f"Step {n}:\n```python\n{code}\n```" for n, code in enumerate(codes))
    assert fenced_blocks(text) == [("python", f"{code}\n") for code in codes]
