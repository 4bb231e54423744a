"""Rows of files and of the hub, whatever they hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmark.backbones.hub import offline, pinned
from benchmark.errors import InputError, near
from tasks.common import Data

SUFFIXES = {".csv": ",", ".tsv": "\t", ".json": "", ".jsonl": "", ".parquet": ""}  # -> what stands between cells
SPLITS = ("train", "valid", "test")
PART = ("id", "config", "revision", "split", "columns")


@dataclass(frozen=True, kw_only=True)
class HubData(Data):
    """A data set of the hub that is stored as parquet; what its rows mean is a subclass's."""

    wanted: ClassVar[tuple[str, ...]]  # roles that need a column, and
    known: ClassVar[tuple[str, ...]]  # all that may have one
    instead: ClassVar[str] = "files of your own: --help lists their layouts under data="

    id: str
    config: str | None
    revision: str | None  # null follows the newest one, which the record says
    splits_of: dict[str, str]  # train, valid, test -> the data set's own split
    shifts: dict[str, dict[str, Any]]  # name -> {id, config, revision, split, columns} where they differ
    columns: dict[str, str]

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", self.wanted, self.known)
        self.check_splits()
        for name, shift in self.shifts.items():
            check(shift, f"data.shifts.{name}", ["split"], PART)
            check(shift.get("columns", self.columns), f"data.shifts.{name}.columns", self.wanted, self.known)

    def check_splits(self) -> None:
        """Refuse splits that are missing or unknown. Raises InputError."""
        check(self.splits_of, "data.splits_of", SPLITS)

    def unpinned(self) -> list[str]:
        return list(dict.fromkeys(part["id"] for part in self.parts().values() if not pinned(part["revision"])))

    def parts(self) -> dict[str, dict[str, Any]]:
        """Say for each split what is to be loaded."""
        whole = {"id": self.id, "config": self.config, "revision": self.revision, "columns": self.columns}
        wanted = {name: {**whole, "split": split} for name, split in self.splits_of.items()}
        for name, shift in self.shifts.items():
            other = {"config": None, "revision": None} if "id" in shift else {}  # not of this set
            wanted[f"test/{name}"] = {**whole, **other, **shift}
        return wanted

    def load(self, part: Mapping[str, Any]) -> Any:
        """Load one split. Raises InputError within seconds where the hub cannot be reached."""
        import datasets

        # a setting, since there is no argument for it: what was fetched before is found, the rest refused at once
        datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE or offline()
        try:
            return datasets.load_dataset(part["id"], part["config"], revision=part["revision"], split=part["split"])
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            # unreachable, unknown, gated, not parquet, or broken off
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(
                f"the data set {part['id']!r} cannot be had from the hub: {first} - fetch it where there is a network, "
                f"or give {self.instead}"
            ) from error

    def encoded(self, part: Mapping[str, Any], feature: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield where each row stands and its cells by role: what is seen or heard stays encoded, a class has its name.

        The first wanted role is of that feature, the second is the label.
        """
        columns, table = part["columns"], self.load(part)
        for column in columns.values():
            if column not in table.column_names:
                raise InputError(f"{part['id']}: no column {column!r}; it has {', '.join(table.column_names)}")
        media, label = self.wanted
        names = getattr(table.features[columns[label]], "names", None)  # classes are stored by number
        for number, row in enumerate(table.cast_column(columns[media], feature)):
            cells = {role: row[column] for role, column in columns.items()}
            yield f"{part['id']} ({part['split']}), row {number}", {**cells, label: class_of(cells[label], names)}


def check(given: Mapping[str, Any], where: str, needed: Collection[str], known: Collection[str] | None = None) -> None:
    """Refuse a key that is missing or that means nothing. Raises InputError."""
    known = needed if known is None else known
    for key in given:
        if key not in known:
            raise InputError(f"{where}.{key}: no such key{near(key, known)}")
    for key in needed:
        if key not in given:
            raise InputError(f"{where}.{key}: required, and not given")


def cell(row: Mapping[str, Any], column: str, where: str) -> Any:
    """Look a column up. Raises InputError, naming the columns that there are."""
    if column not in row:
        raise InputError(f"{where}: no column {column!r}; it has {', '.join(row)} (data.columns maps them)")
    return row[column]


def text(row: Mapping[str, Any], column: str, where: str) -> str:
    """Look a column up as text without blanks around it; nothing is an empty text."""
    value = cell(row, column, where)
    return "" if value is None else str(value).strip()


def class_of(value: Any, names: list[str] | None) -> str | None:
    """Name a class of the hub, which stores it by number and -1 where there is none."""
    if value is None or (names and value < 0):
        return None
    return str(names[value] if names else value)


def rows(name: str) -> list[dict[str, Any]]:
    """Read a file's rows; what cannot be read is named by file and line. Raises InputError."""
    file = Path(name).expanduser()
    if not file.is_file():
        raise InputError(f"no file {str(file)!r} (a setting under data. names it)")
    kind = file.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(
            f"{str(file)!r}: cannot read {kind or 'a file without a suffix'}; {', '.join(SUFFIXES)} can be"
        )
    try:
        if kind == ".parquet":
            from pyarrow.parquet import read_table

            return read_table(file).to_pylist()
        with open(file, encoding="utf-8-sig", newline="") as lines:
            return list(_objects(lines) if kind in (".json", ".jsonl") else _table(lines, SUFFIXES[kind]))
    except (ValueError, csv.Error) as error:
        raise InputError(f"{str(file)!r} cannot be read as {kind[1:]}: {error}") from error


def _table(lines: Iterable[str], delimiter: str) -> Iterator[dict[str, str]]:
    """Read cells as the text that they are: NA, 007 and nothing stay so."""
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    header = next(table, [])
    for cells in table:
        if len(cells) != len(header) and cells:
            raise ValueError(f"line {table.line_num} has {len(cells)} cells, the header has {len(header)}")
        if cells:
            yield dict(zip(header, cells, strict=True))


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: an object wanted, in every line")  # noqa: TRY004 - broken content
        yield row
