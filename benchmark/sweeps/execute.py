"""Execution of a cell, and its record."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.cell import Cell
from benchmark.config.compose import NOUNS, choices_of
from benchmark.engine import distributed, sharding
from benchmark.engine.checkpoint import Pause, Paused, leave, listening
from benchmark.engine.device import check_alone, device_of
from benchmark.engine.environment import code, environment
from benchmark.engine.reuse import Reuse
from benchmark.errors import IncompatibleError, InputError, RunFailedError, story
from benchmark.identity import run_id
from benchmark.records import Record, answers_digest
from benchmark.saved import CELL
from benchmark.sweeps import screen
from benchmark.sweeps.lease import Lease
from benchmark.sweeps.options import RunOptions


@dataclass
class Process:
    """State that the cells of one process share."""

    values: dict[str, Any] = field(default_factory=dict)  # data and networks of the previous cell
    cells: int = 0  # number of cells that ran


@functools.cache
def process() -> Process:
    """Give the state of this process, which may run several jobs."""
    return Process()


@dataclass(frozen=True)
class Attempt:
    """Cell to be run, with its device, options and lease."""

    cell: Cell
    options: RunOptions
    sweeping: bool
    device: str
    config: dict[str, Any]
    lease: Lease

    @classmethod
    def of(cls, cell: Cell, options: RunOptions, sweeping: bool) -> Attempt:
        """Prepare a cell. Raises InputError where its backbone or the device is missing."""
        assert cell.backbone.family, "reads the checkpoint, so that a missing one is refused first"
        config = choices_of(cell)
        folder = options.store.folder / cell.names["task"] / cell.names["method"]
        return cls(cell, options, sweeping, device_of(options.device), config, Lease.of(folder, config))

    def recorded(self) -> Record | None:
        """Find and print the record of the cell; None if it is to be run."""
        names, options = self.cell.names, self.options
        known = options.store.find(names["task"], names["method"], run_id(self.config), self.device)
        repeats = not known or options.repeats(known)
        options.check_save(None if repeats else known.run_id)
        if repeats:
            return None
        known = known.under(self.cell.headline)
        if not self.sweeping:
            if known.status == "skipped":  # a single run is refused with the reason
                return None
            screen.say_recorded(known, options.results)
            if known.status == "done":
                screen.show(known, options.store)
        return known

    def write(self, status: str, reason: str | None, examples: Any = None, **fields: Any) -> tuple[Record, Path | None]:
        """Make the record; the first process stores it."""
        names = {noun: self.cell.names[noun] for noun in NOUNS if noun != "budget"}
        fields = {"environment": environment(self.device)} | fields
        if examples is not None:
            fields["data"] = fields.get("data", {}) | {"answers_digest": answers_digest(examples)}
        identity = {"run_id": run_id(self.config), "seed": self.cell.seed, "config": self.config}
        record = Record(**identity, **names, status=status, reason=reason, **fields)
        if not distributed.is_first():
            return record, None
        return record, self.options.store.append(record, examples, replace=self.options.replaces)


def perform(cell: Cell, options: RunOptions, sweeping: bool = False, wait: bool = False) -> Record:
    """Run a cell unless it is recorded for this device type; print the result.

    Raises IncompatibleError for a pair that cannot run (in a sweep it is recorded as skipped), RunFailedError after
    recording a failed run, and LeaseHeldError where another process runs the cell, unless wait is set.
    """
    attempt = Attempt.of(cell, options, sweeping)
    if known := attempt.recorded():
        attempt.lease.settle()
        return known
    if not sweeping and (reason := refusal(cell)):
        raise IncompatibleError(reason)
    if not options.shared:
        check_alone(attempt.device)
    with leaving(attempt), hold(attempt, wait):
        if known := attempt.recorded():  # meanwhile, by another process
            return known
        if reason := refusal(cell):
            record, _ = attempt.write("skipped", reason)
            screen.say_skipped(record)
            return record
        deaths = attempt.lease.deaths() if distributed.is_first() else 0
        if deaths >= options.attempts:
            return give_up(attempt, deaths)
        return run_and_record(attempt)


def refusal(cell: Cell) -> str | None:
    """Give the reason why a cell cannot run here."""
    return cell.conflict() or distributed.refusal(cell) or sharding.refusal(cell)


def hold(attempt: Attempt, wait: bool) -> Any:
    """Hold the cell's lease, in the first process of a run."""
    return attempt.lease.hold(wait, watch=not attempt.sweeping) if distributed.is_first() else nullcontext()


@contextmanager
def leaving(attempt: Attempt) -> Iterator[None]:
    """Print that a signal paused the run, and end the process."""
    try:
        yield
    except Paused as paused:
        screen.say_paused(attempt.cell.names["task"], attempt.cell.names["method"], paused.step)
        leave(paused)
        raise


def give_up(attempt: Attempt, deaths: int) -> Record:
    """Record a cell as failed after too many processes died. Raises RunFailedError."""
    reason = f"killed: {deaths} processes died while they ran it, most likely because memory was full"
    record, path = attempt.write("failed", reason)
    attempt.lease.starts.unlink(missing_ok=True)
    raise RunFailedError(f"{record.reason} (recorded in {path})")


def run_and_record(attempt: Attempt) -> Record:
    """Read the data and run; an error becomes a failed record.

    Raises InputError, RunFailedError, Paused.
    """
    from benchmark.engine.context import Run
    from benchmark.engine.data import Result, read
    from benchmark.engine.progress import watching
    from benchmark.engine.runner import measure

    cell, options, device = attempt.cell, attempt.options, attempt.device
    forget_dropped(attempt)
    pause = Pause(attempt.lease.state, anew=options.replaces)
    result, status, reason = Result(data=dict(cell.notes)), "done", None
    reuse = Reuse(attempt.config, process().values if attempt.sweeping else None)
    save = Path(options.save) if options.save else None
    before = machine(attempt)  # before the run adds to the load
    with attempt.lease.started() if distributed.is_first() else nullcontext(), listening(pause):
        group = distributed.join(device)
        try:
            splits = read(cell, result, reuse)
            process().cells += 1
            with watching(quiet=not group.first) as watch:
                measure(Run(cell, device, group, watch, result, reuse, pause, save), splits)
        except InputError:
            raise
        except Exception as error:
            status, reason = "failed", distributed.first_failure(story(error), group)
            if os.environ.get("BENCHMARK_DEBUG"):
                raise
        fields = {name: getattr(result, name) for name in ("data", "modules", "signatures")}
        fields |= {"measurements": tuple(result.measurements), "environment": environment(device) | before}
        fields["environment"] |= {"processes": group.size} if group.size > 1 else {}
        fields["environment"] |= {"begun": pause.begun} if pause.begun != code() else {}
        record, path = attempt.write(status, reason, result.examples, **fields)
        if save and status == "done" and group.first:
            (save / CELL).write_bytes(record.to_json().encode("utf-8", "surrogatepass"))
        if distributed.is_first() and not pause.saved_end:
            pause.forget()
    return finish(attempt, record, path, pause)


def machine(attempt: Attempt) -> dict[str, Any]:
    """Describe the machine before a run: load of other programs, earlier runs."""
    facts = environment(attempt.device)
    facts |= {"shared": True} if attempt.options.shared else {}
    facts |= {"cells_before": process().cells} if process().cells else {}
    return {name: value for name, value in facts.items() if value is not None}


def finish(attempt: Attempt, record: Record, path: Path | None, pause: Pause) -> Record:
    """Print the result of a run; then obey a signal that came too late to stop it."""
    if record.status == "failed":
        pause.pass_on()
        raise RunFailedError(f"{record.reason} (recorded in {path})")
    if attempt.sweeping:
        screen.line(record)
    else:
        screen.show(record, attempt.options.store, path)
    pause.pass_on()
    return record


def forget_dropped(attempt: Attempt) -> None:
    """Remove the checkpoints of tuning runs that will not be continued."""
    cell, store = attempt.cell, attempt.options.store
    choices = [cell.notes[name]["dropped"] for name in ("tuning", "selected") if name in cell.notes]
    for name in (name for dropped in choices for name in dropped):
        if record := store.find(cell.names["task"], cell.names["method"], name, attempt.device):
            Pause(Lease.of(attempt.lease.folder, record.config).state).forget()
