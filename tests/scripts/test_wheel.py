"""What is shipped: the four packages with their types and templates, and nothing of tests, scripts or docs."""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGES = {"lessons", "teachers", "students", "loops"}


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(built).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == PACKAGES | {top for top in tops if top.startswith("tutelage-") and top.endswith(".dist-info")}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    sources = {str(p.relative_to(ROOT)) for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    assert sources <= set(names)
    pages = [path for folder in ("report", "ui") for path in (ROOT / "loops" / folder).glob("*")]
    templates = {str(path.relative_to(ROOT)) for path in pages if path.is_file()}
    assert templates <= set(names)
    (entry,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "tutelage = loops.cli:main" in zipfile.ZipFile(built).read(entry).decode()
