"""Records as one tidy table: a row per run, a column per final measurement."""

from __future__ import annotations

import gc
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.records import Measurement, Record, Store

SOURCES = ("reference", "runs")  # folders of the results: shipped, and the user's own
KEYS = ["task", "backbone", "weights", "method", "seed", "source", "run_id", "device"]
COLUMNS = ["source", "task", "method", "backbone", "weights", "seed", "phase", "trial", "status", "reason", "metric"]
ORIGIN = ["fingerprint", "device", "commit", "run_id"]

Run = tuple[str, Record]  # where it was found, what it is


def load(results: Path) -> list[Run]:
    """Read every current record, shipped ones first."""
    collects = gc.isenabled()
    gc.disable()  # to look for garbage among what stays takes longer than to read it
    try:
        return [(source, record) for source in SOURCES for record in Store(results / source, read_only=True).records()]
    finally:
        if collects:
            gc.enable()


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Put runs into rows, in an order that depends on nothing but their content."""
    rows = [_row(*run) for run in runs]
    measured = sorted(set().union(*rows) - {*COLUMNS, *ORIGIN})
    table = pd.DataFrame({name: [row.get(name) for row in rows] for name in [*COLUMNS, *measured, *ORIGIN]})
    return table.sort_values(KEYS, ignore_index=True, na_position="first")


def measurements(runs: list[Run]) -> pd.DataFrame:
    """Put every measurement into a row; one without a step is final."""
    columns = [*KEYS, "phase", "trial"]
    origins = pd.DataFrame([[_about(*run)[key] for key in columns] for run in runs], columns=columns)
    order = origins.sort_values(KEYS, na_position="first").index
    found = [sorted(runs[place][1].measurements, key=_by_step) for place in order]
    table = origins.loc[order.repeat([len(rows) for rows in found])].reset_index(drop=True)
    for place, name in enumerate(Measurement._fields):
        table[name] = list(map(itemgetter(place), chain.from_iterable(found)))
    table["step"] = table["step"].astype("Int64")
    return table


def _by_step(m: Measurement) -> tuple[str, str, int]:
    return m.split, m.name, -1 if m.step is None else m.step


def weights(record: Record) -> str:
    """Name the weights a backbone started from; a local checkpoint is recorded by name and content."""
    chosen = (record.config.get("backbone") or {}).get("weights")
    return str(chosen["name"] if isinstance(chosen, dict) else chosen or "")


def write(table: pd.DataFrame, path: Path) -> None:
    """Write comma-separated values: counts exactly, other numbers with six significant digits."""
    shown = table.copy()
    for column in table.columns.difference([*COLUMNS, *ORIGIN]):
        shown[column] = [_shown(value) for value in table[column].tolist()]
    shown.to_csv(path, index=False, lineterminator="\n", errors="backslashreplace")


def _shown(value: float) -> str:
    if value != value:
        return ""
    return str(int(value)) if float(value).is_integer() else str(float(f"{value:.6g}"))


def _row(source: str, record: Record) -> dict[str, Any]:
    return {f"{split}.{name}": value for (split, name), value in record.finals.items()} | _about(source, record)


def _about(source: str, record: Record) -> dict[str, Any]:
    return {
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
