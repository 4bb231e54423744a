"""Rows and cells of the user's files, read in the same way by all loaders."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unicodedata import normalize

from benchmark.errors import InputError, near, path_of

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")  # all but the last may end in .gz
BOMS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
GZIP = b"\x1f\x8b"  # the first bytes of a packed file
Row = dict[str, Any]


def check(given: Mapping[str, Any], where: str, needed: Collection[str], known: Collection[str] | None = None) -> None:
    """Raise InputError for a missing or an unknown key."""
    known = needed if known is None else known
    for key in given:
        if key not in known:
            raise InputError(f"{where}.{key}: no such key{near(key, known)}")
    for key in needed:
        if key not in given:
            raise InputError(f"{where}.{key}: required, and not given")


def strip_cell(value: Any) -> Any:
    """Strip a text; None for null, NaN and an empty text. Bytes of UTF-8 are a text."""
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            value = value.decode()
    if isinstance(value, str):
        return value.strip() or None
    return None if isinstance(value, float) and math.isnan(value) else value


def cell(row: Mapping[str, Any], column: str, where: str) -> Any:
    """Look up a column, a nested one by dots; None where it is empty.

    Raises InputError for an unknown column.
    """
    value: Any = row
    for part in [column] if column in row else column.split("."):
        if value is None:  # a nested column that this row leaves out
            return None
        if not isinstance(value, Mapping) or part not in value:
            raise InputError(
                f"{where}: no column {column!r}; it has {', '.join(columns_of(row))} (data.columns maps them)"
            )
        value = value[part]
    return strip_cell(value)


def columns_of(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """List the columns of a row, nested ones by their dots."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from columns_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def text(row: Mapping[str, Any], column: str, where: str, number: int | None = None) -> str:
    """Look up a column as text, "" where it is empty. Raises InputError."""
    value = cell(row, column, where)
    if isinstance(value, list | tuple | dict | bytes):
        row_ = "" if number is None else f", row {number}"
        raise InputError(f"{where}{row_}: column {column!r} holds {value!r:.40}, one text wanted")
    return "" if value is None else str(value)


def label(value: Any) -> str:
    """Name a class. Raises ValueError for none or several.

    1 and 1.0 are the same, true and True, and the two ways of Unicode to write an accent.
    """
    value = strip_cell(value)
    if isinstance(value, list | tuple | dict | bytes):
        raise ValueError(f"{value!r:.40} stands where one class is wanted (several are for a multilabel task)")  # noqa: TRY004 - broken content
    whole = isinstance(value, float) and value.is_integer()
    name = normalize("NFC", str(int(value) if whole else value))
    if value is None or name.lower() == "nan":
        raise ValueError("no label")
    if name.lower() in ("true", "false"):
        return name.capitalize()
    return re.sub(r"^-0$", "0", re.sub(r"^(-?\d+)\.0+$", r"\1", name))


def answer(row: Mapping[str, Any], columns: Mapping[str, str | None], role: str, where: str) -> Any:
    """Look up a target; with columns.separator a text is cut into a list, an empty one into none.

    Raises InputError for an unknown column.
    """
    value, separator = cell(row, str(columns[role]), where), columns.get("separator")
    if separator and value is None:
        return []
    if separator and isinstance(value, str):
        return [part.strip() for part in value.split(separator) if part.strip()]
    return value


def table_files(name: str, sides: Sequence[str] = ()) -> list[Path]:
    """List the files of a table: one, or one per language of parallel texts.

    Raises InputError where there are none.
    """
    file = path_of(name)
    if file.is_file():
        return [file]
    parallel = [[Path(f"{file}.{side}{gz}") for side in sides] for gz in ("", ".gz")]
    existing = next((files for files in parallel if files and all(f.is_file() for f in files)), None)
    if not existing:
        raise InputError(f"no file {str(file)!r} (a setting under data. names it)")
    return existing


def rows(name: str, sides: Sequence[str] = ()) -> list[Row]:
    """Read a table. Raises InputError with file and line.

    sides: the two columns of parallel texts NAME.<side>, a row per line.
    """
    files = table_files(name, sides)
    if len(files) > 1:
        return _parallel(files, sides)
    (file,) = files
    kind = (file.suffix if file.suffix.lower() != ".gz" else Path(file.stem).suffix).lower()
    if kind not in SUFFIXES or (kind == ".parquet" and file.suffix.lower() != kind):
        raise InputError(
            f"{str(file)!r}: cannot read {kind or 'a file without a suffix'}; {', '.join(SUFFIXES)} can be, text also "
            f"as .gz; of parallel texts give the name before the languages: data.train=PAIR "
            f"data.columns.source=en data.columns.target=yo read PAIR.en and PAIR.yo"
        )
    try:
        if kind == ".parquet":
            return _parquet(file)
        content = content_of(file)
        return list(
            _json(content) if kind in (".json", ".jsonl") else _tsv(content) if kind == ".tsv" else _csv(content)
        )
    except (ValueError, csv.Error) as error:
        raise InputError(f"{str(file)!r} cannot be read as {kind[1:]}: {error}") from error


def content_of(file: Path) -> str:
    """Read a text file or one packed by gzip. Raises InputError."""
    try:
        content = file.read_bytes()
        packed = file.suffix.lower() == ".gz" or content.startswith(GZIP)
        content = gzip.decompress(content) if packed else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{str(file)!r} cannot be read: {error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        known = next((name for bom, name in BOMS.items() if content.startswith(bom)), None)
        known = known or ("CP1252" if re.search(rb"[\x80-\x9f]", content) else "LATIN1")
        raise InputError(_not_utf8(file, f"line {line} is no utf-8", known)) from error
    if "\0" in text:  # of ASCII letters UTF-16 is also UTF-8, with a null beside each
        line = text.partition("\0")[0].count("\n") + 1
        raise InputError(_not_utf8(file, f"line {line} holds a null character", "UTF-16"))
    return text


def _not_utf8(file: Path, reason: str, known: str) -> str:
    kind = (file.suffix if file.suffix.lower() != ".gz" else Path(file.stem).suffix).lower()[1:] or "text"
    return (
        f"{str(file)!r} cannot be read as {kind}: {reason}; if it is {known}, convert it: "
        f"iconv -f {known} -t UTF-8 OLD > NEW"
    )


def lines_of(content: str) -> list[str]:
    """Split at line ends, but not at the other separators of splitlines().

    A carriage return ends a line before a line feed, and where the text has no line feed.
    """
    content = content.replace("\r\n", "\n") if "\n" in content else content.replace("\r", "\n")
    lines = content.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _parallel(files: Sequence[Path], sides: Sequence[str]) -> list[Row]:
    columns = [lines_of(content_of(file)) for file in files]
    if len({len(lines) for lines in columns}) > 1:
        counted = ", ".join(f"{len(lines)} lines in {str(f)!r}" for f, lines in zip(files, columns, strict=True))
        raise InputError(f"parallel texts of unequal length: {counted}")
    return [dict(zip(sides, pair, strict=True)) for pair in zip(*columns, strict=True)]


def _parquet(file: Path) -> list[Row]:
    from pyarrow.parquet import ParquetFile, read_table

    _header(ParquetFile(file).schema_arrow.names)
    return read_table(file).to_pylist()


def _header(names: Sequence[str]) -> list[str]:
    """Strip the names of columns. Raises ValueError where two are equal."""
    names = [name.strip() for name in names]
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ValueError(f"the column {twice[0]!r} is twice in the header: give each a different name")
    return names


def _csv(content: str) -> Iterator[Row]:
    """Read cells as text, separated by commas, semicolons or tabs."""
    first = re.split("[\r\n]", content.lstrip("\r\n"), maxsplit=1)[0]
    unquoted = re.sub('"[^"]*"', "", first)
    table = csv.reader(io.StringIO(content, newline=""), delimiter=max(",;\t", key=unquoted.count), strict=True)
    begun = 0
    try:
        header = _header(next((cells for cells in table if cells), []))
        for cells in table:
            yield from _row(header, cells, table.line_num) if cells else ()
            begun = table.line_num
    except csv.Error as error:
        raise ValueError(f"line {begun + 1}: {error}") from error


def _tsv(content: str) -> Iterator[Row]:
    """Read a row per line; quotes are text, except those around cells as in CSV."""
    table = [line.split("\t") for line in lines_of(content)]
    begin = next((number for number, cells in enumerate(table) if cells != [""]), len(table))
    table = table[begin:]
    if not table:
        return
    quoted = [c for cells in table for c in cells if c.startswith('"')]
    fully_quoted = [c for c in quoted if re.fullmatch(r'"(?:[^"]|"")*"', c) and len(c) > 1]
    everywhere = all(c.startswith('"') for c in table[0])
    if len(fully_quoted) == len(quoted) and (everywhere or all('""' in c[1:-1] for c in fully_quoted)):
        table = [[c[1:-1].replace('""', '"') if c.startswith('"') else c for c in cells] for cells in table]
    header = _header(table[0])
    for number, cells in enumerate(table[1:], begin + 2):
        if cells != [""]:
            yield from _row(header, cells, number)


def _row(header: Sequence[str], cells: Sequence[str], line: int) -> Iterator[Row]:
    if len(cells) != len(header):
        raise ValueError(f"line {line} has {len(cells)} cells, the header has {len(header)}")
    yield dict(zip(header, cells, strict=True))


def _json(content: str) -> Iterator[Row]:
    """Read an object per line, or one array of objects; NaN becomes None."""
    if content.lstrip().startswith("["):
        objects = [(f"row {n}", row) for n, row in enumerate(_parsed(content, None), 1)]
    else:
        objects = [(f"line {n}", _parsed(line, n)) for n, line in enumerate(lines_of(content), 1) if line.strip()]
    halves = re.search(r"\\u[dD][89a-fA-F]", content)
    for where, row in objects:
        if not isinstance(row, dict):
            raise ValueError(f"{where}: an object wanted, in every line or as an element of one array")  # noqa: TRY004
        if halves and not _is_unicode(row):
            raise ValueError(f"{where}: holds half of a character, written as \\ud800 to \\udfff")
        yield row


def _is_unicode(row: Row) -> bool:
    """Say whether every text of a row can be written as UTF-8."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(content: str, line: int | None) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> Row:
        _header([name for name, _ in pairs])
        return dict(pairs)

    try:
        return json.loads(
            content, object_pairs_hook=once, parse_constant=lambda name: None if name == "NaN" else float(name)
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"line {line or error.lineno}: {error.msg}") from error
