"""environment -> the folder where ntvep keeps what it fetched or made itself (models, indexes)."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """``$NTVEP_HOME``, else ``ntvep`` in the user's cache folder. It need not exist yet."""
    if folder := os.environ.get("NTVEP_HOME"):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ntvep"
