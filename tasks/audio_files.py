"""Speech from the user's files (recordings with a metadata.csv) and from the hub."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmark.errors import InputError, path_of
from benchmark.types import Bad, Example, Splits
from tasks.common import Data
from tasks.hub_data import HubData
from tasks.sound import recording
from tasks.splits import SHARES, SPLITS, check_apart, check_shares, complete, deal
from tasks.tables import answer, check, rows, text

WANTED = ("file", "target")
COLUMNS = (*WANTED, "speaker", "split")
HUB_COLUMNS = (*WANTED, "speaker")


@dataclass(frozen=True, kw_only=True)
class AudioFolder(Data):
    """Folder with a metadata.csv: recording, target and speaker per row."""

    folder: str
    metadata: str  # file in the folder: CSV, TSV, JSON lines or parquet
    columns: dict[str, str | None]  # file, target; optionally speaker, split
    splits_of: dict[str, list[str]]  # split -> words of the split column, or speakers, or files
    shares: dict[str, float]  # split that splits_of leaves out -> its share of train, of whole speakers

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", WANTED, (*COLUMNS, "separator"))
        shifts = [name for name in self.splits_of if name.startswith("test/")]
        check(self.splits_of, "data.splits_of", [], [*SPLITS, *shifts])
        check_apart(self.splits_of, self.reading)
        check_shares({"train": [], **self.splits_of}, self.shares)
        if self.columns.get("split"):
            check(self.splits_of, "data.splits_of", ["train"], [*SPLITS, *shifts])

    def splits(self) -> Splits:
        """Read every recording once; an unusable one becomes Bad."""
        folder = path_of(self.folder)
        if not folder.is_dir():
            raise InputError(f"no folder {str(folder)!r} (data.folder)")
        table = rows(str(folder / self.metadata))
        splits: dict[str, list[Example]] = {name: [] for name in ("train", *self.splits_of)}
        for number, (row, split) in enumerate(zip(table, self._named(table), strict=True), 1):
            example = self._example(folder, number, row)
            if split is None and self.columns.get("split"):
                word = self._text(row, "split")
                example = example._replace(source=Bad(f"{self.metadata}, row {number}: no split is called {word!r}"))
            splits[split or "train"].append(example)
        full = complete(splits, self.shares, self.reading, lambda e: e.group or _file(e))
        if full["valid"]:
            return full
        return deal(full, {"valid": SHARES["valid"]}, self.reading, _file)  # of the training speakers

    def local(self) -> dict[str, Path]:
        folder = path_of(self.folder)
        with suppress(InputError):  # raised again when the data is read
            names = {str(row.get(self.columns["file"])) for row in rows(str(folder / self.metadata))}
            return {name: folder / name for name in sorted({self.metadata, *names}) if (folder / name).is_file()}
        return {}

    def _example(self, folder: Path, number: int, row: Mapping[str, Any]) -> Example:
        name, target = self._text(row, "file"), answer(row, self.columns, "target", self.metadata)
        where = f"{self.metadata}, row {number}: {name}"
        known = target is not None
        source = recording(folder / name, where) if known else Bad(f"{where} has no {self.columns['target']}")
        # a clip without a speaker is a group by itself
        speaker = self._text(row, "speaker") or name if self.columns.get("speaker") else None
        return Example(where, source, (target,), speaker)

    def _text(self, row: Mapping[str, Any], role: str) -> str:
        return text(row, self.columns[role], self.metadata)

    def _named(self, table: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Give the split that names each row's word, speaker or file, or None."""
        column = "split" if self.columns.get("split") else "speaker" if self.columns.get("speaker") else "file"
        units = [self._text(row, column) for row in table]
        named = {str(word): split for split, words in self.splits_of.items() for word in words}
        if unknown := sorted(set(named) - set(units)):
            examples = ", ".join(sorted(set(units))[:8])
            raise InputError(f"data.splits_of: no {column} {unknown[0]!r} in {self.metadata} (it holds {examples})")
        return [named.get(unit) for unit in units]


@dataclass(frozen=True, kw_only=True)
class AudioHub(HubData):
    """Data set of the hub with a column of recordings."""

    wanted: ClassVar[tuple[str, ...]] = WANTED
    known: ClassVar[tuple[str, ...]] = HUB_COLUMNS

    def splits(self) -> Splits:
        """Load every split; recordings are decoded later."""
        splits = {name: list(self._examples(part)) for name, part in self.parts().items()}
        return complete(splits, self.shares, self.reading)

    def _examples(self, part: Mapping[str, Any]) -> Iterator[Example]:
        import datasets

        for where, row in self.encoded(part, datasets.Audio(decode=False)):
            label, stored = row["target"], row["file"] or {}
            content = io.BytesIO(stored["bytes"]) if stored.get("bytes") else Path(stored.get("path") or "")
            source = (
                recording(content, where)
                if stored and label not in (None, "")
                else Bad(f"{where}: no recording or no label")
            )
            speaker = row.get("speaker")
            yield Example(where, source, (label,), None if speaker is None else str(speaker))


def _file(example: Example) -> str:
    return example.id.partition(": ")[2]
