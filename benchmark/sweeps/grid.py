"""A grid of cells: expanding it, finding out what is recorded, and packing the rest into jobs."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from benchmark.cell import Cell
from benchmark.config.compose import (
    CONFIGS,
    GRID,
    SETTINGS,
    SWEEP,
    assemble,
    check_options,
    choices_of,
    composed,
    resolved,
)
from benchmark.config.halving import below, places
from benchmark.config.trials import SELECTED
from benchmark.engine.device import device_of
from benchmark.errors import InputError, VacantPlaceError
from benchmark.identity import run_id, training_id
from benchmark.records import Record, Store, shipped
from benchmark.sweeps.override_cache import Entry, Ledger, files_in, signature
from benchmark.types import TUNE

# What changes slowest. Seeds come first, so that what is there of an unfinished sweep can be compared; tasks next, so
# that neighbours share data and network. Before all goes the rung: what decides about one is complete when it begins.
OUTER = ("rung", "seed", "seed_sample", "fraction", "task", "data", "backbone", "budget")


@dataclass(frozen=True)
class Sweep:
    """What a command goes over, and how it is to be run."""

    cells: tuple[tuple[str, ...], ...]  # the words of each
    settings: tuple[str, ...]  # words that are no choice of a cell

    def setting(self, key: str, default: str) -> str:
        """Give the last word's value for a setting."""
        said = [word.partition("=")[2] for word in self.settings if word.partition("=")[0] == key]
        return said[-1] if said else default

    def device(self) -> str | None:
        """Name the device type that its records are of; None, any: other machines than this one choose."""
        wanted = self.setting("device", "auto")
        if "slurm" not in self.setting("hydra/launcher", "basic"):
            return device_of(wanted)
        return None if wanted == "auto" else wanted


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether a command wants several cells."""
    return any(word in SWEEP or word.lstrip("+").startswith(f"{GRID}=") for word in arguments)


def expand(arguments: Sequence[str]) -> Sweep:
    """Lay out the cells of a command: a named grid, and the user's words, which win. Raises InputError."""
    words = [word for word in arguments if word not in SWEEP]
    named = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{GRID}=")]
    words = [word for word in words if not word.lstrip("+").startswith(f"{GRID}=")]
    settings = tuple(word for word in words if _key(word) in SETTINGS or _key(word).startswith("hydra"))
    own = [word for word in words if word not in settings]
    check_options([*own, *(f"{GRID}={name}" for name in named)])
    given = {_key(word) for word in own}
    grid = [word for name in named for word in of_grid(name, "over") if _key(word) not in given]
    if "trial" in given:  # trials by number have the whole budget at once
        grid = [word for word in grid if _key(word) != "rung"]
    chosen = {_key(word) for word in settings}
    settings += tuple(w for name in named for w in of_grid(name, "settings") if _key(w) not in chosen)
    axes = _values([*grid, *own])
    for needed in ("method", "task"):
        if needed not in map(_key, axes):
            raise InputError(f"{needed}=? is missing: the sweep does not say which")
    if "rung" in axes and {"seed", "trial"} & axes.keys():
        raise InputError("seed, trial: the rungs of tuning have theirs (configs/tuning.yaml); or leave out rung=")
    ordered = sorted(axes, key=lambda key: OUTER.index(key) if key in OUTER else len(OUTER))
    product = itertools.product(*(axes[key] for key in ordered))
    return Sweep(tuple(cell for words in product for cell in places(words)), settings)


def of_grid(name: str, part: str) -> list[str]:
    """Read a part of a named grid as words."""
    grid: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / GRID / f"{name}.yaml"))
    lists = {key: value if isinstance(value, list) else [value] for key, value in grid.get(part, {}).items()}
    return [f"{key}={','.join(map(str, values))}" for key, values in lists.items()]


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _values(words: Sequence[str]) -> dict[str, list[str]]:
    """Expand each word into those of its values."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
            parsed = parser.parse_overrides(list(words))
            axes: dict[str, list[str]] = {}
            for override in parsed:
                key = override.get_key_element()
                if override.is_sweep_override() and not override.is_discrete_sweep():
                    raise InputError(f"{override.input_line}: an interval has no end of values; give a list")
                if override.is_sweep_override():
                    axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
                else:
                    axes[key] = [str(override.input_line)]
    except HydraException as error:
        raise InputError(" ".join(str(error).split())) from error
    if empty := [key for key, found in axes.items() if not found]:
        raise InputError(f"{empty[0]}: the pattern matches nothing")
    return axes


class Records:
    """The records of a sweep's cells, read folder by folder when first asked for."""

    def __init__(self, results: Path, device: str | None) -> None:
        self.store, self.device = Store(results / "runs"), device
        self._folders: dict[tuple[str, str], dict[tuple[str, str | None], Record]] = {}
        self._tuned: dict[tuple[str, str], str] = {}
        self.seen: dict[tuple[str, ...], Record] = {}  # by the words of a cell: a rung asks for those below again

    def of(self, entry: Entry) -> Record | None:
        """Return the record that an entry names; a place of tuning that no trial takes counts as skipped."""
        if entry.vacant is not None:
            names = {"run_id": "", "task": entry.task, "method": entry.method, "backbone": "", "seed": 0, "config": {}}
            return Record(**names, status="skipped", reason=entry.vacant, created="")
        return self._folder(entry.task, entry.method).get((entry.run_id, self.device))

    def tuned(self, task: str, method: str) -> str:
        """Name the tuning records that a choice of trial rests on."""
        if (task, method) not in self._tuned:
            own = [*self._folder(task, method).values(), *shipped(task, method)]
            names = {f"{r.run_id}{r.created}" for r in own if r.config.get("phase") == TUNE}
            self._tuned[task, method] = " ".join(sorted(names))
        return self._tuned[task, method]

    def _folder(self, task: str, method: str) -> dict[tuple[str, str | None], Record]:
        if (task, method) not in self._folders:
            found = self.store.of(task, method)
            self._folders[task, method] = {(r.run_id, device): r for r in found for device in (None, r.device)}
        return self._folders[task, method]


def lookup(sweep: Sweep, ledger: Ledger, records: Records) -> Iterator[tuple[tuple[str, ...], Record | None]]:
    """Yield each cell's words with its record, where both are known; nothing is composed."""
    for words in sweep.cells:
        yield words, recorded(words, ledger, records)


def recorded(words: Sequence[str], ledger: Ledger, records: Records) -> Record | None:
    """Look up a cell's record, unless its trial was chosen from other records than those there now."""
    if (known := records.seen.get(tuple(words))) is not None:
        return known
    entry = ledger.get(words)
    if entry is None or entry.tuned != chosen_from(words, entry, ledger, records):
        return None
    if (found := records.of(entry)) is not None:
        records.seen[tuple(words)] = found
    return found


def chosen_from(words: Sequence[str], entry: Entry, ledger: Ledger, records: Records) -> str | None:
    """Name the tuning records that choose the trial of some words; None where they name it themselves."""
    if f"trial={SELECTED}" in words:
        return records.tuned(entry.task, entry.method)
    if not (lower := below(tuple(words))):
        return None
    found = [recorded(cell, ledger, records) for cell in lower]
    return "" if None in found else " ".join(sorted(f"{record.run_id}{record.created}" for record in found))


def waited_for(words: Sequence[str], ledger: Ledger, records: Records) -> list[tuple[str, ...]]:
    """List the cells without which it is not known yet which trial these words are of."""
    return [cell for cell in below(tuple(words)) if recorded(cell, ledger, records) is None]


def chunks(cells: Sequence[tuple[str, ...]], size: int | None) -> list[Sequence[tuple[str, ...]]]:
    """Pack cells into jobs, each a process; None: one job."""
    size = size or max(len(cells), 1)
    return [cells[start : start + size] for start in range(0, len(cells), size)]


def packed(cells: Sequence[tuple[str, ...]]) -> str:
    """Write cells as one word that no shell and no parser of overrides takes apart."""
    return quote(json.dumps(cells, ensure_ascii=False), safe="")


def unpacked(text: str) -> list[list[str]]:
    """Read what packed() wrote."""
    return json.loads(unquote(text))


def known_as(
    words: Sequence[str], results: Path, ledger: Ledger | None = None, records: Records | None = None
) -> tuple[Cell | None, Entry]:
    """Compose a cell of a sweep and remember it; None where no trial takes its place. Raises InputError."""
    ledger, records = ledger or Ledger(results), records or Records(results, None)
    config, names = composed([*words, f"results={results}"])
    cell, entry = None, Entry(names["task"], names["method"], "", "")
    try:
        cell = assemble(config, names, words)
    except VacantPlaceError as error:
        entry = dataclasses.replace(entry, vacant=str(error))
    else:
        choices, files = choices_of(cell), {path: signature(path) for path in files_in(resolved(cell))}
        entry = dataclasses.replace(entry, run_id=run_id(choices), training=training_id(choices), files=files)
    entry = dataclasses.replace(entry, tuned=chosen_from(words, entry, ledger, records))
    ledger.add(words, entry)
    return cell, entry
