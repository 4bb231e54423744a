"""Score against trainable parameters, with the Pareto front."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import against
from benchmark.report.material import Material

BY = ("task", "budget")
TAB = "trainable parameters"
TITLE = "Score against trainable parameters"
LEADS = True  # shown before them


def data(material: Material) -> pd.DataFrame:
    """Give every setting with a score its trainable parameters."""
    return against.table(material, "trainable_params")


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one task and budget."""
    return against.draw(table, width, TITLE, "trainable parameters (number)", engineering=True)
