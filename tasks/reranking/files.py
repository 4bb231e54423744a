"""Tables of queries with their candidates."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.types import Splits
from tasks.common import Data
from tasks.reranking.rows import read_queries
from tasks.splits import check_apart, check_shares, complete
from tasks.tables import check, rows, table_files

ROLES = ("query", "candidates", "relevance", "positive", "negative")


@dataclass(frozen=True, kw_only=True)
class Files(Data):
    """JSON, parquet, CSV or TSV: a query per row with lists, or a query and one candidate."""

    train: str
    valid: str | None  # null: drawn from train
    test: str | None
    shifts: dict[str, str]  # name -> file of a shifted test
    columns: dict[str, str | None]  # ROLES and group -> column; a nested one by dots
    retrieved: bool  # candidates stand in the order of a retriever, which is a reference
    shares: dict[str, float]  # split without a file -> its share of train

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", ROLES, (*ROLES, "group"))
        check_shares(self._given(), self.shares)

    def splits(self) -> Splits:
        """Read every file. Raises InputError for a missing file or column."""
        given = self._given()
        check_apart(given, self.reading)
        splits = {
            name: read_queries(rows(file), self.columns, self.retrieved, (name, file), self.reading)
            for name, file in given.items()
        }
        return complete(splits, self.shares, self.reading, unit=lambda e: e.group or e.id)

    def local(self) -> dict[str, Path]:
        paths = {}
        for name, file in self._given().items():
            with suppress(InputError):  # raised again when the data is read
                paths |= {f"{name} {number}": path for number, path in enumerate(table_files(file))}
        return paths

    def _given(self) -> dict[str, str]:
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        files |= {f"test/{name}": file for name, file in self.shifts.items()}
        return {name: file for name, file in files.items() if file}
