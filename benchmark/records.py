"""What a run leaves behind: measurements, the record that holds them, and the folder of records."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import itertools
import json
import math
import os
import re
import secrets
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from benchmark.identity import choices, content_hash, fingerprinted, run_id

if os.name == "posix":
    import fcntl

__all__ = ["Measurement", "Record", "Store", "choices", "content_hash", "fingerprinted", "run_id", "thin"]

Point = TypeVar("Point")

SCHEMA = 1
SEEDS = ("seed", "seed_sample", "seed_init", "seed_order")  # in which runs that are averaged may differ
PHASES = ("load", "attach", "calibrate", "train", "evaluate", "predict")
UNTRAINED = "untrained: no look at valid had a lower loss than the one before the first step"
MARK = "‡"  # of the score of an untrained record
STATUSES = ("done", "skipped", "failed")
EXAMPLES = ".examples.jsonl.gz"
FILE = re.compile(r"([^.]+)(?:\.(\d+))?\.json")  # run_id, and the number of one that was replaced


class Measurement(NamedTuple):
    """One number; split is train, valid, test, test/<shift> or cost, step is none for the final value."""

    split: str
    name: str
    value: float
    step: int | None = None


KINDS: dict[type, tuple[str, ...]] = {  # of the fields that a file may hold anything in
    str: ("run_id", "task", "method", "backbone", "status", "created"),
    int: ("schema", "seed"),
    dict: ("config", "data", "signatures", "environment"),
    list: ("modules",),
}
NOUNS = ("task", "method", "backbone", "budget")  # what a configuration composes
BROKEN = (ValueError, TypeError, OverflowError, RecursionError)  # what reading something else can end in


class Newer(ValueError):
    """A record of a schema that this version does not know."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything known about one run; the fields, in this order, are the public keys of its file."""

    schema: int = SCHEMA
    run_id: str
    task: str
    method: str
    backbone: str
    seed: int
    status: str
    reason: str | None = None
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    config: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is not {SCHEMA}: read it with the version that wrote it")
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")
        # JSON has no NaN; a number that was not reached is absent rather than spelled in some private way.
        known = [m for m in self.measurements if math.isfinite(m.value)]
        known = [m if type(m.value) is float else m._replace(value=float(m.value)) for m in known]
        object.__setattr__(self, "measurements", tuple(known))

    @property
    def device(self) -> str | None:
        """The device type it ran on: runs on different types stand side by side."""
        return self.environment.get("device")

    @property
    def busy(self) -> bool:
        """Whether others were at work on its machine: as it was told, or where it met more to do than cores."""
        load, cores = (self.environment.get(name) for name in ("load_average", "cores"))
        return bool(self.environment.get("shared") or (load and cores and load > cores))

    @property
    def untrained(self) -> bool:
        """Whether something was to be trained, and the state that was kept is the one before the first step."""
        return self.value("valid", "selected_step") == 0 and bool(self.value("cost", "trainable_params"))

    def headline(self, split: str = "test") -> str | None:
        """Name the score that stands for a split."""
        return self.data.get("headlines", {}).get(split, self.data.get("metric"))

    def value(self, split: str, name: str) -> float | None:
        """Return the final value of a measurement, or None where there is none."""
        return self.finals.get((split, name))

    @functools.cached_property
    def finals(self) -> dict[tuple[str, str], float]:
        """The measurements without a step, by split and name."""
        return {m[:2]: m.value for m in self.measurements if m.step is None}

    @functools.cached_property
    def choices(self) -> dict[str, Any]:
        """What makes it the cell that it is."""
        return choices(self.config)

    def seconds(self) -> float:
        """Add up what its phases took."""
        return sum(self.value("cost", f"{phase}_seconds") or 0.0 for phase in PHASES)

    def _check(self) -> None:
        """Refuse fields of another kind: what reads records may rely on these."""
        wrong = [f for kind, names in KINDS.items() for f in names if not isinstance(getattr(self, f), kind)]
        wrong += [f"config.{n}" for n in NOUNS if not wrong and not isinstance(self.config.get(n), dict | None)]
        wrong += ["a step"] * (not {type(m.step) for m in self.measurements} <= {int, type(None)})
        if wrong:
            raise ValueError(f"{wrong[0]} is of another kind than a record has")

    def to_json(self) -> str:
        """Write one key, and one measurement, per line: easy to read in a diff. The digest of all that is the last."""
        lines = self._lines()
        return "{\n" + ",\n".join([*lines, f'"digest": "{_digest(lines)}"']) + "\n}\n"

    def _lines(self) -> list[str]:
        rows = ",\n  ".join(_strict(m._asdict()) for m in self.measurements)
        lines = [f'"{f.name}": {_strict(getattr(self, f.name))}' for f in fields(self)[:-1]]
        return [*lines, f'"measurements": [\n  {rows}]']

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read what to_json wrote. Raises ValueError for anything else, Newer for a schema that is not known yet."""
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("holds no object")  # noqa: TRY004 - broken content, as any other
        if isinstance(content.get("schema"), int) and content["schema"] > SCHEMA:
            raise Newer(f"schema {content['schema']} is newer than {SCHEMA}: read it with the version that wrote it")
        digest = content.pop("digest", None)  # the first records had none
        record = cls(**content | {"measurements": _measurements(content.get("measurements", ()))})
        record._check()
        # Asked of what stands there first: to write a record again takes longer than to read it.
        if digest is not None and digest != _digest_of(text) and digest != _digest(record._lines()):
            raise ValueError("its content is not what a run wrote: it was edited or damaged")
        return record


def _measurements(rows: Sequence[dict[str, Any]]) -> tuple[Measurement, ...]:
    """Make measurements; ten million of them share their few names."""
    made, intern = tuple.__new__, sys.intern  # as Measurement(...), in half the time
    try:
        return tuple([
            made(Measurement, (intern(row["split"]), intern(row["name"]), row["value"], row.get("step")))
            for row in rows
        ])  # fmt: skip
    except KeyError as error:
        raise ValueError(f"a measurement has no {error}") from None


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _digest_of(text: str | bytes) -> str | None:
    """Compute the digest from what to_json wrote, as it stands; None for what looks otherwise."""
    written = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    lines, _, rest = written.rpartition(b',\n"digest": "')
    if not lines.startswith(b"{\n") or not rest.endswith(b'"\n}\n'):
        return None
    # no text holds a bare line end, and within the measurements a line begins with blanks
    return hashlib.sha256(lines[2:].replace(b',\n"', b'\n"')).hexdigest()[:16]


def _strict(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """Put null for a number that JSON lacks: an answer gone wrong must not cost the whole record."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def thin(points: Sequence[Point], most: int = 100) -> list[Point]:
    """Keep at most so many points of a curve, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


class Store:
    """A folder of records, <task>/<method>/<run_id>.json, to which one only adds."""

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self.read_only = read_only

    def append(self, record: Record, examples: Iterable[dict[str, Any]] | None, replace: bool = False) -> Path:
        """Write a record unless this device type has one; what it replaces is kept under a number."""
        if self.read_only:
            raise PermissionError(f"{self.folder} holds published records: write to another folder, publish by moving")
        folder = self.folder / record.task / record.method
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{record.run_id}.json"
        with contextlib.ExitStack() as stack:
            new = stack.enter_context(_temporary(path, record.to_json().encode("utf-8", "surrogatepass")))
            rows = None if examples is None else stack.enter_context(_temporary(_beside(path), _pack(examples)))
            stack.enter_context(_locked(folder))
            existing = self._current(folder, record.run_id).get(record.device)
            if existing and not replace:
                return existing[0]
            _set_aside(path)
            # The examples come first: what is killed in between leaves rows without a record, never the reverse.
            if rows is None:
                _beside(path).unlink(missing_ok=True)
            else:
                os.replace(rows, _beside(path))
            with contextlib.suppress(FileExistsError):  # only where locks do not work: the first one stays
                _link(new, path)
        return path

    def find(self, task: str, method: str, run_id: str, device: str) -> Record | None:
        """Return the current record of a cell on a device type. Raises Newer: what a later version wrote stays."""
        place = self.folder / task / method / f"{run_id}.json"
        with contextlib.suppress(FileNotFoundError):
            _refuse_newer(place)
        found = self._current(self.folder / task / method, run_id).get(device)
        return found[1] if found else None

    def records(self) -> Iterator[Record]:
        """Yield every current record, one per cell and device type, sorted by path."""
        yield from self.of("*", "*")

    def of(self, task: str, method: str) -> Iterator[Record]:
        """Yield the current records of one method on one task, likewise."""
        for folder in sorted(self.folder.glob(f"{task}/{method}")):
            listed = _listed(folder)
            _read_ahead(path for paths in listed.values() for path in paths)
            for name, paths in sorted(listed.items()):
                records = [_read(path) for path in paths]
                # one that was set aside meanwhile has another name now
                again = any(r is None and not p.exists() for r, p in zip(records, paths, strict=True))
                found = self._current(folder, name) if again else _newest(zip(paths, records, strict=True))
                yield from (record for _, record in found.values())

    def examples(self, record: Record) -> list[dict[str, Any]]:
        """Read the rows beside a record: each test example with its prediction and target."""
        folder = self.folder / record.task / record.method
        for path in _listed(folder).get(record.run_id, []):
            if _read(path) == record:
                with gzip.open(_beside(path), "rb") as rows:
                    return [json.loads(row) for row in rows]
        raise FileNotFoundError(f"{folder} holds no record {record.run_id} created {record.created}")

    def stored(self, record: Record) -> bytes:
        """Give a digest of all rows that lie beside a cell's records, of every device and number."""
        first, found = self.folder / record.task / record.method / f"{record.run_id}.json", hashlib.sha256()
        numbered = itertools.chain([first], (first.with_suffix(f".{n}.json") for n in itertools.count(1)))
        for path in itertools.takewhile(Path.is_file, numbered):
            found.update(_beside(path).read_bytes() if _beside(path).is_file() else b"")
        return found.digest()

    def _current(self, folder: Path, run_id: str) -> dict[str | None, tuple[Path, Record]]:
        return _newest((path, _read(path)) for path in _listed(folder).get(run_id, []))


def _newest(versions: Iterable[tuple[Path, Record | None]]) -> dict[str | None, tuple[Path, Record]]:
    """Keep the first record of each device type."""
    found: dict[str | None, tuple[Path, Record]] = {}
    for path, record in versions:
        if record:
            found.setdefault(record.device, (path, record))
    return found


def _listed(folder: Path) -> dict[str, list[Path]]:
    """List the files of each cell, newest first: the one without a number, then from the highest number down."""
    cells: dict[str, list[tuple[float, Path]]] = {}
    for name in os.listdir(folder) if folder.is_dir() else ():
        if match := FILE.fullmatch(name):
            cells.setdefault(match[1], []).append((-int(match[2]) if match[2] else -math.inf, folder / name))
    return {name: [path for _, path in sorted(found)] for name, found in cells.items()}


def _read_ahead(paths: Iterable[Path]) -> None:
    """Ask for files that are about to be read, all at once: one by one a disk takes three times as long."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with contextlib.suppress(OSError):  # gone meanwhile, or no disk: reading will tell
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)


def _read(path: Path) -> Record | None:
    try:
        return Record.from_json(path.read_bytes())
    except FileNotFoundError:  # another process has just set it aside
        return None
    except Newer as error:  # as good a result as any: nobody is to be told to delete it
        warnings.warn(f"{path} is left out and kept, a newer version wrote it ({error})", stacklevel=2)
        return None
    except BROKEN as error:
        warnings.warn(f"{path} is left out, it is no record ({error}): delete it, then run it again", stacklevel=2)
        return None


def _refuse_newer(path: Path) -> None:
    try:
        Record.from_json(path.read_bytes())
    except Newer as error:
        raise Newer(f"{path}: {error}; or give another results folder") from None
    except BROKEN:  # said by whoever reads it
        return


def _beside(path: Path) -> Path:
    return path.with_suffix(EXAMPLES)


def _pack(examples: Iterable[dict[str, Any]]) -> bytes:
    lines = "".join(_strict(_finite(row)) + "\n" for row in examples)
    return gzip.compress(lines.encode("utf-8", "surrogatepass"), mtime=0)  # no time: same rows, same bytes


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    free = (path.with_suffix(f".{n}.json") for n in itertools.count(1))
    aside = next(p for p in free if not p.exists() and not _beside(p).exists())
    if _beside(path).exists():
        _link(_beside(path), _beside(aside))
    _link(path, aside)
    path.unlink(missing_ok=True)


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, never one that is taken; without hard links (some mounts), its only name."""
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
    """Hold off other writers; the lock goes with the process, so a killed one leaves nothing behind."""
    if os.name != "posix":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network mount without locks: linking still decides who was first
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
