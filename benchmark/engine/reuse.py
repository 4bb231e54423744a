"""Data and networks that the cells of one process share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass
class Reuse:
    """Values by name, each with a key: another key replaces the value."""

    config: dict[str, Any] = field(default_factory=dict)  # choices of the cell at hand, with files by their content
    values: dict[str, tuple[Any, Any]] | None = None  # of earlier cells; None: nothing is shared

    def get(self, name: str, parts: tuple[str, ...], make: Callable[[], Value], *more: Any) -> Value:
        """Return the value for these parts of the configuration, or make it."""
        if self.values is None:
            return make()
        key = ([self.config.get(part) for part in parts], more)
        if name not in self.values or self.values[name][0] != key:
            self.values.pop(name, None)  # first, so that two never are in memory
            self.values[name] = (key, make())
        return self.values[name][1]
