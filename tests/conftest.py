"""What holds for every test: no test is failed for being slow on a busy machine; speed is measured by benchmarks."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["TUTELAGE_CALLS"] = "off"  # a test's replies are not another's; what shares them says so
settings.register_profile("project", deadline=None)
settings.load_profile("project")
