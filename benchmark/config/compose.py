"""Composition of cells from overrides, with error messages of one line."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.cell import Cell
from benchmark.config import registry
from benchmark.config.build import build, class_path, convert, to_plain
from benchmark.config.headlines import headline_of
from benchmark.config.overrides import key_of, make_portable, quote_path
from benchmark.config.ranges import check_range
from benchmark.config.registry import CONFIGS, GROUPS
from benchmark.config.trials import BEYOND, SELECTED, draw, move_edges, set_knob
from benchmark.config.tuning import select_trial, trial_of_rung
from benchmark.errors import BenchmarkError, IncompatibleError, InputError, near
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
SWEEP = ("-m", "--multirun")
GRID = "sweep"  # named sweeps: sweep=NAME instead of what they sweep over


def check_options(overrides: Sequence[str]) -> None:
    """Refuse unknown options and groups before anything is composed.

    Raises InputError.
    """
    registry.use(overrides)
    given: set[str] = set()
    for flag in (o for o in overrides if o.startswith("-") and o not in SWEEP):
        raise InputError(f"{flag}: no such flag{near(flag, ('--help', *SWEEP))}")
    for word in (o for o in overrides if "=" not in o and not o.startswith(("-", "~"))):
        raise InputError(f"{word}: an override is wanted, as in {word}=VALUE; --help lists what there is")
    for override in (o for o in overrides if "=" in o and not o.startswith("-")):
        key, _, values = override.lstrip("+~").partition("=")
        if key in (*GROUPS, GRID):
            given.add(key)
            known = registry.names(key)
            for value in [values] if key == GRID else values.split(","):
                if value not in known and not value.startswith("glob("):
                    raise InputError(f"{key}={value}: no such {key}{near(value, known)}")
        elif override.startswith("+") and (root := re.split(r"[./@]", key)[0]) not in (
            known := (*_root_keys(), *GROUPS, "hydra")
        ):
            raise InputError(f"{root}: no such key{near(root, known)}")
    for needed in ("method", "task"):
        if needed not in given and GRID not in given:
            raise InputError(f"{needed}=? is missing (known: {', '.join(registry.names(needed))})")


@functools.cache
def _root_keys() -> tuple[str, ...]:
    """List the keys at the root of a configuration, without its groups."""
    groups = ("defaults", "hydra", "task")
    return tuple(str(key) for key in OmegaConf.load(CONFIGS / "config.yaml") if key not in groups)


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Turn an error of Hydra into one line that names the key and the remedy."""
    text = str(error)
    if match := re.search(r"Could not (?:override|append to config)[^']*'([^']+)'", text):
        key = match[1]
        wrong, siblings = _stranger(key, overrides)
        extra = "" if "options" not in key.split(".")[:-1] else f"; a new entry is added by +{key}=..."
        return f"{key}: no such key{near(wrong, siblings)}{extra}"
    if match := re.search(r"Could not (?:find|load) '?hydra/launcher/(\w+)", text):
        return f"hydra/launcher={match[1]}: not installed here: pip install -e '.[cluster]', or no such launcher"
    hint = "; quote a value with signs other than letters, digits and . _ - / twice: key='\"a,b\"'"
    return " ".join(text.split()) + hint * any(
        sign in text for sign in ("mismatched", "Lexer", "Ambiguous", "no viable")
    )


def _stranger(key: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Find the first unknown part of a dotted key, and the keys that exist there."""
    choices = [o for o in overrides if o.partition("=")[0] in GROUPS]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        node: Any = compose("config", [*(c.split(",")[0] for c in choices), *search_path()])
    *parents, leaf = key.split(".")
    for part in parents:
        if not isinstance(node, DictConfig) or not isinstance(node.get(part), DictConfig):
            return part, _keys(node)
        node = node[part]
    return leaf, _keys(node)


def _keys(node: Any) -> list[str]:
    return [str(key) for key in node] if isinstance(node, DictConfig) else []


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
    tree["metric"] = tree["task"].pop("metric", None)  # it chooses what is shown, no number: it is no field of a task
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


def compose_config(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Compose a configuration, with the option per group. Raises InputError."""
    config = compose_with_hydra(overrides)
    names = {group: str(config.hydra.runtime.choices[group]) for group in GROUPS}
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), names


def compose_with_hydra(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration with Hydra's part. Raises InputError."""
    check_options(overrides)
    GlobalHydra.instance().clear()
    with refusing_overrides(overrides):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            nodes = [o for o in overrides if o.partition("=")[2].startswith("{")]
            others = [quote_path(o) for o in overrides if o not in nodes]
            config = compose("config", [*others, *search_path()], return_hydra_config=True)
            for override in OverridesParser.create().parse_overrides(nodes):
                replace_node(config, override, others)
        check_range({key: config[key] for key in _root_keys() if not OmegaConf.is_missing(config, key)}, "")
    return config


@contextmanager
def refusing_overrides(overrides: Sequence[str]) -> Iterator[None]:
    """Parse overrides inside; whatever Hydra raises there is an InputError."""
    try:
        yield
    except BenchmarkError:
        raise
    except Exception as error:  # its grammar raises the errors of what it is made of as well
        raise InputError(explain(error, overrides)) from error


def replace_node(config: DictConfig, override: Override, overrides: Sequence[str]) -> None:
    """Replace a node, which Hydra would merge. Raises InputError."""
    key = override.get_key_element().lstrip("+")
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not override.is_add() and (not isinstance(node, DictConfig) or leaf not in node):
        unknown, siblings = _stranger(key, overrides)
        raise InputError(f"{key}: no such key{near(unknown, siblings)}")
    OmegaConf.update(config, key, override.value(), merge=False, force_add=True)


def search_path() -> list[str]:
    """Give the override that makes Hydra read the folders of plug-ins as well."""
    folders = ",".join(f"'file://{folder / 'configs'}'" for folder in registry.plugins())
    return [f"hydra.searchpath=[{folders}]"] if folders else []
