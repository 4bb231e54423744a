"""Runs as the page stores them: rows, groups and details."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchmark.records import MARK, UNTRAINED, YOURS, Record, floor_notes
from benchmark.records.configurations import Configuration, Run, weights
from benchmark.records.folders import PUBLISHED, RUNS
from benchmark.records.folds import fold_of
from benchmark.records.headline import FLOOR, below_floor
from benchmark.report.overrides import command

COLUMNS = [
    "run", "task", "method", "backbone", "weights", "budget", "phase", "trial", "seed", "status", "metric", "score",
    "marks", "trainable", "step (ms)", "memory (MB)", "records", "fold", "reason",
]  # fmt: skip


SHIPPED = "shipped"


class Shelf:
    """Names every run by its id.

    A second run with the same id, of another device or folder, gets a number.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = sorted(runs, key=_order)
        self.names: dict[int, str] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        count: Counter[str] = Counter()
        for _, record in self.runs:
            count[record.run_id] += 1
            number = count[record.run_id]
            self.names[id(record)] = record.run_id if number == 1 else f"{record.run_id}-{number}"

    def setting(self, one: Configuration, label: str, table: str) -> str:
        """Name a group of runs; the same runs have one name in all tables."""
        runs = [self.names[id(record)] for record in one.records]
        if not runs:
            return ""
        name = hashlib.sha256(json.dumps(sorted(runs)).encode("utf-8", "surrogatepass")).hexdigest()[:10]
        known = self.settings.setdefault(name, {"label": label, "tables": [], "runs": runs})
        known["tables"].append(table)
        return name

    def rows(self) -> list[list[Any]]:
        """Return a row per run; columns are COLUMNS."""
        return [[self.names[id(record)], *_row(source, record)] for source, record in self.runs]

    def details(self) -> dict[str, dict[str, Any]]:
        """Return everything recorded of each run, and the command to repeat it."""
        return {self.names[id(record)]: _detail(source, record) for source, record in self.runs}


def _order(run: Run) -> tuple[str, ...]:
    source, record = run
    return record.task, record.method, record.run_id, source, str(record.device)


def _row(source: str, record: Record) -> list[Any]:
    config = record.config
    metric = record.headline()
    split = "valid" if config.get("phase") == "tune" else "test"
    trained, step, memory = (
        record.value("cost", name) for name in ("trainable_params", "seconds_per_step", "peak_memory_bytes")
    )
    return [
        record.task,
        record.method,
        record.backbone,
        weights(record),
        str((config.get("budget") or {}).get("name") or ""),
        config.get("phase") or "final",
        config.get("trial") or 0,
        record.seed,
        record.status,
        f"{split} {metric}" if metric else "",
        rounded(record.value(split, metric or ""), 6),
        MARK * record.untrained + FLOOR * (metric in below_floor([record], split)),
        rounded(trained, 12),
        rounded(step and step * 1e3, 4),
        rounded(memory and memory / 1e6, 4),
        origin(source),
        "" if fold_of(record) is None else fold_of(record),
        record.reason or "; ".join([*[UNTRAINED] * record.untrained, *floor_notes(record, split)]),
    ]


def _detail(source: str, record: Record) -> dict[str, Any]:
    """Return everything recorded of a run; curves have six digits."""
    final, curves = [], {}
    for m in record.measurements:
        if m.step is None:
            final.append([m.split, m.name, rounded(m.value, 12)])
        else:
            curves.setdefault(f"{m.split} {m.name}", []).append([m.step, rounded(m.value, 6)])
    typed = command(record)
    return {
        "file": _file(source, record),
        "command": typed,
        "files": [name for name in sorted(set(_files(record.config))) if f"={name}" in typed],
        "created": record.created,
        "config": record.config,
        "data": record.data,
        "environment": record.environment,
        "signatures": record.signatures,
        "modules": record.modules,
        "final": final,
        "curves": curves,
    }


def origin(source: str) -> str:
    """Name where a record comes from: "yours" or "shipped"."""
    return source if source == YOURS else SHIPPED


def _file(source: str, record: Record) -> str:
    """Name the file that holds a record, below the results."""
    if source == YOURS:
        return f"{RUNS}/{record.task}/{record.method}/{record.run_id}.json"
    return f"{PUBLISHED}/{source}: {record.task}/{record.method}/{record.run_id}"


def _files(node: Any) -> Iterator[str]:
    if isinstance(node, dict) and node.keys() == {"name", "sha256"}:
        yield str(node["name"])
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _files(inner)


def rounded(value: float | None, digits: int) -> float | int | None:
    """Round to significant digits; a whole number stays one."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
