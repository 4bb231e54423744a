"""Run one cell: python -m benchmark.run method=M task=T [backbone=B] [budget=P] [seed=N] [any.field=value]."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark import screen
from benchmark.build import typed
from benchmark.compose import CONFIGS, GRID, NOUNS, ROOT, SWEEP, assemble, check_options, explain, resolved, usage
from benchmark.environment import environment
from benchmark.records import Record, Store, fingerprinted, run_id
from benchmark.saved import CELL
from benchmark.types import Cell, Impossible, Unusable

PATHS = ("metrics",)  # keys whose values are files or folders even without a separator


class RunFailed(Exception):
    """A run that broke; its record says why."""


def main(arguments: list[str]) -> int:
    """Run, and return the exit status: 0 fine, 1 a run failed, 2 the call was refused."""
    if {"--help", "-h"} & set(arguments):
        print(usage())
        return 0
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries talking to each other
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, to be told in one line
    statuses: list[int] = []

    @hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        # An error must not reach Hydra, which would print it in its own way and give up the rest of a sweep.
        statuses.append(status_of(lambda: run_job(config), arguments))

    def compose() -> None:
        check_options(arguments)
        given, sys.argv = sys.argv, [sys.argv[0], *for_hydra(arguments)]  # it reads them from nowhere else
        try:
            job()
        finally:
            sys.argv = given

    return max([status_of(compose, arguments), *statuses])


def for_hydra(arguments: list[str]) -> list[str]:
    """Put the words as Hydra wants them: its flag before all else, and a named sweep as something added."""
    words = [f"+{word}" if word.startswith(f"{GRID}=") else word for word in arguments]
    several = set(SWEEP) & set(words) or any(word.startswith(f"+{GRID}=") for word in words)
    return [*(SWEEP[:1] if several else ()), *(word for word in words if word not in SWEEP)]


def status_of(work: Callable[[], Any], arguments: list[str]) -> int:
    """Do something; tell in one line why it could not be done, and give the exit status."""
    try:
        work()
    except (Unusable, Impossible) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except (HydraException, OmegaConfBaseException) as error:
        print(f"refused: {explain(error, arguments)}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was running is not recorded", file=sys.stderr)
        raise SystemExit(130) from None
    return 0


def run_job(config: DictConfig) -> None:
    """Build the cell that Hydra composed, and perform it."""
    choices = HydraConfig.get().runtime.choices
    cell = assemble(config, {noun: str(choices[noun]) for noun in NOUNS})
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    settings = OmegaConf.to_container(config, resolve=True)
    perform(cell, settings, sweeping)


def perform(cell: Cell, settings: dict[str, Any], sweeping: bool = False) -> Record:
    """Run a cell unless it is recorded for this device type, and show what is known of it.

    Raises Impossible for a pair that cannot run (in a sweep it is recorded as skipped) and RunFailed after recording a
    run that broke.
    """
    force = typed(settings["force"], bool, "force")
    store = Store(Path(settings["results"]) / "runs")
    shipped = Store(ROOT / "results" / "reference", read_only=True)
    config = choices_of(cell)
    for key in ("results", "save"):
        check_folder(key, settings[key])
    device = device_of(settings["device"])
    base = {"run_id": run_id(config), "seed": cell.seed, "config": config, **named(cell)}
    known = store.find(base["task"], base["method"], base["run_id"], device)
    if known and not force and (sweeping or known.status != "skipped"):  # a single call of that pair is refused anew
        screen.already(known, settings["results"])
        if known.status == "done":
            screen.show(known, store, shipped)
        return known
    assert cell.backbone.family, "read first, whatever the method: without a checkpoint there is nothing to run"
    if reason := cell.conflict():
        if not sweeping:
            raise Impossible(reason)
        record = Record(**base, status="skipped", reason=reason, environment=environment(device))
        store.append(record, None, replace=force)
        screen.skipped(record)
        return record
    record, examples = attempt(cell, base, device, settings)
    path = store.append(record, examples, replace=force)
    if record.status == "failed":
        raise RunFailed(f"{record.reason} (recorded in {path})")
    screen.show(record, store, shipped, path)
    return record


def choices_of(cell: Cell) -> dict[str, Any]:
    """Give the choices that a record keeps. Raises Unusable for a number that cannot be written down."""
    try:
        return fingerprinted(resolved(cell), PATHS)
    except ValueError as error:
        raise Unusable(str(error)) from error


def check_folder(key: str, wanted: str | None) -> None:
    """Refuse a place where no folder can be made, before anything is spent. Raises Unusable."""
    path = Path(wanted or ".").absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise Unusable(f"{key}={wanted}: {str(there)!r} is no folder that can be written to")


def named(cell: Cell) -> dict[str, str]:
    """Name the cell's parts as a record does."""
    return {noun: cell.names[noun] for noun in ("task", "method", "backbone")}


def attempt(
    cell: Cell, base: dict[str, Any], device: str, settings: dict[str, Any]
) -> tuple[Record, list[dict[str, Any]]]:
    """Read the data and run; whatever breaks in the run becomes a failed record."""
    from benchmark.progress import watching
    from benchmark.runner import Result, read, run

    result = Result()
    status, reason = "done", None
    machine = environment(device)  # before the run puts its own load on the machine
    splits = read(cell, result)
    save = None if settings["save"] is None else Path(settings["save"])
    try:
        with watching() as watch:
            run(cell, splits, device, watch, result, save)
    except Unusable:
        raise
    except Exception as error:
        status, reason = "failed", story(error)
        if os.environ.get("BENCHMARK_DEBUG"):
            raise
    record = Record(
        **base,
        status=status,
        reason=reason,
        data=result.data,
        modules=result.modules,
        signatures=result.signatures,
        environment={**machine, **environment(device), "load_average": machine["load_average"]},
        measurements=tuple(result.measurements),
    )
    if save and status == "done":
        (save / CELL).write_text(record.to_json())
    return record, result.examples


def story(error: Exception) -> str:
    """Tell an error's kind and first line, without the places of this machine."""
    first = next(iter(str(error).strip().splitlines()), "")
    for place in (str(ROOT), str(Path.cwd()), str(Path.home())):
        first = first.replace(place, "...") if len(place) > 1 else first
    return f"{type(error).__name__}: {first}"


def device_of(setting: str) -> str:
    """Choose the device type. Raises Unusable where it is not there."""
    if setting not in ("auto", "cpu", "cuda"):
        raise Unusable(f"device: {setting!r} given, auto, cpu or cuda wanted")
    if setting == "cpu":
        return "cpu"
    import torch

    if setting == "cuda" and not torch.cuda.is_available():
        raise Unusable("device=cuda: torch sees no CUDA device here")
    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
