"""The overrides of a record: those of the command that made it."""

from __future__ import annotations

import shlex

from benchmark.config.registry import defaults
from benchmark.records import Record

SCALARS = ("phase", "trial", "until", "fraction", "seed_sample", "seed_init", "seed_order", "size", "size_of")
SEEDS = ("seed=", "seed_", "fold=")


def command(record: Record) -> str:
    """Write the command of a record; it names files without their folders."""
    return shlex.join(["python", "-m", "benchmark.run", *overrides(record)])


def setting(record: Record) -> list[str]:
    """List the overrides that all seeds of a record's configuration share, with all folds that it has.

    A trial that tuning chose is asked for as such, since each fold may have another.
    """
    folds = ",".join(map(str, range(record.config.get("folds") or 0)))
    shared = [override for override in overrides(record) if not override.startswith(SEEDS)]
    if not folds:
        return shared
    if "selected" in record.data:
        shared = [*(override for override in shared if not override.startswith("trial=")), "trial=selected"]
    return [*shared, f"fold={folds}"]


def overrides(record: Record) -> list[str]:
    """List the overrides that compose a record's cell."""
    return record.overrides or _first_overrides(record)


def _first_overrides(record: Record) -> list[str]:
    """Derive the overrides of records made before records stored them.

    These chose names and scalars alone.
    """
    values = {
        "backbone": (record.backbone, defaults(record.task)["backbone"]),
        "budget": (record.budget_name or "standard", "standard"),
        "seed": (record.seed, 0),
        **{key: (record.config.get(key), None) for key in SCALARS},
    }
    chosen = [f"{key}={value}" for key, (value, default) in values.items() if value != default]
    return [f"method={record.method}", f"task={record.task}", *chosen]
