"""Passing the cells of a sweep to Hydra's launchers, and running a job."""

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
from benchmark.config.compose import searched
from benchmark.config.registry import CONFIGS
from benchmark.engine.device import device_of
from benchmark.errors import LeaseHeldError, RunFailedError, story
from benchmark.sweeps import screen
from benchmark.sweeps.execute import perform
from benchmark.sweeps.exit_status import exit_status
from benchmark.sweeps.grid import Records, known_as, unpacked, waited_for
from benchmark.sweeps.options import RunOptions, options_of
from benchmark.sweeps.override_cache import OverrideCache

Overrides = tuple[str, ...]


def launch(arguments: list[str], statuses: list[int]) -> None:
    """Pass jobs to the launcher; a lost job does not hide the others."""

    @hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        if config.plugins:  # a worker does not know them yet
            registry.add(config.plugins)
        run_cells(unpacked(config.cells), options_of(config), statuses)

    before, sys.argv = sys.argv, [sys.argv[0], *arguments, *searched()]  # Hydra reads them from nowhere else
    try:
        job()
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        print(f"the launcher gave up: {story(error)}", file=sys.stderr)
        print("what is recorded stays, and jobs may still run: see python -m benchmark.status", file=sys.stderr)
        statuses.append(1)
    finally:
        sys.argv = before


def run_cells(cells: Sequence[Sequence[str]], options: RunOptions, statuses: list[int]) -> None:
    """Run the cells of a job; those at which other processes work come last.

    An error must not reach Hydra, which would print it in its own way and give up the rest of a sweep.
    """
    taken: list[Overrides] = []
    for overrides in map(tuple, cells):
        with exit_status(overrides, statuses):
            try:
                run_cell(overrides, options)
            except LeaseHeldError:
                taken.append(overrides)
    for overrides in taken:
        with exit_status(overrides, statuses):
            run_cell(overrides, options, wait=True)


def run_cell(overrides: Overrides, options: RunOptions, wait: bool = False) -> None:
    """Compose a cell, remember which one it is, and perform it.

    Where the rung below it is not complete, complete that first. Raises LeaseHeldError where others are at work on
    that, unless wait is set: nobody waits for a cell while holding another, so that no two wait for each other.
    """
    results, device = Path(options.results), device_of(options.device)
    taken = []
    for lower in waited_for(overrides, OverrideCache(results), Records(results, device)):
        try:
            with suppress(RunFailedError):  # recorded: a trial that fails loses
                run_cell(lower, options, wait)
        except LeaseHeldError as error:
            taken.append(error)
    if taken:
        raise taken[0]
    cell, entry = known_as(overrides, results, records=Records(results, device))
    if cell is None:
        screen.vacant(overrides, entry.vacant)
    else:
        perform(cell, options, sweeping=True, wait=wait)
