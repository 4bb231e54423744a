"""Proteins from the user's files and from the hub: tables, FASTA with labels in the header or beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Splits
from tasks.common import Data
from tasks.tables import SPLITS, HubData, cell, check, rows

WANTED = ("sequence", "target")
COLUMNS = (*WANTED, "partner", "mask")  # the other sequence of a pair; 0 = a residue that does not count


@dataclass(frozen=True, kw_only=True)
class ProteinTable(Data):
    """CSV, TSV, JSON lines or parquet: one file per split, or one file of which columns say the split, as in FLIP."""

    files: dict[str, str]  # split -> file, or all -> file
    columns: dict[str, str | None]  # sequence, target, and where there are such: partner, mask
    splits_of: dict[str, dict[str, str]]  # split -> {column: word}, of the file of all; the most words win
    shifts: dict[str, Any]  # name of a shifted test -> file, or {column: word}

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", WANTED, COLUMNS)
        check(self.files, "data.files", ["all"] if "all" in self.files else SPLITS)
        if "all" in self.files:
            check(self.splits_of, "data.splits_of", SPLITS)

    def splits(self) -> Splits:
        """Read every file; a missing file or column is named."""
        if "all" in self.files:
            wanted = self.splits_of | shifted(self.shifts)
            return divided(self.files["all"], rows(self.files["all"]), self.columns, wanted)
        files = self.files | shifted(self.shifts)
        return {name: list(_examples(file, rows(file), self.columns)) for name, file in files.items()}


@dataclass(frozen=True, kw_only=True)
class ProteinFasta(Data):
    """FASTA files that share their records' names: sequences, and beside them labels or masks per residue.

    What a header says as KEY=value is a column too; a record's own text is the column of its file.
    """

    files: dict[str, str]  # column -> file; `sequence` is one of them
    columns: dict[str, str | None]
    splits_of: dict[str, dict[str, str]]  # split -> {KEY: word}; the most words win
    shifts: dict[str, dict[str, str]]  # name of a shifted test -> {KEY: word}

    def __post_init__(self) -> None:
        check(self.files, "data.files", ["sequence"], [*self.files])
        check(self.columns, "data.columns", WANTED, COLUMNS)
        check(self.splits_of, "data.splits_of", SPLITS)

    def splits(self) -> Splits:
        """Join the files by record; a record that only some of them have is refused."""
        joined: dict[str, dict[str, str]] = {}
        for column, file in self.files.items():
            records = named(file)
            if joined and records.keys() != joined.keys():
                name = min(records.keys() ^ joined.keys())
                raise InputError(f"record {name!r} is in one of {', '.join(self.files.values())} only")
            for name, (attributes, text) in records.items():
                joined.setdefault(name, {}).update({**attributes, column: text})
        wanted = self.splits_of | shifted(self.shifts)
        return divided(self.files["sequence"], joined.values(), self.columns, wanted)


@dataclass(frozen=True, kw_only=True)
class ProteinHub(HubData):
    """A data set of the hub: a sequence, or two, and a target."""

    wanted: ClassVar[tuple[str, ...]] = WANTED
    known: ClassVar[tuple[str, ...]] = COLUMNS

    def splits(self) -> Splits:
        """Load every split. Raises InputError within seconds where the hub cannot be reached."""
        return {
            name: list(_examples(f"{part['id']} ({part['split']})", self.load(part), part["columns"]))
            for name, part in self.parts().items()
        }


def shifted(shifts: Mapping[str, Any]) -> dict[str, Any]:
    """Call shifted tests by their split's name."""
    return {f"test/{name}": value for name, value in shifts.items()}


def divided(
    file: str,
    table: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str | None],
    splits_of: Mapping[str, Mapping[str, str]],
) -> Splits:
    """Deal rows out to the splits whose words they have, first to who asks for the most; a row of none is Bad."""
    order = sorted(splits_of, key=lambda name: -len(splits_of[name]))
    splits: dict[str, list[Example]] = {name: [] for name in splits_of}
    table, stray = list(table), []
    for row, example in zip(table, _examples(file, table, columns), strict=True):
        for name in order:
            if all(str(cell(row, c, file)).casefold() == str(w).casefold() for c, w in splits_of[name].items()):
                splits[name].append(example)
                break
        else:
            stray.append(example._replace(source=Bad(f"{example.id}: belongs to no split of data.splits_of")))
    if not any(splits.values()):
        seen = {
            c: sorted({str(cell(row, c, file)) for row in table})[:5] for words in splits_of.values() for c in words
        }
        raise InputError(f"{file}: no row belongs to any split; data.splits_of wants {splits_of}, found {seen}")
    splits["train"] += stray
    return splits


def named(file: str) -> dict[str, tuple[dict[str, str], str]]:
    """Read records by name. Raises InputError where two have the same."""
    records: dict[str, tuple[dict[str, str], str]] = {}
    for name, record in fasta(file):
        if name in records:
            raise InputError(f"{file}: two records are called {name!r}: give each a name of its own")
        records[name] = record
    return records


def fasta(name: str) -> Iterator[tuple[str, tuple[dict[str, str], str]]]:
    """Read records: (name, (what the header says as KEY=value, text on one line))."""
    file = Path(name).expanduser()
    if not file.is_file():
        raise InputError(f"no file {str(file)!r} (data.files names files)")
    header, lines = "", []
    for number, line in enumerate([*file.read_text(encoding="utf-8").splitlines(), ">"], 1):
        if not line.startswith(">"):
            lines.append(line.strip())
            if line.strip() and not header:
                raise InputError(f"{name}, line {number}: a FASTA file begins with a header line (>name)")
            continue
        if header:
            first, *words = header.split()
            yield first, (dict(word.split("=", 1) for word in words if "=" in word), "".join(lines))
        header, lines = line[1:].strip(), []


def _examples(file: str, table: Iterable[Mapping[str, Any]], columns: Mapping[str, str | None]) -> Iterator[Example]:
    for number, row in enumerate(table, 1):
        where = f"{Path(file).name}, row {number}"
        found = {role: cell(row, column, file) for role, column in columns.items() if column}
        source = (found["sequence"], found["partner"]) if "partner" in found else found["sequence"]
        target = found["target"]
        if "mask" in found:
            target, mask = target or "", [str(m) for m in found["mask"] or ""]
            if len(mask) != len(target):
                source = Bad(f"{where}: {len(target)} labels, {len(mask)} places in the mask")
            if strange := sorted({*mask} - {"0", "1"}):
                source = Bad(f"{where}: the mask holds {strange[0]!r}, 0 or 1 wanted")
            target = [t if m == "1" else None for t, m in zip(target, mask, strict=False)]
        yield Example(where, source, (target,))
