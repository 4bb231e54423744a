"""Images from the user's files (folders of classes, tables of paths, MedMNIST's npz) and from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Splits
from tasks.common import Data, unit_hash
from tasks.pictures import Picture
from tasks.tables import SPLITS, HubData, check, rows, text

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
WANTED = ("image", "label")
NPZ = {"train": "train", "valid": "val", "test": "test"}  # MedMNIST's own names


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Data):
    """A folder with split/class/image files."""

    folder: str
    splits_of: dict[str, str]  # train, valid, test, test/<shift> -> the split's folder
    shares: dict[str, float]  # split without a folder -> its share of train, drawn by the hash of the file's name

    def __post_init__(self) -> None:
        check_splits(self.splits_of, self.shares)

    def splits(self) -> Splits:
        """List every image; a file that is no image is left out, a split without a class refused."""
        root = Path(self.folder).expanduser()
        splits = {name: list(self._examples(name, root / place)) for name, place in self.splits_of.items()}
        return shared(splits, self.shares)

    def _examples(self, split: str, folder: Path) -> Iterator[Example]:
        classes = sorted(f for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []
        if not classes:
            raise InputError(f"{str(folder)!r}: no folder with a folder per class (data.folder, data.splits_of)")
        for place in classes:
            for file in sorted(f for f in place.rglob("*") if f.suffix.lower() in SUFFIXES):
                name = file.relative_to(folder).as_posix()
                yield Example(f"{split}/{name}", Picture(f"image {folder.name}/{name}", file), (place.name,))


@dataclass(frozen=True, kw_only=True)
class ImageTable(Data):
    """Tables (CSV, TSV, JSON lines, parquet) of image files and labels: one of all splits, or one per split."""

    train: str
    valid: str | None  # null: that split's rows stand in train's table, or its share is drawn from them
    test: str | None
    shifts: dict[str, str]  # name -> table of a shifted test
    root: str | None  # folder that the paths start from; null: each table's own
    columns: dict[str, str | None]  # image, label; where there are such: split, group (patient, lesion)
    words: dict[str, list[str]]  # split -> words of the split column
    shares: dict[str, float]  # split -> its share of train, drawn by the hash of the group, or of the file's name

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", WANTED, (*WANTED, "split", "group"))
        given = {name: str(getattr(self, name)) for name in SPLITS if getattr(self, name)}
        check_splits({**(self.words if self.columns.get("split") else {}), **given}, self.shares)

    def splits(self) -> Splits:
        """Read every table; an image that cannot be read becomes Bad when it is decoded."""
        files = {name: file for name in SPLITS if (file := getattr(self, name))}
        files |= {f"test/{name}": file for name, file in self.shifts.items()}
        splits: dict[str, list[Example]] = {name: [] for name in (*SPLITS, *files)}
        places = {word: name for name, words in self.words.items() for word in words}
        for name, file in files.items():
            for number, row in enumerate(rows(file), 1):
                word = text(row, self.columns["split"], file) if self._split(name) else None
                split = name if word is None else places.get(word, "train")
                example = self._example(split, file, number, row)
                if word is not None and word not in places:
                    where = f"{Path(file).name}, row {number}"
                    example = example._replace(source=Bad(f"{where}: no split is called {word!r} (data.words)"))
                splits.setdefault(split, []).append(example)
        return shared(splits, self.shares)

    def _split(self, name: str) -> bool:
        """Say whether a table's rows name their own splits."""
        return name == "train" and bool(self.columns.get("split"))

    def _example(self, split: str, file: str, number: int, row: Mapping[str, Any]) -> Example:
        image, label = (text(row, self.columns[column], file) for column in WANTED)
        where = f"{Path(file).name}, row {number}: image {image}"
        root = Path(self.root).expanduser() if self.root else Path(file).expanduser().parent
        source = Picture(where, root / image) if image and label else Bad(f"{where}: no image or no label")
        group = text(row, self.columns["group"], file) if self.columns.get("group") else image
        return Example(f"{split}/{Path(file).name}, row {number}", source, (label,), group)


@dataclass(frozen=True, kw_only=True)
class ImageArchive(Data):
    """MedMNIST's layout: one npz with {train,val,test}_{images,labels}."""

    file: str
    names: dict[str, str]  # number of a class -> its name, where it has one

    def splits(self) -> Splits:
        """Read the arrays; nothing in them is ever unpickled."""
        file = Path(self.file).expanduser()
        if not file.is_file():
            raise InputError(f"no file {str(file)!r} (data.file names an npz)")
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = dict(stored)
        except (OSError, ValueError, BadZipFile) as error:
            raise InputError(f"{str(file)!r} cannot be read as npz: {error}") from error
        return {split: list(self._examples(split, *self._pair(arrays, word))) for split, word in NPZ.items()}

    def _pair(self, arrays: Mapping[str, np.ndarray], word: str) -> tuple[np.ndarray, np.ndarray]:
        missing = [key for key in (f"{word}_images", f"{word}_labels") if key not in arrays]
        if missing:
            raise InputError(f"{self.file!r}: no array {missing[0]!r}; it has {', '.join(arrays)}")
        images, labels = arrays[f"{word}_images"], arrays[f"{word}_labels"]
        grey_or_colour = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)
        if images.dtype != np.uint8 or not grey_or_colour:
            raise InputError(
                f"{self.file!r}: {word}_images is {images.dtype} {images.shape}, uint8 (N, H, W) or (N, H, W, 3) wanted"
            )
        if labels.size != len(images):
            raise InputError(
                f"{self.file!r}: {word}_labels is {labels.shape}, one class per image ({len(images)}) wanted"
            )
        return images, labels.reshape(-1)

    def _examples(self, split: str, images: np.ndarray, labels: np.ndarray) -> Iterator[Example]:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            where = f"{split}/{Path(self.file).name}, row {number}"
            yield Example(where, image, (self.names.get(str(label), str(label)),))


@dataclass(frozen=True, kw_only=True)
class ImageHub(HubData):
    """A data set of the hub with a column of images."""

    wanted: ClassVar[tuple[str, ...]] = WANTED
    known: ClassVar[tuple[str, ...]] = (*WANTED, "group", "id")

    shares: dict[str, float]  # split -> its share of train, drawn by the hash of the group, or of the image's id

    def check_splits(self) -> None:
        check_splits(self.splits_of, self.shares)

    def splits(self) -> Splits:
        """Load every split; images stay encoded until they are read. An id that comes again is Bad."""
        return shared({name: list(self._examples(name, part)) for name, part in self.parts().items()}, self.shares)

    def _examples(self, split: str, part: Mapping[str, Any]) -> Iterator[Example]:
        import datasets

        first: dict[str, str] = {}
        for where, row in self.encoded(part, datasets.Image(decode=False)):
            key, image = str(row.get("id", where)), row["image"]
            found = image and (image["bytes"] or Path(image["path"]))
            source = Picture(where, found) if found and row["label"] else Bad(f"{where}: no image or no label")
            if first.setdefault(key, where) != where:
                source = Bad(f"{where}: image {key} comes again, it stands in {first[key].rpartition(', ')[2]}")
            group = row.get("group", row.get("id"))
            yield Example(f"{split}/{where}", source, (row["label"],), None if group is None else str(group))


def check_splits(named: Mapping[str, Any], shares: Mapping[str, float]) -> None:
    """Refuse splits that are missing, unknown, or both named and drawn. Raises InputError."""
    for name in [*named, *shares]:
        if name not in SPLITS and not name.startswith("test/"):
            raise InputError(f"data.splits: no split {name!r} ({', '.join(SPLITS)} or test/<name> wanted)")
    for name in SPLITS:
        if (name in named) + (name in shares) != 1 or (name == "train" and name in shares):
            others = "" if name == "train" else f", or drawn from train: data.shares.{name}=0.1"
            raise InputError(
                f"split {name}: its rows wanted once (a file or folder, or words of a split column){others}"
            )
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise InputError(f"data.shares: {dict(shares)} given, fractions that leave something to train wanted")


def shared(splits: Mapping[str, Sequence[Example]], shares: Mapping[str, float]) -> Splits:
    """Give splits their shares of train; what belongs to one group stays together, whatever else is in the data."""
    dealt: dict[str, list[Example]] = {name: [*splits.get(name, ())] for name in (*SPLITS, *splits)}
    if shares:
        dealt["train"] = []
        for example in splits["train"]:
            name = drawn(example.group or example.id.partition("/")[2], shares)
            dealt[name].append(example._replace(id=f"{name}/{example.id.partition('/')[2]}"))
    return dealt


def drawn(unit: str, shares: Mapping[str, float]) -> str:
    """Draw a unit's split by its hash."""
    place = unit_hash(f"split {unit}")
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return "train"
