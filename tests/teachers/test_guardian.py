"""A server whose engine is dead and which does not end: what vLLM does when it is told to end while it answers."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = textwrap.dedent("""
    import ctypes, os, sys, time
    engine = os.fork()
    if not engine:
        ctypes.CDLL(None).prctl(15, b"VLLM::EngineCore", 0, 0, 0)
        time.sleep(600)
    print(engine, file=open(sys.argv[1], "w"), flush=True)
    os.waitpid(engine, 0)
    time.sleep(600)
""")


def within(seconds: float, true) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(true())


@pytest.mark.skipif(sys.platform != "linux", reason="processes are seen through /proc")
def test_a_server_whose_engine_is_dead_is_ended(tmp_path: Path):
    told, record = tmp_path / "engine", tmp_path / "record"
    record.write_text("{}")
    command = [sys.executable, str(ROOT / "teachers" / "guardian.py"), "1.0", str(record)]
    command += [sys.executable, "-c", SERVER, str(told)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guardian:
        try:
            assert within(20, lambda: told.exists() and told.read_text().strip())
            assert guardian.stdout is not None
            server = int(guardian.stdout.readline())
            time.sleep(2.5)  # two looks: an engine that lives is left alone
            assert guardian.poll() is None
            os.kill(int(told.read_text()), signal.SIGKILL)
            assert within(20, lambda: guardian.poll() is not None)
            with pytest.raises(ProcessLookupError):
                os.killpg(server, 0)
            assert not record.exists()
        finally:
            guardian.kill()
