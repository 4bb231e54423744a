"""Published set: the records of a comparison in three Parquet files.

about.json            overrides, dates, counts, environments, and the SHA-256 of the other files
records.parquet       a row per record: names, digest, and in `header` its JSON without the measurements
measurements.parquet  a row per measurement; `record` is the row of its record, counted from 0
answers.parquet       a row per test example as JSON; `record` as above
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmark.errors import MalformedError
from benchmark.records.answers import BROKEN, read_bytes
from benchmark.records.record import SCHEMA, Measurement, Record, refuse_newer, strict
from benchmark.records.shape import escaped

ABOUT = "about.json"
RECORDS, MEASUREMENTS, ANSWERS = FILES = ("records.parquet", "measurements.parquet", "answers.parquet")
NAMES = ("task", "method", "backbone", "seed", "run_id", "status", "device", "created")  # of a record, as columns
# A page is compressed as a whole. One large page compresses well, since all runs of a task repeat its targets.
OPTIONS = {"compression": "zstd", "compression_level": 17, "data_page_size": 1 << 30}

Row = dict[str, Any]


class PackedStore:
    """Records of a published set, read-only."""

    read_only = True

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._open: tuple[int, Any] = 0, ()  # row group of answers that was read last: first row, rows

    def append(self, *_: Any, **__: Any) -> Path:
        """Raise PermissionError: a published set does not change."""
        raise PermissionError(f"{self.folder} holds published records: write to another folder")

    def records(self) -> Iterator[Record]:
        """Yield the current record of each cell and device type, sorted by name."""
        yield from self.of("*", "*")

    def of(self, task: str, method: str) -> Iterator[Record]:
        """Yield the current records of one method on one task; "*" matches every name."""
        chosen = (r for r in self._rows if fnmatchcase(r["task"], task) and fnmatchcase(r["method"], method))
        for _, versions in itertools.groupby(chosen, key=_cell):
            newest: dict[str | None, Row] = {}
            for row in versions:
                newest.setdefault(row["device"], row)
            yield from filter(None, map(self._readable, newest.values()))

    def find(self, task: str, method: str, run_id: str, device: str) -> Record | None:
        """Return the current record of a cell on a device type."""
        versions = (row for row in self._rows if _cell(row) == (task, method, run_id) and row["device"] == device)
        return next(filter(None, map(self._readable, versions)), None)

    def examples(self, record: Record) -> list[Row]:
        """Read the rows of a record: each test example with its prediction and target."""
        for row in self._versions(record):
            if row["answers"] is not None and self._readable(row) == record:
                return self._examples(row)
        raise FileNotFoundError(f"{self.folder} holds no answers of record {record.run_id} created {record.created}")

    def stored(self, record: Record) -> bytes:
        """Give a digest of all rows of a cell's records, of every device and version."""
        rows = [(row["start"], row["answers"]) for row in self._versions(record)]
        return hashlib.sha256(f"{self.about['sha256'][ANSWERS]} {rows}".encode()).digest()

    def versions(self) -> Iterator[tuple[Record, list[Row] | None]]:
        """Yield every record, also replaced ones, with its rows, newest first.

        Raises MalformedError where one has another digest than when it was published.
        """
        for row in self._rows:
            record = self._record(row)
            if record.to_parts()[1] != row["digest"]:
                raise MalformedError(f"{self.folder}: the digest of {'/'.join(_cell(row))} is wrong")
            yield record, None if row["answers"] is None else self._examples(row)

    @functools.cached_property
    def about(self) -> dict[str, Any]:
        """Content of about.json."""
        return json.loads(read_bytes(self.folder / ABOUT))

    @property
    def _rows(self) -> list[Row]:
        return self._tables[0]

    def _versions(self, record: Record) -> list[Row]:
        return [row for row in self._rows if _cell(row) == (record.task, record.method, record.run_id)]

    @functools.cached_property
    def _tables(self) -> tuple[list[Row], list[list[Any]]]:
        """Rows of records with their offsets, and the columns of measurements."""
        try:
            refuse_newer(self.about)
            rows = self._file(RECORDS).read().to_pylist()
            columns = _columns(self._file(MEASUREMENTS, read_dictionary=["split", "name"]).read())
            start = 0, 0
            for row in rows:
                row["start"], start = start, (start[0] + row["measurements"], start[1] + (row["answers"] or 0))
        except (OSError, *BROKEN, KeyError) as error:
            reason = " ".join(str(error).split())
            warnings.warn(f"{self.folder} is left out ({reason}): restore the published set", stacklevel=2)
            return [], []
        return rows, columns

    def _file(self, name: str, **options: Any) -> Any:
        """Open a file after checking its digest. Raises MalformedError."""
        import pyarrow as pa  # importing takes longer than reading a small set
        import pyarrow.parquet as pq

        content = read_bytes(self.folder / name)
        if hashlib.sha256(content).hexdigest() != self.about["sha256"][name]:
            raise MalformedError(f"{name} is not the published file: it was edited or damaged")
        return pq.ParquetFile(pa.BufferReader(content), **options)

    def _readable(self, row: Row) -> Record | None:
        """Read a record; None, with a warning, for one that is none."""
        try:
            return self._record(row)
        except BROKEN as error:
            reason = " ".join(str(error).split())
            warnings.warn(
                f"{self.folder}: {'/'.join(_cell(row))} is left out, it is no record ({reason})", stacklevel=2
            )
            return None

    def _record(self, row: Row) -> Record:
        columns, first = self._tables[1], row["start"][0]
        parts = (column[first : first + row["measurements"]] for column in columns)
        new = tuple.__new__  # as Measurement(...), in half the time
        record = Record.from_parts(row["header"], tuple([new(Measurement, m) for m in zip(*parts, strict=True)]))
        if _cell(row) != (record.task, record.method, record.run_id):
            raise MalformedError(f"{self.folder}: {'/'.join(_cell(row))} holds another record")
        return record

    def _examples(self, row: Row) -> list[Row]:
        first, count = row["start"][1], row["answers"]
        start, column = self._open
        if count and not start <= first < start + len(column):  # answers of a task lie in one row group
            start, column = self._open = self._group(first)
        texts = column[first - start : first - start + count].to_pylist() if count else []
        return json.loads(f"[{','.join(texts)}]")

    @functools.cached_property
    def _answers(self) -> Any:
        try:
            return self._file(ANSWERS)
        except MalformedError as error:  # callers go on without answers, so the user must be warned here
            warnings.warn(f"{self.folder}: answers are left out ({error})", stacklevel=2)
            raise

    def _group(self, row: int) -> tuple[int, Any]:
        """Read the row group of answers with a row; give its first row, its rows."""
        sizes = [self._answers.metadata.row_group(n).num_rows for n in range(self._answers.num_row_groups)]
        starts = list(itertools.accumulate(sizes, initial=0))
        number = next(n for n, start in enumerate(starts[1:]) if row < start)
        return starts[number], self._answers.read_row_group(number, ["answer"])["answer"].combine_chunks()


def _columns(table: Any) -> list[list[Any]]:
    """Give the fields of Measurement as lists, in which equal texts are one object."""
    columns = [table[name].combine_chunks() for name in Measurement._fields]
    texts = [[sys.intern(text) for text in column.dictionary.to_pylist()] for column in columns[:2]]
    codes = (column.indices.to_pylist() for column in columns[:2])  # to_numpy would import pandas
    names = [[known[code] for code in column] for known, column in zip(texts, codes, strict=True)]
    return [*names, *(column.to_pylist() for column in columns[2:])]


def _cell(row: Row) -> tuple[str, str, str]:
    return row["task"], row["method"], row["run_id"]


def pack(folder: Path, versions: Iterable[tuple[Record, list[Row] | None]], about: dict[str, Any]) -> None:
    """Write records, sorted by task, the newest of a cell first, as a set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.int32()
    rows: list[Row] = []
    measured: list[tuple] = []
    schema = pa.schema([("record", number), ("answer", text)])
    with pq.ParquetWriter(folder / ANSWERS, schema, use_dictionary=["record"], **OPTIONS) as answers:
        for _, members in itertools.groupby(versions, key=lambda version: version[0].task):
            written: list[tuple[int, str]] = []
            for record, examples in members:
                written += [(len(rows), escaped(strict(row))) for row in examples or ()]
                measured += [(len(rows), *m) for m in record.measurements]
                rows.append(_row(record, examples))
            if written:
                answers.write_table(_table(schema, written), row_group_size=len(written))
    types = {**dict.fromkeys(NAMES, text), "seed": pa.int64(), "digest": text, "header": text}
    types |= {"measurements": number, "answers": number}
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(types.items()))), folder / RECORDS, **OPTIONS)
    schema = pa.schema([("record", number), ("split", text), ("name", text), ("value", pa.float64()), ("step", number)])
    pq.write_table(_table(schema, measured), folder / MEASUREMENTS, **OPTIONS)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    content = json.dumps(about | {"schema": SCHEMA, "sha256": digests}, indent=1, ensure_ascii=False)
    (folder / ABOUT).write_text(content + "\n", encoding="utf-8", errors="backslashreplace")


def _row(record: Record, examples: list[Row] | None) -> Row:
    header, digest = record.to_parts()
    counts = {"measurements": len(record.measurements), "answers": None if examples is None else len(examples)}
    return {name: getattr(record, name) for name in NAMES} | {"header": escaped(header), "digest": digest} | counts


def _table(schema: Any, rows: list[tuple]) -> Any:
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
