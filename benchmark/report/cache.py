"""A cache of files, named by the hash of input and code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType


def digest(*parts: bytes, length: int = 24) -> str:
    """Name content by its hash."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:length]


def code(modules: Iterable[ModuleType]) -> str:
    """Hash the code of modules."""
    return digest(*(Path(str(module.__file__)).read_bytes() for module in modules), length=16)


def read(path: Path) -> bytes | None:
    """Return the content of a file; None if there is none that can be read."""
    with suppress(OSError):
        return path.read_bytes() if path.is_file() else None  # a pipe would wait for a writer
    return None


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; ignore a folder that is not writable."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}")
        scratch.write_bytes(content)
        os.replace(scratch, path)
