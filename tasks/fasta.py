"""FASTA files: records of a name, KEY=value attributes, and a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import InputError
from tasks.common import Reading
from tasks.tables import content_of, lines_of


@dataclass(frozen=True)
class Entry:
    """Record of a FASTA file."""

    number: int  # in its file, from 1
    attributes: dict[str, str]
    text: str  # on one line
    conflict: str | None = None  # why it cannot be used


def read_by_name(file: Path, reading: Reading) -> dict[str, Entry]:
    """Read records by name; equal ones count once, different ones conflict."""
    records: dict[str, Entry] = {}
    repeated = 0
    for name, entry in read(file):
        known = records.setdefault(name, entry)
        if (known.attributes, known.text) != (entry.attributes, entry.text):
            reason = f"record {entry.number} has this name and another content: give each a different name"
            records[name] = replace(known, conflict=reason)
        repeated += known is not entry
    if repeated:
        reading.notes[f"repeated_records_in_{file.name}"] = repeated
    return records


def read(file: Path) -> Iterator[tuple[str, Entry]]:
    """Read records one by one. Raises InputError."""
    if not file.is_file():
        raise InputError(f"no file {str(file)!r} (data.files names files)")
    header, lines, count = "", [], 0
    content = lines_of(content_of(file))
    for number, line in enumerate([*content, ">"], 1):
        if not line.startswith(">"):
            lines.append(line.strip())
            if line.strip() and not header:
                raise InputError(f"{str(file)!r}, line {number}: a FASTA file begins with a header line (>name)")
            continue
        if header:
            first, *fields = header.split()
            count += 1
            attributes = dict(word.split("=", 1) for word in fields if "=" in word)
            yield first, Entry(count, attributes, "".join(lines))
        header, lines = line[1:].strip(), []
        if not header and number <= len(content):
            raise InputError(f"{str(file)!r}, line {number}: the record has no name (>name)")
