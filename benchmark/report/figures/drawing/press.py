"""Draw, cache and write the pictures of each figure."""

from __future__ import annotations

import io
import json
import os
import zlib
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
from fontTools.subset import Options  # with which matplotlib takes the letters of a PDF out of a font

from benchmark.records import file_name
from benchmark.report import cache as files
from benchmark.report.figures import known
from benchmark.report.figures.drawing.style import RC, marks, within
from benchmark.report.material import Material

KINDS = ("pdf", "png")  # what is published
PAGE, MARKS = "svg", "json"  # what the page shows, and where its rows are drawn
MARK = "CrossPEFT benchmark.report"  # within each file: what bears it may be deleted
# by an archive; RuntimeError: one with a password
DAMAGED = (TypeError, ValueError, KeyError, EOFError, RuntimeError, OverflowError, BadZipFile, zlib.error)
SIGNS = {"pdf": b"%PDF", "png": b"\x89PNG", PAGE: b"<?xml"}  # first bytes
FEW = 24  # pictures that are not worth other processes
METADATA = {"pdf": {"Creator": MARK, "CreationDate": None}, "png": {"Software": MARK}, PAGE: {"Date": None}}
Files = dict[str, bytes]  # by ending
# A PDF holds glyphs that are already joined and placed; without the tables that say how, it is written twice as fast.
Options._drop_tables_default = [*Options._drop_tables_default, "GSUB", "GPOS", "GDEF"]


@dataclass(frozen=True)
class Picture:
    """One file name of a figure, and the rows that it shows."""

    figure: str
    name: str  # empty where a figure is a single picture
    table: pd.DataFrame

    @property
    def path(self) -> Path:
        """The path below the folder of figures, without an ending."""
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
        yield Picture(name, file_name("_".join(str(v) for v in values if str(v))), part.reset_index(drop=True))


def render(picture: Picture, width: str = "two") -> Files:
    """Draw a picture in every format, with reproducible bytes."""
    with matplotlib.rc_context(RC):
        figure = known()[picture.figure].draw(picture.table, width)
        within(figure)
        drawn = {}
        for kind, metadata in METADATA.items():
            figure.savefig(file := io.BytesIO(), format=kind, metadata=metadata)
            drawn[kind] = file.getvalue()
        return drawn | {MARKS: json.dumps(marks(figure)).encode()}


def every(material: Material) -> list[Picture]:
    """Split all figures that have data into pictures."""
    return [picture for name, module in known().items() for picture in pictures(name, module, material)]


def publish(wanted: Sequence[Picture], results: Path) -> list[tuple[Picture, Files]]:
    """Write all figures, draw those not cached, delete old ones."""
    folder, cached = results / "figures", results / ".cache" / "figures"
    archives = {picture.path: _archive(cached, picture) for picture in wanted}
    drawn = {picture.path: _read(archives[picture.path], len(picture.table)) for picture in wanted}
    new = [picture for picture in wanted if drawn[picture.path] is None]
    jobs = min(os.cpu_count() or 1, 8) if len(new) > FEW else 1
    for picture, made in zip(new, joblib.Parallel(n_jobs=jobs)(joblib.delayed(render)(p) for p in new), strict=True):
        drawn[picture.path] = made
        with ZipFile(archive := io.BytesIO(), "w") as content:
            for kind, part in made.items():
                content.writestr(kind, part)
        files.write(archives[picture.path], archive.getvalue())
    current = {path for name, made in drawn.items() for path in write(folder / name, made or {})}
    for path in {*cached.glob("*.zip")} - {*archives.values()}:  # of other tables and other code
        path.unlink(missing_ok=True)
    _clear(folder, current)
    return [(picture, drawn[picture.path] or {}) for picture in wanted]


def write(path: Path, drawn: Files) -> list[Path]:
    """Write one picture in every published format, by its path without an ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_name(f"{path.name}.{kind}") for kind in KINDS]
    for file, kind in zip(paths, KINDS, strict=True):
        file.write_bytes(drawn[kind])
    return paths


def _archive(folder: Path, picture: Picture) -> Path:
    rows = picture.table.to_csv(index=False).encode("utf-8", "surrogatepass")
    return folder / f"{files.digest(_code(picture.figure), rows, length=32)}.zip"


def _read(path: Path, rows: int) -> Files | None:
    """Return what was drawn; None if nothing was, or if it is damaged."""
    with (
        suppress(*DAMAGED),
        ZipFile(io.BytesIO(files.read(path))) as archive,
    ):
        content = {kind: archive.read(kind) for kind in (*METADATA, MARKS)}
        if all(content[kind].startswith(sign) for kind, sign in SIGNS.items()) and content[PAGE].decode():
            return content if {row for *_, row in json.loads(content[MARKS])} <= {*range(rows)} else None
    return None


@cache
def _code(figure: str) -> bytes:
    """Identify what draws a figure: its module, what all share, and matplotlib."""
    paths = [Path(str(known()[figure].__file__)), *sorted(Path(__file__).parent.glob("*.py"))]
    return files.digest(*(path.read_bytes() for path in paths), f"{figure} {matplotlib.__version__}".encode()).encode()


def _clear(folder: Path, current: Iterable[Path]) -> None:
    """Delete old figures, and no file that was not made here."""
    for path in sorted({*folder.rglob("*")} - {*current}):
        if path.suffix[1:] in KINDS and path.is_file() and MARK.encode() in path.read_bytes():
            path.unlink()
            with suppress(OSError):  # others lie there
                path.parent.rmdir()
