"""perform(): run a cell unless it is recorded, and record how it ended, whatever happens."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
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
from benchmark.records import Record, Store
from benchmark.saved import CELL
from benchmark.sweeps import screen
from benchmark.sweeps.lease import Claim

KEPT: dict[str, Any] = {}  # by the cells that this process has run
CELLS = 0  # that it has run


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user says about running, beside what is run: no choice of a cell."""

    results: str
    device: str
    force: bool
    retry: str | None  # failed: what failed is run again
    save: str | None
    shared: bool  # others are at work on the device: costs say so
    attempts: int  # processes that may die over a cell before it is recorded as failed

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device: {self.device!r} given, auto, cpu or cuda wanted")
        if self.retry not in (None, "failed"):
            raise InputError(f"retry: {self.retry!r} given, failed wanted, or null")
        if self.attempts < 1:
            raise InputError(f"attempts: {self.attempts} given, at least 1 wanted")
        for key in ("results", "save"):
            check_folder(key, getattr(self, key))

    @property
    def store(self) -> Store:
        """The user's own records."""
        return Store(Path(self.results) / "runs")

    def again(self, known: Record) -> bool:
        """Whether a recorded cell is to be run once more."""
        return self.force or (self.retry == known.status)


def check_folder(key: str, wanted: str | None) -> None:
    """Refuse a place where no folder can be made, before anything is spent. Raises InputError."""
    path = Path(wanted or ".").absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{key}={wanted}: {str(there)!r} is no folder that can be written to")


def perform(cell: Cell, settings: Settings, sweeping: bool = False, wait: bool = False) -> Record:
    """Run a cell unless it is recorded for this device type, and show what is known of it.

    Raises IncompatibleError for a pair that cannot run (in a sweep it is recorded as skipped), RunFailedError after
    recording a run that broke, and LeaseHeldError where another process is at work on it, unless told to wait.
    """
    config = choices_of(cell)
    device = device_of(settings.device)
    base = {"run_id": run_id(config), "seed": cell.seed, "config": config, **named(cell)}
    assert cell.backbone.family, "read first, whatever the method: without a checkpoint there is nothing to run"
    claim = Claim.of(settings.store.folder / base["task"] / base["method"], config)
    if known := recorded(base, device, settings, sweeping):
        claim.settle()
        return known
    if not sweeping and (reason := refusal(cell)):
        raise IncompatibleError(reason)
    if not settings.shared:
        check_alone(device)
    try:
        with claim.held(wait) if distributed.speaks() else nullcontext():
            if known := recorded(base, device, settings, sweeping):  # by whoever held it
                return known
            return run_and_record(cell, base, device, settings, claim, sweeping)
    except Paused as paused:
        screen.paused(base["task"], base["method"], paused.step)
        leave(paused)
        raise


def recorded(base: dict[str, Any], device: str, settings: Settings, sweeping: bool) -> Record | None:
    """Show and return what is recorded of a cell, unless it is to be run all the same."""
    known = settings.store.find(base["task"], base["method"], base["run_id"], device)
    if not known or settings.again(known) or (known.status == "skipped" and not sweeping):  # a pair is refused anew
        return None
    if not sweeping:
        screen.already(known, settings.results)
        if known.status == "done":
            screen.show(known, settings.store)
    return known


def run_and_record(
    cell: Cell, base: dict[str, Any], device: str, settings: Settings, claim: Claim, sweeping: bool
) -> Record:
    """Run a cell that is ours to run."""
    store, replace = settings.store, settings.force or settings.retry is not None
    if reason := refusal(cell):
        record = Record(**base, status="skipped", reason=reason, environment=environment(device))
        store.append(record, None, replace=replace)
        screen.skipped(record)
        return record
    forget_dropped(cell, claim.folder, store, device)
    reuse = Reuse(config=base["config"], kept=KEPT if sweeping else None)
    pause = Pause(claim.state, f"{code()} {distributed.wanted()} {device}", anew=replace)
    path = None
    if not distributed.speaks():  # the first process of the run records
        with listening(pause):
            record, _ = attempt(cell, base, device, settings, reuse, pause)
    elif (deaths := claim.deaths()) >= settings.attempts:
        reason = f"killed: {deaths} processes died while they ran it, most likely for want of memory"
        record = Record(**base, status="failed", reason=reason, environment=environment(device))
        path = store.append(record, None, replace=replace)
        claim.starts.unlink(missing_ok=True)
    else:
        with claim.started(), listening(pause):
            record, examples = attempt(cell, base, device, settings, reuse, pause)
            path = store.append(record, examples, replace=replace)
            if not pause.kept:
                pause.forget()
    if record.status == "failed":
        pause.pass_on()
        raise RunFailedError(f"{record.reason} (recorded in {path})")
    if sweeping:
        screen.line(record)
    else:
        screen.show(record, store, path)
    pause.pass_on()
    return record


def forget_dropped(cell: Cell, folder: Path, store: Store, device: str) -> None:
    """Remove the states of tuning runs from which nothing goes on, now that it is known which ones."""
    told = [cell.notes[name]["dropped"] for name in ("tuning", "selected") if name in cell.notes]
    for name in (name for names in told for name in names):
        if record := store.find(cell.names["task"], cell.names["method"], name, device):
            Pause(Claim.of(folder, record.config).state, "").forget()


def refusal(cell: Cell) -> str | None:
    """Give the reason why a cell cannot run here, or None."""
    return cell.conflict() or distributed.refusal(cell) or sharding.refusal(cell)


def named(cell: Cell) -> dict[str, str]:
    """Name the cell's parts as a record does."""
    return {noun: cell.names[noun] for noun in NOUNS if noun != "budget"}


def attempt(
    cell: Cell, base: dict[str, Any], device: str, settings: Settings, reuse: Reuse, pause: Pause
) -> tuple[Record, list[dict[str, Any]]]:
    """Read the data and run; whatever breaks in the run becomes a failed record."""
    from benchmark.engine.data import Result, read
    from benchmark.engine.progress import watching
    from benchmark.engine.runner import run

    global CELLS
    result = Result(data=dict(cell.notes))
    status, reason = "done", None
    machine = environment(device)  # before the run puts its own load on the machine
    machine |= {"shared": True} if settings.shared else {}
    machine |= {"cells_before": CELLS} if CELLS else {}
    group = distributed.join(device)
    machine |= {"processes": group.size} if group.size > 1 else {}
    splits = read(cell, result, reuse)
    save = None if settings.save is None else Path(settings.save)
    CELLS += 1
    try:
        with watching(quiet=not group.first) as watch:
            run(cell, splits, device, watch, result, save, reuse, pause)
    except InputError:
        raise
    except Exception as error:
        status, reason = "failed", distributed.blame(story(error))
        if os.environ.get("BENCHMARK_DEBUG"):
            raise
    record = Record(
        **base,
        status=status,
        reason=reason,
        data=result.data,
        modules=result.modules,
        signatures=result.signatures,
        environment={**environment(device), **{k: v for k, v in machine.items() if v is not None}},
        measurements=tuple(result.measurements),
    )
    if save and status == "done" and group.first:
        (save / CELL).write_text(record.to_json())
    return record, result.examples
