"""Data sets of the hub that are stored as parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmark.backbones.hub import is_offline, is_pinned
from benchmark.errors import InputError
from tasks.common import Data
from tasks.splits import SPLITS, check_apart, check_shares
from tasks.tables import check

PART = ("id", "config", "revision", "split", "columns")


@dataclass(frozen=True, kw_only=True)
class HubData(Data):
    """Data set of the hub that is stored as parquet."""

    wanted: ClassVar[tuple[str, ...]]  # roles that need a column
    known: ClassVar[tuple[str, ...]]  # roles that may have one
    instead: ClassVar[str] = "files of your own: --help lists their layouts under data="

    id: str
    config: str | None
    revision: str | None  # null: the newest, which the record lists as unpinned
    splits_of: dict[str, str]  # train, valid, test -> split of the data set; one that is left out is drawn from train
    shares: dict[str, float]  # split -> its share of train, drawn by the hash of the group, the text or the id
    shifts: dict[str, dict[str, Any]]  # name -> {id, config, revision, split, columns} where they differ
    columns: dict[str, str]

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", self.wanted, self.known)
        tests = [name for name in self.splits_of if name.startswith("test/")]
        check(self.splits_of, "data.splits_of", ["train"], [*SPLITS, *tests])
        check_shares(self.splits_of, self.shares)
        for name, shift in self.shifts.items():
            check(shift, f"data.shifts.{name}", ["split"], PART)
            check(shift.get("columns", self.columns), f"data.shifts.{name}.columns", self.wanted, self.known)
        check_apart(self.splits_of, self.reading)

    def unpinned(self) -> list[str]:
        return list(dict.fromkeys(part["id"] for part in self.parts().values() if not is_pinned(part["revision"])))

    def parts(self) -> dict[str, dict[str, Any]]:
        """Give the arguments of loading each split."""
        base = {"id": self.id, "config": self.config, "revision": self.revision, "columns": self.columns}
        wanted = {name: {**base, "split": split} for name, split in self.splits_of.items()}
        for name, shift in self.shifts.items():
            other = {"config": None, "revision": None} if "id" in shift else {}  # not of this set
            wanted[f"test/{name}"] = {**base, **other, **shift}
        return wanted

    def load(self, part: Mapping[str, Any]) -> Any:
        """Load one split. Raises InputError, within seconds if there is no network."""
        import datasets

        # a setting, since there is no argument: only data sets in the local cache are found, without waiting
        datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE or is_offline()
        try:
            return datasets.load_dataset(part["id"], part["config"], revision=part["revision"], split=part["split"])
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            # unreachable, unknown, gated, not parquet, or interrupted
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(
                f"the data set {part['id']!r} cannot be downloaded: {first} - check the network, or give {self.instead}"
            ) from error

    def encoded(self, part: Mapping[str, Any], feature: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row's position, and its cells by role; media stay encoded.

        The first wanted role has the given feature, the second is the label, which is given by its name.
        """
        columns, table = part["columns"], self.load(part)
        for column in columns.values():
            if column not in table.column_names:
                raise InputError(f"{part['id']}: no column {column!r}; it has {', '.join(table.column_names)}")
        media, label = self.wanted
        kind = table.features[columns[label]]  # classes are stored by number, of a list too
        names = getattr(getattr(kind, "feature", kind), "names", None)
        for number, row in enumerate(table.cast_column(columns[media], feature)):
            cells = {role: row[column] for role, column in columns.items()}
            yield f"{part['id']} ({part['split']}), row {number}", {**cells, label: class_of(cells[label], names)}


def class_of(value: Any, names: list[str] | None) -> Any:
    """Name a class, which the hub stores by number, and as -1 where there is none."""
    if not names:
        return value
    if isinstance(value, list):
        return [class_of(one, names) for one in value]
    return None if value is None or value < 0 else names[value]
