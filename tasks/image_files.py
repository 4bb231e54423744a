"""Images from the user's files: folders of classes, tables, npz; and from the hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np

from benchmark.errors import InputError, path_of
from benchmark.types import Bad, Example, Splits
from tasks.common import Data
from tasks.hub_data import HubData
from tasks.pictures import Picture
from tasks.splits import SPLITS, check_apart, check_shares, complete
from tasks.tables import answer, check, rows, table_files, text

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2"),
    *(".pgm", ".ppm", ".pnm", ".pbm"),
)
WANTED = ("image", "label")
NPZ = {"train": "train", "valid": "val", "test": "test"}  # names in MedMNIST
FOLDERS = {"valid": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}  # usual names


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Data):
    """Folder with split/class/image files."""

    folder: str
    splits_of: dict[str, str]  # train, valid, test, test/<shift> -> the split's folder
    shares: dict[str, float]  # split without a folder -> its share of train, drawn by the hash of the file's name

    def __post_init__(self) -> None:
        check_shares(self._folders(), self.shares)

    def splits(self) -> Splits:
        """List every image, and count files that are not read.

        Raises InputError for a class without a readable image.
        """
        folders = self._folders()
        check_apart({name: str(folder) for name, folder in folders.items()}, self.reading)
        splits = {name: list(self._examples(name, folder)) for name, folder in folders.items()}
        return complete(splits, self.shares, self.reading)

    def local(self) -> dict[str, Path]:
        return {
            f"{name}/{file.relative_to(folder).as_posix()}": file
            for name, folder in self._folders().items()
            for place in classes_in(folder)
            for file in inside(place)
            if file.suffix.lower() in SUFFIXES
        }

    def _folders(self) -> dict[str, Path]:
        """Find the folder of each split, for valid and test also by other usual names."""
        root, folders = path_of(self.folder), {}
        for name, word in self.splits_of.items():
            usual = FOLDERS.get(name, ())
            names = [word, *(usual if word in usual else ())]
            there = list(dict.fromkeys(root / w for w in names if (root / w).is_dir()))
            if there or word not in usual:
                folders[name] = there[0] if there else root / word
        return folders

    def _examples(self, split: str, folder: Path) -> Iterator[Example]:
        classes = classes_in(folder)
        if not classes:
            raise InputError(f"{str(folder)!r}: no folder with a folder per class (data.folder, data.splits_of)")
        loose = [f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")]
        self.reading.count(split, "files_beside_the_class_folders_not_read", len(loose))
        for parent in classes:
            files = inside(parent)
            images = [f for f in files if f.suffix.lower() in SUFFIXES]
            strange = Counter(f.suffix.lower() or "no suffix" for f in files if f not in set(images))
            for suffix, number in strange.items():
                self.reading.count(split, f"files_not_read ({suffix})", number)
            if files and not images:
                raise InputError(
                    f"{str(parent)!r}: none of its {len(files)} files can be read ({', '.join(strange)}), so that the "
                    f"class {parent.name!r} would be lost; {', '.join(SUFFIXES)} can be"
                )
            for file in images:
                name = file.relative_to(folder).as_posix()
                yield Example(f"{split}/{name}", Picture(f"image {folder.name}/{name}", file), (parent.name,))


def classes_in(folder: Path) -> list[Path]:
    """List the folders of classes; hidden ones belong to other programs."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(f for f in there if f.is_dir() and not f.name.startswith((".", "__MACOSX")))


def inside(folder: Path) -> list[Path]:
    """List the files below a folder, without hidden ones."""
    visible = (f for f in folder.rglob("*") if not any(p.startswith(".") for p in f.relative_to(folder).parts))
    return sorted(f for f in visible if f.is_file())


@dataclass(frozen=True, kw_only=True)
class ImageTable(Data):
    """Tables of image files and labels, one in all or one per split."""

    train: str
    valid: str | None  # null: its rows are in train's table, or a share of train is drawn
    test: str | None
    shifts: dict[str, str]  # name -> table of a shifted test
    root: str | None  # folder of the paths; null: the folder of each table
    columns: dict[str, str | None]  # image, label; optionally split, group (patient, lesion)
    words: dict[str, list[str]]  # split -> words of the split column
    shares: dict[str, float]  # split -> its share of train, drawn by the hash of the group, or of the file's name

    def __post_init__(self) -> None:
        check(self.columns, "data.columns", WANTED, (*WANTED, "split", "group", "separator"))
        check_shares({**(self.words if self.columns.get("split") else {}), **self._tables()}, self.shares)
        check_apart(self.words, self.reading)

    def splits(self) -> Splits:
        """Read every table; images are decoded later."""
        check_apart(self._tables(), self.reading)
        splits: dict[str, list[Example]] = {name: [] for name in (*SPLITS, *self._tables())}
        places = {word: name for name, words in self.words.items() for word in words}
        for name, file, number, row in self._rows():
            word = text(row, self.columns["split"], file, number) if self._split(name) else None
            split = name if word is None else places.get(word, "train")
            example = self._example(split, file, number, row)
            if word is not None and word not in places:
                where = f"{Path(file).name}, row {number}"
                example = example._replace(source=Bad(f"{where}: no split is called {word!r} (data.words)"))
            splits.setdefault(split, []).append(example)
        there = {name: part for name, part in splits.items() if part or name in self._tables()}
        return complete(there, self.shares, self.reading)

    def local(self) -> dict[str, Path]:
        with suppress(InputError):  # raised again when the data is read
            tables = {name: path for name, file in self._tables().items() for path in table_files(file)}
            images = {str(row.get(self.columns["image"])): file for _, file, _, row in self._rows()}
            paths = {name: self._place(file, name) for name, file in images.items()}
            return tables | {name: path for name, path in paths.items() if path.is_file()}
        return {}

    def _tables(self) -> dict[str, str]:
        given = {name: str(getattr(self, name)) for name in SPLITS if getattr(self, name)}
        return given | {f"test/{name}": file for name, file in self.shifts.items()}

    def _rows(self) -> Iterator[tuple[str, str, int, Mapping[str, Any]]]:
        for name, file in self._tables().items():
            for number, row in enumerate(rows(file), 1):
                yield name, file, number, row

    def _split(self, name: str) -> bool:
        """Say whether a table has a column for the split."""
        return name == "train" and bool(self.columns.get("split"))

    def _place(self, table: str, image: str) -> Path:
        return (path_of(self.root) if self.root else path_of(table).parent) / image

    def _example(self, split: str, file: str, number: int, row: Mapping[str, Any]) -> Example:
        image, label = text(row, self.columns["image"], file, number), answer(row, self.columns, "label", file)
        where = f"{Path(file).name}, row {number}: image {image}"
        known = image and label is not None
        source = Picture(where, self._place(file, image)) if known else Bad(f"{where}: no image or no label")
        group = text(row, self.columns["group"], file, number) if self.columns.get("group") else ""
        return Example(f"{split}/{Path(file).name}, row {number}", source, (label,), group or image)


@dataclass(frozen=True, kw_only=True)
class ImageArchive(Data):
    """File in MedMNIST's layout: one npz with {train,val,test}_{images,labels}."""

    file: str
    names: dict[str, str]  # number of a class -> its name

    def local(self) -> dict[str, Path]:
        return {"npz": path_of(self.file)}

    def splits(self) -> Splits:
        """Read the arrays, without unpickling."""
        file = path_of(self.file)
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
        if labels.size == len(images):
            return images, labels.reshape(-1)
        if labels.ndim != 2 or len(labels) != len(images) or not np.isin(labels, (0, 1)).all():
            raise InputError(
                f"{self.file!r}: {word}_labels is {labels.shape}, one class per image ({len(images)}) wanted, or a 0 "
                "or 1 for each of several"
            )
        return images, labels

    def _examples(self, split: str, images: np.ndarray, labels: np.ndarray) -> Iterator[Example]:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            where = f"{split}/{Path(self.file).name}, row {number}"
            named = [self._name(n) for n in np.flatnonzero(label)] if label.ndim else self._name(label)
            yield Example(where, image, (named,))

    def _name(self, number: Any) -> str:
        return self.names.get(str(number), str(number))


@dataclass(frozen=True, kw_only=True)
class ImageHub(HubData):
    """Data set of the hub with a column of images."""

    wanted: ClassVar[tuple[str, ...]] = WANTED
    known: ClassVar[tuple[str, ...]] = (*WANTED, "group", "id")

    def splits(self) -> Splits:
        """Load every split; images are decoded later, and a repeated id becomes Bad."""
        splits = {name: list(self._examples(name, part)) for name, part in self.parts().items()}
        return complete(splits, self.shares, self.reading)

    def _examples(self, split: str, part: Mapping[str, Any]) -> Iterator[Example]:
        import datasets

        first: dict[str, str] = {}
        for where, row in self.encoded(part, datasets.Image(decode=False)):
            key, image = str(row.get("id", where)), row["image"]
            content = image and (image["bytes"] or Path(image["path"]))
            known = content and row["label"] is not None
            source = Picture(where, content) if known else Bad(f"{where}: no image or no label")
            if first.setdefault(key, where) != where:
                source = Bad(f"{where}: image {key} is repeated, it is first in {first[key].rpartition(', ')[2]}")
            group = row.get("group", row.get("id"))
            yield Example(f"{split}/{where}", source, (row["label"],), None if group is None else str(group))
