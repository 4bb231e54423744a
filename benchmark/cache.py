"""Folder of what is prepared or fetched once; it can be deleted at any time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def folder() -> Path:
    """Give BENCHMARK_CACHE_DIR, or a folder in the user's cache."""
    home = os.path.expanduser("~")  # "~" for a user whom the machine does not know
    base = os.environ.get("XDG_CACHE_HOME") or Path(tempfile.gettempdir() if home == "~" else home) / ".cache"
    return Path(os.environ.get("BENCHMARK_CACHE_DIR") or Path(base) / "crosspeft")


def fetched(name: str) -> Path:
    """Give the folder of a network that a package index has."""
    return folder() / "networks" / name
