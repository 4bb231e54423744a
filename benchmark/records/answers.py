"""Answers of a run, a row per test example, beside its record."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.errors import MalformedError
from benchmark.records.record import Record, strict

EXAMPLES = ".examples.jsonl.gz"
MOST = 1 << 30  # bytes of a record, or of the answers beside it once unpacked
BROKEN = (ValueError, TypeError, OverflowError, RecursionError)  # raised by files that are no records


def read_bytes(path: Path) -> bytes:
    """Read a file of a reasonable size. Raises MalformedError, or FileNotFoundError where there is nothing."""
    if not path.is_file():
        if os.path.lexists(path):
            raise MalformedError("a folder or a pipe, or a link to nothing")
        raise FileNotFoundError(path)
    if path.stat().st_size > MOST:
        raise MalformedError(f"{path.stat().st_size:,} bytes, of which nothing here writes more than {MOST:,}")
    return path.read_bytes()


def beside(path: Path) -> Path:
    """Name the file of the answers beside a record."""
    return path.with_suffix(EXAMPLES)


def rows_of(path: Path, record: Record) -> list[dict[str, Any]]:
    """Read the rows of a record's answers.

    Raises MalformedError where they are damaged or belong to another record.
    """
    file, digest = beside(path), record.data.get("answers_digest")
    try:
        with gzip.open(io.BytesIO(read_bytes(file))) as packed:
            content = packed.read(MOST + 1)
        if not file.stat().st_size or len(content) > MOST:
            raise MalformedError(f"empty, or of more than {MOST:,} bytes")
        rows = [json.loads(row, parse_constant=_no_number) for row in content.splitlines()]
    except FileNotFoundError:
        raise
    except (*BROKEN, OSError, EOFError, zlib.error) as error:
        raise MalformedError(f"{file}: the answers cannot be read ({error})") from error
    if digest is not None and digest != _digest(content):
        raise MalformedError(f"{file}: the answers do not match the record's digest: edited, or of another run")
    if not all(isinstance(row, dict) for row in rows):
        raise MalformedError(f"{file}: a row is no JSON object")
    return rows


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def answers_digest(rows: Iterable[dict[str, Any]]) -> str:
    """Compute the digest by which a record names its answers."""
    return _digest(_lines(rows))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by null, so that one bad answer does not lose a record."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(examples: Iterable[dict[str, Any]]) -> bytes:
    return "".join(strict(_finite(row)) + "\n" for row in examples).encode("utf-8", "surrogatepass")


def pack(examples: Iterable[dict[str, Any]]) -> bytes:
    return gzip.compress(_lines(examples), mtime=0)  # no time: same rows, same bytes
