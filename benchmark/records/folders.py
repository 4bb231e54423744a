"""Folders of records: the published sets of a results folder, and the user's runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from benchmark.records.packed import RECORDS, PackedStore
from benchmark.records.record import Record
from benchmark.records.store import Store

RESULTS = Path(__file__).resolve().parents[2] / "results"  # shipped with the code
PUBLISHED, RUNS = "published", "runs"  # folders of results
YOURS = "yours"  # name of the user's runs among the published sets

AnyStore = Store | PackedStore


def open_store(folder: Path) -> AnyStore:
    """Open a folder for reading: a published set, or a file per record."""
    return PackedStore(folder) if (folder / RECORDS).exists() else Store(folder, read_only=True)


def published(results: Path) -> dict[str, AnyStore]:
    """Open the published sets of a results folder, by name."""
    folders = sorted(path for path in (results / PUBLISHED).glob("[!.]*") if path.is_dir())
    return {folder.name: open_store(folder) for folder in folders}


def sources(results: Path) -> dict[str, AnyStore]:
    """Open everything in a results folder, published sets first."""
    return {**published(results), YOURS: open_store(results / RUNS)}


def shipped(task: str, method: str) -> Iterator[Record]:
    """Yield the current records shipped with the code; "*" matches every name."""
    for store in published(RESULTS).values():
        yield from store.of(task, method)


def file_name(text: str) -> str:
    """Make a file name from a text of a record: not hidden, and unique to the text."""
    slug = re.sub(r"^\.+|[^\w.=+-]+", "-", text)[:80]
    return slug if slug == text else f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"
