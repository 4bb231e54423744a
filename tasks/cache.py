"""Cache of prepared arrays, by the hash of their key and code."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from benchmark.cache import folder

Arrays = dict[str, np.ndarray]


def load_or_make(name: str, key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of make(), from the cache if key and code are unchanged.

    Safe with several processes: each writes a file and renames it, and the contents are equal. A damaged file is made
    again; where nothing can be written, nothing is cached.
    """
    text = json.dumps([code_hashes(make), np.__version__, key], sort_keys=True)
    file = folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    with suppress(OSError, ValueError, EOFError, BadZipFile), np.load(file, allow_pickle=False) as stored:
        return dict(stored)
    arrays = make()
    with suppress(OSError):
        _write(file, arrays)
    return arrays


def code_hashes(make: Callable[[], Arrays]) -> dict[str, str]:
    """Hash every file in the folder of make's module, its code."""
    home = Path(inspect.getfile(sys.modules[make.__module__])).parent
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(home.iterdir()) if f.is_file()}


def _write(file: Path, arrays: Arrays) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
        try:
            np.savez(part, allow_pickle=False, **arrays)
            os.replace(part.name, file)
        except BaseException:
            os.unlink(part.name)
            raise
