"""Run options: settings of the execution that do not change the cell."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from omegaconf import DictConfig

from benchmark.config.build import convert
from benchmark.errors import InputError
from benchmark.records import Record, Store
from benchmark.saved import CELL


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Run options of a command."""

    results: str
    device: str
    force: bool
    retry: str | None  # failed: failed cells are run again
    save: str | None
    shared: bool  # other processes use the device: costs are marked
    attempts: int  # processes that may die while running a cell before it is recorded as failed

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device: {self.device!r} given, auto, cpu or cuda wanted")
        if self.retry not in (None, "failed"):
            raise InputError(f"retry: {self.retry!r} given, failed or null wanted")
        for key in ("results", "save"):
            if (path := getattr(self, key)) is not None:
                check_folder(key, path)

    def check_save(self, recorded: str | None) -> None:
        """Refuse a folder that is not empty, unless it has the adapter of the recorded run. Raises InputError."""
        folder = Path(self.save or "")
        if self.save is None or not folder.is_dir() or not any(folder.iterdir()):
            return
        with suppress(OSError, ValueError, TypeError):  # no record there: another file of the user's
            if recorded and Record.from_json((folder / CELL).read_bytes()).run_id == recorded:
                return
        raise InputError(f"save={self.save}: the folder is not empty: give another one")

    @property
    def store(self) -> Store:
        """Store of the user's records."""
        return Store(Path(self.results) / "runs")

    @property
    def replaces(self) -> bool:
        """True if a new record replaces an old one."""
        return self.force or self.retry is not None

    def repeats(self, known: Record) -> bool:
        """Say whether a recorded cell is to be run again."""
        return self.force or self.retry == known.status


def options_of(config: DictConfig) -> RunOptions:
    """Read the run options of a composed configuration. Raises InputError."""
    hints = get_type_hints(RunOptions)
    return RunOptions(**{key: convert(config[key], hint, key) for key, hint in hints.items()})


def check_folder(key: str, path: str) -> None:
    """Raise InputError for a path where no folder can be made."""
    if path == "":
        raise InputError(f"{key}= has no value: give a folder")
    folder = Path(path).absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"{key}={path}: {str(existing)!r} is not a writable folder; give another one")
