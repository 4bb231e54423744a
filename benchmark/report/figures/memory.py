"""Score against peak memory, with the Pareto front."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import against
from benchmark.report.material import Material

BY = ("task", "budget")
TAB = "peak memory"
TITLE = "Score against peak memory"


def data(material: Material) -> pd.DataFrame:
    """Give every setting with a score its peak memory in MB."""
    return against.table(material, "peak_memory_bytes", 1e-6)


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one task and budget."""
    return against.draw(table, width, TITLE, "peak memory (MB)")
