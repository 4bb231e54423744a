"""Texts from the user's files and from the hub: a column mapping over rows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmark.errors import InputError
from benchmark.types import Splits
from tasks.common import Data
from tasks.hub_data import HubData
from tasks.splits import check_apart, check_shares, complete
from tasks.tables import check, rows, table_files
from tasks.text_rows import Table, learn_each, merge_equal

ROLES = ("source", "target")


@dataclass(frozen=True, kw_only=True)
class Texts(Data):
    """Rows of texts, of which those with an equal source may be one example."""

    merge: bool  # outside of train, rows with the same source are one example with several references

    def splits(self) -> Splits:
        """Read every split. Raises InputError."""
        return self.merged(self.unmerged())

    def merged(self, splits: Splits) -> Splits:
        """Merge rows of one source where that is wanted; in train each reference is an example."""
        return {
            name: learn_each(part, self.reading)
            if name == "train"
            else (merge_equal(name, part, self.reading) if self.merge else part)
            for name, part in splits.items()
        }


@dataclass(frozen=True, kw_only=True)
class Files(Texts):
    """CSV, TSV, JSON or parquet files, or parallel texts."""

    train: str
    valid: str | None  # null: drawn from train
    test: str | None
    shifts: dict[str, str]  # name -> file of a shifted test
    columns: dict[str, str | None]  # source, target, group -> column; a nested one by dots
    shares: dict[str, float]  # split without a file -> its share of train

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", ROLES, (*ROLES, "group"))
        check_shares(self._given(), self.shares)

    def unmerged(self) -> Splits:
        """Read every file. Raises InputError for a missing file or column."""
        given = self._given()
        check_apart(given, self.reading)
        table = Table(self.columns, self.reading)
        splits = {name: table.examples(rows(file, self._sides()), name, file) for name, file in given.items()}
        return complete(splits, self.shares, self.reading)

    def local(self) -> dict[str, Path]:
        paths = {}
        for name, file in self._given().items():
            with suppress(InputError):  # raised again when the data is read
                paths |= {f"{name} {number}": path for number, path in enumerate(table_files(file, self._sides()))}
        return paths

    def _given(self) -> dict[str, str]:
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        files |= {f"test/{name}": file for name, file in self.shifts.items()}
        return {name: file for name, file in files.items() if file}

    def _sides(self) -> list[str]:
        return [str(self.columns[role]) for role in ROLES]


@dataclass(frozen=True, kw_only=True)
class Hub(Texts, HubData):
    """Data set of the hub with a source and a target."""

    wanted: ClassVar[tuple[str, ...]] = ROLES
    known: ClassVar[tuple[str, ...]] = ROLES
    instead: ClassVar[str] = (
        "files: data=files data.train=F data.valid=F data.test=F data.columns.source=COLUMN data.columns.target=COLUMN"
    )

    def unmerged(self) -> Splits:
        """Load every split. Raises InputError, within seconds if there is no network."""
        splits = {
            name: Table(part["columns"], self.reading).examples(
                self.load(part), name, f"{part['id']} ({part['split']})"
            )
            for name, part in self.parts().items()
        }
        return complete(splits, self.shares, self.reading)
