"""Texts from the user's files and from the hub: a column mapping over rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Example, Splits
from tasks.common import Data, Reading
from tasks.hub_data import HubData
from tasks.splits import check_apart, check_shares, completed
from tasks.tables import cell, check, rows, table_files, text

ROLES = ("source", "target")
FIELD = re.compile(r"\{([^{}\n\"']+)\}")  # a column within a template


@dataclass(frozen=True, kw_only=True)
class Files(Data):
    """CSV, TSV, JSON or parquet files, or parallel texts."""

    train: str
    valid: str | None  # null: drawn from train
    test: str | None
    shifts: dict[str, str]  # name -> file of a shifted test
    columns: dict[str, str | None]  # source, target, group -> column; a dot reaches into a nested one
    shares: dict[str, float]  # split without a file -> its share of train
    merge: bool  # outside of train, rows with the same source are one example with several references

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", ROLES, (*ROLES, "group"))
        check_shares(self._given(), self.shares)

    def splits(self) -> Splits:
        """Read every file; a missing file or column is named."""
        given = self._given()
        check_apart(given, self.reading)
        table = Table(self.columns, self.reading)
        splits = {name: table.examples(rows(file, self._sides()), name, file) for name, file in given.items()}
        whole = completed(splits, self.shares, self.reading)
        return {name: merged(name, part, self.reading) if self.merge else part for name, part in whole.items()}

    def local(self) -> dict[str, Path]:
        found = {}
        for name, file in self._given().items():
            with suppress(InputError):  # told when the data is read
                found |= {f"{name} {number}": path for number, path in enumerate(table_files(file, self._sides()))}
        return found

    def _given(self) -> dict[str, str]:
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        files |= {f"test/{name}": file for name, file in self.shifts.items()}
        return {name: file for name, file in files.items() if file}

    def _sides(self) -> list[str]:
        return [str(self.columns[role]) for role in ROLES]


@dataclass(frozen=True, kw_only=True)
class Hub(HubData):
    """A data set of the hub with a source and a target."""

    wanted: ClassVar[tuple[str, ...]] = ROLES
    known: ClassVar[tuple[str, ...]] = ROLES
    instead: ClassVar[str] = (
        "files: data=files data.train=F data.valid=F data.test=F data.columns.source=COLUMN data.columns.target=COLUMN"
    )

    merge: bool  # outside of train, rows with the same source are one example with several references

    def splits(self) -> Splits:
        """Load every split. Raises InputError within seconds where the hub cannot be reached."""
        splits = {
            name: Table(part["columns"], self.reading).examples(
                self.load(part), name, f"{part['id']} ({part['split']})"
            )
            for name, part in self.parts().items()
        }
        return {name: merged(name, part, self.reading) if self.merge else part for name, part in splits.items()}


def templated(data: Any, template: str) -> Any:
    """Let the source of every split be a template of columns; {source} in it is the column of the source."""

    def source(columns: Mapping[str, str]) -> dict[str, str]:
        own = f"{{{columns['source']}}}"
        return {**columns, "source": FIELD.sub(lambda found: own if found[1] == "source" else found[0], template)}

    shifts = {
        name: {**shift, "columns": source(shift["columns"])}
        if isinstance(shift, Mapping) and "columns" in shift
        else shift
        for name, shift in data.shifts.items()
    }
    return replace(data, columns=source(data.columns), shifts=shifts)


@dataclass(frozen=True)
class Table:
    """How rows become examples."""

    columns: Mapping[str, str | None]  # a source may be a template of several columns
    reading: Reading

    def examples(self, table: Iterable[Mapping[str, Any]], split: str, where: str) -> list[Example]:
        """Map each row to an example; a list of texts is several references."""
        return [self._example(row, split, where, number) for number, row in enumerate(table)]

    def _example(self, row: Mapping[str, Any], split: str, where: str, number: int) -> Example:
        source, column = self._source(row, where, number + 1), str(self.columns["target"])
        target = cell(row, column, where)
        many = target if isinstance(target, list | tuple) else [target]
        targets = tuple(text({column: one}, column, where, number + 1) for one in many) or ("",)
        if split == "train":
            self.reading.count(split, "further_references_that_are_not_learnt", len(targets) - 1)
        group = text(row, self.columns["group"], where, number + 1) if self.columns.get("group") else None
        return Example(f"{split}/{number}", source, targets, group or None)

    def _source(self, row: Mapping[str, Any], where: str, number: int) -> str:
        column = str(self.columns["source"])
        if column in row or not FIELD.search(column):
            return text(row, column, where, number)
        return FIELD.sub(lambda found: text(row, found[1], where, number), column)


def merged(split: str, examples: Sequence[Example], reading: Reading) -> list[Example]:
    """Make one example of those with the same source, outside of train; empty sources are not the same."""
    if split == "train":
        return [*examples]
    made: dict[str, Example] = {}
    for example in examples:
        key = example.source or example.id
        known = made.get(key)
        made[key] = known._replace(targets=(*known.targets, *example.targets)) if known else example
    reading.count(split, "rows_merged_into_those_of_an_equal_source", len(examples) - len(made))
    return [*made.values()]
