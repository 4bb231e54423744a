"""Numbers of others, each with its source; never mixed with records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.report import facts

FOLDER = "quoted"  # of the results: one YAML per study by hand, imported/ by benchmark.importer
PROVENANCES = ("quoted", "derived")  # the second: computed from numbers that are quoted, or read off a plot
STATUSES = ("done", "failed", "cancelled")
MERGED = ("costs", "settings")  # a row adds to those that its file shares


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """One number of others; costs have the names and units of measurements."""

    study: str
    source: str  # paper or repository, with its version
    where: str  # table, section or file
    task: str
    method: str
    backbone: str
    metric: str
    value: float | None = None  # none where the run gave no number
    unit: str = ""
    trainable_params: int | None = None
    costs: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: str
    comparable: bool
    why: str  # it is, or is not, comparable with our runs
    status: str = "done"
    reason: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("provenance", PROVENANCES), ("status", STATUSES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)} is none of {', '.join(known)}")
        if empty := [name for name in ("study", "source", "where", "why") if not getattr(self, name).strip()]:
            raise ValueError(f"{', '.join(empty)} says nothing")
        if self.value is None and self.status == "done":
            raise ValueError("value is missing; status failed or cancelled may go without")
        if negative := [
            n for n, cost in {"trainable_params": self.trainable_params or 0, **self.costs}.items() if cost < 0
        ]:
            raise ValueError(f"{', '.join(negative)} is negative")


def load(results: Path) -> list[Quoted]:
    """Read every quoted result, those by hand first. Raises MalformedError."""
    folder = Path(results) / FOLDER
    files = [*sorted(folder.glob("*.yaml")), *sorted((folder / "imported").rglob("*.json"))]
    return [one for path in files for one in read(path)]


def read(path: Path) -> list[Quoted]:
    """Read one file: fields that its rows share, then rows. Raises MalformedError."""
    return quote(path, facts.read(path))


def quote(path: Path, content: dict[str, Any]) -> list[Quoted]:
    """Read the content of one file. Raises MalformedError."""
    rows = facts.rows(path, content, "rows")
    shared = {key: value for key, value in content.items() if key != "rows"}
    return [facts.make(Quoted, _merged(shared, row), f"{path}, row {n}") for n, row in enumerate(rows, 1)]


def _merged(shared: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    both = [key for key in MERGED if isinstance(shared.get(key), dict) and isinstance(row.get(key), dict)]
    return shared | row | {key: shared[key] | row[key] for key in both}
