"""Score against the time of a training step, with the Pareto front."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import against
from benchmark.report.material import Material

BY = ("task", "budget")
TAB = "time of a step"
TITLE = "Score against the time of a training step"


def data(material: Material) -> pd.DataFrame:
    """Give every setting with a score the median time of its training steps in ms."""
    return against.table(material, "seconds_per_step", 1e3)


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one task and budget."""
    return against.draw(table, width, TITLE, "training step (ms)")
