"""Equal sizes: the value of a method's knob that comes closest to a wanted size."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.cell import Cell
from benchmark.engine.optimiser import in_head
from benchmark.errors import InputError
from benchmark.types import Head

MOST = 2**16  # no knob is tried beyond


@dataclasses.dataclass(frozen=True)
class Solution:
    """Value of the knob, and the size that it reaches."""

    knob: str
    value: int
    reached: int


def solve(cell: Cell) -> Solution:
    """Find the value of the knob `sized_by`, on a network without weights.

    Raises InputError where there is none.
    """
    knob, name, wanted = cell.method.sized_by, cell.names.get("method"), cell.size
    if knob is None:
        raise InputError(f"size={wanted}: {name} has no setting for its size; leave size out for this method")
    if not cell.method.weightless:
        raise InputError(f"size={wanted}: {name} needs loaded weights to be sized; leave size out for this method")
    sizes: dict[int, int | None] = {}

    def reach(value: int) -> int | None:
        if value not in sizes:
            try:
                sizes[value] = MEASURES[cell.size_of](cell, with_knob(cell.method, knob, value))
            except InputError:  # larger than the layer
                sizes[value] = None
        return sizes[value]

    _search(reach, wanted)
    fitting = {value: reached for value, reached in sizes.items() if reached is not None}
    if not fitting:
        raise InputError(f"size={wanted}: method.{knob}=1 does not fit this network")
    best = min(fitting, key=lambda value: (abs(fitting[value] - wanted), value))
    return Solution(knob, best, fitting[best])


def _search(reach: Callable[[int], int | None], wanted: int) -> None:
    """Double until the size is exceeded, then bisect.

    Impossible values count as too large.
    """

    def passed(value: int) -> bool:
        reached = reach(value)
        return reached is None or reached >= wanted

    low, high = 0, 1
    while high < MOST and not passed(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passed(middle) else (middle, high)


def with_knob(method: Any, knob: str, value: Any) -> Any:
    """Give the same method with another value of a knob."""
    field, _, inner = knob.partition(".")
    return dataclasses.replace(method, **{field: {**getattr(method, field), inner: value} if inner else value})


def attach_to_skeleton(cell: Cell, method: Any) -> Any:
    """Attach a method to the network's shapes."""
    skeleton = cell.backbone.skeleton(cell.budget, Head(cell.kind, labels=("", " ")))
    return method.attach(skeleton, dataclasses.replace(cell, method=method))


def count_trainable(cell: Cell, method: Any) -> int:
    """Count the parameters that a method trains, without a new head's."""
    model = attach_to_skeleton(cell, method)
    return sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and not in_head(n))


def count_bytes(cell: Cell, method: Any) -> int:
    """Save an adapter with uninitialised weights, and measure its files in bytes."""
    model = attach_to_skeleton(cell, method).to_empty(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        method.save(model, Path(folder))
        return sum(f.stat().st_size for f in Path(folder).rglob("*.safetensors"))


MEASURES = {"params": count_trainable, "bytes": count_bytes}
