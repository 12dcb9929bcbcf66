"""One run, one writer: who has it is named; a dead owner's run is taken over, a living one's is refused."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lessons.errors import InputError
from loops import owning
from loops.owning import NAME, Owner
from loops.store import RunFolder, now, read_record, write_record
from loops.watching.heartbeat import GONE, Heartbeat, here
from loops.watching.heartbeat import NAME as BEAT
from teachers.servers import ProcessId, process_id

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from loops.store import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.acquire()
print("has it", flush=True)
input()
folder.release()
"""


def holder(run: Path) -> "subprocess.Popen[str]":
    """A process that has the run until it is written a line."""
    run.mkdir(exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "has it\n"
    return process


def test_a_living_owner_is_named(tmp_path: Path) -> None:
    process = holder(tmp_path)
    folder = RunFolder(tmp_path)
    told = rf"another process is running this run \(process {process.pid} on \S+, since 20\d\d-.*Z\); wait for it, or"
    with pytest.raises(InputError, match=told):
        folder.acquire()
    process.communicate("\n")
    folder.acquire()
    assert folder.taken_over == ""  # it was given back
    folder.release()
    assert not (tmp_path / NAME).exists()


def test_a_dead_owner_is_followed_with_a_message(tmp_path: Path) -> None:
    process = holder(tmp_path)
    left = tmp_path / "rounds" / "01" / f".lessons.jsonl.{process.pid}.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b'{"half')
    process.kill()
    process.communicate()
    folder = RunFolder(tmp_path)
    folder.acquire()
    assert folder.taken_over.startswith(f"process {process.pid} on ")
    assert folder.taken_over.endswith("had this run and is gone; this process takes it over")
    assert not left.exists()  # what it was writing is no part of the run
    found = read_record(tmp_path / NAME, Owner)
    assert found is not None
    assert found.process == process_id(os.getpid())
    folder.release()


def elsewhere(run: Path, since: str) -> Owner:
    owner = Owner(process=ProcessId(7, 11.5), place="rented pid:[4]", host="rented", since=since)
    write_record(run / NAME, owner)
    return owner


def long_ago() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - GONE - 5))


def beat(run: Path, owner: Owner, when: str, **more: object) -> None:
    told = Heartbeat(process=owner.process, place=owner.place, began=when, beat=when, moved=when, **more)
    write_record(run / BEAT, told)


def test_an_owner_on_another_machine_is_taken_at_its_word_while_that_is_fresh(tmp_path: Path) -> None:
    """No lock is held here, as on a file system that does not carry locks from machine to machine."""
    folder = RunFolder(tmp_path)
    elsewhere(tmp_path, now())
    with pytest.raises(InputError, match=r"process 7 on rented, since .* on another machine .* sign of life \d s ago"):
        folder.acquire()
    owner = elsewhere(tmp_path, long_ago())
    beat(tmp_path, owner, now())
    with pytest.raises(InputError, match="if it is gone, try again in"):
        folder.acquire()
    beat(tmp_path, owner, now(), ended="stopped")
    folder.acquire()
    assert "process 7 on rented" in folder.taken_over
    folder.release()


@pytest.mark.parametrize("other", [False, True])
def test_an_owner_on_another_machine_that_is_silent_is_gone(tmp_path: Path, other: bool) -> None:
    owner = elsewhere(tmp_path, long_ago())
    if other:  # the heartbeat is of somebody who had the run before, here
        process = process_id(os.getpid())
        assert process is not None
        beat(tmp_path, Owner(process=process, place=here(), host="", since=""), now())
    else:
        beat(tmp_path, owner, long_ago())
    folder = RunFolder(tmp_path)
    folder.acquire()
    assert folder.taken_over
    folder.release()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"process": 3}'])
def test_a_note_that_cannot_be_read_holds_nobody_up(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    folder = RunFolder(tmp_path)
    folder.acquire()
    folder.release()
    assert owning.refusal(tmp_path).endswith("another process is running this run; wait for it, or stop it")


def test_a_note_that_cannot_be_written_gives_the_lock_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    folder = RunFolder(tmp_path)
    monkeypatch.setattr(owning, "write_record", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        folder.acquire()
    monkeypatch.undo()
    RunFolder(tmp_path).acquire()


def test_a_start_that_was_killed_before_it_wrote_the_recipe_can_be_begun_again(tmp_path: Path) -> None:
    process = holder(tmp_path)
    (tmp_path / f".recipe.yaml.{process.pid}.tmp").write_bytes(b"task: ")
    process.kill()
    process.communicate()
    assert RunFolder(tmp_path).start({"task": "t"}) is True


def test_a_command_that_is_refused_after_it_took_the_run_gives_it_back(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from loops.store import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1])); folder.acquire()\n"
        f"assert (folder.path / {NAME!r}).exists()\n"
        "sys.exit(2)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert not (tmp_path / NAME).exists()
    folder = RunFolder(tmp_path)
    folder.acquire()
    assert folder.taken_over == ""


def test_who_has_given_a_run_back_leaves_the_next_owner_its_note(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.acquire()
    first.release()
    process = holder(tmp_path)
    first.release()
    del first
    assert (tmp_path / NAME).exists()
    process.communicate("\n")
