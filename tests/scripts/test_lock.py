"""The locks are in step with pyproject.toml, hold a hash for every file, and are what an environment is made from."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = {"requirements.lock": ("tasks",), "requirements-dev.lock": ("tasks", "dev")}
ENTRY = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?(?: \\)?$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")
CUDA = re.compile(r"torch|nvidia|cuda|triton")


def entries(lock: str) -> list[tuple[str, str, str, int]]:  # (name, version, marker, hashes)
    found: list[tuple[str, str, str, int]] = []
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if entry := ENTRY.match(line):
            found.append((canonicalize_name(entry["name"]), entry["version"], entry["marker"] or "", 0))
        else:
            assert HASH.match(line), f"{lock}: {line!r} is neither a package nor a hash"
            found[-1] = (*found[-1][:3], found[-1][3] + 1)
    return found


def here(marker: str) -> bool:
    return not marker or Marker(marker).evaluate()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes_and_none_is_torch(lock: str) -> None:
    found = entries(lock)
    assert len(found) > 80
    assert all(hashes >= 1 for *_, hashes in found)
    assert not [name for name, *_ in found if CUDA.match(name)]
    assert "http" not in {name.partition("-")[0] for name, *_ in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_it_is_in_step_with_the_project(lock: str) -> None:
    """After a change of pyproject.toml: scripts/lock.sh."""
    asked = [
        *PROJECT["dependencies"],
        *(one for extra in LOCKS[lock] for one in PROJECT["optional-dependencies"][extra]),
    ]
    held = {name: version for name, version, marker, _ in entries(lock) if here(marker)}
    for one in map(Requirement, asked):
        name = canonicalize_name(one.name)
        if name == "torch" or (one.marker is not None and not one.marker.evaluate()):
            continue
        assert name in held, f"{lock} lacks {name}: scripts/lock.sh"
        assert one.specifier.contains(held[name], prereleases=True), f"{lock} has {name} {held[name]}: scripts/lock.sh"


def test_what_both_hold_is_the_same() -> None:
    mine, developers = ({row[:3] for row in entries(lock)} for lock in LOCKS)
    assert mine <= developers


def test_an_environment_is_made_from_the_locks_by_hash() -> None:
    setup = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert 'pip install -q --require-hashes --no-deps -r "$lock"' in setup
    assert all(lock in setup for lock in LOCKS)


def test_the_audit_says_when_nobody_could_be_asked(tmp_path: Path) -> None:
    """Without pip-audit, and with one that finds no network, it is never taken for "nothing was found"."""
    script = str(ROOT / "scripts" / "audit.sh")
    shell = {"PATH": "/usr/bin:/bin", "TUTELAGE_VENV": str(tmp_path / "none")}
    ran = subprocess.run(["bash", script], env=shell, capture_output=True, text=True, check=False)
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "nothing was looked up" in ran.stderr
    audit = tmp_path / "pip-audit"
    audit.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'Failed to resolve api.osv.dev'\nexit 1\n")
    audit.chmod(0o755)
    path = {**shell, "PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin"}
    ran = subprocess.run(["bash", script], env=path, capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert "could not be reached" in ran.stderr
    audit.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'Found 1 known vulnerability in 1 package'\nexit 1\n"
    )
    ran = subprocess.run(["bash", script], env=path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "Found 1 known" in ran.stdout
