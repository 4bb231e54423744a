"""Cache from overrides to ids of cells: composing takes a hundred times longer."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmark.config import registry
from benchmark.records.shape import NAME

HERE = Path(__file__).resolve().parents[1]
READ = (HERE.parent / "configs", HERE, HERE.parent / "tasks")  # folders on which composing depends
SOURCES = (".yaml", ".py", ".safetensors", ".json")


@dataclass(frozen=True)
class Entry:
    """Ids of the cell that some overrides compose to."""

    task: str
    method: str
    run_id: str
    training: str
    files: dict[str, str] = field(default_factory=dict)  # local files it depends on, with their size and time
    tuned: str | None = None  # the tuning records that chose its trial
    vacant: str | None = None  # why no trial is left for this position of a rung

    def current(self) -> bool:
        """Say whether the files are unchanged."""
        return all(signature(path) == known for path, known in self.files.items())


class OverrideCache:
    """File of lines that several workers append to; incomplete lines are ignored."""

    def __init__(self, folder: Path, stores: bool = True) -> None:
        self.stores = stores
        self.path = folder / "runs" / ".cells" / f"{stamp(registry.plugins())}.jsonl"
        self._known: dict[str, Entry] | None = None

    def get(self, overrides: Sequence[str]) -> Entry | None:
        """Return the entry of overrides, if their files are unchanged."""
        if self._known is None:
            self._known = dict(self._lines())
        entry = self._known.get(key(overrides))
        return entry if entry and entry.current() else None

    def add(self, overrides: Sequence[str], entry: Entry) -> None:
        """Store the entry of overrides."""
        line = json.dumps([key(overrides), asdict(entry)], ensure_ascii=False) + "\n"
        with suppress(OSError):  # where nothing can be written, it is composed again
            if self.stores and (self.path.is_file() or not os.path.lexists(self.path)):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(line)
        if self._known is not None:
            self._known[key(overrides)] = entry

    def _lines(self) -> Iterable[tuple[str, Entry]]:
        try:
            text = self.path.read_text(encoding="utf-8", errors="surrogateescape") if self.path.is_file() else ""
        except OSError:
            return
        for line in text.splitlines():
            try:
                name, entry = json.loads(line)
                texts = [name, *(value for key, value in entry.items() if key != "files" and value is not None)]
                parts = ("task", "method") if entry.get("vacant") else ("task", "method", "run_id", "training")
                named = all(NAME.fullmatch(entry[key]) for key in parts)  # a vacant position has no id
                if named and isinstance(entry["files"], dict) and all(isinstance(text, str) for text in texts):
                    yield name, Entry(**entry)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                continue


def key(overrides: Sequence[str]) -> str:
    """Name overrides independently of their order, and of the score to show, which is no part of a cell's name."""
    return "\n".join(sorted(override for override in overrides if not override.startswith("task.metric=")))


@functools.cache
def stamp(plugins: tuple[Path, ...]) -> str:
    """Hash the files on which composing depends: configurations, code, shipped files."""
    digest = hashlib.sha256()
    for folder in (*READ, *plugins):
        for path in sorted(p for p in folder.rglob("*") if p.suffix in SOURCES):
            digest.update(os.fsencode(path.relative_to(folder).as_posix()))
            if path.suffix in (".yaml", ".py"):
                digest.update(path.read_bytes())
            else:
                digest.update(signature(path).encode())
    return digest.hexdigest()[:16]


@functools.cache
def signature(path: str | Path) -> str:
    """Hash a file's size and time, or those of a folder's files; once per process."""
    path = Path(path)
    try:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        stats = [(p.as_posix(), os.stat(p)) for p in inside]
    except (OSError, ValueError):  # no path at all
        return "missing"
    text = "\n".join(f"{p} {s.st_size} {s.st_mtime_ns}" for p, s in stats)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def files_in(config: Any) -> list[str]:
    """List the local files and folders that built choices name."""
    if isinstance(config, dict):
        return [path for value in config.values() for path in files_in(value)]
    if isinstance(config, list | tuple):
        return [path for value in config for path in files_in(value)]
    if isinstance(config, str | os.PathLike) and ("/" in str(config) or "." in str(config)):
        path = os.path.abspath(os.path.expanduser(config))
        return [path] if os.path.exists(path) else []
    return []
