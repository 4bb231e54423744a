"""Progress of a sweep: python -m benchmark.status +sweep=S [--missing|--trials]."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmark.command import end
from benchmark.config.halving import rung_of
from benchmark.errors import InputError
from benchmark.records import Record
from benchmark.sweeps.estimate import by_method, duration, expected
from benchmark.sweeps.exit_status import exit_status
from benchmark.sweeps.grid import Records, Sweep, compose_and_cache, expand, find_record, missing_below
from benchmark.sweeps.lease import LEASE_SECONDS, Lease
from benchmark.sweeps.override_cache import OverrideCache
from benchmark.sweeps.trial_table import trial_table

STATES = ("done", "skipped", "failed", "running", "missing")
MISSING, TRIALS = "--missing", "--trials"
USAGE = """usage: python -m benchmark.status +sweep=S [any override of the sweep] [--missing|--trials]

Counts the cells of a sweep by task: done, skipped, failed, running, missing, and the time that is left.
--missing prints the overrides of each missing cell; --trials lists the trials of tuning and how each ended.
In a terminal the table is renewed until nothing is running. The exit status is 0 where nothing is left to do."""
REFRESH = 5.0  # seconds from one count to the next, in a terminal


@dataclass(frozen=True)
class State:
    """State of one cell."""

    overrides: tuple[str, ...]
    task: str
    method: str
    state: str
    record: Record | None = None
    note: str | None = None  # why it failed, or cannot be composed

    @property
    def row(self) -> str:
        """Name of the row that counts it: the task, and the rung of tuning."""
        rung = rung_of(self.overrides)
        return self.task if rung is None else f"{self.task} rung {rung}"


def main(arguments: list[str]) -> int:
    """Show once, or in a terminal until nothing is running.

    Returns 0 where nothing is left to do.
    """
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    overrides = [word for word in arguments if word not in (MISSING, TRIALS)]
    cells: list[State] = []
    statuses = [0]
    with exit_status(overrides, statuses):
        grid = expand(overrides)
        cells = states(grid)
        if MISSING in arguments:
            print_missing(grid, cells)
        elif TRIALS in arguments:
            records = tuning_records(cells)
            shown = trial_table(records) if records else "no trial of this sweep is recorded"
            Console(width=max(160, Console().width)).print(shown)
        elif sys.stdout.isatty():
            cells = live(grid)
        else:
            Console(width=120).print(table(cells))
            for line in notes(cells):
                print(line)
    return max(statuses) or int(any(cell.state not in ("done", "skipped") for cell in cells))


def states(grid: Sweep) -> list[State]:
    """Look up every cell of a sweep; cells that the cache lacks are composed."""
    results = Path(grid.option("results", "results"))
    cache = OverrideCache(results, stores=(results / "runs").is_dir())  # a look creates no folder
    records = Records(results, grid.device())
    return [state(overrides, results, cache, records) for overrides in grid.cells]


def state(overrides: tuple[str, ...], results: Path, cache: OverrideCache, records: Records) -> State:
    """Look up one cell."""
    chosen = dict(override.split("=", 1) for override in overrides if "=" in override)
    if missing_below(overrides, cache, records):
        return State(overrides, chosen["task"], chosen["method"], "missing")
    entry = cache.get(overrides)
    if entry is None or (entry.tuned is not None and find_record(overrides, cache, records) is None):
        try:
            entry = compose_and_cache(overrides, results, cache, records)[1]
        except InputError as error:
            return State(overrides, chosen["task"], chosen["method"], "missing", note=str(error))
    record = records.of(entry)
    if record:
        return State(overrides, entry.task, entry.method, record.status, record, record.reason)
    running = is_running(Lease(results / "runs" / entry.task / entry.method, entry.training))
    return State(overrides, entry.task, entry.method, "running" if running else "missing")


def is_running(lease: Lease) -> bool:
    """Say whether a process holds the cell's lease, by its last heartbeat."""
    try:
        return time.time() - lease.file.stat().st_mtime < LEASE_SECONDS
    except FileNotFoundError:
        return False


def table(cells: Sequence[State]) -> Table:
    """Count by task and state, and estimate the time that is left."""
    counted = Table(box=None, pad_edge=False)
    counted.add_column("task", no_wrap=True)
    for name in (*STATES, "left"):
        counted.add_column(name, justify="right")
    rows = list(dict.fromkeys(cell.row for cell in cells))
    for row in [*rows, *(["all"] if len(rows) > 1 else [])]:
        part = [cell for cell in cells if row in (cell.row, "all")]
        counts = Counter(cell.state for cell in part)
        counted.add_row(row, *(str(counts[name]) for name in STATES), left(part, cells))
    return counted


def left(part: Sequence[State], cells: Sequence[State]) -> str:
    """Estimate the time of the missing cells in one process, by the records."""
    waiting = [cell for cell in part if cell.state in ("missing", "running")]
    if not waiting:
        return "-"
    speeds = by_method(cell.record for cell in cells if cell.record and cell.record.status == "done")
    return duration(sum(expected(cell.task, cell.method, speeds) for cell in waiting)) if speeds else "unknown"


def tuning_records(cells: Sequence[State]) -> list[list[Record]]:
    """Gather the tuning records of each method on each task and backbone."""
    groups: dict[tuple[str, ...], dict[str, Record]] = {}
    for cell in cells:
        if cell.record and cell.record.tuning and cell.record.status != "skipped":
            common = (o for o in cell.overrides if o.partition("=")[0] not in ("rung", "place", "trial", "seed"))
            groups.setdefault(tuple(common), {})[cell.record.run_id] = cell.record
    return [list(records.values()) for records in groups.values()]


def notes(cells: Sequence[State]) -> Iterator[str]:
    """Yield a line per cell that failed or cannot be composed, with the reason."""
    for cell in cells:
        if cell.note and cell.state in ("failed", "missing"):
            yield f"{cell.state}: {shlex.join(cell.overrides)}: {cell.note}"


def print_missing(grid: Sweep, cells: Sequence[State]) -> None:
    """Print the overrides of each missing cell that is not running, one a line."""
    for cell in cells:
        if cell.state == "missing":
            print(shlex.join([*cell.overrides, *grid.options]))


def live(grid: Sweep) -> list[State]:
    """Renew the table until no cell is running."""
    with Live(refresh_per_second=1) as view:
        while True:
            cells = states(grid)
            view.update(table(cells))
            if not any(cell.state == "running" for cell in cells):
                break
            time.sleep(REFRESH)
    for line in notes(cells):
        print(line)
    return cells


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
