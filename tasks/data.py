"""Texts from the user's files and from the hub: a column mapping over rows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import InputError, near
from benchmark.types import Splits
from tasks.choices import RIGHT, Asked, ChoiceTable
from tasks.common import Data
from tasks.hub_data import HubData
from tasks.splits import check_apart, check_shares, complete
from tasks.tables import check, rows, table_files
from tasks.text_rows import Table, learn_each, merge_equal

ROLES = ("source", "target")
OF_LABELS = ("partner", "separator")  # the second text of a pair; what stands between several labels


@dataclass(frozen=True, kw_only=True)
class Texts(Data):
    """Rows of texts, of which those with an equal source may be one example."""

    labelled: ClassVar[bool] = False  # of a view: with_labels()

    merge: bool  # outside of train, rows with the same source are one example with several references

    def table(self, columns: Mapping[str, str | None]) -> Table:
        """Map rows of these columns to examples."""
        return Table(columns, self.reading, self.labelled)

    def splits(self) -> Splits:
        """Read every split. Raises InputError."""
        return self.merged(self.unmerged())

    def merged(self, splits: Splits) -> Splits:
        """Merge rows of one source where that is wanted; in train each reference is an example."""
        if self.labelled:
            return splits
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
        check(self.columns, "data.columns", ROLES, (*ROLES, "group", *OF_LABELS))
        check_shares(self._given(), self.shares)

    def unmerged(self) -> Splits:
        """Read every file. Raises InputError for a missing file or column."""
        given = self._given()
        check_apart(given, self.reading)
        table = self.table(self.columns)
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
    known: ClassVar[tuple[str, ...]] = (*ROLES, *OF_LABELS)
    instead: ClassVar[str] = (
        "files: data=files data.train=F data.valid=F data.test=F data.columns.source=COLUMN data.columns.target=COLUMN"
    )

    def unmerged(self) -> Splits:
        """Load every split. Raises InputError, within seconds if there is no network."""
        splits = {
            name: self.table(part["columns"]).examples(self.load(part), name, f"{part['id']} ({part['split']})")
            for name, part in self.parts().items()
        }
        return complete(splits, self.shares, self.reading)


@dataclass(frozen=True, kw_only=True)
class Choices(Texts):
    """Rows of questions with choices; `columns.target` names the right one."""

    choices: list[str]  # the column that holds lists, or a column per choice
    fixed: list[str]  # choices of every row, in place of columns
    listed_after: str | None  # text of the source after which it names its choices: yes/no
    right: str  # how the target names the right choice: text, letter, index (from 0), number (from 1), label
    labels: str | None  # column with a list of the choices' labels

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.right not in RIGHT:
            raise InputError(f"data.right: no way {self.right!r} to name a choice{near(self.right, RIGHT)}")
        if (self.right == "label") != bool(self.labels):
            raise InputError(f"data.labels: {self.labels} given with data.right={self.right}: label needs them, alone")
        if bool(self.fixed) + bool(self.listed_after) + bool(self.choices) != 1:
            raise InputError("data: one of choices (columns), fixed and listed_after is wanted; empty the others")

    def table(self, columns: Mapping[str, str | None]) -> ChoiceTable:
        names = ("fixed", "listed_after", "right", "labels")
        options = {name: getattr(self, name) for name in names}
        return ChoiceTable(columns, self.reading, columns_of_choices=self.choices, **options)

    def ask(self, row: Mapping[str, Any], question: str) -> Asked:
        """Join a question and the choices that a row has. Raises ValueError."""
        return self.table(self.columns).ask(row, question, "input")


@dataclass(frozen=True, kw_only=True)
class ChoiceFiles(Choices, Files):
    """Files of questions with choices."""


@dataclass(frozen=True, kw_only=True)
class ChoiceHub(Choices, Hub):
    """Data set of the hub of questions with choices."""

    instead: ClassVar[str] = "files: data=choices data.train=F data.test=F data.choices=[COLUMN] data.right=index"
