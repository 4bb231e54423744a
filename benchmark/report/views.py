"""Three views that no column may mix: the author's defaults, equal tuning, equal size."""

from __future__ import annotations

import json

from benchmark.config.trials import select
from benchmark.errors import NoSelectionError
from benchmark.records import Record
from benchmark.report.frame import Run

WRITE = json.JSONEncoder(sort_keys=True).encode  # json.dumps makes such a thing anew for each value
DEFAULTS, TUNED, SIZED, CHOSEN = "", "tuned", "sized", "trials"  # the last: a trial that somebody named
MEASURING = "cost"  # the budget whose runs are made to measure costs: their scores mean nothing, nor do views


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
    chosen: dict[str, int | None] = {}
    for run in runs:
        record = run[1]
        if not record.config.get("phase"):
            if budget(record) == MEASURING:
                found.setdefault(DEFAULTS, []).append(run)
                continue
            tuned = _grid(record) in made
            trials = tuning.get((record.task, record.method), []) if tuned else []
            # what cannot run has nothing to tune: skipped in the one view, skipped in the other
            both = tuned and record.status == "skipped" and not record.config.get("size")
            for view in (DEFAULTS, TUNED) if both else _of(record, trials, chosen):
                found.setdefault(view, []).append(run)
    return found


def budget(record: Record) -> str:
    """Name the budget a run was given."""
    return str((record.config.get("budget") or {}).get("name") or "")


def _grid(record: Record) -> tuple[str, str]:
    return record.task, WRITE(record.choices.get("budget"))


def _of(record: Record, tuning: list[Record], known: dict[str, int | None]) -> list[str]:
    if record.config.get("size"):
        return [SIZED]
    trial = record.config.get("trial") or 0
    # without tuning records the record's own word counts
    tuned = (
        _chosen(record, tuning, known) == trial if tuning and "budget" in record.config else "selected" in record.data
    )
    chosen = [TUNED] if tuned else []
    return chosen + ([DEFAULTS] if not trial else [] if chosen else [CHOSEN])


def _chosen(record: Record, tuning: list[Record], known: dict[str, int | None]) -> int | None:
    """Say which trial the tuning records choose; what differs in seed and trial alone is asked once."""
    config = record.config
    search = config["method"].get("search") or {}
    kept = {key: value for key, value in config["method"].items() if key not in search}
    place = [record.task, record.method, kept, *(config.get(key) for key in ("task", "backbone", "budget", "fraction"))]
    name = WRITE(place)
    if name not in known:
        try:
            known[name] = select(tuning, config, search).trial
        except NoSelectionError:
            known[name] = None
    return known[name]
