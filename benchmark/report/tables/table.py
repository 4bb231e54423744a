"""A table of texts, before any markup."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from benchmark.records.configurations import Configuration

ABSENT = "–"


@dataclass
class Table:
    """Cells as text, a legend, and notes that cells refer to by a mark."""

    name: str  # of its files
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    legend: str = ""
    names: int = 3  # columns that hold names, the others hold numbers

    def note(self, text: str) -> str:
        """Return the mark of a note; the same text gets the same mark."""
        short = " ".join(text.split())
        short = short if len(short) <= 200 else short[:199] + "…"
        if short not in self.notes:
            self.notes.append(short)
        return f"({mark(self.notes.index(short))})"

    def marked(self) -> list[str]:
        """List the notes as they stand below the table."""
        return [f"({mark(i)}) {text}" for i, text in enumerate(self.notes)]


def mark(index: int) -> str:
    """Return the mark of a note: a, b, ... z, aa, ab, ..."""
    return (mark(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)


def label(one: Configuration, table: Table) -> str:
    """Name a method, and what distinguishes it from others of its table."""
    if not one.differences:
        return one.method
    shown = ", ".join(one.differences)
    return f"{one.method} {table.note(shown) if len(one.differences) > 2 else f'({shown})'}"


def states(one: Configuration) -> str:
    """Write how the runs of a configuration ended."""
    return " or ".join(sorted({record.status for record in one.records}))


def reasons(one: Configuration) -> list[str]:
    """List why runs gave no number, each reason once."""
    return list(
        dict.fromkeys(f"{r.status}: {r.reason or 'no reason given'}" for r in one.records if r.status != "done")
    )


def significant(value: float, digits: int = 3) -> str:
    """Round to significant digits, never to fewer than the whole number has."""
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(decimals, 0)}f}"
