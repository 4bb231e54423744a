"""Score against trainable parameters, with the Pareto front."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from benchmark.report import charts
from benchmark.report.drawing import against
from benchmark.report.drawing.material import Material

BY = ("task", "budget")
TAB = "trainable parameters"  # what it is called beside others
LEADS = True  # shown before them


def data(material: Material) -> pd.DataFrame:
    """Give every setting with a score its trainable parameters."""
    return against.table(material, "trainable_params")


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one task and budget."""
    return against.draw(table, width, "trainable parameters (number)", engineering=True)


def chart(table: pd.DataFrame) -> charts.Figure:
    """Describe the same for the page."""
    return against.chart(table, "trainable parameters")
