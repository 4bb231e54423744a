"""Grid of cells: expansion, look-up of records, packing into jobs."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmark.cell import Cell
from benchmark.config import registry
from benchmark.config.compose import assemble, choices_of, plain_choices
from benchmark.config.halving import cells_below, lay_out
from benchmark.config.overrides import RUN_OPTIONS, key_of, quote_path, remove_quotes
from benchmark.config.ranges import check_texts
from benchmark.config.registry import CONFIGS
from benchmark.config.trials import SELECTED
from benchmark.config.with_hydra import GRID, SWEEP, check_options, compose_config, refusing_overrides
from benchmark.engine.device import device_of
from benchmark.errors import InputError, VacantPlaceError
from benchmark.identity import run_id, training_id
from benchmark.records import Record, Store, shipped
from benchmark.sweeps.override_cache import Entry, OverrideCache, files_in, signature

# Keys of the outer loops, the outermost first. A rung needs all records of the one below. Seeds come next, so that an
# unfinished sweep has all methods of the first seed; then tasks, so that neighbouring cells share data and network.
OUTER = ("rung", "seed", "fold", "seed_sample", "fraction", "task", "data", "backbone", "budget")
MOST_CELLS = 100_000  # of one command: more would fill the memory before the first cell runs


@dataclass(frozen=True)
class Sweep:
    """Cells of a command, and its run options."""

    cells: tuple[tuple[str, ...], ...]  # overrides of each
    options: tuple[str, ...]  # run options: overrides that are no choice of a cell

    def option(self, key: str, default: str) -> str:
        """Give the value of a run option; of several the last."""
        values = [override.partition("=")[2] for override in self.options if override.partition("=")[0] == key]
        return remove_quotes(values[-1]) if values else default

    def device(self) -> str | None:
        """Name the device type of its records; None if a cluster's node chooses it."""
        device = self.option("device", "auto")
        if "slurm" not in self.option("hydra/launcher", "basic"):
            return device_of(device)
        return None if device == "auto" else device


def is_sweep(arguments: Sequence[str]) -> bool:
    """Say whether a command asks for several cells."""
    return any(override in SWEEP or key_of(override) == GRID for override in arguments)


def expand(arguments: Sequence[str]) -> Sweep:
    """Expand a command into cells; the user's overrides win.

    Raises InputError.
    """
    registry.use(arguments)
    overrides = [quote_path(override) for override in arguments if override not in SWEEP]
    grids = [override.partition("=")[2] for override in overrides if key_of(override) == GRID]
    options = [o for o in overrides if key_of(o) in RUN_OPTIONS or key_of(o).startswith("hydra")]
    choices = [o for o in overrides if o not in options and key_of(o) != GRID]
    check_options([*choices, *(f"{GRID}={name}" for name in grids)])
    given = {key_of(override) for override in (*choices, *options)}
    axes = _values([*(o for name in grids for o in of_grid(name, "over") if key_of(o) not in given), *choices])
    if "trial" in given:  # trials given by number run the whole budget, without rungs
        axes.pop("rung", None)
    options += [o for name in grids for o in of_grid(name, "settings") if key_of(o) not in given]
    check_texts([*itertools.chain(*axes.values())])
    for needed in ("method", "task"):
        if needed not in map(key_of, axes):
            raise InputError(f"{needed}=? is missing, and the sweep names none: give {needed}=...")
    if "rung" in axes and {"seed", "trial"} & axes.keys():
        raise InputError("seed, trial: the rungs of tuning set these (configs/tuning.yaml); leave them or rung= out")
    ordered = sorted(axes, key=lambda key: OUTER.index(key) if key in OUTER else len(OUTER))
    if (many := math.prod(len(values) for values in axes.values())) > MOST_CELLS:
        raise InputError(f"at least {many:,} cells given, at most {MOST_CELLS:,} wanted: split the command")
    product = itertools.product(*(axes[key] for key in ordered))
    return Sweep(tuple(cell for overrides in product for cell in lay_out(overrides)), tuple(options))


def of_grid(name: str, part: str) -> list[str]:
    """Read a part of a named grid as overrides."""
    grid = registry.entry(GRID, name)
    lists = {key: value if isinstance(value, list) else [value] for key, value in grid.get(part, {}).items()}
    return [f"{key}={','.join(map(str, values))}" for key, values in lists.items()]


def _values(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Expand each override into those of its values."""
    GlobalHydra.instance().clear()
    with refusing_overrides(overrides), initialize_config_dir(str(CONFIGS), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides(list(overrides))
        axes: dict[str, list[str]] = {}
        for override in parsed:
            key = override.get_key_element()
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise InputError(f"{override.input_line}: an interval has infinitely many values; give a list")
            if override.is_sweep_override():
                values = itertools.islice(override.sweep_string_iterator(), MOST_CELLS + 1)
                axes[key] = [f"{key}={value}" for value in values]
            else:
                axes[key] = [str(override.input_line)]
    if empty := [key for key, values in axes.items() if not values]:
        raise InputError(f"{empty[0]}: the pattern matches nothing")
    return axes


class Records:
    """Records of a sweep's cells, read folder by folder when first needed."""

    def __init__(self, results: Path, device: str | None) -> None:
        self.store, self.device = Store(results / "runs"), device
        self._folders: dict[tuple[str, str], dict[tuple[str, str | None], Record]] = {}
        self._tuned: dict[tuple[str, str], str] = {}
        self.seen: dict[tuple[str, ...], Record] = {}  # by the overrides of a cell

    def of(self, entry: Entry) -> Record | None:
        """Return the record of an entry; a vacant position of a rung is skipped."""
        if entry.vacant is not None:
            names = {"run_id": "", "task": entry.task, "method": entry.method, "backbone": "", "seed": 0, "config": {}}
            return Record(**names, status="skipped", reason=entry.vacant, created="")
        return self._folder(entry.task, entry.method).get((entry.run_id, self.device))

    def tuned(self, task: str, method: str) -> str:
        """Name the tuning records from which a trial is chosen."""
        if (task, method) not in self._tuned:
            records = [*self._folder(task, method).values(), *shipped(task, method)]
            names = {f"{record.run_id}{record.created}" for record in records if record.tuning}
            self._tuned[task, method] = " ".join(sorted(names))
        return self._tuned[task, method]

    def of_task(self, task: str) -> Iterator[Record]:
        """Yield the records of a task on the device type, shipped ones and the user's."""
        for record in (*shipped(task, "*"), *self.store.of(task, "*")):
            if self.device in (None, record.device):
                yield record

    def _folder(self, task: str, method: str) -> dict[tuple[str, str | None], Record]:
        if (task, method) not in self._folders:
            records = self.store.of(task, method)
            self._folders[task, method] = {(r.run_id, device): r for r in records for device in (None, r.device)}
        return self._folders[task, method]


def lookup(sweep: Sweep, cache: OverrideCache, records: Records) -> Iterator[tuple[tuple[str, ...], Record | None]]:
    """Yield each cell's overrides with its record, without composing it."""
    for overrides in sweep.cells:
        yield overrides, find_record(overrides, cache, records)


def find_record(overrides: Sequence[str], cache: OverrideCache, records: Records) -> Record | None:
    """Look up a cell's record; None if its trial may have changed."""
    if (record_seen := records.seen.get(tuple(overrides))) is not None:
        return record_seen
    entry = cache.get(overrides)
    if entry is None or entry.tuned != tuning_evidence(overrides, entry, cache, records):
        return None
    if (record := records.of(entry)) is not None:
        records.seen[tuple(overrides)] = record
    return record


def tuning_evidence(overrides: Sequence[str], entry: Entry, cache: OverrideCache, records: Records) -> str | None:
    """Name the tuning records that choose the trial; None if it is given by number."""
    if f"trial={SELECTED}" in overrides:
        return records.tuned(entry.task, entry.method)
    if not (lower := cells_below(tuple(overrides))):
        return None
    below_it = [find_record(cell, cache, records) for cell in lower]
    return "" if None in below_it else " ".join(sorted(f"{record.run_id}{record.created}" for record in below_it))


def missing_below(overrides: Sequence[str], cache: OverrideCache, records: Records) -> list[tuple[str, ...]]:
    """List the cells of the rung below that are not recorded yet."""
    return [cell for cell in cells_below(tuple(overrides)) if find_record(cell, cache, records) is None]


def chunks(cells: Sequence[tuple[str, ...]], size: int | None) -> list[Sequence[tuple[str, ...]]]:
    """Pack cells into jobs, each a process; None: one job."""
    size = size or max(len(cells), 1)
    return [cells[start : start + size] for start in range(0, len(cells), size)]


def pack_cells(cells: Sequence[tuple[str, ...]]) -> str:
    """Encode cells as one override that needs no quoting."""
    return quote(json.dumps(cells, ensure_ascii=False), safe="")


def unpack_cells(text: str) -> list[list[str]]:
    """Read what packed() wrote."""
    return json.loads(unquote(text))


def compose_and_cache(
    overrides: Sequence[str], results: Path, cache: OverrideCache | None = None, records: Records | None = None
) -> tuple[Cell | None, Entry]:
    """Compose a cell of a sweep and cache its id; None if no trial is left.

    Raises InputError.
    """
    cache, records = cache or OverrideCache(results), records or Records(results, None)
    config, names = compose_config([*overrides, f"results={results}"])
    cell, entry = None, Entry(names["task"], names["method"], "", "")
    try:
        cell = assemble(config, names, overrides)
    except VacantPlaceError as error:
        entry = dataclasses.replace(entry, vacant=str(error))
    else:
        paths = [*files_in(plain_choices(cell)), *map(str, cell.task.files().values())]
        choices, files = choices_of(cell), {path: signature(path) for path in paths}
        entry = dataclasses.replace(entry, run_id=run_id(choices), training=training_id(choices), files=files)
    entry = dataclasses.replace(entry, tuned=tuning_evidence(overrides, entry, cache, records))
    cache.add(overrides, entry)
    return cell, entry
