"""The overrides of a record: where its choices differ from the configurations."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.config.registry import entry
from benchmark.config.registry import names as names_in
from benchmark.config.trials import draw, set_knob
from benchmark.identity import NO_CHOICE
from benchmark.records import Record

NO_OVERRIDE = {"_target_", "name", "data", *NO_CHOICE}  # no choice, or part of another override
SCALARS = ("phase", "trial", "until", "fraction", "seed_sample", "seed_init", "seed_order", "size", "size_of")
SEEDS = ("seed=", "seed_")
HEAD_LR = "backbone.head_lr"  # a record holds that of its own kind of answer: the others are no choice
PLAIN = re.compile(r"[\w./%+-]+( [\w./%+-]+)*")  # what Hydra reads as text without quotes

LITERAL = re.compile(r"null|true|false|on|off|yes|no|nan|[+-]?inf(inity)?|[+-]?[\d._]+(e[+-]?\d+)?", re.IGNORECASE)


def command(record: Record) -> str:
    """Write the command; files of the user's own stand in it by name, since a record does not say where they lay."""
    return shlex.join(["python", "-m", "benchmark.run", *overrides(record)])


def setting(record: Record) -> list[str]:
    """List the overrides that all seeds of a record's configuration share."""
    return [override for override in overrides(record) if not override.startswith(SEEDS)]


def overrides(record: Record) -> list[str]:
    """List the overrides that compose a record's cell."""
    config = record.config
    names = {noun: _name(config, noun) for noun in ("backbone", "budget")}
    task = entry("task", record.task)
    defaults = {key: value for line in task.get("defaults", ()) for key, value in line.items()}
    data = _data(config, str(defaults.get("override /data")))
    listed = [f"method={record.method}", f"task={record.task}"]
    listed += [f"backbone={names['backbone']}"] if names["backbone"] != defaults.get("override /backbone") else []
    listed += [f"budget={names['budget']}"] if names["budget"] != "standard" else []
    listed += [f"data={data}"] if data != defaults.get("override /data") else []
    listed += [f"seed={record.seed}"] if record.seed else []
    listed += [f"{key}={_value(config[key])}" for key in SCALARS if config.get(key) is not None]
    bases = {
        "task": task.get("task", {}),
        "method": _method(record),
        "backbone": entry("backbone", names["backbone"]),
        "budget": entry("budget", names["budget"]),
    }
    for noun, base in bases.items():
        listed += _changes(config.get(noun) or {}, base, noun, config)
    recorded = (config.get("task") or {}).get("data") or {}
    return listed + list(_changes(recorded, entry("data", data), "data", config))


def _name(config: dict[str, Any], noun: str) -> str:
    return str((config.get(noun) or {}).get("name"))


def _data(config: dict[str, Any], default: str) -> str:
    """Name the data; where a record has no name of it, by class and description."""
    recorded = (config.get("task") or {}).get("data") or {}
    if "name" in recorded:
        return str(recorded["name"])
    others = names_in("data")
    keys = ("_target_", "description")
    same = [n for n in (default, *others) if [entry("data", n).get(k) for k in keys] == [recorded.get(k) for k in keys]]
    return next(iter(same), default)


def _method(record: Record) -> dict[str, Any]:
    """Give a method's configuration as its trial draws it, without the knob that a size turns."""
    base = json.loads(json.dumps(entry("method", record.method)))
    search = base.get("search") or {}
    for knob, value in draw(record.method, search, record.config.get("trial") or 0).items():
        set_knob(base, knob, value)
    if record.config.get("size") is not None and (knob := base.get("sized_by")):
        chosen: Any = record.config["method"]
        for part in knob.split("."):
            chosen = chosen.get(part, {})
        set_knob(base, knob, chosen)
    return base


def _changes(found: dict[str, Any], base: dict[str, Any], prefix: str, config: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        known = base.get(key)
        if key in NO_OVERRIDE or _same(value, known, config):
            continue
        if isinstance(value, dict) and value.keys() != {"name", "sha256"} and isinstance(known, dict):
            yield from _changes(value, known, f"{prefix}.{key}", config)
        else:
            yield f"{'' if key in base or not base else '+'}{prefix}.{key}={_value(value)}"
    if "." in prefix and prefix != HEAD_LR:  # of an open mapping an entry can be gone
        yield from (f"~{prefix}.{key}" for key in base if key not in found)


def _same(value: Any, known: Any, config: dict[str, Any]) -> bool:
    if isinstance(known, str) and (reference := re.fullmatch(r"\$\{(\w+)\.(\w+)\}", known)):
        known = (config.get(reference[1]) or {}).get(reference[2])
    if isinstance(value, dict) and value.keys() == {"name", "sha256"}:
        return isinstance(known, str) and Path(known).name == value["name"]
    return value == known


def _value(value: Any) -> str:
    """Write a value as Hydra reads it."""
    if isinstance(value, dict) and value.keys() == {"name", "sha256"}:
        return _value(str(value["name"]))
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.fullmatch(value) and not LITERAL.fullmatch(value):
        return value
    # a backslash is one, unless a quote follows
    return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + (m[2] and '\\"'), value) + '"'
