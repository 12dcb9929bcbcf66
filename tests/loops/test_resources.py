"""Memory and disk before a stage: said where they are near, refused where they cannot be enough."""

from pathlib import Path

import pytest

from lessons.errors import InputError
from loops import resources
from loops.doctor import check_recipe
from loops.reading import RunView
from loops.recipe import Recipe, resolve
from loops.resources import Need, Room, fits, group_free, near, refuse
from loops.run import Run
from loops.watching.progress import Silent
from students.footprint import IMPORTS, WITHIN

GIGABYTE = 1_000_000_000
NEED = Need("learn", memory=9 * GIGABYTE, disk=2 * GIGABYTE, parts="weights 5.0 GB", advice="lower the batch")


def recipe(**student: object) -> Recipe:
    return resolve(
        {
            "task": {"id": "skills_demo", "train": 2, "held_out": 2},
            "student": {"model": "tiny", "answer": {"max_tokens": 6}, "adapter": {"rank": 2}, **student},
            "teacher": {"kind": "rule_tutor"}, "method": "rationale", "train": {"epochs": 1}, "rounds": 1,
        }
    )  # fmt: skip


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


def test_plenty_is_not_said() -> None:
    found = Room(memory=100 * GIGABYTE, disk=100 * GIGABYTE)
    refuse(NEED, found)
    assert near(NEED, found) == ""


def test_near_is_said_with_what_to_set() -> None:
    found = Room(memory=10 * GIGABYTE, disk=100 * GIGABYTE)
    refuse(NEED, found)
    assert near(NEED, found) == (
        "warning: learn needs about 9.0 GB of memory (weights 5.0 GB), and there is 10.0 GB; if it fails, lower the "
        "batch, or end other programs"
    )


def test_an_estimate_that_may_be_too_high_refuses_nothing() -> None:
    refuse(NEED, Room(memory=round(9 * GIGABYTE / WITHIN) + 1, disk=100 * GIGABYTE))
    with pytest.raises(InputError, match=r"^learn cannot begin: learn needs about 9\.0 GB of memory"):
        refuse(NEED, Room(memory=round(9 * GIGABYTE / WITHIN) - 1, disk=100 * GIGABYTE))


def test_a_disk_that_is_too_small_is_refused() -> None:
    found = Room(memory=100 * GIGABYTE, disk=2 * GIGABYTE - 1)
    with pytest.raises(InputError, match=r"2\.0 GB of disk, and there is 2\.0 GB; make room on the disk"):
        refuse(NEED, found)
    assert not fits(NEED, found)
    assert fits(NEED, found._replace(disk=2 * GIGABYTE))


def test_the_memory_of_a_gpu_counts_where_there_is_one() -> None:
    need = NEED._replace(gpu=40 * GIGABYTE)
    refuse(need, Room(memory=100 * GIGABYTE, disk=100 * GIGABYTE))
    with pytest.raises(InputError, match=r"40\.0 GB of GPU memory .* there is 24\.0 GB"):
        refuse(need, Room(memory=100 * GIGABYTE, disk=100 * GIGABYTE, gpu=24 * GIGABYTE))


def group(folder: Path, most: str, used: int, given_back: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {given_back}\n")


def test_the_limits_of_every_group_above_count(tmp_path: Path) -> None:
    group(tmp_path / "box", "1000", 400)
    group(tmp_path / "box" / "job", "500", 450, given_back=100)
    group(tmp_path / "box" / "job" / "inner", "max", 10)
    own = tmp_path / "own"
    own.write_text("0::/box/job/inner\n")
    assert sorted(group_free(tmp_path, own)) == [150, 600]


def test_groups_of_the_first_version(tmp_path: Path) -> None:
    folder = tmp_path / "memory" / "docker"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("1000")
    (folder / "memory.usage_in_bytes").write_text("300")
    (folder / "memory.stat").write_text("total_inactive_file 50\n")
    own = tmp_path / "own"
    own.write_text("4:cpu,cpuacct:/docker\n3:memory:/docker\n")
    assert list(group_free(tmp_path, own)) == [750]


def test_no_groups_are_no_limit(tmp_path: Path) -> None:
    assert list(group_free(tmp_path, tmp_path / "none")) == []


def test_a_run_stops_before_a_stage_that_cannot_fit_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = resources.room
    monkeypatch.setattr(resources, "room", lambda folder: real(folder)._replace(memory=round(IMPORTS / 2)))
    with pytest.raises(InputError, match=r"exam cannot begin: exam needs about .* lower student\.answer\.batch_tokens"):
        Run.start(recipe(), tmp_path / "run").to_the_end()
    stopped = RunView.open(tmp_path / "run")
    assert "exam" not in stopped.rounds[0].markers
    told = Lines()
    monkeypatch.setattr(resources, "room", lambda folder: real(folder)._replace(memory=IMPORTS))
    Run.resume(tmp_path / "run", told).to_the_end()
    assert RunView.open(tmp_path / "run").finished is not None
    warned = [line for line in told.said if "warning" in line]
    assert any("learn needs about" in line and "train.micro_batch_size" in line for line in warned)


def test_teaching_needs_disk_by_what_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.start(recipe(), tmp_path / "run")
    run.up_to(1, "teach")
    need = resources.need_of(run.work, 1, "teach")
    assert need is not None
    missed = run.work.folder.marker(1, "diagnose")
    assert missed is not None
    assert need.disk == missed.counts["diagnose/failures"] * resources.TAUGHT + resources.SPARE
    real = resources.room
    monkeypatch.setattr(resources, "room", lambda folder: real(folder)._replace(disk=resources.SPARE))
    with pytest.raises(InputError, match="teach cannot begin: teach needs about .* of disk"):
        Run.resume(tmp_path / "run").to_the_end()


async def test_doctor_says_what_a_recipe_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {check.name: check for check in await check_recipe(recipe())}
    assert found["room to learn"].found.startswith("at most ")
    assert found["room to answer"].ok
    monkeypatch.setattr(resources, "room", lambda folder: Room(memory=1000, disk=GIGABYTE))
    found = {check.name: check for check in await check_recipe(recipe())}
    assert not found["room to learn"].ok
    assert "micro_batch_size" in found["room to learn"].advice
