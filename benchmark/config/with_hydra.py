"""Composition of configurations by Hydra, with error messages of one line."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from benchmark.config import registry
from benchmark.config.overrides import quote_path
from benchmark.config.ranges import check_range
from benchmark.config.registry import CONFIGS, GROUPS
from benchmark.errors import BenchmarkError, InputError, near

SWEEP = ("-m", "--multirun")
GRID = "sweep"  # named sweeps: sweep=NAME instead of what they sweep over
VALUE = re.compile(rf"(?!({'|'.join((*GROUPS, 'hydra'))})=|hydra\.)[a-z_][\w.]*=")  # of a key that is no group


def compose_config(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Compose a configuration, with the option per group. Raises InputError."""
    check_options(overrides)
    with refusing_overrides(overrides):
        # what a ~ deletes may be set before it
        values, nodes, others = sort_overrides(overrides, apart=not any(o.startswith("~") for o in overrides))
        composed, names = _composed(tuple(others), registry.plugins())
        config = copy.deepcopy(composed)
        for override in (*values, *nodes):
            set_value(config, override, overrides)
    check_roots(config)
    return config, dict(names)


def compose_with_hydra(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration with Hydra's part. Raises InputError."""
    check_options(overrides)
    with refusing_overrides(overrides):
        _, nodes, others = sort_overrides(overrides, apart=False)
        config = _compose(others)
        for override in nodes:
            set_value(config, override, overrides)
    check_roots(config)
    return config


def check_roots(config: DictConfig) -> None:
    """Refuse a number outside its range among the keys at the root. Raises InputError."""
    check_range({key: config[key] for key in _root_keys() if not OmegaConf.is_missing(config, key)}, "")


def sort_overrides(overrides: Sequence[str], apart: bool = True) -> tuple[list[Override], list[Override], list[str]]:
    """Sort overrides into values of known keys, nodes, and all others, which Hydra must compose.

    Without `apart` only nodes are taken from Hydra, which would merge them.
    """
    values, nodes, others = [], [], []
    for given in overrides:
        is_node = given.partition("=")[2].startswith("{")
        text = given if is_node else quote_path(given)
        if is_node:
            nodes.append(_parse(text))
        elif apart and VALUE.match(given) and not (parsed := _parse(text)).is_sweep_override():
            values.append(parsed)
        else:
            others.append(text)
    return values, nodes, others


def _parse(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def _compose(overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("config", [*overrides, *search_path()], return_hydra_config=True)


@functools.lru_cache(maxsize=256)  # Hydra reads and merges a dozen files, which takes longer than all else of a cell
def _composed(overrides: tuple[str, ...], plugins: tuple[Path, ...]) -> tuple[DictConfig, dict[str, str]]:
    config = _compose(overrides)
    names = {group: str(config.hydra.runtime.choices[group]) for group in GROUPS}
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), names


@contextmanager
def refusing_overrides(overrides: Sequence[str]) -> Iterator[None]:
    """Parse overrides inside; whatever Hydra raises there is an InputError."""
    try:
        yield
    except BenchmarkError:
        raise
    except Exception as error:  # its grammar raises the errors of what it is made of as well
        raise InputError(explain(error, overrides)) from error


def set_value(config: DictConfig, override: Override, overrides: Sequence[str]) -> None:
    """Set a value, or replace a node, of a key that exists. Raises InputError."""
    key = override.get_key_element().lstrip("+")
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not override.is_add() and leaf not in _keys(node):
        raise InputError(_unknown(key, overrides))
    OmegaConf.update(config, key, override.value(), merge=False, force_add=True)


def search_path() -> list[str]:
    """Give the override that makes Hydra read the folders of plug-ins as well."""
    folders = ",".join(f"'file://{folder / 'configs'}'" for folder in registry.plugins())
    return [f"hydra.searchpath=[{folders}]"] if folders else []


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
        return _unknown(match[1], overrides)
    if match := re.search(r"Could not (?:find|load) '?hydra/launcher/(\w+)", text):
        return f"hydra/launcher={match[1]}: not installed here: pip install -e '.[cluster]', or no such launcher"
    hint = "; quote a value with signs other than letters, digits and . _ - / twice: key='\"a,b\"'"
    return " ".join(text.split()) + hint * any(
        sign in text for sign in ("mismatched", "Lexer", "Ambiguous", "no viable")
    )


def _unknown(key: str, overrides: Sequence[str]) -> str:
    wrong, siblings = _stranger(key, overrides)
    extra = "" if "options" not in key.split(".")[:-1] else f"; a new entry is added by +{key}=..."
    return f"{key}: no such key{near(wrong, siblings)}{extra}"


def _stranger(key: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Find the first unknown part of a dotted key, and the keys that exist there."""
    choices = [o for o in overrides if o.partition("=")[0] in GROUPS]
    node: Any = _compose([choice.split(",")[0] for choice in choices])
    *parents, leaf = key.split(".")
    for part in parents:
        if not isinstance(node, DictConfig) or not isinstance(node.get(part), DictConfig):
            return part, _keys(node)
        node = node[part]
    return leaf, _keys(node)


def _keys(node: Any) -> list[str]:
    return [str(key) for key in node] if isinstance(node, DictConfig) else []
