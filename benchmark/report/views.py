"""The views of results, which never mix: defaults, tuned, equal size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmark.config.trials import select
from benchmark.errors import NoSelectionError
from benchmark.records import Record
from benchmark.records.configurations import TUNED, WRITE, Run

DEFAULTS, SIZED, CHOSEN = "", "sized", "trials"  # the last: a trial that somebody named
IN_WORDS = {TUNED: "tuned settings", SIZED: "equal size", CHOSEN: "named trials"}
MEASURING = "cost"  # the budget whose runs are made to measure costs: their scores mean nothing, nor do views
TUNED_FOR = ("task", "backbone", "budget", "fraction", "fold", "folds")  # choices that a selected trial belongs to


def views(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Sort final runs by view; tuning runs, scored on validation, stand in none.

    A default that tuning chose stands in two, where its task and budget have runs of other trials too.
    """
    tuning: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for _, record in runs:
        if record.config.get("phase"):
            tuning[record.task, record.method].append(record)
    made = {_grid(r) for _, r in runs if "selected" in r.data or (r.config.get("trial") and not r.config.get("phase"))}
    sorted_: dict[str, list[Run]] = defaultdict(list)
    chosen: dict[str, int | None] = {}
    for run in runs:
        record = run[1]
        if record.config.get("phase"):
            continue
        tuned = budget(record) != MEASURING and _grid(record) in made
        if budget(record) == MEASURING:
            names = [DEFAULTS]
        elif tuned and record.status == "skipped" and not record.config.get("size"):
            names = [DEFAULTS, TUNED]  # what cannot run has nothing to tune: it is skipped in both views
        else:
            names = _views(record, tuning[record.task, record.method] if tuned else [], chosen)
        for view in names:
            sorted_[view].append(run)
    return sorted_


def budget(record: Record) -> str:
    """Name the budget of a run."""
    return str((record.config.get("budget") or {}).get("name") or "")


def budget_text(name: str) -> str:
    """Write a budget with its view in words: "budget reference, tuned settings"."""
    budget, _, view = name.rpartition("_") if "_" in name else ("", "", name)
    if name == MEASURING:
        return "budget cost"
    if view not in IN_WORDS:
        return f"budget {name}, default settings" if name else "default settings"
    return ", ".join(filter(None, (f"budget {budget}" * bool(budget), IN_WORDS[view])))


def _grid(record: Record) -> tuple[str, str]:
    return record.task, WRITE(record.choices.get("budget"))


def _views(record: Record, tuning: Sequence[Record], known: dict[str, int | None]) -> list[str]:
    if record.config.get("size"):
        return [SIZED]
    trial = record.config.get("trial") or 0
    # without tuning records what the record says of its selection counts
    by_tuning = tuning and "budget" in record.config
    tuned = _selected(record, tuning, known) == trial if by_tuning else "selected" in record.data
    chosen = [TUNED] if tuned else []
    return chosen + ([DEFAULTS] if not trial else [] if chosen else [CHOSEN])


def _selected(record: Record, tuning: Sequence[Record], known: dict[str, int | None]) -> int | None:
    """Return the trial that the tuning records select; cached in known."""
    config = record.config
    method = config.get("method") or {}
    search = method.get("search") or {}
    fixed = {key: value for key, value in method.items() if key not in search}
    cell = [record.task, record.method, fixed, *map(config.get, TUNED_FOR)]
    name = WRITE(cell)
    if name not in known:
        try:
            known[name] = select(tuning, config, search).trial
        except NoSelectionError:
            known[name] = None
    return known[name]
