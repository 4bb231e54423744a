"""Folder of records, one JSON file per run, to which any number of processes add."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import re
import secrets
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmark.errors import MalformedError, NewerSchemaError
from benchmark.records.answers import BROKEN, beside, pack, read_bytes, rows_of
from benchmark.records.record import Record

if os.name == "posix":
    import fcntl

FILE = re.compile(r"([^.]+)(?:\.(\d+))?\.json")  # run_id, and the number of a replaced record


class Store:
    """Folder of records, <task>/<method>/<run_id>.json, which only grows."""

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self.read_only = read_only

    def append(self, record: Record, examples: Iterable[dict[str, Any]] | None, replace: bool = False) -> Path:
        """Write a record unless this device type has one; a replaced one gets a number."""
        if self.read_only:
            raise PermissionError(f"{self.folder} holds published records: write to another folder")
        folder = self.folder / record.task / record.method
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{record.run_id}.json"
        with contextlib.ExitStack() as stack:
            new = stack.enter_context(_temporary(path, record.to_json().encode("utf-8", "surrogatepass")))
            rows = None if examples is None else stack.enter_context(_temporary(beside(path), pack(examples)))
            stack.enter_context(_locked(folder))
            existing = self._current(folder, record.run_id).get(record.device)
            if existing and not replace:
                return existing[0]
            _set_aside(path)
            # The examples come first: a process killed in between leaves rows without a record, never the reverse.
            if rows is None:
                beside(path).unlink(missing_ok=True)
            else:
                os.replace(rows, beside(path))
            with contextlib.suppress(FileExistsError):  # only where locks do not work: the first record stays
                _link(new, path)
        return path

    def find(self, task: str, method: str, run_id: str, device: str) -> Record | None:
        """Return the current record of a cell on a device type. Raises NewerSchemaError."""
        path = self.folder / task / method / f"{run_id}.json"
        with contextlib.suppress(FileNotFoundError):
            _refuse_newer(path)
        current = self._current(self.folder / task / method, run_id).get(device)
        return current[1] if current else None

    def records(self) -> Iterator[Record]:
        """Yield every current record, one per cell and device type, sorted by path."""
        yield from self.of("*", "*")

    def of(self, task: str, method: str) -> Iterator[Record]:
        """Yield the current records of one method on one task; "*" matches every name."""
        for folder in sorted(self.folder.glob(f"{task}/{method}")):
            listed = _listed(folder)
            _read_ahead(path for paths in listed.values() for path in paths)
            for name, paths in sorted(listed.items()):
                records = [_read(path) for path in paths]
                # a record that another process has just replaced has another file name now
                moved = any(r is None and not os.path.lexists(p) for r, p in zip(records, paths, strict=True))
                current = self._current(folder, name) if moved else _newest(zip(paths, records, strict=True))
                yield from (record for _, record in current.values())

    def examples(self, record: Record) -> list[dict[str, Any]]:
        """Read the rows beside a record: each test example with its prediction and target."""
        folder = self.folder / record.task / record.method
        for path in _listed(folder).get(record.run_id, []):
            if _read(path) == record:
                try:
                    return rows_of(path, record)
                except MalformedError as error:
                    warnings.warn(f"{error}: left out", stacklevel=2)
                    raise
        raise FileNotFoundError(f"{folder} holds no record {record.run_id} created {record.created}")

    def versions(self, task: str, method: str) -> Iterator[tuple[Record, list[dict[str, Any]] | None]]:
        """Yield every record, also replaced ones, with its rows, newest first.

        Raises MalformedError where a file is damaged.
        """
        for folder in sorted(self.folder.glob(f"{task}/{method}")):
            for path in (path for _, paths in sorted(_listed(folder).items()) for path in paths):
                try:
                    record = _record(path)
                    yield record, rows_of(path, record) if os.path.lexists(beside(path)) else None
                except (*BROKEN, OSError, EOFError) as error:
                    raise MalformedError(f"{path}: {error}") from None

    def stored(self, record: Record) -> bytes:
        """Give a digest of all rows beside a cell's records, of every device and version."""
        first, digest = self.folder / record.task / record.method / f"{record.run_id}.json", hashlib.sha256()
        numbered = itertools.chain([first], (first.with_suffix(f".{n}.json") for n in itertools.count(1)))
        for path in itertools.takewhile(Path.is_file, numbered):
            digest.update(beside(path).read_bytes() if beside(path).is_file() else b"")
        return digest.digest()

    def _current(self, folder: Path, run_id: str) -> dict[str | None, tuple[Path, Record]]:
        return _newest((path, _read(path)) for path in _listed(folder).get(run_id, []))


def _newest(versions: Iterable[tuple[Path, Record | None]]) -> dict[str | None, tuple[Path, Record]]:
    """Select the first record of each device type."""
    newest: dict[str | None, tuple[Path, Record]] = {}
    for path, record in versions:
        if record:
            newest.setdefault(record.device, (path, record))
    return newest


def _listed(folder: Path) -> dict[str, list[Path]]:
    """List the files of each cell, newest first: no number, then falling."""
    cells: dict[str, list[tuple[float, Path]]] = {}
    for name in os.listdir(folder) if folder.is_dir() else ():
        if match := FILE.fullmatch(name):
            cells.setdefault(match[1], []).append((-int(match[2]) if match[2] else -math.inf, folder / name))
    return {name: [path for _, path in sorted(versions)] for name, versions in cells.items()}


def _read_ahead(paths: Iterable[Path]) -> None:
    """Prefetch files: reading them one by one takes a disk three times as long."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with contextlib.suppress(OSError):  # reading the file will report the error
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # does not wait for a pipe
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)


def _record(path: Path) -> Record:
    """Read the record at a path. Raises BROKEN or OSError for anything else."""
    record = Record.from_json(read_bytes(path))
    name = path.parent.parent.name, path.parent.name, path.name.partition(".")[0]
    if name != (record.task, record.method, record.run_id):
        raise MalformedError(f"it is a copy of {record.task}/{record.method}/{record.run_id}")
    return record


def _read(path: Path) -> Record | None:
    try:
        return _record(path)
    except FileNotFoundError:  # another process has just replaced it
        return None
    except NewerSchemaError as error:  # a valid result, which the user must not delete
        warnings.warn(f"{path} is left out and kept, a newer version wrote it ({error})", stacklevel=2)
        return None
    except (*BROKEN, OSError) as error:
        reason = " ".join(str(error).split())
        warnings.warn(f"{path} is left out, it is no record ({reason}): delete it, then run it again", stacklevel=2)
        return None


def _refuse_newer(path: Path) -> None:
    try:
        _record(path)
    except NewerSchemaError as error:
        raise NewerSchemaError(f"{path}: {error}; or give another results folder") from None
    except FileNotFoundError:
        raise
    except (*BROKEN, OSError):  # _read warns of it
        return


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    free = (path.with_suffix(f".{n}.json") for n in itertools.count(1))
    aside = next(p for p in free if not p.exists() and not beside(p).exists())
    if beside(path).exists():
        _link(beside(path), beside(aside))
    _link(path, aside)
    path.unlink(missing_ok=True)


def _link(old: Path, new: Path) -> None:
    """Link a file to a new name, or rename it on mounts without hard links.

    Raises FileExistsError for a name that is taken.
    """
    try:
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError:
        if new.exists():
            raise FileExistsError(new) from None
        os.rename(old, new)


@contextlib.contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock out other writers; the lock ends with the process, also if that is killed."""
    if os.name != "posix":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network mount without locks: the first link wins
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
