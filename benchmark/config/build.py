"""Turn a configuration node into a checked, frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from hydra.utils import get_class
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.config.ranges import UNCHECKED, check_range
from benchmark.errors import InputError, near
from benchmark.identity import CLASS, FACTS


def build(node: Mapping[str, Any], where: str, lenient: bool = False) -> Any:
    """Build the dataclass that a node's `_target_` names, and those of nested nodes.

    Facts of the registry, such as a paper, are no fields. With `lenient`, a field that the node lacks is null where its
    type allows that: old records lack fields. Raises InputError, naming the key, for an unknown or missing key and for
    a value of the wrong type.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise InputError(f"{where}: {node!r} given, a node with a _target_ wanted")
    try:
        target = get_class(node["_target_"])
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}._target_: {node['_target_']!r} cannot be imported: {reason}") from error
    fields = {f.name: f for f in dataclasses.fields(target) if f.init}
    hints = get_type_hints(target)
    values_given = {key: value for key, value in node.items() if key != CLASS and (key in fields or key not in FACTS)}
    if lenient:
        values_given = {key: None for key in fields if NoneType in get_args(hints[key])} | values_given
    for key in values_given:
        if key not in fields:
            raise InputError(f"{where}.{key}: no such key{near(key, fields)}")
    values = {}
    for key in fields:
        if key not in values_given or values_given[key] == MISSING:
            raise InputError(f"{where}.{key}: required, and not given")
        value = values_given[key]
        if dataclasses.is_dataclass(value):  # built before
            values[key] = value
            continue
        nested, path = isinstance(value, Mapping) and "_target_" in value, f"{where}.{key}"
        values[key] = build(value, path, lenient) if nested else convert(value, hints[key], path)
        if key not in UNCHECKED:
            check_range(values[key], path)
    return target(**values)


def convert(value: Any, hint: Any, where: str) -> Any:
    """Convert a plain value to the type a field declares. Raises InputError."""
    if dataclasses.is_dataclass(hint):
        raise InputError(f"{where}: {value!r} given, a node with a _target_ wanted")
    if "${" in str(value) and "str" not in name_of(hint):  # OmegaConf would take it for a number to look up
        raise InputError(f"{where}: {value!r} given, {name_of(hint)} wanted")
    if type(value) in _plain(hint) and not (isinstance(value, str) and ("${" in value or value == MISSING)):
        return value  # as it is; most values are, and OmegaConf takes milliseconds for each
    try:
        merged = OmegaConf.merge(_holder(hint), {"value": value})
        return OmegaConf.to_container(merged, throw_on_missing=True)["value"]
    except OmegaConfBaseException as error:
        raise InputError(f"{where}: {value!r} given, {name_of(hint)} wanted") from error


@functools.cache
def _plain(hint: Any) -> tuple[type, ...]:
    """List the types whose values need no conversion."""
    return tuple({str, int, float, bool, NoneType} & {hint, *(get_args(hint) if isinstance(hint, UnionType) else ())})


@functools.cache  # making the class is the slowest part, and a cell has some sixty values
def _holder(hint: Any) -> DictConfig:
    return OmegaConf.structured(dataclasses.make_dataclass("Holder", [("value", hint)]))


def name_of(hint: Any) -> str:
    """Name a type as a user would write it."""
    text = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    return text.replace(" | ", " or ").replace("None", "null")


def to_plain(built: Any) -> Any:
    """Turn a built object back into plain data."""
    if dataclasses.is_dataclass(built):
        return {field.name: to_plain(getattr(built, field.name)) for field in dataclasses.fields(built)}
    return built


def class_path(built: Any) -> str:
    """Name an object's class as `_target_` does."""
    return f"{type(built).__module__}.{type(built).__qualname__}"
