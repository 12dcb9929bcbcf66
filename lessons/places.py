"""Where things lie that outlive a run: the user's cache folder."""

import os
from pathlib import Path

import platformdirs

CACHE = "TUTELAGE_CACHE"
"""Environment variable: the folder for whatever runs share, in place of the user's cache folder."""


def cache_folder() -> Path:
    """Return the folder of what is kept between runs: models, checksums, teachers' replies, what endpoints can do."""
    told = os.environ.get(CACHE)
    return Path(told).expanduser() if told else Path(platformdirs.user_cache_dir("tutelage"))
