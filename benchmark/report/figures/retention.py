"""Score against forgetting: the increase of the loss on pretraining data."""

from __future__ import annotations

import statistics

import pandas as pd
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import cloud, style
from benchmark.report.material import SETTING, Material, whole

BY = ("task", "budget")
TAB = "forgetting"
TITLE = "Score against forgetting"


def data(material: Material) -> pd.DataFrame:
    """Return the retention of every setting; 0 where nothing is forgotten."""
    settings = whole(material.settings)
    values = [one.values("pretraining", "retention") for one in settings["configuration"]]
    table = settings[SETTING].assign(retention=[statistics.fmean(v) if v else None for v in values])
    return table.astype({"retention": float}).dropna(subset="retention").reset_index(drop=True)


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw the settings of one task and budget."""
    figure, axes, looks = cloud.start(table, width)
    axes.axvline(0, color=style.GREY, ls=style.LINES[2], lw=0.9, zorder=1)
    cloud.marks(axes, table, ("retention", "score"), looks)
    axes.set_xlabel("increase of the loss on pretraining data (nats; 0: nothing forgotten)")
    axes.set_ylabel(f"test {style.metric(table.iloc[0])} (mean, 95 % interval)")
    cloud.finish(axes, table, ("retention", "score"), looks, TITLE)
    return figure
