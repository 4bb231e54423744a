"""What a setting costs, from the runs that measured it best."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pandas as pd

from benchmark.report.drawing.material import MEASURING, Material, whole
from benchmark.report.groups import Group

ALONE, BESIDE = "alone", "beside other runs"
DISTURBED = {"seconds_per_step": "shared", "peak_memory_bytes": "cells_before"}  # what in an environment spoils a cost
WAYS = [("made for it", ALONE), ("undisturbed", ALONE), ("disturbed", BESIDE)]


def costed(material: Material, cost: str) -> pd.DataFrame:
    """Add to the settings their cost (median over seeds, NaN where unknown) and how it was measured.

    The costs of one task and budget are measured in one way: by runs made for it where there are any, else by the runs
    themselves where nothing disturbed them, else by those that were disturbed. Such a memory is unknown.
    """
    found = whole(material.settings).copy()
    made = _made_for_it(material, cost)
    own = [_own(group, cost) for group in found["group"]]
    keys = zip(*(found[key] for key in ("task", "backbone", "weights", "method", "trained")), strict=True)
    ways = pd.DataFrame(
        {"made for it": [made.get(key, np.nan) for key in keys], "undisturbed": [a for a, _ in own],
         "disturbed": [b for _, b in own]}, index=found.index, dtype=float,
    )  # fmt: skip
    found["cost"], found["measured"] = np.nan, ALONE
    for _, part in found.groupby(["task", "budget"], sort=False):
        known = [way for way in WAYS if ways.loc[part.index, way[0]].notna().any()]
        for way, measured in known[:1]:
            found.loc[part.index, "cost"] = ways.loc[part.index, way]
            found.loc[part.index, "measured"] = measured
    return found


def _made_for_it(material: Material, cost: str) -> dict[tuple[Any, ...], float]:
    """Collect the costs that runs were made for, by what must agree: the size of the adapter among it."""
    found = {}
    for (task, budget), groups in material.grids.items():
        for group in groups if budget == MEASURING and cost in DISTURBED else ():
            if values := group.values("cost", cost):
                trained = statistics.median(group.values("cost", "trainable_params") or [-1])
                found[task, group.backbone, group.weights, group.method, trained] = statistics.median(values)
    return found


def _own(group: Group, cost: str) -> tuple[float, float]:
    """Give the cost that the runs saw themselves, if undisturbed and in any case."""
    values = group.values("cost", cost)
    value = statistics.median(values) if values else np.nan
    spoilt = cost in DISTURBED and any(record.environment.get(DISTURBED[cost]) for record in group.done)
    return (np.nan if spoilt else value), (np.nan if spoilt and cost == "peak_memory_bytes" else value)
