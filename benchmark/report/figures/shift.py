"""Score on the test set against the score on each shifted one."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import cloud, style
from benchmark.report.material import SETTING, Material, whole

BY = ("task", "budget", "shift")
TAB = "shift"
TITLE = "Score on shifted test data"


def data(material: Material) -> pd.DataFrame:
    """Return the scores of every setting on the test and each shifted test."""
    rows = []
    for row in whole(material.settings).itertuples():
        measured = {m.split for record in row.configuration.done for m in record.measurements}
        for split in sorted(split for split in measured if split.startswith("test/")):
            metric = row.configuration.metric(split)
            if values := row.configuration.values(split, metric):
                fixed = [getattr(row, column) for column in SETTING]
                rows.append([*fixed, split.removeprefix("test/"), metric, statistics.fmean(values)])
    return pd.DataFrame(rows, columns=[*SETTING, "shift", "measured", "shifted"])


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one shifted test; on the dotted line both scores are equal."""
    figure, axes, looks = cloud.start(table, width)
    cloud.marks(axes, table, ("score", "shifted"), looks)
    limits = axes.get_xlim(), axes.get_ylim()
    ends = max(limits[0][0], limits[1][0]), min(limits[0][1], limits[1][1])
    first = table.iloc[0]
    crossed = ends[0] < ends[1] and first["metric"] == first["measured"]
    if crossed:
        axes.plot(ends, ends, color=style.GREY, ls=style.LINES[2], lw=0.9, zorder=1, scalex=False, scaley=False)
    axes.set_xlabel(f"test {style.metric(first)} (mean over seeds)")
    axes.set_ylabel(f"test/{style.shown(first['shift'])} {style.metric(first, 'measured')} (mean over seeds)")
    beside, line = ("dotted: both scores are equal", [np.array([ends, ends]).T]) if crossed else ("", [])
    cloud.finish(axes, table, ("score", "shifted"), looks, TITLE, beside, line)
    return figure
