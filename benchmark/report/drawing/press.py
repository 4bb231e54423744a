"""Pictures of a table: which there are, how they are made, and where the made ones are kept."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from zipfile import BadZipFile, ZipFile

import joblib
import matplotlib
import pandas as pd

from benchmark.report.drawing.material import Material
from benchmark.report.drawing.style import RC, within
from benchmark.report.figures import known

KINDS = ("pdf", "png")
MARK = "CrossPEFT benchmark.report"  # within each file: what bears it may be deleted
FEW = 24  # pictures that are not worth other processes
Files = dict[str, bytes]  # by ending


@dataclass(frozen=True)
class Picture:
    """One file name of a figure, and the rows that it shows."""

    figure: str
    name: str  # empty where a figure is a single picture
    table: pd.DataFrame

    @property
    def path(self) -> Path:
        """Where it lies below the folder of figures, without an ending."""
        return Path(self.figure, self.name) if self.name else Path(self.figure)


def pictures(name: str, module: ModuleType, material: Material) -> Iterator[Picture]:
    """Split what a figure shows into pictures; none without data."""
    table = module.data(material)
    if table.empty:
        return
    if not module.BY:
        yield Picture(name, "", table)
        return
    for values, part in table.groupby(list(module.BY), sort=True):
        yield Picture(name, _file_name("_".join(str(v) for v in values if str(v))), part.reset_index(drop=True))


def _file_name(text: str) -> str:
    slug = re.sub(r"[^\w.=+-]+", "-", text)[:80]
    return slug if slug == text else f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def render(picture: Picture, width: str = "two") -> Files:
    """Draw a picture in every format; the same bytes for the same table and matplotlib."""
    with matplotlib.rc_context(RC):
        figure = known()[picture.figure].draw(picture.table, width)
        within(figure)
        files = {}
        for kind in KINDS:
            made = {"Creator": MARK, "CreationDate": None} if kind == "pdf" else {"Software": MARK}
            figure.savefig(file := io.BytesIO(), format=kind, metadata=made)
            files[kind] = file.getvalue()
    return files


class Kept:
    """Files that were drawn, each set under the hash of its table and of the code that draws it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, picture: Picture) -> Files | None:
        """Return what was drawn of this; None if nothing was, or if it is damaged."""
        with suppress(OSError, BadZipFile, KeyError), ZipFile(self._path(picture)) as archive:
            return {kind: archive.read(kind) for kind in KINDS}
        return None

    def put(self, picture: Picture, files: Files) -> None:
        """Keep what was drawn, where the folder can be written to."""
        path = self._path(picture)
        scratch = path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with ZipFile(scratch, "w") as archive:
                for kind, content in files.items():
                    archive.writestr(kind, content)
            os.replace(scratch, path)

    def forget(self, but: Iterable[Picture]) -> None:
        """Delete what was kept of other tables and other code."""
        current = {self._path(picture) for picture in but}
        for path in self.folder.glob("*.zip"):
            if path not in current:
                path.unlink(missing_ok=True)

    def _path(self, picture: Picture) -> Path:
        rows = picture.table.to_csv(index=False).encode("utf-8", "surrogatepass")
        return self.folder / f"{hashlib.sha256(_code(picture.figure) + rows).hexdigest()[:32]}.zip"


@cache
def _code(figure: str) -> bytes:
    """Identify what draws a figure: its module, what all share, and matplotlib."""
    files = [Path(str(known()[figure].__file__)), *sorted(Path(__file__).parent.glob("*.py"))]
    code = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files))
    code.update(f"{figure} {matplotlib.__version__}".encode())
    return code.digest()


def every(material: Material) -> list[Picture]:
    """Split all figures that have data into pictures."""
    return [picture for name, module in known().items() for picture in pictures(name, module, material)]


def publish(wanted: Sequence[Picture], results: Path) -> int:
    """Write figures, drawing only what is not kept; delete those of before; return their number."""
    folder, kept = results / "figures", Kept(results / ".cache" / "figures")
    found = {picture.path: kept.get(picture) for picture in wanted}
    new = [picture for picture in wanted if found[picture.path] is None]
    jobs = min(os.cpu_count() or 1, 8) if len(new) > FEW else 1
    for picture, files in zip(new, joblib.Parallel(n_jobs=jobs)(joblib.delayed(render)(p) for p in new), strict=True):
        kept.put(picture, files)
        found[picture.path] = files
    for path, files in found.items():
        write(folder / path, files or {})
    kept.forget(wanted)
    current = {folder / f"{path}.{kind}" for path in found for kind in KINDS}
    _clear(folder, current)
    return len(wanted)


def write(path: Path, files: Files) -> list[Path]:
    """Write one picture in every format, by its path without an ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_name(f"{path.name}.{kind}") for kind in files]
    for file, content in zip(paths, files.values(), strict=True):
        file.write_bytes(content)
    return paths


def _clear(folder: Path, current: set[Path]) -> None:
    """Delete figures of before; never a file that was not made here."""
    for path in sorted(folder.rglob("*")):
        if path.suffix[1:] in KINDS and path not in current and MARK.encode() in path.read_bytes():
            path.unlink()
            with suppress(OSError):  # others lie there
                path.parent.rmdir()
