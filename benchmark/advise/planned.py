"""What fits where no record exists, by plans."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from benchmark.config import registry
from benchmark.errors import BenchmarkError
from benchmark.report.choice import Limit

if TYPE_CHECKING:
    from benchmark.plan.estimate import Plan

SWEEP = "small"  # names the methods that are planned: each takes seconds


def fitting(cell: Sequence[str], limits: Sequence[Limit], merging: set[str], running: Sequence[str]) -> Iterator[str]:
    """Plan a few methods for the overrides of a cell, and say which keep within the limits."""
    if not limits:
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from benchmark.config.compose import cell_of  # these take seconds, and advice from records needs none of them
    from benchmark.plan.estimate import plan

    plans: list[Plan] = []
    for name in filter(running.__contains__, methods()):
        try:
            plans.append(plan(cell_of([*cell, f"method={name}"]), "cuda"))
        except BenchmarkError as error:
            yield f"A plan is not possible: {error}"
            return
    known = [one for one in plans if one.step]
    fit = [one for one in known if all(keeps(one, limit, merging) for limit in limits)]
    sizes = [f"{one.method} ({one.trained:,} trained, {one.step.peak / 1e9:.3g} GB)" for one in fit]
    named = ", ".join(map(str, limits))
    yield (
        f"No evidence; by a plan for CUDA, which trains nothing, {len(fit)} of {len(known)} methods of "
        f"+sweep={SWEEP} fit {named}{': ' * bool(fit)}{', '.join(sizes)}."
    )
    yield f"More by: python -m benchmark.plan {' '.join(cell)} method=A,B"


def methods() -> list[str]:
    """Name the methods that are planned."""
    return registry.entry("sweep", SWEEP)["over"]["method"]


def keeps(one: Plan, limit: Limit, merging: set[str]) -> bool:
    """Say whether a plan keeps within a limit."""
    if not limit.cost:
        return one.method in merging
    size = one.step.peak if limit.cost == "peak_memory_bytes" else one.trained
    return size <= limit.most * limit.unit
