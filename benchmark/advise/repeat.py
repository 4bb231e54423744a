"""The words that compose a recorded setting again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from benchmark.compose import CONFIGS, composed, names_in
from benchmark.records import Record, choices
from benchmark.trials import draw, place
from benchmark.types import Unusable

SCALARS = ("trial", "fraction", "size", "size_of")
PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
WORDS = ("null", "true", "false", "nan", "inf", "on", "off", "yes", "no")  # that a parser takes for something else


def words(record: Record) -> list[str]:
    """Give the words of a record's setting, seeds left out; a local file is known by its name alone."""
    config = record.config
    budget = (config.get("budget") or {}).get("name")
    named = {"method": record.method, "task": record.task, "backbone": record.backbone, "budget": budget}
    base = [f"{key}={value}" for key, value in named.items() if value]
    base += [f"{key}={config[key]}" for key in SCALARS if config.get(key) is not None]
    if not all(value in names_in(noun) for noun, value in named.items() if value):
        return base  # of another version, or a configuration of somebody's own
    base += _data(record, tuple(base))
    try:
        # data often follows its task: what still differs then is its own
        base += _differences(record, tuple(base), ("task", "method", "backbone", "budget"))
        base += _differences(record, tuple(base), ("data",))
    except Unusable:  # a word that is no more: the rest says what it can
        return base
    return base


def _data(record: Record, base: tuple[str, ...]) -> list[str]:
    """Name the data where it is not the task's own: of those of its class the one that differs least."""
    recorded = (record.config.get("task") or {}).get("data")
    if not recorded or recorded["_target_"] == _tree(base)["data"]["_target_"]:
        return []
    nodes = {
        name: OmegaConf.to_container(OmegaConf.load(CONFIGS / "data" / f"{name}.yaml")) for name in names_in("data")
    }
    known = [name for name, node in nodes.items() if node["_target_"] == recorded["_target_"]]
    return [f"data={min(known, key=lambda name: len(list(_told('', nodes[name], recorded))))}"] if known else []


def _differences(record: Record, base: tuple[str, ...], parts: tuple[str, ...]) -> list[str]:
    tree, config = _tree(base), record.config
    for knob, value in draw(record.method, tree["method"]["search"], config.get("trial") or 0).items():
        place(tree["method"], knob, value)
    recorded = {**config, "task": dict(config.get("task") or {})}
    recorded["data"] = recorded["task"].pop("data", None) or {}
    tree["task"].pop("data", None)
    return [word for part in parts for word in _told(part, tree[part] or {}, recorded.get(part) or {})]


def _tree(base: tuple[str, ...]) -> dict[str, Any]:
    return OmegaConf.to_container(_composed(base), resolve=True)  # a copy: it is written to


@cache
def _composed(base: tuple[str, ...]) -> Any:
    return composed(base)[0]


def _told(prefix: str, default: Mapping[str, Any], recorded: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words that turn one mapping into the other; a key that the record lacks came after it."""
    default, recorded = choices(default), choices(recorded)
    for key in sorted(recorded.keys() - {"_target_", "name"}):
        value, usual = recorded[key], default.get(key)
        where = f"{prefix}.{key}".lstrip(".")
        if isinstance(value, dict) and value.keys() == {"name", "sha256"}:
            if str(usual).rpartition("/")[2] != value["name"]:
                yield f"{where}={_written(value['name'])}"
        elif isinstance(value, dict) and isinstance(usual, dict):
            yield from _told(where, usual, value)
        elif value != usual:
            yield f"{'' if key in default or '.' not in prefix else '+'}{where}={_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_written(key)}:{_written(inner)}" for key, inner in value.items()) + "}"
    if not isinstance(value, str):
        return json.dumps(value)  # null, true and numbers are spelled alike
    if PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return "'" + value.replace("'", r"\'") + "'"
