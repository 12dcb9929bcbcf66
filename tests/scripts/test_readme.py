"""Every command of the README and of the pages is run, in a small form: a new command in them fails here first."""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loops.cli import main
from loops.recipe import resolve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = {
    "task": {"id": "skills_demo", "train": 4, "held_out": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 2}},
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in lines if line]


def until_ctrl_c(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that goes on by itself; end it when it has said its first line."""
    # A shell ignores SIGINT for what it runs in the background, and children inherit that.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heeding}; from loops.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, first + out, err)


def tutelage(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which has loaded torch already; `test_cli.py` starts the program itself."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    was, heeds = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = ["tutelage", *arguments]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = was
        signal.signal(signal.SIGINT, heeds)  # a program that ends keeps its own; this one goes on
    return subprocess.CompletedProcess(["tutelage", *arguments], int(str(code or 0)), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(SMALL))
    done = tutelage("run", "recipe.yaml", "--into", "runs/NAME", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "report  runs/NAME/report.html" in done.stdout
    assert (folder / "runs/NAME/report.html").stat().st_size > 100_000
    return folder


def test_the_readme_has_the_two_commands() -> None:
    assert commands(ROOT / "README.md")[:2] == ["./scripts/demo.sh", "./scripts/test.sh"]


@pytest.mark.parametrize(
    "command",
    sorted({command for page in PAGES for command in commands(page) if not command.startswith("./scripts/")}),
)
def test_command_of_a_page(command: str, place: Path) -> None:
    program, *arguments = shlex.split(command)
    if program == "python":  # a script of ours: its own test runs it, here only its words are known
        script = ROOT / arguments[0]
        said = subprocess.run(
            [sys.executable, str(script), "--help"], env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert said.returncode == 0, said.stderr
        assert all(word in said.stdout for word in arguments if word.startswith("--"))
        tests = ROOT / "tests/scripts"
        assert any(
            script.stem in test.read_text(encoding="utf-8")
            for test in tests.glob("test_*.py")
            if test.name != Path(__file__).name
        )
        return
    assert program == "tutelage", f"a page has a command that no test knows: {command}"
    if "runs/OTHER" in arguments and not (place / "runs/OTHER").exists():
        other = tutelage("run", "recipe.yaml", "--into", "runs/OTHER", "--set", "select=uniform", cwd=place)
        assert other.returncode == 0, other.stderr
    lesson = json.loads((place / "runs/NAME/rounds/01/lessons.jsonl").read_text().splitlines()[0])
    if "LESSON" in arguments:
        listed = json.loads(tutelage("show", "runs/NAME", "--json", cwd=place).stdout)
        assert listed
        from lessons.jsonl import read_jsonl
        from lessons.records import Lesson

        first = next(read_jsonl(place / "runs/NAME/rounds/01/lessons.jsonl", Lesson))
        assert first.completion == lesson["completion"]
        arguments[arguments.index("LESSON")] = first.id[:8]
    if "method.new=4" in arguments:  # the page's recipe has stat_syn
        (place / "recipe.yaml").write_text(yaml.safe_dump({**SMALL, "method": "stat_syn"}))
        arguments = [a.replace("rounds=5", "rounds=1").replace("method.new=4", "method.new=1") for a in arguments]
    try:
        done = (until_ctrl_c if arguments[0] == "ui" else tutelage)(*arguments, cwd=place)
    finally:
        (place / "recipe.yaml").write_text(yaml.safe_dump(SMALL))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", ["gaps", "show", "report", "methods", "doctor", "estimate"])
def test_json_of_every_reading_command(command: str, place: Path) -> None:
    arguments = [command] if command in ("methods", "doctor") else [command, "runs/NAME"]
    if command == "estimate":
        arguments[1] = "recipe.yaml"
    done = tutelage(*arguments, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_the_python_of_the_readme(place: Path) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["0", "1"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_of_a_page_resolve(page: Path) -> None:
    for block in blocks(page, "yaml"):
        recipe = yaml.safe_load(block)
        if "my_method" not in block:  # that page's code has a test of its own
            assert resolve({**SMALL, **recipe}).digest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), link


@pytest.mark.slow
def test_demo_script_twice(tmp_path: Path) -> None:
    """The demo's script with a tiny student, in this environment: the second time changes nothing."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(SMALL))
    venv = Path(sys.prefix)
    if not (venv / "bin" / "tutelage").exists() or not list(venv.glob(".tutelage-*")):
        pytest.skip("the tests do not run in an environment that scripts/setup.sh made")
    environment = {**os.environ, "TUTELAGE_DEMO_RECIPE": str(recipe), "TUTELAGE_VENV": str(venv)}
    command = [str(ROOT / "scripts" / "demo.sh"), str(tmp_path / "demo")]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert first.returncode == 0, first.stderr
    assert "report.html" in first.stdout
    before = (tmp_path / "demo/rounds/01/lessons.jsonl").stat().st_mtime_ns
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert second.stdout == first.stdout
    assert (tmp_path / "demo/rounds/01/lessons.jsonl").stat().st_mtime_ns == before
