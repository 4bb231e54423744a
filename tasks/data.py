"""Examples from the user's files and from the hub: a column mapping over rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.types import Example, Splits, Unusable
from tasks.common import Data

READERS = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


@dataclass(frozen=True, kw_only=True)
class Files(Data):
    """CSV, TSV, JSON lines or parquet files."""

    train: str
    valid: str
    test: str
    shifts: dict[str, str]  # name -> file of a shifted test
    columns: dict[str, str]  # source and target -> column; a dot reaches into a nested one

    def splits(self) -> Splits:
        """Read every file; a missing file or column is named."""
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        files |= {f"test/{name}": file for name, file in self.shifts.items()}
        return {split: examples(_rows(Path(file)), self.columns, split, file) for split, file in files.items()}


@dataclass(frozen=True, kw_only=True)
class Hub(Data):
    """A data set of the hub that is stored as parquet."""

    id: str
    config: str | None
    revision: str | None  # null follows the newest one, which the record says
    splits_of: dict[str, str]  # train, valid, test -> the data set's own split
    shifts: dict[str, dict[str, Any]]  # name -> {id, config, revision, split, columns} where they differ
    columns: dict[str, str]

    def splits(self) -> Splits:
        """Load every split. Raises Unusable within seconds where the hub cannot be reached."""
        whole = {"id": self.id, "config": self.config, "revision": self.revision, "columns": self.columns}
        wanted = {name: {**whole, "split": split} for name, split in self.splits_of.items()}
        wanted |= {f"test/{name}": {**whole, **shift} for name, shift in self.shifts.items()}
        return {
            name: examples(self._load(part), part["columns"], name, f"{part['id']} ({part['split']})")
            for name, part in wanted.items()
        }

    def _load(self, part: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        import datasets

        try:
            return datasets.load_dataset(part["id"], part["config"], revision=part["revision"], split=part["split"])
        except (OSError, ValueError, RuntimeError) as error:  # unreachable, unknown, gated, or not parquet
            first = str(error).strip().splitlines()[0]
            columns = " ".join(f"data.columns.{role}=COLUMN" for role in self.columns)
            raise Unusable(
                f"the data set {part['id']!r} cannot be had from the hub: {first} - fetch it where there is a network, "
                f"or give files: data=files data.train=F data.valid=F data.test=F {columns}"
            ) from error


def examples(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], split: str, where: str) -> list[Example]:
    """Map rows to examples. Outside of train, rows with the same source are one example with several references."""
    made: dict[str, Example] = {}
    for number, row in enumerate(rows):
        source, target = (_cell(row, columns[role], where) for role in ("source", "target"))
        key = source if split != "train" else str(number)
        known = made.get(key)
        made[key] = known._replace(targets=(*known.targets, target)) if known else Example(
            f"{split}/{number}", source, (target,)
        )  # fmt: skip
    return list(made.values())


def _cell(row: Mapping[str, Any], column: str, where: str) -> str:
    value: Any = row
    for part in [column] if column in row else column.split("."):
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


def _rows(file: Path) -> list[dict[str, Any]]:
    import pandas as pd

    if not file.is_file():
        raise Unusable(f"no file {str(file)!r} (data.train, data.valid, data.test, data.shifts name files)")
    reader = READERS.get(file.suffix.lower())
    try:
        if reader == "json":
            return pd.read_json(file, lines=True, dtype=False, convert_dates=False).to_dict("records")
        if reader == "parquet":
            return pd.read_parquet(file).to_dict("records")
        if reader in ("csv", "tsv"):
            text = pd.read_csv(file, sep="," if reader == "csv" else "\t", dtype=str, keep_default_na=False)
            return text.to_dict("records")
    except (ValueError, UnicodeDecodeError) as error:
        raise Unusable(f"{str(file)!r} cannot be read as {reader}: {error}") from error
    raise Unusable(
        f"{str(file)!r}: cannot read {file.suffix or 'a file without a suffix'}; {', '.join(READERS)} can be"
    )
