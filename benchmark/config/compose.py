"""Cells from overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.cell import Cell
from benchmark.config import registry
from benchmark.config.build import build, class_path, convert, to_plain
from benchmark.config.headlines import headline_of
from benchmark.config.overrides import key_of, make_portable
from benchmark.config.trials import BEYOND, SELECTED, draw, move_edges, set_knob
from benchmark.config.tuning import select_trial, trial_of_rung
from benchmark.config.with_hydra import compose_config
from benchmark.errors import IncompatibleError, InputError
from benchmark.identity import CONTENTS, contents, fingerprinted
from benchmark.types import Task
from benchmark.types.folds import fold_of, in_fold

NOUNS = ("task", "method", "backbone", "budget")
PATHS = ("metrics",)  # keys whose values are files or folders even without a separator
DEFAULTS = {"phase": "final", "trial": 0, "size_of": "params"}  # recorded as null, like anything not chosen
SCALARS = {
    "seed": int,
    "fraction": float | None,
    **dict.fromkeys(("seed_sample", "seed_init", "seed_order", "size"), int | None),
    **dict.fromkeys(("fold", "folds"), int | None),
    "size_of": str,
    "phase": str,
    "trial": int,
    "until": int | None,
}
VIEW = "task.metric="  # chooses what is shown of a run, and is no part of its name


def assemble(config: DictConfig, names: dict[str, str], overrides: Sequence[str] = ()) -> Cell:
    """Build the cell of a composed configuration, and note the overrides.

    Raises InputError.
    """
    tree = tree_of(config)
    for noun in NOUNS:
        if not tree.get(noun):
            raise InputError(f"{noun}=? is missing (known: {', '.join(registry.names(noun))})")
    keys = [key_of(override) for override in overrides]
    if "folds" in keys and tree["fold"] is None:
        raise InputError(f"folds: {tree['folds']} given, but no fold: give fold=0, or several by -m fold=0,1,2")
    explicit = {key.removeprefix("method.") for key in keys if key.startswith("method.")}
    search = {knob: space for knob, space in (tree["method"].get("search") or {}).items() if knob not in explicit}
    notes: dict[str, Any] = {}
    if tree["rung"] is not None:
        cell = _built({**tree, "trial": 0, "until": None}, names)
        notes["tuning"] = entrant = trial_of_rung(cell, choices_of(cell), search, tree)
        tree |= {"trial": entrant["trial"], "until": entrant["until"]}
    if tree["trial"] == SELECTED:
        cell = _built({**tree, "trial": 0}, names)
        chosen = select_trial(cell, choices_of(cell), search, Path(tree["results"]))
        notes |= {"selected": chosen} if chosen else {}
        tree["trial"] = chosen["trial"] if chosen else 0
    trial = convert(tree["trial"], int, "trial")
    if trial >= BEYOND and not move_edges(names["method"], search, trial - BEYOND):
        raise InputError(
            f"trial: {trial} given, but no value of trial {trial - BEYOND} is at the edge of its range or list"
        )
    for knob, value in draw(names["method"], search, trial).items():
        set_knob(tree["method"], knob, value)
    if trial and (knobs := sorted(explicit & (tree["method"].get("search") or {}).keys())):
        notes["explicit"] = knobs  # an override beats a draw
    if overrides:
        notes["overrides"] = make_portable(overrides, trial, tree["until"])
    cell = dataclasses.replace(_built(tree, names), notes=notes)
    return cell if cell.size is None else solve_size(cell)


def _built(tree: dict[str, Any], names: dict[str, str]) -> Cell:
    parts = {noun: build(tree[noun], noun) for noun in NOUNS}
    scalars = {name: convert(tree[name], hint, name) for name, hint in SCALARS.items()}
    return Cell(**parts, **scalars, headline=headline_of(parts["task"], tree["metric"]), names=names)


def check_metrics(cells: Iterable[Sequence[str]]) -> None:
    """Refuse a headline of a sweep that its task lacks, also where every cell is recorded. Raises InputError."""
    asked = {tuple(o for o in cell if o.startswith(("task", "data", VIEW))): cell for cell in cells}
    for chosen, overrides in asked.items():
        if any(override.startswith(VIEW) for override in chosen):
            tree = tree_of(compose_config(overrides)[0])
            headline_of(build(tree["task"], "task"), tree["metric"])


def solve_size(cell: Cell) -> Cell:
    """Set the method's knob to the wanted size, and note the size that it reached.

    Raises InputError.
    """
    from benchmark.config.sizing import solve, with_knob  # needs torch

    if reason := cell.conflict():
        raise IncompatibleError(reason)
    solution = solve(cell)
    notes = {**cell.notes, "size": {"wanted": cell.size, "of": cell.size_of, **dataclasses.asdict(solution)}}
    return dataclasses.replace(cell, method=with_knob(cell.method, solution.knob, solution.value), notes=notes)


def choices_of(cell: Cell) -> dict[str, Any]:
    """Give the choices that a record stores. Raises InputError for NaN or infinity."""
    tree = plain_choices(cell)
    if isinstance(data := tree["task"].get("data"), dict) and (files := cell.task.files()):
        data[CONTENTS] = contents(files, data, PATHS)
    try:
        return fingerprinted(tree, PATHS)
    except ValueError as error:
        raise InputError(str(error)) from error


def tree_of(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain data, with the task's data built.

    Raises InputError.
    """
    try:
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(" ".join(str(error).split())) from error
    # it chooses what is shown, no number: it is no field of a task
    tree["metric"] = tree["task"].pop("metric", None) or tree["task"].get("headline")
    tree["task"]["data"] = build(tree["data"], "data") if tree["data"] else None
    return tree


def plain_choices(cell: Cell) -> dict[str, Any]:
    """Give a cell's choices as plain data, from which the run's id is computed."""
    parts = {noun: _plain_node(noun, getattr(cell, noun), cell.names) for noun in NOUNS}
    if dataclasses.is_dataclass(data := getattr(cell.task, "data", None)):
        parts["task"]["data"] = _plain_node("data", data, cell.names)
    rates = parts["backbone"]["head_lr"] or {}  # without the rates of kinds that the task does not have
    parts["backbone"]["head_lr"] = {kind: lr for kind, lr in rates.items() if kind in cell.task.kinds} or None
    given = {name: getattr(cell, name) for name in SCALARS}
    return {**parts, **{name: None if DEFAULTS.get(name) == value else value for name, value in given.items()}}


def _plain_node(group: str, built: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {**registry.class_entry(group, names.get(group), class_path(built)), **to_plain(built)}


def cell_of(overrides: Sequence[str]) -> Cell:
    """Compose and build a cell from overrides, for use from Python."""
    return assemble(*compose_config(overrides), overrides)


def task_of(overrides: Sequence[str]) -> tuple[str, Task]:
    """Compose and build a task alone; its backbone need not exist on this machine."""
    config, names = compose_config(overrides)
    tree = tree_of(config)
    task = build(tree["task"], "task").fitted(lambda: build(tree["backbone"], "backbone"))
    return names["task"], in_fold(task, fold_of(*(convert(tree[key], int | None, key) for key in ("fold", "folds"))))
