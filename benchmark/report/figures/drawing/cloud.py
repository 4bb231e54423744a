"""A named mark per setting, for two measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import names, style

CROWD, BEST = 45, 10  # of more marks, the best ten and what everybody knows are named


def start(table: pd.DataFrame, width: str) -> tuple[Figure, Axes, style.Looks]:
    """Return an empty figure, its axes, and the looks of backbones."""
    looks = style.looks(table)
    figure = style.sheet(width, 2.9 if width == "one" else 4.1)
    return figure, style.plain(figure, top=style.headroom(len(looks), width)), looks


def marks(axes: Axes, table: pd.DataFrame, columns: tuple[str, str], looks: style.Looks) -> None:
    """Draw a mark per setting, with an interval where y is the score."""
    x, y = columns
    for board, part in table.groupby(["backbone", "weights"]):
        colour, marker = looks[board]
        if y == "score":
            axes.vlines(part[x], part["low"], part["high"], color=style.GREY, alpha=0.35, lw=1, zorder=1.2)
        axes.plot(part[x], part[y], ls="none", marker=marker, ms=4.5, mec=colour, mfc="white", mew=0.8, zorder=3)
    axes.margins(0.1)
    style.mark(axes, table[x], table[y])


def finish(
    axes: Axes,
    table: pd.DataFrame,
    columns: tuple[str, str],
    looks: style.Looks,
    title: str,
    beside: str = "",
    lines: Sequence[np.ndarray] = (),
) -> None:
    """Name the marks and write the title; nothing may move afterwards.

    Names keep off the given lines.
    """
    x, y = columns
    wanted = table[worth_naming(table)]
    rest = table.drop(wanted.index)
    labels = [
        names.Name(
            row["label"], row[x], row[y], looks[row["backbone"], row["weights"]][0], row["method"] in style.KNOWN
        )
        for _, row in wanted.iterrows()
    ]
    obstacles = [*lines, *(np.array([point] * 2) for point in rest[[x, y]].to_numpy())]
    if y == "score":
        bars = [np.array([[row[x], row["low"]], [row[x], row["high"]]]) for _, row in wanted.iterrows()]
        obstacles += [bar for bar in bars if np.isfinite(bar).all()]
    left_out = names.write(axes, labels, obstacles) + len(rest)
    shown = "; ".join(filter(None, (beside, f"{left_out} not named" if left_out else "")))
    style.title(axes, title, style.conditions(table.iloc[0]), shown, len(looks))
    style.named_looks(axes, looks)


def worth_naming(table: pd.DataFrame) -> pd.Series:
    """Choose marks to name: all, or of a crowd the best and known methods."""
    best = table["score"].rank(ascending=False) <= BEST
    return table["method"].isin(style.KNOWN) | best | (len(table) <= CROWD)
