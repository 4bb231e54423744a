"""Records as one tidy table: a row per run, a column per final measurement."""

from __future__ import annotations

import contextlib
import gc
import sys
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.records import Record, sources
from benchmark.records.configurations import Run, weights
from benchmark.records.folds import fold_of
from benchmark.records.headline import agreed
from benchmark.records.shape import escaped

KEYS = ["task", "backbone", "weights", "method", "seed", "source", "run_id", "device"]
COLUMNS = ["source", "task", "method", "backbone", "weights", "seed", "fold", "phase", "trial", "status", "reason"]
COLUMNS += ["metric"]
ORIGIN = ["fingerprint", "device", "commit", "run_id"]


def load(results: Path, headline: str | None = None) -> list[Run]:
    """Read every current record once, published ones first, with one headline per task.

    Raises InputError for a headline that no record has.
    """
    runs: list[Run] = []
    known: dict[tuple[str | None, ...], Record] = {}
    with keeping():
        for source, store in sources(results).items():
            for record in store.records():
                key = record.task, record.method, record.run_id, record.device, record.created
                first = known.setdefault(key, record)
                if first is record or first != record:  # runs that were published stay where they were made
                    runs.append((source, record))
    shown, said = agreed(runs, headline)
    for text in said:
        warnings.warn(text, stacklevel=2)
    return shown


def load_and_warn(results: Path, headline: str | None = None) -> list[Run]:
    """Read every current record, and print what is left out and why."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        runs = load(results, headline)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return runs


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Switch the garbage collector off while many lasting objects are made."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Put runs into rows, ordered by content; the index is that of the run."""
    table = pd.DataFrame([_row(*run) for run in runs])
    measured = sorted(set(table.columns) - {*COLUMNS, *ORIGIN})
    return table[[*COLUMNS, *measured, *ORIGIN]].sort_values(KEYS, na_position="first")


def measurements(runs: list[Run], table: pd.DataFrame) -> pd.DataFrame:
    """Put every measurement into a row; a final one has no step."""
    origins = table[[*KEYS, "phase", "trial"]]
    measured = [runs[index][1].measurements for index in table.index]
    lengths = [len(rows) for rows in measured]
    # texts are repeated as categories: there are few of them, and millions of rows
    coded = {
        name: column.array if column.dtype.kind in "iu" else pd.Categorical(column) for name, column in origins.items()
    }
    long = pd.DataFrame({name: column.repeat(lengths) for name, column in coded.items()}, copy=False)
    rows = list(chain.from_iterable(measured))
    long["split"], long["name"] = (_coded([m[index] for m in rows]) for index in (0, 1))
    long["value"] = np.fromiter((m[2] for m in rows), float, len(rows))
    steps = np.fromiter((-1 if m[3] is None else m[3] for m in rows), int, len(rows))
    long["step"] = pd.arrays.IntegerArray(steps, steps < 0)
    return long


def _coded(texts: list[str]) -> pd.Categorical:
    """Make a categorical column of a few texts that repeat.

    Given codes, pandas does not compare every text.
    """
    known = sorted(set(texts))
    codes = {text: number for number, text in enumerate(known)}
    return pd.Categorical.from_codes(np.fromiter(map(codes.__getitem__, texts), int, len(texts)), known)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write CSV: exact counts, other numbers with six significant digits."""
    shown = table.copy()
    for column in table.columns.difference([*COLUMNS, *ORIGIN]):
        shown[column] = [_shown(value) for value in table[column].tolist()]
    shown.to_csv(path, index=False, lineterminator="\n", errors="backslashreplace")


def _shown(value: float) -> str:
    if value != value:
        return ""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def _row(source: str, record: Record) -> dict[str, Any]:
    texts = {
        "reason": record.reason,
        "fingerprint": record.data.get("fingerprint"),
        "commit": record.environment.get("commit"),
    }
    return {f"{split}.{name}": value for (split, name), value in record.finals.items()} | {
        "source": source,
        "task": record.task,
        "method": record.method,
        "backbone": record.backbone,
        "weights": weights(record),
        "seed": record.seed,
        "fold": "" if fold_of(record) is None else str(fold_of(record)),
        "phase": record.config.get("phase") or "final",
        "trial": record.config.get("trial") or 0,
        "status": record.status,
        "metric": record.headline(),
        "device": record.device,
        "run_id": record.run_id,
        **{name: text and escaped(text) for name, text in texts.items()},
    }
