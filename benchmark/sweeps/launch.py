"""Jobs of a sweep: passing them to Hydra's launchers, and running one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark.config import registry
from benchmark.config.registry import CONFIGS
from benchmark.config.with_hydra import search_path
from benchmark.engine.device import device_of
from benchmark.errors import LeaseHeldError, RunFailedError, story
from benchmark.sweeps import screen
from benchmark.sweeps.execute import perform
from benchmark.sweeps.exit_status import exit_status
from benchmark.sweeps.grid import Records, compose_and_cache, missing_below, unpack_cells
from benchmark.sweeps.options import RunOptions, options_of
from benchmark.sweeps.override_cache import OverrideCache

Overrides = tuple[str, ...]


def launch(arguments: list[str], statuses: list[int]) -> None:
    """Pass jobs to the launcher; add an exit status where it fails."""

    @hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        if config.plugins:  # a new process has not imported them
            registry.add(config.plugins)
        run_cells(unpack_cells(config.cells), options_of(config), statuses)

    before, sys.argv = sys.argv, [sys.argv[0], *arguments, *search_path()]  # Hydra reads only these
    try:
        job()
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        print(f"the launcher failed: {story(error)}", file=sys.stderr)
        print("records stay, and jobs may still run: see python -m benchmark.status", file=sys.stderr)
        statuses.append(1)
    finally:
        sys.argv = before


def run_cells(cells: Sequence[Sequence[str]], options: RunOptions, statuses: list[int]) -> None:
    """Run the cells of a job; those that other processes run come last.

    Errors must not reach Hydra, which would print a traceback and drop the remaining cells.
    """
    busy: list[Overrides] = []
    for overrides in map(tuple, cells):
        with exit_status(overrides, statuses):
            try:
                run_cell(overrides, options)
            except LeaseHeldError:
                busy.append(overrides)
    for overrides in busy:
        with exit_status(overrides, statuses):
            run_cell(overrides, options, wait=True)


def run_cell(overrides: Overrides, options: RunOptions, wait: bool = False) -> None:
    """Compose a cell, cache its id, and run it.

    Where the rung below it is not complete, that runs first. Raises LeaseHeldError where other processes run a cell of
    it, unless wait is set. No process waits for a cell while it holds another one, so that there is no deadlock.
    """
    results, device = Path(options.results), device_of(options.device)
    busy = []
    for lower in missing_below(overrides, OverrideCache(results), Records(results, device)):
        try:
            with suppress(RunFailedError):  # it is recorded, and a failed trial is not chosen
                run_cell(lower, options, wait)
        except LeaseHeldError as error:
            busy.append(error)
    if busy:
        raise busy[0]
    cell, entry = compose_and_cache(overrides, results, records=Records(results, device))
    if cell is None:
        screen.say_vacant(overrides, entry.vacant)
    else:
        perform(cell, options, sweeping=True, wait=wait)
