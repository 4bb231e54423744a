"""Three views that no column may mix: the author's defaults, equal tuning, equal size."""

from __future__ import annotations

import json

from benchmark.records import Record
from benchmark.report.frame import Run
from benchmark.trials import Unselected, select

DEFAULTS, TUNED, SIZED, CHOSEN = "", "tuned", "sized", "trials"  # the last: a trial that somebody named


def views(runs: list[Run]) -> dict[str, list[Run]]:
    """Sort final runs by view; tuning runs, scored on valid, stand in none.

    A default that tuning chose stands in two, where its task and budget have runs of other trials too.
    """
    tuning: dict[tuple[str, str], list[Record]] = {}
    for _, record in runs:
        if record.config.get("phase"):
            tuning.setdefault((record.task, record.method), []).append(record)
    made = {_grid(r) for _, r in runs if "selected" in r.data or (r.config.get("trial") and not r.config.get("phase"))}
    found: dict[str, list[Run]] = {}
    for run in runs:
        record = run[1]
        if not record.config.get("phase"):
            trials = tuning.get((record.task, record.method), []) if _grid(record) in made else []
            for view in _of(record, trials):
                found.setdefault(view, []).append(run)
    return found


def _grid(record: Record) -> tuple[str, str]:
    return record.task, json.dumps(record.config.get("budget"), sort_keys=True)


def _of(record: Record, tuning: list[Record]) -> list[str]:
    if record.config.get("size"):
        return [SIZED]
    trial = record.config.get("trial") or 0
    chosen = [TUNED] if _selected(record, tuning, trial) else []
    return chosen + ([DEFAULTS] if not trial else [] if chosen else [CHOSEN])


def _selected(record: Record, tuning: list[Record], trial: int) -> bool:
    """Whether the tuning records choose this trial; without them the record's own word counts."""
    if tuning and "budget" in record.config:
        try:
            return select(tuning, record.config, record.config["method"].get("search") or {}).trial == trial
        except Unselected:
            return False
    return "selected" in record.data
