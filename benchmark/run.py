"""Run one cell, or a sweep: python -m benchmark.run method=M task=T [backbone=B] [seed=N] [any.field=value]."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark.config.build import typed
from benchmark.config.compose import (
    CONFIGS,
    NOUNS,
    assemble,
    check_options,
    composed,
    usage,
    whole,
)
from benchmark.engine import distributed
from benchmark.engine.device import device_of
from benchmark.errors import IncompatibleError, InputError, LeaseHeldError, RunFailedError, story
from benchmark.records import Record
from benchmark.sweeps import screen
from benchmark.sweeps.execute import Settings, perform
from benchmark.sweeps.exit_status import status_of
from benchmark.sweeps.grid import (
    Records,
    Sweep,
    chunks,
    expand,
    is_sweep,
    known_as,
    lookup,
    packed,
    unpacked,
    waited_for,
)
from benchmark.sweeps.lease import Claim
from benchmark.sweeps.override_cache import Ledger

Words = tuple[str, ...]
SHARE = 4  # cells per job of several workers: neighbours share data and network, fewer spread better


def main(arguments: list[str]) -> int:
    """Run, and return the exit status: 0 fine, 1 a run failed or is missing, 2 the call was refused."""
    if {"--help", "-h"} & set(arguments):
        print(usage())
        return 0
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries talking to each other
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, to be told in one line
    statuses: list[int] = []
    if not distributed.speaks():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  as long as the process
    work = sweep if is_sweep(arguments) else single
    return max([status_of(lambda: work(arguments, statuses), arguments), *statuses])


def execute(*overrides: str) -> Record:
    """Run one cell from Python, unless it is recorded, and return its record: execute("method=lora", "task=nmt").

    Raises InputError, IncompatibleError, LeaseHeldError, RunFailedError.
    """
    config, names = composed(overrides)
    return perform(assemble(config, names, overrides), settings_of(config))


def single(arguments: list[str], statuses: list[int]) -> None:
    """Run the cell that the words describe."""
    check_options(arguments)
    through_hydra(arguments, statuses)


def sweep(arguments: list[str], statuses: list[int]) -> None:
    """Run what is not recorded of a grid, in as many jobs as the launcher is given."""
    distributed.alone_only("a sweep")
    grid = expand(arguments)
    config = whole([*grid.cells[0], *grid.settings])
    check_launcher(config.hydra.launcher["_target_"])
    settings = settings_of(config)
    check_writable(Path(settings.results))
    if settings.save and len(grid.cells) > 1:
        raise InputError("save=: the runs of a sweep would overwrite each other; save each by a run of its own")
    before = recorded(grid, settings)
    left = [words for words, record in before if record is None or settings.again(record)]
    screen.plan(before, left)
    if left:
        size, words = typed(config.cells_per_job, int | None, "cells_per_job"), [*grid.settings, *grid.cells[0]]
        if not config.hydra.launcher["_target_"].endswith("BasicLauncher"):
            size = size or SHARE
        if config.hydra.launcher.get("n_jobs", 1) != 1:  # workers beside each other on this machine
            words.append("shared=true")
        jobs = [packed(chunk) for chunk in chunks(left, size)]
        if typed(config.fresh, bool, "fresh"):
            command = [sys.executable, "-m", "benchmark.run", *words]
            statuses.extend(subprocess.run([*command, f"cells='{job}'"]).returncode for job in jobs)
        else:
            launch(["-m", *words, "cells=" + ",".join(f"'{job}'" for job in jobs)], statuses)
        before = recorded(grid, settings)
        screen.plan(before, [words for words, record in before if record is None])
    if all(record is not None and record.status == "skipped" for _, record in before):
        raise IncompatibleError(
            f"no cell of this sweep can run: {before[0][1].reason}; docs/methods.md has what runs where"
        )
    if any(record is None or record.status == "failed" for _, record in before):
        statuses.append(1)


def recorded(grid: Sweep, settings: Settings) -> list[tuple[Words, Any]]:
    """Look every cell up among the records."""
    results = Path(settings.results)
    found = list(lookup(grid, Ledger(results), Records(results, grid.device())))
    for record in filter(None, (record for _, record in found)):
        Claim.of(settings.store.folder / record.task / record.method, record.config).settle()
    return found


def check_writable(results: Path) -> None:
    """Write something before hours are spent: some places refuse what their permissions allow. Raises InputError."""
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


def launch(arguments: list[str], statuses: list[int]) -> None:
    """Hand jobs to the launcher; one that it lost, cancelled or killed, must not hide what the others did."""
    try:
        through_hydra(arguments, statuses)
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        print(f"the launcher gave up: {story(error)}", file=sys.stderr)
        print("what is recorded stays, and jobs may still run: see python -m benchmark.status", file=sys.stderr)
        statuses.append(1)


def through_hydra(arguments: list[str], statuses: list[int]) -> None:
    """Hand words to Hydra, which composes, and where there are several jobs launches them."""

    @hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        # An error must not reach Hydra, which would print it in its own way and give up the rest of a sweep.
        statuses.extend(status_of(work, arguments) for work in job_of(config))

    given, sys.argv = sys.argv, [sys.argv[0], *arguments]  # it reads them from nowhere else
    try:
        job()
    finally:
        sys.argv = given


def job_of(config: DictConfig) -> Iterable[Callable[[], Any]]:
    """List what a job has to do: one cell, or a chunk of a sweep; what others are at work on comes last."""
    if config.cells is None:
        words = tuple(HydraConfig.get().overrides.task)
        names = {noun: str(HydraConfig.get().runtime.choices[noun]) for noun in NOUNS}
        yield lambda: perform(assemble(config, names, words), settings_of(config))
        return
    taken: list[Words] = []

    def attempt(words: Words) -> None:
        try:
            cell_of_sweep(words, settings_of(config))
        except LeaseHeldError:
            taken.append(words)

    for words in unpacked(config.cells):
        yield lambda words=tuple(words): attempt(words)
    for words in taken:
        yield lambda words=words: cell_of_sweep(words, settings_of(config), wait=True)


def cell_of_sweep(words: Words, settings: Settings, wait: bool = False) -> None:
    """Compose a cell, remember which one it is, and perform it.

    Where the rung below it is not complete, complete that first. Raises LeaseHeldError where others are at work on
    that, unless told to wait: nobody waits for a cell while holding another, so that no two wait for each other.
    """
    results, device = Path(settings.results), device_of(settings.device)
    taken = []
    for lower in waited_for(words, Ledger(results), Records(results, device)):
        try:
            with suppress(RunFailedError):  # recorded: a trial that fails loses
                cell_of_sweep(lower, settings, wait)
        except LeaseHeldError as error:
            taken.append(error)
    if taken:
        raise taken[0]
    cell, entry = known_as(words, results, records=Records(results, device))
    if cell is None:
        screen.vacant(words, entry.vacant)
    else:
        perform(cell, settings, sweeping=True, wait=wait)


def settings_of(config: DictConfig) -> Settings:
    """Read what a user says beside the cell. Raises InputError."""
    hints = get_type_hints(Settings)
    return Settings(**{key: typed(config[key], hint, key) for key, hint in hints.items()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
