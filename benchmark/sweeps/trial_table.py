"""What became of each trial of a tuning sweep, and what it cost: python -m benchmark.status +sweep=tune --trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from benchmark.config.trials import ranking, spent, trial_of
from benchmark.records import Record

COLUMNS = ("task", "method", "trial", "drawn", "steps", "seconds", "what became of it")


def tried(groups: Sequence[Sequence[Record]]) -> Table:
    """Show the trials of each method, task and backbone, and what all of them cost."""
    drawn = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        drawn.add_column(name, justify="right" if name in ("steps", "seconds") else "left")
    for records in groups:
        for row in rows(records):
            drawn.add_row(*map(str, row))
    return drawn


def rows(records: Sequence[Record]) -> Iterator[tuple[Any, ...]]:
    """Tell of each trial of one method how it ended, then what all cost."""
    trials = {trial: [r for r in records if trial_of(r) == trial] for trial in sorted(set(map(trial_of, records)))}
    for trial, runs in trials.items():
        steps, seconds = (sum(part) for part in zip(*map(spent, runs), strict=True))
        yield runs[0].task, runs[0].method, trial, values(runs[0]), steps, f"{seconds:.0f}", fate(trial, records)
    steps, seconds = (sum(part) for part in zip(*map(spent, records), strict=True))
    yield records[0].task, records[0].method, "all", "", steps, f"{seconds:.0f}", f"{len(records)} runs"


def values(record: Record) -> str:
    """Write what a trial has for the knobs that are searched."""
    found = []
    for knob in record.config["method"].get("search") or {}:
        value: Any = record.config["method"]
        for part in knob.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found.append(f"{knob}={value:g}" if isinstance(value, float) else f"{knob}={value}")
    return " ".join(found)


def fate(trial: int, records: Sequence[Record]) -> str:
    """Say how far a trial went and how it stood there."""
    last = max(stop(r) for r in records if trial_of(r) == trial)
    there = [r for r in records if stop(r) == last]
    own = [r for r in there if trial_of(r) == trial]
    if failed := [r for r in own if r.status == "failed"]:
        return f"failed: {failed[0].reason}"
    runs = {t: [r for r in there if trial_of(r) == t] for t in map(trial_of, there)}
    order = dict(ranking(runs))
    place = [*order].index(trial) + 1
    how = f"valid loss {order[trial]:.4g}, {place} of {len(runs)}"
    if last < max(map(stop, records)):
        return f"dropped after step {last}: {how}"
    if last < records[0].config["budget"]["steps"]:
        return f"after step {last}: {how}"  # and nobody went on yet
    return f"chosen: {how}" if place == 1 else how


def stop(record: Record) -> int:
    """Give the step that a run was to end with."""
    return record.config.get("until") or record.config["budget"]["steps"]
