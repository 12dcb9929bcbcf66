"""The process of one start of a vLLM server: under its guardian, on record, ended with all that it started."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

from msgspec.structs import replace

from lessons.errors import TeacherError
from teachers import guardian, servers
from teachers.servers import ServerRecord
from teachers.vllm_command import Launch, find_executable
from teachers.vllm_log import cause, last_error, last_lines


class ServerProcess:
    """One start. It is there until `end` is called, this object is forgotten, or Python exits."""

    def __init__(self, launch: Launch, key: str) -> None:
        """Start the process; it does not answer yet.

        Raises:
            TeacherError: fatal: there is no such command, or no place for the log.
        """
        program = find_executable(launch.executable, launch.knobs)
        port = free_port()
        record = servers.new_record(launch.command(program, port))
        self.root = f"http://127.0.0.1:{port}"
        """Its address, without /v1."""
        self.log = Path(record.log)
        self.began = time.monotonic()
        self._launch, self._key = launch, key
        self._process = _spawn(record, launch, program, key)
        self._end = weakref.finalize(self, _end, self._process, record, os.getpid(), launch.grace)
        self.record = _identified(record, self._process)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 and a signal's number where one ended it."""
        return self._process.poll()

    def end(self) -> None:
        """End it and all that it started; takes up to `grace` seconds. May be called twice."""
        self._end()

    def ended(self, when: str) -> TeacherError:
        """Return the error that says when it ended, why, and what its log says."""
        tail, error = self.tail(), last_error(self.log, self.hide)
        reason = cause(self.log) or _by_signal(self.exit_code) or error or f"exit code {self.exit_code}"
        said = f" ({error})" if error and error not in reason + tail else ""
        return TeacherError(
            f"the vLLM server of {self._launch.model} ended {when}: {reason}{said}; its log {self.log} ends: {tail}",
            fatal=True,
        )

    def tail(self) -> str:
        """Return the log's last lines on one line, without the key."""
        return last_lines(self.log, self.hide)

    def hide(self, words: str) -> str:
        """Return the words without the key."""
        return words.replace(self._key, "[key]")


def new_key() -> str:
    """Return a random key for a server."""
    return f"tutelage-{secrets.token_urlsafe(32)}"


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _spawn(record: ServerRecord, launch: Launch, program: str, key: str) -> "subprocess.Popen[bytes]":
    try:
        servers.write_record(record)  # before the process: whatever happens then, it can be found
        servers.forget_old_logs()
        log = os.open(record.log, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
    except OSError as error:
        raise TeacherError(
            f"{servers.servers_folder()}: cannot be written ({error.strerror}); set TUTELAGE_CACHE to a folder to "
            "write to",
            fatal=True,
        ) from error
    guarded = (str(Path(guardian.__file__)), f"{launch.grace:g}", str(servers.record_path(record)), *record.command)
    try:
        return subprocess.Popen(  # noqa: S603 - the user's executable, words checked by vllm_command
            (sys.executable, "-I", "-S", *guarded),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=launch.environment(program, record.id, key),
            start_new_session=True,
        )
    finally:
        os.close(log)


def _identified(record: ServerRecord, process: "subprocess.Popen[bytes]") -> ServerRecord:
    """Put the process ids on record, once the guardian has said the server's."""
    assert process.stdout is not None
    with process.stdout as told:
        pid = told.readline().strip()
    if not pid:
        return record
    record = replace(record, guardian=servers.process_id(process.pid), server=servers.process_id(int(pid)))
    if process.poll() is None:
        servers.write_record(record)
    return record


def _end(process: "subprocess.Popen[bytes]", record: ServerRecord, owner: int, grace: float) -> None:
    """Have the guardian end its server, and do it ourselves where the guardian is gone. Also runs when Python exits."""
    if os.getpid() != owner:  # a forked child has no right to it
        return
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(grace + 10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode < 0:
        servers.end_processes(record, grace=1.0)
    servers.record_path(record).unlink(missing_ok=True)


def _by_signal(code: int | None) -> str:
    if code is None:
        return "it stopped answering"
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "it was killed (SIGKILL), by somebody or because the machine's memory ran out: see the system's log"
    return f"it was ended by {signal.Signals(number).name}" if number in {one.value for one in signal.Signals} else ""
