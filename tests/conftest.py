"""What holds for every test: no test is failed for being slow on a busy machine; speed is measured by benchmarks."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.browsing import Browser, program

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["TUTELAGE_CALLS"] = "off"  # a test's replies are not another's; what shares them says so
settings.register_profile("project", deadline=None)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what is marked slow a quarter of an hour, where it names no time of its own."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; what needs it is skipped, with the reason, where none can be started."""
    error = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").Error
    try:
        found = Browser(program())
    except error as wrong:
        pytest.skip(
            f"no Chromium can be started here (scripts/setup_browser.sh gets one): {str(wrong).splitlines()[0]}"
        )
    yield found
    found.close()
