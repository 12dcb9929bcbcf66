"""No network but loopback: a whole run, and every command, in a process where any other connection fails and is noted.

Two nets: an audit hook that every Python of the process tree has from its first line, and, where the system lends one,
a network namespace with nothing in it but `lo`, whose kernel counts what found no route, whoever sent it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HOOK = """
import os, sys, traceback

LOG, HERE = os.environ["NETWORK_LOG"], {"127.0.0.1", "::1", "localhost", "", "0.0.0.0", "::"}
NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
ADDRESSES = ("socket.connect", "socket.sendto", "socket.sendmsg")

def is_here(host):
    host = host.decode() if isinstance(host, bytes) else host
    return host is None or host in HERE or host.startswith("127.")

def watch(event, args):
    if event in NAMES:
        host = args[0][0] if isinstance(args[0], tuple) else args[0]
    elif event in ADDRESSES:
        address = args[-1]
        if not isinstance(address, tuple):  # AF_UNIX, netlink, or a socket that is connected already
            return
        host = address[0]
    else:
        return
    if not is_here(host):
        stack = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_stack()[:-1][-8:]))
        with open(LOG, "a") as log:
            log.write(f"{os.getpid()} {event} {args[1:]} {stack}\\n")
        raise OSError(101, f"no network in this test: {event}")

sys.addaudithook(watch)
with open(os.environ["NETWORK_LOG"] + ".hooked", "a") as log:
    log.write(f"{os.getpid()}\\n")
"""

DRIVER = """
import importlib, json, os, pkgutil, sys
from pathlib import Path

import yaml

import lessons, loops, students, teachers
from lessons.jsonl import read_jsonl
from lessons.records import Lesson
from loops.cli import main
from teachers.loopback import LoopbackServer
from teachers.rule_tutor import RuleTutor

for package in (lessons, teachers, students, loops):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("math_worker"):  # a program of its own, run by the pool
            importlib.import_module(module.name)


def tutelage(*words):
    sys.argv = ["tutelage", *words]
    print("$", *words, flush=True)
    try:
        main()
    except SystemExit as end:
        # Too little memory or disk is what `doctor` is there to say.
        assert not end.code or words[0] == "doctor", (words, end.code)


with LoopbackServer(RuleTutor(error_rate=0.1)) as server:
    os.environ["LOOPBACK_KEY"] = server.key
    teacher = {
        "kind": "openai", "model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY", "label": "tutor",
        "prices": {"prompt": 2.0, "completion": 8.0, "as_of": "2026-11-01"},
    }
    recipe = {
        "task": {"id": "jsonl", "train": "train.jsonl", "held_out": 3, "graded_by": "math"},
        "student": {"model": "tiny", "answer": {"max_tokens": 8, "temperature": 1.0}, "adapter": {"rank": 4}},
        "teacher": teacher,
        "method": {"id": "stat_syn", "new": 2, "solutions": 3},
        "diagnose": {"skill_sample": 4},
        "select": {"id": "profile", "budget": 12, "replay": 0.2},
        "train": {"epochs": 1},
        "gate": {"rule": "always"},
        "budget": {"usd": 5, "requests": 900},
    }
    questions = [f"What is {n + 13} + {n + 28}?" for n in range(8)]
    rows = [{"question": q, "answer": str(2 * n + 41)} for n, q in enumerate(questions)]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
    Path("r.yaml").write_text(yaml.safe_dump(recipe))
    tutelage("estimate", "r.yaml", "--calls", "2")
    tutelage("run", "r.yaml", "--into", "run")
    lesson = next(iter(read_jsonl(Path("run/rounds/01/lessons.jsonl"), Lesson)))
    for words in (["gaps"], ["show", "--json"], ["report"], ["resume"]):
        tutelage(words[0], "run", *words[1:])
    tutelage("why", "run", lesson.id)
    for family in ("method", "filter", "selector", "task", "grader", "teacher"):
        tutelage("methods", family)
    tutelage("doctor")
    tutelage("version")
    from lessons.graders.math import MathGrader

    assert MathGrader().same("2(x + 1)", "2x + 2")  # in a process of its own
    print("asked", len(server.requests))
"""

RESULTS = ("lessons.jsonl", "dropped.jsonl", "profile.json", "exam.jsonl", "metrics.json")

ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c"]
LO_UP = """ip link set lo up && "$@"; code=$?; cat /proc/net/snmp > "$NETWORK_LOG.counted"
cat /proc/net/snmp6 > "$NETWORK_LOG.counted6"; exit $code"""


def a_naive_users(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nobody has told any library to stay off the network."""
    quieting = ("HF_", "HUGGING", "TRANSFORMERS_", "TRL_", "DATASETS_", "DO_NOT_TRACK", "DISABLE_TELEMETRY", "WANDB_")
    kept = {name: value for name, value in environment.items() if not name.startswith(quieting)}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}


def environment(folder: Path, *, hooked: bool) -> dict[str, str]:
    paths = [str(ROOT)]
    if hooked:
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(HOOK)
        paths.insert(0, str(folder / "hook"))
    own = {
        "PYTHONPATH": os.pathsep.join(paths),
        "NETWORK_LOG": str(folder / "network.log"),
        "HOME": str(folder / "home"),
        "TUTELAGE_CACHE": str(folder / "cache"),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    inherited = a_naive_users(os.environ)
    for name in ("XDG_CACHE_HOME", "TUTELAGE_CALLS", "COLUMNS"):
        inherited.pop(name, None)
    return {**inherited, **own}


def whole_loop(folder: Path, *, hooked: bool, before: list[str] | None = None) -> Path:
    folder.mkdir()
    (folder / "home").mkdir()
    (folder / "driver.py").write_text(DRIVER)
    command = [*(before or []), sys.executable, str(folder / "driver.py")]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder, hooked=hooked), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    (folder / "stdout").write_text(done.stdout)
    return folder


def outcome(folder: Path) -> dict[str, str]:
    rounds = folder / "run" / "rounds" / "01"
    told = {name: (rounds / name).read_text() for name in RESULTS}
    asked = (folder / "stdout").read_text().splitlines()[-1]
    assert asked.startswith("asked ")
    return {**told, "asked": asked, "report": str((folder / "run" / "report.html").exists())}


@pytest.fixture(scope="module")
def with_a_network(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return outcome(whole_loop(tmp_path_factory.mktemp("plain") / "it", hooked=False))


def no_namespace() -> str:
    """Why there is no network namespace to be had here; "" where there is."""
    try:
        done = subprocess.run([*ALONE, "ip link set lo up"], capture_output=True, text=True, timeout=30)
    except OSError as error:
        return f"no {error.filename}"
    return "" if done.returncode == 0 else done.stderr.strip() or "unshare failed"


def counted(folder: Path) -> dict[str, int]:
    """The kernel's counters of a namespace."""
    lines = (folder / "network.log.counted").read_text().splitlines()
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind, _, rest = names.partition(": ")
        for name, value in zip(rest.split(), values.split()[1:], strict=True):
            found[f"{kind}.{name}"] = int(value)
    of_six = (line.split() for line in (folder / "network.log.counted6").read_text().splitlines())
    return found | {name: int(value) for name, value in of_six}


@pytest.mark.slow
def test_a_whole_loop_calls_nobody_but_loopback(tmp_path: Path, with_a_network: Mapping[str, str]) -> None:
    folder = whole_loop(tmp_path / "it", hooked=True)
    log = folder / "network.log"
    assert not log.exists(), log.read_text()
    hooked = (folder / "network.log.hooked").read_text().split()
    assert len(set(hooked)) >= 2, "the program that compares formulas was not watched"
    assert outcome(folder) == with_a_network


def test_a_whole_loop_where_there_is_no_network_at_all(tmp_path: Path, with_a_network: Mapping[str, str]) -> None:
    if why := no_namespace():
        pytest.skip(f"no network namespace: {why}")
    folder = whole_loop(tmp_path / "it", hooked=True, before=[*ALONE, LO_UP, "sh"])
    log = folder / "network.log"
    assert not log.exists(), log.read_text()
    found = counted(folder)
    assert found["Ip.OutNoRoutes"] == found["Ip6OutNoRoutes"] == 0
    assert found["Udp.NoPorts"] == found["Udp.OutDatagrams"] == 0  # nor was a name server on loopback asked
    assert found["Tcp.ActiveOpens"] > 0  # what went over loopback did go over this network
    assert outcome(folder) == with_a_network


CALLS_OUT: dict[str, str] = {
    "a name": "import socket; socket.getaddrinfo('huggingface.co', 443)",
    "an address": "import socket; socket.create_connection(('192.0.2.1', 443), 1)",
    "an address of IPv6": "import socket; socket.socket(socket.AF_INET6).connect(('2001:db8::1', 443))",
    "a datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "urllib": "import urllib.request; urllib.request.urlopen('https://example.org')",
    "a child": "import subprocess, sys; subprocess.run([sys.executable, '-c', "
    "'import socket; socket.gethostbyname(\"example.org\")'], check=True)",
}


@pytest.mark.parametrize("code", CALLS_OUT.values(), ids=CALLS_OUT.keys())
def test_the_hook_notes_whoever_calls_out(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path, hooked=True), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert len((tmp_path / "network.log").read_text().splitlines()) >= 1


def test_the_hook_lets_loopback_pass(tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\n"
        "socket.socketpair()\n"
        "socket.getaddrinfo('localhost', 80)\n"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(tmp_path, hooked=True), check=True, timeout=60)
    assert not (tmp_path / "network.log").exists()


def test_the_namespace_counts_what_the_hook_cannot_see(tmp_path: Path) -> None:
    if why := no_namespace():
        pytest.skip(f"no network namespace: {why}")
    native = (
        "import ctypes, socket, struct; c = ctypes.CDLL(None); s = c.socket(2, 1, 0); "
        "c.connect(s, struct.pack('!2s H 4s 8x', struct.pack('H', 2), 443, socket.inet_aton('192.0.2.1')), 16)"
    )
    own = environment(tmp_path, hooked=True)
    subprocess.run([*ALONE, LO_UP, "sh", sys.executable, "-c", native], env=own, check=True, timeout=60)
    assert not (tmp_path / "network.log").exists()
    assert counted(tmp_path)["Ip.OutNoRoutes"] == 1
