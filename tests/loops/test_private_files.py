"""What a run writes is for its owner alone, whatever the umask; and a run folder of a stranger leads nowhere else."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessons.errors import InputError
from lessons.jsonl import begin_private, open_private, whole_file, write_whole
from loops.export.student import export_student
from loops.links import refuse_links
from loops.reading import RunView
from loops.recipe import resolve
from loops.records import RoundLearned
from loops.report import write_report
from loops.run import Run
from loops.store import RunFolder, read_record
from loops.views.show import show

RECIPE = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 3},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 2}},
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
    "select": {"id": "ifd", "budget": 6, "replay": 0},  # it keeps scores
    "train": {"epochs": 1},
    "diagnose": {"form": "skill"},
    "preflight": {"problems": 0},
    "gate": {"rule": "always"},
}


@pytest.fixture
def open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_to_all")
def test_a_run_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    run = tmp_path / "run"
    Run.start(resolve(RECIPE), run).to_the_end()
    write_report(run)
    assert mode(run) == 0o700
    held = [path for path in run.rglob("*") if path.is_file()]
    assert {"recipe.yaml", "live.json", "calls.sqlite", "report.html", "lessons.jsonl"} <= {path.name for path in held}
    adapters = [path.parent for path in held if path.name == "adapter_model.safetensors"]
    assert adapters
    assert all(mode(folder) == 0o700 for folder in adapters)
    open_ = {path.relative_to(run).as_posix() for path in held if mode(path) & 0o077 and path.parent not in adapters}
    assert open_ == set()


@pytest.mark.usefixtures("open_to_all")
def test_what_is_written_for_others_goes_by_the_umask(tmp_path: Path) -> None:
    write_whole(tmp_path / "report.html", b"x", private=False)
    assert mode(tmp_path / "report.html") == 0o666


@pytest.mark.usefixtures("open_to_all")
def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"kept")
    out = whole_file(tmp_path / "a.json")
    out.temporary.symlink_to(mine)
    with out:
        out.write(b"new")
    assert mine.read_bytes() == b"kept"
    assert (tmp_path / "a.json").read_bytes() == b"new"
    (tmp_path / "b").symlink_to(mine)
    open_private(tmp_path / "b").close()
    assert mine.read_bytes() == b"kept"
    begin_private(tmp_path / "c")
    begin_private(tmp_path / "c")
    assert mode(tmp_path / "c") == 0o600


def test_links_within_the_run_are_fine_and_the_run_itself_may_be_one(own_run: Path, tmp_path: Path) -> None:
    (own_run / "again.json").symlink_to("run.json")
    (tmp_path / "link").symlink_to(own_run)
    refuse_links(tmp_path / "link")
    assert show(tmp_path / "link").rounds


@pytest.mark.parametrize("place", ["rounds/01/lessons.jsonl", "run.json", "rounds/01/student", "rounds/01/x.json"])
@pytest.mark.parametrize("leads", ["absolute", "up", "nowhere"])
def test_a_link_that_leads_out_is_refused_by_whoever_opens_the_run(
    place: str, leads: str, own_run: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("mine")
    path = own_run / place
    if path.is_file():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to({"absolute": secret, "up": Path("../" * 9, *secret.parts[1:]), "nowhere": "/no/where"}[leads])
    for act in (
        lambda: RunView.open(own_run),
        lambda: show(own_run),
        lambda: write_report(own_run),
        lambda: export_student(own_run),
        lambda: Run.resume(own_run),
        lambda: RunFolder(own_run).acquire(),
    ):
        with pytest.raises(InputError, match="is a link that leads out of the run folder"):
            act()
    assert (secret / "key").read_text() == "mine"
    assert [entry.name for entry in secret.iterdir()] == ["key"]


def test_a_pipe_is_refused_before_anybody_waits_at_it(own_run: Path) -> None:
    os.mkfifo(own_run / "final.json.fifo")
    with pytest.raises(InputError, match="is a pipe or a device"):
        show(own_run)


@pytest.mark.parametrize("name", ["..", ".", "../../secret", "/etc", "a/b", "a\\b", "a\x00b"])
def test_a_record_names_folders_of_its_own_run_only(name: str, own_run: Path, tmp_path: Path) -> None:
    path = own_run / "rounds" / "01" / "learned.json"
    record = json.loads(path.read_text())
    record["learned"]["adapter"] = name
    path.write_text(json.dumps(record))
    with pytest.raises(InputError):  # a view takes the record for damaged
        export_student(own_run, out=tmp_path / "out", index=1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"learned\.json: .*\$\.learned\.adapter"):
        read_record(path, RoundLearned)  # as the loop does, which goes on only from what is whole
