"""Proteins from the user's tables and FASTA files, and from the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import InputError, path_of
from benchmark.types import Bad, Example, Splits
from tasks.common import Data
from tasks.fasta import Entry, read_by_name
from tasks.hub_data import HubData
from tasks.splits import SHARES, SPLITS, check_apart, check_shares, complete
from tasks.tables import answer, cell, check, rows

WANTED = ("sequence", "target")
COLUMNS = (*WANTED, "partner", "mask")  # partner: other sequence of a pair; mask: 0 for residues that do not count
MARKS = ("set", "validation")  # FLIP's columns for the split, by default; without them splits are drawn
Rows = Sequence[tuple[int, Mapping[str, Any]]]  # with their numbers


@dataclass(frozen=True, kw_only=True)
class ProteinTable(Data):
    """Tables of proteins: one file per split, or columns for the split."""

    files: dict[str, str | None]  # split -> file, or all -> file
    columns: dict[str, str | None]  # sequence, target; optionally partner, mask, group
    splits_of: dict[str, dict[str, str]]  # split -> {column: word} in the file of all; most words first
    shifts: dict[str, Any]  # name of a shifted test -> file, or {column: word}
    shares: dict[str, float]  # split without rows -> its share of train

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", WANTED, (*COLUMNS, "group", "separator"))
        check(self.files, "data.files", *([["all"]] if "all" in self.files else (["train"], SPLITS)))
        if "all" in self.files:
            check(self.splits_of, "data.splits_of", SPLITS)
        else:
            check_shares({name: file for name, file in self.files.items() if file}, self.shares)

    def splits(self) -> Splits:
        """Read every file. Raises InputError for a missing file or column."""
        if "all" in self.files:
            check_apart(self.splits_of, self.reading)
            table = [*enumerate(rows(self.files["all"]), 1)]
            splits = divide(self.files["all"], table, self.columns, self.splits_of | name_shifts(self.shifts))
        else:
            files = {name: file for name, file in (self.files | name_shifts(self.shifts)).items() if file}
            check_apart(files, self.reading)
            splits = {n: list(_examples(file, [*enumerate(rows(file), 1)], self.columns)) for n, file in files.items()}
        return complete(splits, self.shares, self.reading)

    def local(self) -> dict[str, Path]:
        files = self.files | (name_shifts(self.shifts) if "all" not in self.files else {})
        return {name: path_of(file) for name, file in files.items() if file}


@dataclass(frozen=True, kw_only=True)
class ProteinFasta(Data):
    """FASTA files with the same names of records: sequences, labels, masks.

    KEY=value in a header is a column; the text of a record is the column of its file.
    """

    files: dict[str, str | None]  # column -> file, also `sequence`; null: no file
    columns: dict[str, str | None]
    splits_of: dict[str, dict[str, str]]  # split -> {KEY: word}; most words first
    shifts: dict[str, dict[str, str]]  # name of a shifted test -> {KEY: word}
    shares: dict[str, float]  # split without records -> its share of train

    def __post_init__(self) -> None:
        check(self.files, "data.files", ["sequence"], [*self.files])
        check(self.columns, "data.columns", WANTED, (*COLUMNS, "group", "separator"))
        check(self.splits_of, "data.splits_of", SPLITS)

    def splits(self) -> Splits:
        """Join the files by record; count sequences without labels; other gaps become Bad."""
        check_apart(self.splits_of, self.reading)
        files = self.local()
        records = {column: read_by_name(file, self.reading) for column, file in files.items()}
        joined, bad = self._joined(records, files)
        columns = {r: c for r, c in self.columns.items() if not (r == "mask" and c in self.files and c not in files)}
        wanted = self.splits_of | name_shifts(self.shifts)
        splits = divide(self.files["sequence"], joined, columns, wanted)
        return complete({**splits, "train": [*splits["train"], *bad]}, self.shares, self.reading)

    def local(self) -> dict[str, Path]:
        return {column: path_of(file) for column, file in self.files.items() if file}

    def _joined(
        self, records: Mapping[str, Mapping[str, Entry]], files: Mapping[str, Path]
    ) -> tuple[Rows, list[Example]]:
        """Give a row per sequence with a target, and Bad examples for errors in the files."""
        target, joined, bad, unlabelled = str(self.columns["target"]), [], [], 0
        known = any(target == c or target in e.attributes for c, part in records.items() for e in part.values())
        for column, part in records.items():
            for name, entry in part.items():
                where = f"{files[column].name}, record {entry.number} ({name})"
                if entry.conflict or name not in records["sequence"]:
                    reason = entry.conflict or f"no sequence of that name in {files['sequence'].name}"
                    bad.append(Example(where, Bad(f"{where}: {reason}"), ("",)))
        for name, first in records["sequence"].items():
            parts = {column: part[name] for column, part in records.items() if name in part}
            if any(entry.conflict for entry in parts.values()):
                continue
            row = {key: value for entry in parts.values() for key, value in entry.attributes.items()}
            row |= {column: entry.text for column, entry in parts.items()}
            if known and target not in row:
                unlabelled += 1
                continue
            if lacking := [column for column in records if column not in parts]:
                where = f"{files['sequence'].name}, row {first.number}"
                bad.append(Example(where, Bad(f"{where}: {files[lacking[0]].name} has no record {name!r}"), ("",)))
                continue
            joined.append((first.number, row))
        if unlabelled:
            self.reading.notes["sequences_without_labels_left_out"] = unlabelled
        return joined, bad


@dataclass(frozen=True, kw_only=True)
class ProteinHub(HubData):
    """Data set of the hub: a sequence, or two, and a target."""

    wanted: ClassVar[tuple[str, ...]] = WANTED
    known: ClassVar[tuple[str, ...]] = COLUMNS

    def splits(self) -> Splits:
        """Load every split. Raises InputError, within seconds if there is no network."""
        splits = {
            name: list(_examples(f"{part['id']} ({part['split']})", enumerate(self.load(part), 1), part["columns"]))
            for name, part in self.parts().items()
        }
        return complete(splits, self.shares, self.reading)


def name_shifts(shifts: Mapping[str, Any]) -> dict[str, Any]:
    """Name shifted tests test/<name>."""
    return {f"test/{name}": value for name, value in shifts.items()}


def divide(
    file: str, table: Rows, columns: Mapping[str, str | None], splits_of: Mapping[str, Mapping[str, str]]
) -> Splits:
    """Assign rows to the splits with their words; a row of no split becomes Bad.

    A split with more words comes first. Where the file lacks FLIP's columns, splits defined by them have no rows, and
    train has all others.
    """
    known = {column for _, row in table for column in row}
    splits: dict[str, list[Example]] = {name: [] for name in splits_of}
    terms = {
        name: {c: w for c, w in asked.items() if c in known or c.casefold() not in MARKS}
        for name, asked in splits_of.items()
    }
    for c in {c for asked in splits_of.values() for c in asked if c.casefold() not in MARKS} - known if table else ():
        cell(table[0][1], c, file)  # raises, naming the columns
    order = sorted((n for n in terms if len(terms[n]) == len(splits_of[n])), key=lambda name: -len(terms[name]))
    stray = []
    for (_, row), example in zip(table, _examples(file, table, columns), strict=True):
        for name in order:
            if all(str(cell(row, c, file)).casefold() == str(w).casefold() for c, w in terms[name].items()):
                splits[name].append(example)
                break
        else:
            lost = example._replace(source=Bad(f"{example.id}: belongs to no split of data.splits_of"))
            stray.append(lost if order else example)
    if table and not any(splits.values()) and order:
        cells = {
            c: sorted({str(cell(row, c, file)) for _, row in table})[:5] for asked in terms.values() for c in asked
        }
        raise InputError(f"{file}: no row belongs to any split; data.splits_of wants {splits_of}, found {cells}")
    splits["train"] += stray
    return {name: part for name, part in splits.items() if part or name not in SHARES}


def _examples(file: str, table: Iterable[tuple[int, Any]], columns: Mapping[str, str | None]) -> Iterator[Example]:
    for number, row in table:
        where = f"{Path(file).name}, row {number}"
        cells = {role: cell(row, column, file) for role, column in columns.items() if column and role != "separator"}
        source = (cells["sequence"], cells["partner"]) if "partner" in cells else cells["sequence"]
        target = answer(row, columns, "target", file)
        if "mask" in cells:
            target, mask = target or "", [str(m) for m in cells["mask"] or ""]
            if len(mask) != len(target):
                source = Bad(f"{where}: {len(target)} labels, {len(mask)} places in the mask")
            if strange := sorted({*mask} - {"0", "1"}):
                source = Bad(f"{where}: the mask holds {strange[0]!r}, 0 or 1 wanted")
            target = [t if m == "1" else None for t, m in zip(target, mask, strict=False)]
        group = cells.get("group")
        yield Example(where, source, (target,), None if group is None else str(group))
