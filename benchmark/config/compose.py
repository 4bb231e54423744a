"""Configuration in words: what exists, composing it, and refusals of one line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.cell import Cell
from benchmark.config import registry
from benchmark.config.build import build, class_path, plain, typed
from benchmark.config.halving import Tuning, rung_of, rungs
from benchmark.config.registry import CONFIGS, GROUPS, PLUGINS
from benchmark.config.trials import BEYOND, SELECTED, draw, edges, moved, select, set_knob, tuning_records
from benchmark.errors import IncompatibleError, InputError, NoSelectionError, VacantPlaceError, near
from benchmark.identity import fingerprinted
from benchmark.records import Record, Store, shipped
from benchmark.types import TUNE, Task

NOUNS = ("task", "method", "backbone", "budget")
PATHS = ("metrics",)  # keys whose values are files or folders even without a separator
DEFAULTS = {"phase": "final", "trial": 0, "size_of": "params"}  # where they are these, nobody chose anything
SCALARS = {
    "seed": int,
    "fraction": float | None,
    **dict.fromkeys(("seed_sample", "seed_init", "seed_order", "size"), int | None),
    "size_of": str,
    "phase": str,
    "trial": int,
    "until": int | None,
}
SWEEP = ("-m", "--multirun")
RUN_OPTIONS = (
    "results",
    "device",
    "force",
    "retry",
    "save",
    "shared",
    "attempts",
    "cells_per_job",
    "fresh",
    "cells",
    PLUGINS,
)  # no choices
GRID = "sweep"  # named sweeps: sweep=NAME instead of what they sweep over


def usage() -> str:
    """Write the help page: every option of every group."""
    lines = [
        "python -m benchmark.run method=M task=T [backbone=B] [budget=P] [data=D] [seed=N] [any.field=value]",
        "",
        "Adapt one backbone to one task by one method, measure it, and record it.",
    ]
    for group in (*GROUPS, GRID):
        known = registry.descriptions(group)
        width = max(map(len, known))
        lines += ["", f"{group}=", *(f"  {name:<{width}}  {text}" for name, text in known.items())]
    lines += [
        "",
        "Less data: fraction=0.05 (of the training examples; 0.05 lies within 0.1)  seed_sample=0 (draws them)",
        "Tuning: +sweep=tune, then +sweep=final; by hand phase=tune trial=0,1,2,3 (draws of method.search)",
        "Equal sizes: size=100000 (size_of=params|bytes)  Seeds of one part: seed_init=0  seed_order=0",
        "Settings: seed=0  results=results  device=auto|cpu|cuda  force=true (run again)  retry=failed",
        "  plugins=DIR (your own configs/ and modules)  save=DIR (keep the adapter)",
        "  shared=true (others use the device)  attempts=3  cells_per_job=8  fresh=true",
        "Any field of a configuration: method.lr=1e-3 budget.steps=1000 task.target_language=ta",
        "Your own texts: data=files data.train=F data.valid=F data.test=F data.columns.source=C data.columns.target=C",
        "Your own images: task=medical_images data=image_folder data.folder=DIR (or image_table, image_npz)",
        "Your own proteins: task=protein_regression data.files.all=F (or protein_classification, _residues, _pairs)",
        "Your own speech: task=speech data=audio_folder data.folder=DIR data.columns.target=C (or speech_recognition)",
        "Your own checkpoint: backbone.checkpoint=DIR of backbone=causal_lm, seq2seq, protein_encoder, speech_encoder,",
        "  or timm_network",
        "What a task's splits share that they should not: python -m benchmark.audit task=T",
        "Several processes in one run: torchrun --nproc-per-node 2 -m benchmark.run ... (budget.shard=true: in pieces)",
        "Several runs: -m method=lora,dora seed=0,1,2, or a named sweep: +sweep=nmt15 seed=0,1,2; the same command",
        "  goes on; hydra/launcher=joblib uses the cores, hydra/launcher=slurm a cluster",
        "How far a sweep is: python -m benchmark.status +sweep=nmt15",
        "Two methods head to head: python -m benchmark.compare lora dora [task=T]",
        "Which method for me: python -m benchmark.advise task=T [max_memory_gb=8] [max_params=1e6] [mergeable=true]",
    ]
    return "\n".join(lines)


def check_options(overrides: Sequence[str]) -> None:
    """Refuse an option or a group that does not exist, before anything is composed. Raises InputError."""
    registry.use(overrides)
    given: set[str] = set()
    for flag in (o for o in overrides if o.startswith("-") and o not in SWEEP):
        raise InputError(f"{flag}: no such flag{near(flag, ('--help', *SWEEP))}")
    for word in (o for o in overrides if "=" not in o and not o.startswith(("-", "~"))):
        raise InputError(f"{word}: a setting is wanted, as in {word}=VALUE; --help lists what there is")
    for override in (o for o in overrides if "=" in o and not o.startswith("-")):
        key, _, values = override.lstrip("+~").partition("=")
        if key in (*GROUPS, GRID):
            given.add(key)
            known = registry.names(key)
            for value in [values] if key == GRID else values.split(","):
                if value not in known and not value.startswith("glob("):
                    raise InputError(f"{key}={value}: no such {key}{near(value, known)}")
    for needed in ("method", "task"):
        if needed not in given and GRID not in given:
            raise InputError(f"{needed}=? is missing (known: {', '.join(registry.names(needed))})")


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Put one of Hydra's refusals into one line that names the key and what would be right."""
    text = str(error)
    if found := re.search(r"Could not (?:override|append to config)[^']*'([^']+)'", text):
        key = found[1]
        wrong, siblings = _stranger(key, overrides)
        extra = "" if "options" not in key.split(".")[:-1] else f"; a new entry is added by +{key}=..."
        return f"{key}: no such key{near(wrong, siblings)}{extra}"
    if found := re.search(r"Could not (?:find|load) '?hydra/launcher/(\w+)", text):
        return f"hydra/launcher={found[1]}: not installed here: pip install -e '.[cluster]', or no such launcher"
    return " ".join(text.split())


def _stranger(key: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Find the first part of a dotted key that is not there, and what is there instead."""
    choices = [o for o in overrides if o.partition("=")[0] in GROUPS]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        node: Any = compose("config", [*(c.split(",")[0] for c in choices), *searched()])
    *parents, leaf = key.split(".")
    for part in parents:
        if not isinstance(node, DictConfig) or not isinstance(node.get(part), DictConfig):
            return part, _keys(node)
        node = node[part]
    return leaf, _keys(node)


def _keys(node: Any) -> list[str]:
    return [str(key) for key in node] if isinstance(node, DictConfig) else []


def assemble(config: DictConfig, names: dict[str, str], overrides: Sequence[str] = ()) -> Cell:
    """Build the cell that a composed configuration describes, and note the overrides. Raises InputError."""
    tree = tree_of(config)
    for noun in NOUNS:
        if not tree.get(noun):
            raise InputError(f"{noun}=? is missing (known: {', '.join(registry.names(noun))})")
    keys = [override.lstrip("+").partition("=")[0] for override in overrides]
    explicit = {key.removeprefix("method.") for key in keys if key.startswith("method.")}
    search = {knob: space for knob, space in (tree["method"].get("search") or {}).items() if knob not in explicit}
    notes: dict[str, Any] = {}
    if tree["rung"] is not None:
        notes["tuning"] = told = entered(tree, names, search)
        tree |= {"trial": told["trial"], "until": told["until"]}
    if tree["trial"] == SELECTED:
        default = _built({**tree, "trial": 0}, names)
        chosen = selected(default, search, Path(tree["results"]))
        notes |= {"selected": chosen} if chosen else {}
        tree["trial"] = chosen["trial"] if chosen else 0
    trial = typed(tree["trial"], int, "trial")
    if trial >= BEYOND and not moved(names["method"], search, trial - BEYOND):
        raise InputError(f"trial: {trial} given, but trial {trial - BEYOND} does not lie at the edge of a range")
    for knob, value in draw(names["method"], search, trial).items():
        set_knob(tree["method"], knob, value)
    if trial and (kept := sorted(explicit & (tree["method"].get("search") or {}).keys())):
        notes["explicit"] = kept  # an override beats a draw
    if overrides:
        notes["overrides"] = noted(overrides, trial, tree["until"])
    cell = dataclasses.replace(_built(tree, names), notes=notes)
    return cell if cell.size is None else sized(cell)


def noted(overrides: Sequence[str], trial: int, until: int | None) -> list[str]:
    """Leave of overrides what makes the same cell anywhere: no run options, and a trial by its number.

    A file or folder stands by its name, since a record names no path of this machine.
    """
    resolved = {"rung": None, "place": None, "trial": trial or None, "until": until}
    chosen = [o for o in overrides if _key(o) not in (*RUN_OPTIONS, *resolved) and not _key(o).startswith("hydra")]
    chosen += [f"{key}={value}" for key, value in resolved.items() if value is not None]
    return [_without_folders(override) for override in chosen if not override.startswith("-")]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _without_folders(override: str) -> str:
    key, equals, value = override.partition("=")

    def name(match: re.Match[str]) -> str:
        path = Path(match[0]).expanduser()
        return path.name if path.is_absolute() or path.exists() else match[0]

    return key + equals + re.sub(r"[^\[\]{},:'\"=]*[/\\][^\[\]{},:'\"=]*", name, value)


def _built(tree: dict[str, Any], names: dict[str, str]) -> Cell:
    parts = {noun: build(tree[noun], noun) for noun in NOUNS}
    return Cell(**parts, **{name: typed(tree[name], hint, name) for name, hint in SCALARS.items()}, names=names)


def selected(cell: Cell, search: Mapping[str, Any], results: Path) -> dict[str, Any] | None:
    """Say which trial the tuning records of this cell choose, and from what; None for a pair that cannot run.

    Raises InputError.
    """
    if cell.phase == TUNE:
        raise InputError(
            "trial=selected: tuning takes numbers, as in trial=0,1,2,3; the final phase takes what it chose"
        )
    try:
        known = tuning_records(records_of(cell, results), choices_of(cell), search)
        found = select(known, choices_of(cell), search)
        if any(record.config.get("until") for record in known):
            tuning = Tuning(cell.names["method"], search, found.budget, known)
            tuning.standing(len(rungs()) - 1)  # the last rung is done, and every one before it
    except NoSelectionError as error:
        if cell.conflict():  # it was not tuned either: the run says why
            return None
        raise InputError(str(error)) from error
    at_edge = edges(search, draw(cell.names["method"], search, found.trial))
    return {**dataclasses.asdict(found), "at_edge": at_edge}


def entered(tree: dict[str, Any], names: dict[str, str], search: Mapping[str, Any]) -> dict[str, Any]:
    """Say which trial runs at a place of a rung, to which step, and from what that was chosen.

    Raises InputError where the rung below is not complete, VacantPlaceError where no trial is left for the place.
    """
    cell = _built({**tree, "trial": 0, "until": None}, names)
    rung, at = rung_of([f"rung={tree['rung']}"]), typed(tree["place"], int, "place")
    if cell.phase != TUNE:
        raise InputError(f"rung: {rung} given, but only tuning has rungs: phase=tune")
    choices = choices_of(cell)
    try:
        known = (
            tuning_records(records_of(cell, Path(tree["results"])), choices, search, same_budget=True) if rung else []
        )
        tuning = Tuning(names["method"], search, choices["budget"], known)
        found = {"rung": rung, "place": at, "trial": tuning.trial(rung, at), "until": tuning.stop(rung)}
        standing = tuning.standing(rung - 1) if rung else []
    except (NoSelectionError, VacantPlaceError) as error:
        if reason := cell.conflict():  # it did not begin either
            raise VacantPlaceError(reason) from error
        raise (error if isinstance(error, VacantPlaceError) else InputError(str(error))) from error
    return {**found, "standing": standing, "dropped": tuning.dropped(rung)}


def records_of(cell: Cell, results: Path) -> list[Record]:
    """Read the records of a cell's task and method, those of the user's own where a shipped one has the same name."""
    names = cell.names["task"], cell.names["method"]
    found = {record.run_id: record for record in (*shipped(*names), *Store(results / "runs").of(*names))}
    return list(found.values())


def sized(cell: Cell) -> Cell:
    """Turn the method's knob to the wanted size, and note how near it came. Raises InputError."""
    from benchmark.config.sizing import solve, turned  # it attaches to shapes, so it needs torch

    if reason := cell.conflict():
        raise IncompatibleError(reason)
    found = solve(cell)
    notes = {**cell.notes, "size": {"wanted": cell.size, "of": cell.size_of, **dataclasses.asdict(found)}}
    return dataclasses.replace(cell, method=turned(cell.method, found.knob, found.value), notes=notes)


def choices_of(cell: Cell) -> dict[str, Any]:
    """Give the choices that a record keeps. Raises InputError for a number that cannot be written down."""
    try:
        return fingerprinted(resolved(cell), PATHS)
    except ValueError as error:
        raise InputError(str(error)) from error


def tree_of(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain data, with the task's data built. Raises InputError."""
    try:
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(" ".join(str(error).split())) from error
    tree["task"]["data"] = build(tree["data"], "data") if tree["data"] else None
    return tree


def resolved(cell: Cell) -> dict[str, Any]:
    """Give a cell's choices as plain data: what a record keeps and a run's id is made of."""
    parts = {noun: _plain_node(noun, getattr(cell, noun), cell.names) for noun in NOUNS}
    if dataclasses.is_dataclass(data := getattr(cell.task, "data", None)):
        parts["task"]["data"] = _plain_node("data", data, cell.names)
    rates = parts["backbone"]["head_lr"] or {}  # those of kinds that the task does not ask for are no choice
    parts["backbone"]["head_lr"] = {kind: lr for kind, lr in rates.items() if kind in cell.task.kinds} or None
    given = {name: getattr(cell, name) for name in SCALARS}
    return {**parts, **{name: None if DEFAULTS.get(name) == value else value for name, value in given.items()}}


def _plain_node(group: str, built: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {**registry.named(group, names.get(group), class_path(built)), **plain(built)}


def cell_of(overrides: Sequence[str]) -> Cell:
    """Compose and build a cell from command-line words, for use from Python."""
    return assemble(*composed(overrides), overrides)


def task_of(overrides: Sequence[str]) -> tuple[str, Task]:
    """Compose and build a task alone; its backbone need not be there."""
    config, names = composed(overrides)
    return names["task"], build(tree_of(config)["task"], "task")


def composed(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Compose a configuration; beside it the option chosen per group. Raises InputError."""
    config = whole(overrides)
    names = {group: str(config.hydra.runtime.choices[group]) for group in GROUPS}
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), names


def whole(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration, Hydra's own part included. Raises InputError."""
    check_options(overrides)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose("config", [*overrides, *searched()], return_hydra_config=True)
    except HydraException as error:
        raise InputError(explain(error, overrides)) from error


def searched() -> list[str]:
    """Let Hydra read the folders of plug-ins as well."""
    found = ",".join(f"'file://{folder / 'configs'}'" for folder in registry.plugins())
    return [f"hydra.searchpath=[{found}]"] if found else []
