"""Every command that docs/look-at-a-run.md shows runs, on a run folder alone, with and without --json."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loops.cli import app
from loops.reading import RunView

PAGE = (Path(__file__).parents[2] / "docs" / "look-at-a-run.md").read_text(encoding="utf-8")
_LISTED = re.findall(r"^- `tutelage (\w+ RUN[^`]*)`", PAGE, re.MULTILINE)
_TYPED = re.findall(r"^tutelage (.*)$", PAGE, re.MULTILINE)
SHOWN = dict.fromkeys((*_LISTED, *_TYPED))
NOT_HERE = ("ui",)
"""It serves until it is stopped; it has tests of its own."""


def test_the_page_shows_every_view() -> None:
    assert {command.split()[0] for command in SHOWN} >= {"gaps", "show", "why", "compare", "report"}


@pytest.mark.parametrize("shown", [command for command in SHOWN if command.split()[0] not in NOT_HERE])
def test_a_command_of_the_page(shown: str, example_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (shutil.copytree(example_run, tmp_path / name) for name in ("first", "second"))
    lesson = next(RunView.open(example_run).rounds[1].lessons())
    runs = iter([str(first), str(second)])
    words = [next(runs) if word == "RUN" else lesson.id if word == "LESSON" else word for word in shlex.split(shown)]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.exception)
    assert done.stdout.strip()
    if "--json" not in words:
        again = CliRunner().invoke(app, [*words, "--json"])
        assert again.exit_code == 0, (words, again.exception)
        assert json.loads(again.stdout)
