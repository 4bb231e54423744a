"""How far a sweep is: python -m benchmark.status +sweep=S [any word of the sweep] [--missing|--trials]."""

from __future__ import annotations

import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmark.config.halving import number
from benchmark.config.trials import spent
from benchmark.errors import InputError
from benchmark.records import Record
from benchmark.sweeps.exit_status import status_of
from benchmark.sweeps.grid import Records, Sweep, expand, known_as, recorded, waited_for
from benchmark.sweeps.lease import LEASE_SECONDS, Claim
from benchmark.sweeps.override_cache import Ledger
from benchmark.sweeps.trial_table import tried

STATES = ("done", "skipped", "failed", "running", "missing")
MISSING, TRIALS = "--missing", "--trials"
UNITS = ((5400, 3600, 1, "h"), (90, 60, 0, "min"), (0, 1, 0, "s"))  # from so many seconds on; length, digits, name
USAGE = """usage: python -m benchmark.status +sweep=S [any override of the sweep] [--missing|--trials]

Counts the cells of a sweep by task: done, skipped, failed, running, missing, and the time that is left.
--missing prints the overrides of each missing cell; --trials shows what tuning tried, and how long it took.
In a terminal the table is renewed until nothing is running. The exit status is 0 where nothing is left to do."""
REFRESH = 5.0  # seconds between looks, in a terminal


@dataclass(frozen=True)
class State:
    """What is known of one cell."""

    words: tuple[str, ...]
    task: str
    method: str
    state: str
    record: Record | None = None
    note: str | None = None  # why it failed, or cannot be composed

    @property
    def row(self) -> str:
        """Name what it is counted with: its task, and the rung of tuning."""
        rung = number(self.words)
        return self.task if rung is None else f"{self.task} rung {rung}"


def main(arguments: list[str]) -> int:
    """Show once, or in a terminal until nothing is running; the exit status is 0 where nothing is left to do."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    words = [word for word in arguments if word not in (MISSING, TRIALS)]
    found: list[State] = []

    def work() -> None:
        grid = expand(words)
        found.extend(states(grid))
        if MISSING in arguments:
            print_missing(grid, found)
        elif TRIALS in arguments:
            Console(width=max(160, Console().width)).print(tried(of_tuning(found)))
        elif sys.stdout.isatty():
            found[:] = live(grid)
        else:
            Console(width=120).print(table(found))
            for line in notes(found):
                print(line)

    status = status_of(work, words)
    return status or int(any(cell.state not in ("done", "skipped") for cell in found))


def states(grid: Sweep) -> list[State]:
    """Look at every cell of a sweep; what was never composed is composed now."""
    results = Path(grid.setting("results", "results"))
    ledger, records = Ledger(results), Records(results, grid.device())
    return [state(words, results, ledger, records) for words in grid.cells]


def state(words: tuple[str, ...], results: Path, ledger: Ledger, records: Records) -> State:
    """Look at one cell."""
    named = dict(word.split("=", 1) for word in words if "=" in word)
    if waited_for(words, ledger, records):
        return State(words, named["task"], named["method"], "missing")
    entry = ledger.get(words)
    if entry is None or (entry.tuned is not None and recorded(words, ledger, records) is None):
        try:
            entry = known_as(words, results, ledger, records)[1]
        except InputError as error:
            return State(words, named["task"], named["method"], "missing", note=str(error))
    record = records.of(entry)
    if record:
        return State(words, entry.task, entry.method, record.status, record, record.reason)
    running = at_work(Claim(results / "runs" / entry.task / entry.method, entry.training))
    return State(words, entry.task, entry.method, "running" if running else "missing")


def at_work(claim: Claim) -> bool:
    """Whether a process holds the cell and was heard of lately."""
    try:
        return time.time() - claim.lease.stat().st_mtime < LEASE_SECONDS
    except FileNotFoundError:
        return False


def table(cells: Sequence[State]) -> Table:
    """Count by task and state, and say what is left in time."""
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column("task", no_wrap=True)
    for name in (*STATES, "left"):
        drawn.add_column(name, justify="right")
    rows = list(dict.fromkeys(cell.row for cell in cells))
    for row in [*rows, *(["all"] if len(rows) > 1 else [])]:
        part = [cell for cell in cells if row in (cell.row, "all")]
        counts = Counter(cell.state for cell in part)
        drawn.add_row(row, *(str(counts[name]) for name in STATES), left(part, cells))
    return drawn


def left(part: Sequence[State], cells: Sequence[State]) -> str:
    """Say how long the missing cells will take one process, by the speed of recorded ones like them."""
    known: dict[tuple[str, ...], list[float]] = {}
    for cell in cells:
        if cell.record and cell.record.status == "done":
            for key in ((cell.task, cell.method), (cell.task,), ()):
                known.setdefault(key, []).append(spent(cell.record)[1])
    waiting = [cell for cell in part if cell.state in ("missing", "running")]
    if not waiting:
        return "-"
    if not known:
        return "unknown"
    keys = [((c.task, c.method), (c.task,), ()) for c in waiting]
    seconds = sum(statistics.fmean(next(known[key] for key in tries if key in known)) for tries in keys)
    return next(f"{seconds / unit:.{digits}f} {name}" for least, unit, digits, name in UNITS if seconds >= least)


def of_tuning(cells: Sequence[State]) -> list[list[Record]]:
    """Gather the tuning records of each method on each task and backbone."""
    found: dict[tuple[str, ...], dict[str, Record]] = {}
    for cell in cells:
        if cell.record and cell.record.config.get("phase") and cell.record.status != "skipped":
            rest = (word for word in cell.words if word.partition("=")[0] not in ("rung", "place", "trial", "seed"))
            found.setdefault(tuple(rest), {})[cell.record.run_id] = cell.record
    return [list(records.values()) for records in found.values()]


def notes(cells: Sequence[State]) -> Iterator[str]:
    """Tell what failed, and what cannot be composed."""
    for cell in cells:
        if cell.note and cell.state in ("failed", "missing"):
            yield f"{cell.state}: {shlex.join(cell.words)}: {cell.note}"


def print_missing(grid: Sweep, cells: Sequence[State]) -> None:
    """Print the words of each cell that is neither recorded nor running, a line each."""
    for cell in cells:
        if cell.state == "missing":
            print(shlex.join([*cell.words, *grid.settings]))


def live(grid: Sweep) -> list[State]:
    """Look again and again until nothing is at work."""
    with Live(refresh_per_second=1) as view:
        while True:
            found = states(grid)
            view.update(table(found))
            if not any(cell.state == "running" for cell in found):
                break
            time.sleep(REFRESH)
    for line in notes(found):
        print(line)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
