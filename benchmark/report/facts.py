"""Read files that people write, and check them against a dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from benchmark.config.registry import read
from benchmark.errors import MalformedError

__all__ = ["make", "read", "rows"]

Made = TypeVar("Made")


def rows(path: Path, content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the list of mappings under a key. Raises MalformedError."""
    listed = content.get(key)
    if not isinstance(listed, list) or not listed or not all(isinstance(row, dict) for row in listed):
        raise MalformedError(f"{path}: {key} is no list of mappings")
    return listed


def make(cls: type[Made], content: Mapping[str, Any], where: str) -> Made:
    """Build a dataclass from a mapping with known keys and types.

    Raises MalformedError.
    """
    hints = get_type_hints(cls)
    needed = [f.name for f in fields(cls) if (f.default, f.default_factory) == (MISSING, MISSING)]  # type: ignore
    if unknown := [key for key in content if key not in hints]:
        raise MalformedError(f"{where}: no field {', '.join(map(repr, unknown))} (there are {', '.join(hints)})")
    if missing := [name for name in needed if name not in content]:
        raise MalformedError(f"{where}: {', '.join(missing)} is missing")
    for key, value in content.items():
        if not _fits(value, hints[key]):
            raise MalformedError(f"{where}: {key}={value!r} is no {getattr(hints[key], '__name__', hints[key])}")
    try:
        return cls(**content)
    except ValueError as error:
        raise MalformedError(f"{where}: {error}") from None


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if get_origin(hint) is UnionType:
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is dict:
        inner = get_args(hint)[1]
        return isinstance(value, dict) and all(isinstance(k, str) and _fits(v, inner) for k, v in value.items())
    if hint in (int, float):
        right = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
        return right and abs(value) < 1e300  # neither infinite nor none at all
    return isinstance(value, hint)
