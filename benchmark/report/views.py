"""Three views that no column may mix: the author's defaults, equal tuning, equal size."""

from __future__ import annotations

from benchmark.records import Record
from benchmark.report.frame import Run
from benchmark.trials import Unselected, select

DEFAULTS, TUNED, SIZED, CHOSEN = "", "tuned", "sized", "trials"  # the last: a trial that somebody named


def views(runs: list[Run]) -> dict[str, list[Run]]:
    """Sort final runs by view. A default that tuning chose stands in two; tuning runs, scored on valid, in none."""
    tuning: dict[tuple[str, str], list[Record]] = {}
    for _, record in runs:
        if record.config.get("phase"):
            tuning.setdefault((record.task, record.method), []).append(record)
    found: dict[str, list[Run]] = {}
    for run in runs:
        record = run[1]
        if not record.config.get("phase"):
            for view in _of(record, tuning.get((record.task, record.method), [])):
                found.setdefault(view, []).append(run)
    return found


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
