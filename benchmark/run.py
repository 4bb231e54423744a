"""Run one cell or a sweep: python -m benchmark.run method=M task=T [...]."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from benchmark.command import end
from benchmark.config.build import convert
from benchmark.config.compose import assemble, check_metrics
from benchmark.config.halving import stops
from benchmark.config.usage import usage
from benchmark.config.with_hydra import compose_config, compose_with_hydra
from benchmark.engine import distributed
from benchmark.errors import IncompatibleError, InputError
from benchmark.records import Record
from benchmark.sweeps import screen
from benchmark.sweeps.estimate import estimate
from benchmark.sweeps.execute import perform
from benchmark.sweeps.exit_status import exit_status
from benchmark.sweeps.grid import Records, Sweep, chunks, expand, is_sweep, lookup, pack_cells, unpack_cells
from benchmark.sweeps.launch import Overrides, launch, run_cells
from benchmark.sweeps.lease import Lease
from benchmark.sweeps.options import RunOptions, options_of
from benchmark.sweeps.override_cache import OverrideCache

SHARE = 4  # cells per job of several workers: neighbours share data and network, fewer spread better


def main(arguments: list[str]) -> int:
    """Run the command; return 0, 1 if a run failed or is missing, 2 if refused."""
    if {"--help", "-h"} & set(arguments):
        print(usage())
        return 0
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about each other
    os.environ["HYDRA_FULL_ERROR"] = "1"  # its errors are caught here and printed in one line
    if not distributed.is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  as long as the process
    statuses = [0]
    with exit_status(arguments, statuses):
        if is_sweep(arguments):
            sweep(arguments, statuses)
        else:
            config, names = compose_config(arguments)
            if config.cells is None:
                screen.begin(names, config)
                perform(assemble(config, names, arguments), options_of(config))
            else:  # a job of a sweep
                run_cells(unpack_cells(config.cells), options_of(config), statuses)
    return max(statuses)


def execute(*overrides: str) -> Record:
    """Run one cell from Python, unless it is recorded, and return its record.

    Example: run.execute("method=lora", "task=nmt").

    Raises InputError, IncompatibleError, LeaseHeldError, RunFailedError.
    """
    config, names = compose_config(overrides)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of libraries about each other
        return perform(assemble(config, names, overrides), options_of(config))


def sweep(arguments: list[str], statuses: list[int]) -> None:
    """Run the cells of a grid that are not recorded, packed into jobs."""
    distributed.refuse_several("a sweep")
    grid = expand(arguments)
    config = compose_with_hydra([*grid.cells[0], *grid.options])
    check_metrics(grid.cells)
    check_launcher(config.hydra.launcher["_target_"])
    if config.rung is not None:
        stops(config.budget)  # refused once here, not by each cell
    options = options_of(config)
    check_writable(Path(options.results))
    if options.save and len(grid.cells) > 1:
        raise InputError("save=: the runs of a sweep would overwrite each other; save each by a run of its own")
    cells = recorded(grid, options)
    remaining = [overrides for overrides, record in cells if record is None or options.repeats(record)]
    screen.plan(cells, remaining)
    if remaining:
        screen.say(estimate(remaining, Records(Path(options.results), grid.device())))
        start_jobs(grid, remaining, config, statuses)
        cells = recorded(grid, options)
        screen.plan(cells, [overrides for overrides, record in cells if record is None])
    if all(record is not None and record.status == "skipped" for _, record in cells):
        raise IncompatibleError(
            f"no cell of this sweep can run: {cells[0][1].reason}; docs/methods.md has what runs where"
        )
    statuses.append(int(any(record is None or record.status == "failed" for _, record in cells)))


def start_jobs(grid: Sweep, remaining: list[Overrides], config: DictConfig, statuses: list[int]) -> None:
    """Pack cells into jobs, and run each in a new process or by the launcher."""
    size, overrides = convert(config.cells_per_job, int | None, "cells_per_job"), [*grid.options, *grid.cells[0]]
    if not config.hydra.launcher["_target_"].endswith("BasicLauncher"):
        size = size or SHARE
    if config.hydra.launcher.get("n_jobs", 1) != 1:  # several workers on this machine
        overrides.append("shared=true")
    jobs = [pack_cells(chunk) for chunk in chunks(remaining, size)]
    if convert(config.fresh, bool, "fresh"):
        command = [sys.executable, "-m", "benchmark.run", *overrides]
        statuses.extend(subprocess.run([*command, f"cells='{job}'"]).returncode for job in jobs)
    else:
        launch(["-m", *overrides, "cells=" + ",".join(f"'{job}'" for job in jobs)], statuses)


def recorded(grid: Sweep, options: RunOptions) -> list[tuple[Overrides, Any]]:
    """Look up the record of every cell."""
    results = Path(options.results)
    cells = list(lookup(grid, OverrideCache(results), Records(results, grid.device())))
    for record in filter(None, (record for _, record in cells)):
        Lease.of(options.store.folder / record.task / record.method, record.config).settle()
    return cells


def check_writable(results: Path) -> None:
    """Write a test file, since a read-only mount may have writable permissions.

    Raises InputError.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results) as file:
            file.write(b"?")
    except OSError as error:
        raise InputError(f"results={results}: nothing can be written there ({error.strerror})") from error


def check_launcher(target: str) -> None:
    """Refuse a launcher that this machine lacks. Raises InputError."""
    if "submitit" in target and "Slurm" in target and not shutil.which("sbatch"):
        raise InputError("sbatch not found: no Slurm jobs from here; hydra/launcher=joblib uses this machine's cores")


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
