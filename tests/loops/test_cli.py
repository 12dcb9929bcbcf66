"""The command line as a user meets it: one clear line and exit code 2 for bad input, nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "trl", "vllm", "datasets", "peft", "openai", "plotly", "scipy", "math_verify")
SMALL = {
    "task": {"id": "skills_demo", "train": 4, "held_out": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}},
    "teacher": {"kind": "rule_tutor"},
    "method": "rationale",
}


def tutelage(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from loops.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("tutelage: ")
    assert "Traceback" not in done.stderr
    return line


def loaded(code: str) -> set[str]:
    """Return which heavy packages a fresh Python has loaded after this code."""
    ask = f"{code}\nimport sys\nprint(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_packages_loads_nothing_heavy() -> None:
    code = (
        "import importlib, pkgutil\n"
        "import lessons, teachers, students, loops\n"
        "for package in (lessons, teachers, students, loops):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('math_worker'):\n"  # a program of its own, run by the pool
        "            importlib.import_module(module.name)\n"
    )
    assert loaded(code) == set()


def test_help_loads_little() -> None:
    code = (
        "import sys\nsys.argv = ['tutelage', '--help']\nfrom loops.cli import app\ntry: app()\nexcept SystemExit: pass"
    )
    ask = f"{code}\nprint('LOADED', *sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stdout.partition("LOADED")[2].split())
    assert not modules & {*HEAVY, "pydantic", "msgspec", "yaml", "jinja2", "aiohttp"}
    assert "Usage: " in done.stdout


def test_a_good_run_of_the_whole_command(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(SMALL))
    done = tutelage("run", "r.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in (
        "held-out 16 problems frozen",
        "round 1 of 1",
        "examine",
        "diagnose",
        "teach",
        "filter",
        "exam",
        "gate",
    ):
        assert word in done.stderr
    assert "\x1b[" not in done.stderr + done.stdout  # plain when not on a terminal
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("r-")
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "stat_sin"}, "r.yaml: method.id: there is no method 'stat_sin'; did you mean stat_syn"),
        ({"filters": ["fromat"]}, "r.yaml: filters[0].id: there is no filter 'fromat'; did you mean format?"),
        ({"rouns": 2}, "r.yaml: unknown key 'rouns'; did you mean rounds?"),
        ({"student": "no-such-folder/model"}, "no-such-folder/model"),
        ({"student": "wheel:nothing"}, "wheel:nothing"),
        ({"task": {"id": "gsm8k", "folder": "nowhere", "train": 2, "held_out": 2}}, "nowhere"),
        ({"task": {"id": "jsonl", "train": "mine.jsonl", "held_out": 0.5}}, "mine.jsonl: line 2"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_half_written(change: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n{"answer": "3"}\n')
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**SMALL, **change}))
    line = refused(tutelage("run", "r.yaml", "--into", "run", cwd=tmp_path, HF_HUB_OFFLINE="1"))
    assert message in line
    left = [p.name for p in (tmp_path / "run").rglob("*") if p.is_file()] if (tmp_path / "run").exists() else []
    assert not [name for name in left if name.endswith((".tmp", ".safetensors"))]


def test_a_missing_extra_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**SMALL, "task": "reasoning_gym:chain_sum"}))
    blocked = "import sys\nsys.modules['reasoning_gym'] = None\nfrom loops.cli import main\nmain()"
    command = [sys.executable, "-c", blocked, "run", "r.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "pip install 'tutelage[tasks]'" in refused(done)


def test_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "is not empty and holds no run" in refused(tutelage("run", "r.yaml", "--into", "full", cwd=tmp_path))
    for command in ("gaps", "show", "report", "resume"):
        assert "full" in refused(tutelage(command, "full", cwd=tmp_path))
        assert "nowhere" in refused(tutelage(command, "nowhere", cwd=tmp_path))
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert sorted(p.name for p in (tmp_path / "full").iterdir()) == ["thesis.txt"]


def test_an_unknown_family(tmp_path: Path) -> None:
    assert "did you mean filter?" in refused(tutelage("methods", "filtre", cwd=tmp_path))


def test_a_key_in_a_recipe_is_refused_and_not_repeated(tmp_path: Path) -> None:
    teacher = {"kind": "openai", "model": "m", "key": "sk-abcdefghijklmnopqrstuvwxyz123456"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**SMALL, "teacher": teacher}))
    line = refused(tutelage("run", "r.yaml", "--into", "run", cwd=tmp_path))
    assert "sk-abcdef" not in line
    assert not (tmp_path / "run").exists()
