"""Speech from the user's files (the audio-folder layout: metadata.csv beside the recordings) and from the hub."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Splits
from tasks.common import Data, unit_hash
from tasks.sound import recording
from tasks.tables import SPLITS, HubData, check, rows, text

WANTED = ("file", "target")
COLUMNS = (*WANTED, "speaker", "split")
HUB_COLUMNS = (*WANTED, "speaker")
VALID, TEST = 0.1, 0.2  # of what the hash divides


@dataclass(frozen=True, kw_only=True)
class AudioFolder(Data):
    """A folder with metadata.csv: a recording, its label or transcript, and who speaks, per row."""

    folder: str
    metadata: str  # file in the folder: CSV, TSV, JSON lines or parquet
    columns: dict[str, str | None]  # file, target; where there are such: speaker, split
    splits_of: dict[str, list[str]]  # split -> words of the split column; without that column, speakers (or files)

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", WANTED, COLUMNS)
        shifts = [name for name in self.splits_of if name.startswith("test/")]
        check(self.splits_of, "data.splits_of", [], [*SPLITS, *shifts])
        if self.columns.get("split"):
            check(self.splits_of, "data.splits_of", ["train", "test"], [*SPLITS, *shifts])

    def splits(self) -> Splits:
        """Read every recording once; a row whose recording cannot be used becomes Bad."""
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise InputError(f"no folder {str(folder)!r} (data.folder)")
        table = rows(str(folder / self.metadata))
        splits: dict[str, list[Example]] = {name: [] for name in (*SPLITS, *self.splits_of)}
        for number, (row, split) in enumerate(zip(table, self._dealt(table), strict=True), 1):
            example = self._example(folder, number, row)
            if split is None:
                word = self._text(row, "split")
                example = example._replace(source=Bad(f"{self.metadata}, row {number}: no split is called {word!r}"))
            splits[split or "train"].append(example)
        return splits

    def _example(self, folder: Path, number: int, row: Mapping[str, Any]) -> Example:
        name, target = (self._text(row, role) for role in WANTED)
        where = f"{self.metadata}, row {number}: {name}"
        source = recording(folder / name, where) if target else Bad(f"{where} has no {self.columns['target']}")
        speaker = self._text(row, "speaker") if self.columns.get("speaker") else None
        return Example(f"{self.metadata}, row {number}: {name}", source, (target,), speaker)

    def _text(self, row: Mapping[str, Any], role: str) -> str:
        return text(row, self.columns[role], self.metadata)

    def _dealt(self, table: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Say each row's split: by the split column, or by speaker (or file), named or drawn by the hash."""
        column = "split" if self.columns.get("split") else "speaker" if self.columns.get("speaker") else "file"
        units = [self._text(row, column) for row in table]
        named = {str(word): split for split, words in self.splits_of.items() for word in words}
        if unknown := sorted(set(named) - set(units)):
            held = ", ".join(sorted(set(units))[:8])
            raise InputError(f"data.splits_of: no {column} {unknown[0]!r} in {self.metadata} (it holds {held})")
        if column == "split":
            splits = [named.get(unit) for unit in units]
        else:
            free = {split for split in ("test", "valid") if split not in self.splits_of}
            splits = [named.get(unit) or _drawn(unit, free) for unit in units]
        if "valid" in splits:
            return splits
        files = [self._text(row, "file") for row in table]  # of the training speakers: better than the test's
        return [_drawn(f, {"valid"}) if s == "train" else s for f, s in zip(files, splits, strict=True)]


@dataclass(frozen=True, kw_only=True)
class AudioHub(HubData):
    """A data set of the hub with a column of recordings."""

    wanted: ClassVar[tuple[str, ...]] = WANTED
    known: ClassVar[tuple[str, ...]] = HUB_COLUMNS

    def splits(self) -> Splits:
        """Load every split; recordings stay encoded until they are read."""
        return {name: list(self._examples(part)) for name, part in self.parts().items()}

    def _examples(self, part: Mapping[str, Any]) -> Iterator[Example]:
        import datasets

        for where, row in self.encoded(part, datasets.Audio(decode=False)):
            label, found = row["target"], row["file"] or {}
            place = io.BytesIO(found["bytes"]) if found.get("bytes") else Path(found.get("path") or "")
            source = recording(place, where) if found and label else Bad(f"{where}: no recording or no label")
            speaker = row.get("speaker")
            yield Example(where, source, (label,), None if speaker is None else str(speaker))


def _drawn(unit: str, free: Collection[str]) -> str:
    """Draw a split by the hash of a speaker or a file, among those that nothing was named for."""
    place = unit_hash(f"split {unit}")
    split = "test" if place < TEST else "valid" if place < TEST + VALID else "train"
    return split if split in free else "train"
