"""Identity of a cell: a hash of its choices, with local files by their content."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

# Keys that do not change what a cell computes: descriptions, facts, ranges for a tuner, the knob of a solver.
FACTS = frozenset({"category", "paper", "formula", "architecture", "natural_size", "headline"})
NO_CHOICE = frozenset({"description", "search", "sized_by", "across_processors", "facts", *FACTS})
CLASS = "_target_"
CONTENTS = "contents"  # hash of the data files that no setting names, such as the images of a table
NAMED = ("task", "method", "backbone", "budget")  # nodes of a configuration that have a name in the registry
RECORDED = Path(__file__).with_name("recorded_classes.json")


def run_id(config: dict[str, Any], paths: Collection[str] = ()) -> str:
    """Name a cell by its choices alone: the id is equal on any machine."""
    text = json.dumps(choices(fingerprinted(config, paths)), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def training_id(config: dict[str, Any]) -> str:
    """Name a training, at whatever step it stops; of a final run this is its run_id."""
    return run_id(config | {"phase": None, "until": None})


def choices(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out keys that change no number, and nulls.

    The result has the form of the first records, so that the same cell keeps its id.
    """
    nodes = {noun: _first_form(noun, node) for noun in NAMED if isinstance(node := config.get(noun), dict)}
    if isinstance(data := nodes.get("task", {}).get("data"), dict):
        first = _first_form("data", data)
        nodes["task"] = nodes["task"] | {"data": {k: v for k, v in first.items() if k != "name" or CLASS not in first}}
    return _chosen(config | nodes)


def _first_form(group: str, node: dict[str, Any]) -> dict[str, Any]:
    """Restore the form of the first records: class first, no later fields."""
    if not isinstance(name := node.get("name"), str):
        return node
    first, later = recorded_classes()[group].get(name), recorded_classes()["later"].get(group, {}).get(name, {})
    known = {key: value for key, value in node.items() if key not in later or value != later[key]}
    return known if CLASS in known or first is None else {CLASS: first, **known}


@functools.cache
def recorded_classes() -> dict[str, dict[str, Any]]:
    """Read the class of each registry name in old records; `later`: new fields."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def _chosen(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _chosen(value) for key, value in config.items() if key not in NO_CHOICE and value is not None}
    if isinstance(config, list | tuple):
        return [_chosen(value) for value in config]
    return config


def fingerprinted(config: Any, paths: Collection[str] = (), key: str = "") -> Any:
    """Replace local files and folders by name and content hash."""
    if isinstance(config, dict):
        if config.keys() == {"name", "sha256"}:  # replaced before
            return dict(config)
        return {name: fingerprinted(value, paths, name) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [fingerprinted(value, paths, key) for value in config]
    if isinstance(config, float) and not math.isfinite(config):
        raise ValueError(f"{key}: {config} cannot be recorded, JSON has no such number: give a finite one or null")
    if isinstance(config, str | os.PathLike):
        return _fingerprinted_path(config, key in paths)
    return config


def contents(files: Mapping[str, Path], config: Any, paths: Collection[str] = ()) -> str | None:
    """Hash names and contents of the files that fingerprinted() does not hash.

    None where it hashes all of them.
    """
    hashed = [*_paths(config, paths)]
    more = [(name, file) for name, file in sorted(files.items()) if not any(_hashed(file, path) for path in hashed)]
    lines = [f"{name}\0{content_hash(Path(os.path.abspath(file)))}\n" for name, file in more if file.is_file()]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest() if lines else None


def _hashed(file: Path, path: Path) -> bool:
    """Say whether content_hash(path) reads a file: not if hidden, or behind a link."""
    file = Path(os.path.abspath(file))
    if file == path:
        return True
    inside = file.relative_to(path).parts if path in file.parents else (".",)
    links = [parent for parent in file.parents if path in parent.parents and parent.is_symlink()]
    return not links and not any(part.startswith(".") for part in inside)


def _paths(config: Any, paths: Collection[str], key: str = "") -> Iterator[Path]:
    """Find the files and folders that fingerprinted() hashes."""
    if isinstance(config, dict):
        for name, value in config.items():
            yield from _paths(value, paths, name)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _paths(value, paths, key)
    elif isinstance(config, str | os.PathLike) and isinstance(_fingerprinted_path(config, key in paths), dict):
        yield Path(os.path.abspath(os.path.expanduser(config)))


def _fingerprinted_path(value: str | os.PathLike[str], certain: bool) -> str | dict[str, str]:
    """Replace a text by name and hash if it is a path.

    A column or a hub id may have the name of a folder that exists by chance. A bare word is therefore a path only if it
    is a file with a suffix ("data.csv"); a word with a separator is one if it exists, since loaders prefer a local
    folder to a hub id. A Path, or a key in `paths`, always is one.
    """
    text = os.fspath(value)
    path = Path(os.path.abspath(os.path.expanduser(text)))
    certain = certain or isinstance(value, os.PathLike)
    likely = "/" in text or os.sep in text or (bool(path.suffix) and path.is_file())
    if not text or not path.name or not (certain or likely) or not os.path.exists(path):
        return text
    return {"name": path.name, "sha256": content_hash(path)}


def content_hash(path: Path) -> str:
    """Hash a file, or the names and contents of a folder's files."""
    if path.is_file():
        stat = path.stat()
        return _file_hash(path, stat.st_size, stat.st_mtime_ns)
    inside = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
    # Hidden files belong to other programs, such as the download times that the hub client stores.
    lines = [f"{name}\0{content_hash(p)}\n" for name, p in inside if not re.search(r"(^|/)\.", name)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


@functools.cache
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """Hash a file once per process; a changed size or time hashes it again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
