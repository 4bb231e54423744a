"""Records as one tidy table: a row per run, a column per final measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.records import Record, Store

SOURCES = ("reference", "runs")  # folders of the results: shipped, and the user's own
KEYS = ["task", "backbone", "weights", "method", "seed", "source", "run_id", "device"]
COLUMNS = ["source", "task", "method", "backbone", "weights", "seed", "phase", "trial", "status", "reason", "metric"]
ORIGIN = ["fingerprint", "device", "commit", "run_id"]

Run = tuple[str, Record]  # where it was found, what it is


def load(results: Path) -> list[Run]:
    """Read every current record, shipped ones first."""
    return [(source, record) for source in SOURCES for record in Store(results / source, read_only=True).records()]


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Put runs into rows, in an order that depends on nothing but their content."""
    measured = sorted({f"{m.split}.{m.name}" for _, record in runs for m in record.measurements if m.step is None})
    table = pd.DataFrame([_row(*run) for run in runs], columns=[*COLUMNS, *measured, *ORIGIN])
    return table.sort_values(KEYS, ignore_index=True, na_position="first")


def measurements(runs: list[Run]) -> pd.DataFrame:
    """Put every measurement into a row; one without a step is final."""
    rows = [[*_origin(*run), *m] for run in runs for m in run[1].measurements]
    table = pd.DataFrame(rows, columns=[*KEYS, "phase", "trial", "split", "name", "value", "step"])
    table["step"] = table["step"].astype("Int64")
    return table.sort_values([*KEYS, "split", "name", "step"], ignore_index=True, na_position="first")


def _origin(source: str, record: Record) -> list[Any]:
    row = _row(source, record)
    return [row[key] for key in (*KEYS, "phase", "trial")]


def weights(record: Record) -> str:
    """Name the weights a backbone started from; a local checkpoint is recorded by name and content."""
    chosen = (record.config.get("backbone") or {}).get("weights")
    return str(chosen["name"] if isinstance(chosen, dict) else chosen or "")


def write(table: pd.DataFrame, path: Path) -> None:
    """Write comma-separated values: counts exactly, other numbers with six significant digits."""
    shown = table.copy()
    for column in table.columns.difference([*COLUMNS, *ORIGIN]):
        shown[column] = [_shown(value) for value in table[column]]
    shown.to_csv(path, index=False, lineterminator="\n", errors="backslashreplace")


def _shown(value: float) -> str:
    if pd.isna(value):
        return ""
    return str(int(value)) if float(value).is_integer() else str(float(f"{value:.6g}"))


def _row(source: str, record: Record) -> dict[str, Any]:
    final = {f"{m.split}.{m.name}": m.value for m in record.measurements if m.step is None}
    return final | {
        "source": source,
        "task": record.task,
        "method": record.method,
        "backbone": record.backbone,
        "weights": weights(record),
        "seed": record.seed,
        "phase": record.config.get("phase") or "final",
        "trial": record.config.get("trial") or 0,
        "status": record.status,
        "reason": record.reason,
        "metric": record.data.get("metric"),
        "fingerprint": record.data.get("fingerprint"),
        "device": record.device,
        "commit": record.environment.get("commit"),
        "run_id": record.run_id,
    }
