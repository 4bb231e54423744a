"""Table of tuning trials for python -m benchmark.status +sweep=tune --trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from benchmark.config.trials import cost_of, ranking
from benchmark.records import Record

COLUMNS = ("task", "method", "trial", "values", "steps", "seconds", "how it ended")


def trial_table(groups: Sequence[Sequence[Record]]) -> Table:
    """Make the table of trials per method, task and backbone, with their total cost."""
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("steps", "seconds") else "left")
    for records in groups:
        for row in rows(records):
            table.add_row(*map(str, row))
    return table


def rows(records: Sequence[Record]) -> Iterator[tuple[Any, ...]]:
    """Give a row per trial of one method, then one for all of them."""
    trials = {trial: [r for r in records if r.trial == trial] for trial in sorted({r.trial for r in records})}
    for trial, runs in trials.items():
        steps, seconds = (sum(part) for part in zip(*map(cost_of, runs), strict=True))
        yield runs[0].task, runs[0].method, trial, knobs(runs[0]), steps, f"{seconds:.0f}", ending(trial, records)
    steps, seconds = (sum(part) for part in zip(*map(cost_of, records), strict=True))
    yield records[0].task, records[0].method, "all", "", steps, f"{seconds:.0f}", f"{len(records)} runs"


def knobs(record: Record) -> str:
    """Write a trial's values of the tuned knobs."""
    values = []
    method = record.config.get("method") or {}
    for knob in method.get("search") or {}:
        value: Any = method
        for part in knob.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values.append(f"{knob}={value:g}" if isinstance(value, float) else f"{knob}={value}")
    return " ".join(values)


def ending(trial: int, records: Sequence[Record]) -> str:
    """Write the last step of a trial, and its rank there."""
    last = max(stop(r) for r in records if r.trial == trial)
    rivals = [r for r in records if stop(r) == last]
    failed = [r for r in rivals if r.trial == trial and r.status == "failed"]
    if failed:
        return f"failed: {failed[0].reason}"
    order = dict(ranking({t: [r for r in rivals if r.trial == t] for t in (r.trial for r in rivals)}))
    if trial not in order:
        return "no validation loss"
    rank, many = [*order].index(trial) + 1, len({r.trial for r in rivals})
    how = f"valid loss {order[trial]:.4g}, {rank} of {many}"
    if last < max(map(stop, records)):
        return f"dropped after step {last}: {how}"
    if last < _steps(records[0]):
        return f"after step {last}: {how}"
    return f"chosen: {how}" if rank == 1 else how


def stop(record: Record) -> int:
    """Give the last step of a run."""
    return record.config.get("until") or _steps(record)


def _steps(record: Record) -> int:
    return (record.config.get("budget") or {}).get("steps") or 0
