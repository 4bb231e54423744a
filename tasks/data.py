"""Texts from the user's files and from the hub: a column mapping over rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Example, Splits
from tasks.common import Data
from tasks.tables import HubData, check, rows

ROLES = ("source", "target")


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
        return {split: examples(rows(file), self.columns, split, file) for split, file in files.items()}


@dataclass(frozen=True, kw_only=True)
class Hub(HubData):
    """A data set of the hub with a source and a target."""

    wanted: ClassVar[tuple[str, ...]] = ROLES
    known: ClassVar[tuple[str, ...]] = ROLES
    instead: ClassVar[str] = (
        "files: data=files data.train=F data.valid=F data.test=F data.columns.source=COLUMN data.columns.target=COLUMN"
    )

    def splits(self) -> Splits:
        """Load every split. Raises InputError within seconds where the hub cannot be reached."""
        return {
            name: examples(self.load(part), part["columns"], name, f"{part['id']} ({part['split']})")
            for name, part in self.parts().items()
        }


def examples(table: Iterable[Mapping[str, Any]], columns: Mapping[str, str], split: str, where: str) -> list[Example]:
    """Map rows to examples. Outside of train, rows with the same source are one example with several references."""
    made: dict[str, Example] = {}
    for number, row in enumerate(table):
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
            raise InputError(
                f"{where}: no column {column!r}; it has {', '.join(_columns(row))} (data.columns maps them)"
            )
        value = value[part]
    return "" if value is None else str(value)


def _columns(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _columns(value, f"{prefix}{name}.")
        else:
            yield prefix + name
