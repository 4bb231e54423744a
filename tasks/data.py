"""Examples from the user's files and from the hub: a column mapping over rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.hub import offline, pinned
from benchmark.types import Example, Splits, Unusable
from benchmark.wording import near
from tasks.common import Data

SUFFIXES = {".csv": ",", ".tsv": "\t", ".json": "", ".jsonl": "", ".parquet": ""}  # -> what stands between cells
ROLES = ("source", "target")
SPLITS = ("train", "valid", "test")
PART = ("id", "config", "revision", "split", "columns")


@dataclass(frozen=True, kw_only=True)
class Files(Data):
    """CSV, TSV, JSON lines or parquet files."""

    train: str
    valid: str
    test: str
    shifts: dict[str, str]  # name -> file of a shifted test
    columns: dict[str, str]  # source and target -> column; a dot reaches into a nested one

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", ROLES)

    def splits(self) -> Splits:
        """Read every file; a missing file or column is named."""
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        files |= {f"test/{name}": file for name, file in self.shifts.items()}
        return {split: examples(_rows(file), self.columns, split, file) for split, file in files.items()}


@dataclass(frozen=True, kw_only=True)
class Hub(Data):
    """A data set of the hub that is stored as parquet."""

    id: str
    config: str | None
    revision: str | None  # null follows the newest one, which the record says
    splits_of: dict[str, str]  # train, valid, test -> the data set's own split
    shifts: dict[str, dict[str, Any]]  # name -> {id, config, revision, split, columns} where they differ
    columns: dict[str, str]

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", ROLES)
        check(self.splits_of, "data.splits_of", SPLITS)
        for name, shift in self.shifts.items():
            check(shift, f"data.shifts.{name}", ["split"], PART)
            check(shift.get("columns", self.columns), f"data.shifts.{name}.columns", ROLES)

    def splits(self) -> Splits:
        """Load every split. Raises Unusable within seconds where the hub cannot be reached."""
        return {
            name: examples(self._load(part), part["columns"], name, f"{part['id']} ({part['split']})")
            for name, part in self._wanted().items()
        }

    def unpinned(self) -> list[str]:
        return list(dict.fromkeys(part["id"] for part in self._wanted().values() if not pinned(part["revision"])))

    def _wanted(self) -> dict[str, dict[str, Any]]:
        whole = {"id": self.id, "config": self.config, "revision": self.revision, "columns": self.columns}
        wanted = {name: {**whole, "split": split} for name, split in self.splits_of.items()}
        for name, shift in self.shifts.items():
            other = {"config": None, "revision": None} if "id" in shift else {}  # not of this set
            wanted[f"test/{name}"] = {**whole, **other, **shift}
        return wanted

    def _load(self, part: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        import datasets

        # a setting, since there is no argument for it: what was fetched before is found, the rest refused at once
        datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE or offline()
        try:
            return datasets.load_dataset(part["id"], part["config"], revision=part["revision"], split=part["split"])
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            # unreachable, unknown, gated, not parquet, or broken off
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            columns = " ".join(f"data.columns.{role}=COLUMN" for role in ROLES)
            raise Unusable(
                f"the data set {part['id']!r} cannot be had from the hub: {first} - fetch it where there is a network, "
                f"or give files: data=files data.train=F data.valid=F data.test=F {columns}"
            ) from error


def check(given: Mapping[str, Any], where: str, needed: Collection[str], known: Collection[str] | None = None) -> None:
    """Refuse a key that is missing or that means nothing. Raises Unusable."""
    known = needed if known is None else known
    for key in given:
        if key not in known:
            raise Unusable(f"{where}.{key}: no such key{near(key, known)}")
    for key in needed:
        if key not in given:
            raise Unusable(f"{where}.{key}: required, and not given")


def examples(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], split: str, where: str) -> list[Example]:
    """Map rows to examples. Outside of train, rows with the same source are one example with several references."""
    made: dict[str, Example] = {}
    for number, row in enumerate(rows):
        source, target = (_cell(row, columns[role], where) for role in ROLES)
        key = source if split != "train" else str(number)
        known = made.get(key)
        made[key] = known._replace(targets=(*known.targets, target)) if known else Example(
            f"{split}/{number}", source, (target,)
        )  # fmt: skip
    return list(made.values())


def _cell(row: Mapping[str, Any], column: str, where: str) -> str:
    value: Any = row
    for part in [column] if column in row else column.split("."):
        if value is None:  # a nested column that this row leaves out
            return ""
        if not isinstance(value, Mapping) or part not in value:
            raise Unusable(f"{where}: no column {column!r}; it has {', '.join(_columns(row))} (data.columns maps them)")
        value = value[part]
    return "" if value is None else str(value)


def _columns(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _columns(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _rows(name: str) -> list[dict[str, Any]]:
    file = Path(name).expanduser()
    if not file.is_file():
        raise Unusable(f"no file {str(file)!r} (data.train, data.valid, data.test, data.shifts name files)")
    kind = file.suffix.lower()
    if kind not in SUFFIXES:
        raise Unusable(f"{str(file)!r}: cannot read {kind or 'a file without a suffix'}; {', '.join(SUFFIXES)} can be")
    try:
        if kind == ".parquet":
            from pyarrow.parquet import read_table

            return read_table(file).to_pylist()
        with open(file, encoding="utf-8-sig", newline="") as lines:
            return list(_objects(lines) if kind in (".json", ".jsonl") else _table(lines, SUFFIXES[kind]))
    except (ValueError, csv.Error) as error:
        raise Unusable(f"{str(file)!r} cannot be read as {kind[1:]}: {error}") from error


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
