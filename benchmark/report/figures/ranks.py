"""Rank of each method on each task, and its mean rank over tasks."""

from __future__ import annotations

import itertools

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import style
from benchmark.report.material import Material

BY = ("budget",)
TAB = "ranks"
TITLE = "Rank of each method on each task"
COLUMNS = ["budget", "method", "task", "rank", "low", "high", "mean_rank"]
ROW, HIGHEST = 0.135, 0.32  # inches of a row: of many methods, and of few
MANY = 15  # methods, of which not each rank is written
SPREAD = 0.5  # of a row, which marks of one rank share


def data(material: Material) -> pd.DataFrame:
    """Return rank by task and mean rank of methods with a score on all tasks."""
    rows = [
        [budget, method, task, position, rank.low, rank.high, rank.mean]
        for budget, by_method in material.ranks.items()
        for method, rank in by_method.items()
        for task, position in rank.by_task.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw a row per method: a mark per task, a diamond at the mean with its interval."""
    methods = list(dict.fromkeys(table["method"]))
    tasks = sorted(set(table["task"]))
    above = style.headroom(len(tasks), width)
    figure = style.sheet(width, max(ROW, min(HIGHEST, 3 / len(methods))) * len(methods) + 0.5 + above)
    axes = style.plain(figure, left=1.2, top=above)
    rows = {method: i for i, method in enumerate(methods)}
    _means(axes, table.drop_duplicates("method"), rows)
    looks = itertools.cycle(zip(style.COLOURS, "osv^P*X", strict=True))
    heights = table["method"].map(rows) + offsets(table)
    for task, (colour, marker) in zip(tasks, looks, strict=False):
        part = table[table["task"] == task]
        axes.plot(
            part["rank"], heights[part.index], ls="none", marker=marker, ms=4, mfc="none", mec=colour, mew=0.9,
            label=style.shown(task, 24), zorder=4,
        )  # fmt: skip
    style.mark(axes, table["rank"], heights)
    axes.grid(axis="x", color=style.PALE, lw=0.5)
    axes.grid(axis="y", visible=False)
    axes.set_yticks(range(len(methods)), [style.shown(m, 20) for m in methods])
    axes.tick_params(axis="y", length=0, labelsize=style.TEXT)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.set_xticks(range(1, len(methods) + 1) if len(methods) <= MANY else [1, *range(5, len(methods) + 1, 5)])
    axes.set_xlim(0.3, max(len(methods), 2) + 0.7)
    axes.set_xlabel("rank (1: best; ◆ mean over tasks, 95 % interval)")
    style.key(axes, width)
    style.title(axes, TITLE, style.conditions(table.iloc[0].drop("task")), keys=len(tasks))
    return figure


def offsets(table: pd.DataFrame) -> pd.Series:
    """Spread the marks of one method and rank over the height of its row, in rows."""
    same = table.groupby(["method", "rank"])["rank"]
    many = same.transform("size")
    return SPREAD * (same.cumcount() - (many - 1) / 2) / (many - 1).clip(lower=1)


def _means(axes: Axes, means: pd.DataFrame, rows: dict[str, int]) -> None:
    heights = means["method"].map(rows)
    axes.hlines(heights, means["low"], means["high"], color="#000000", lw=1.4, alpha=0.35)
    axes.plot(means["mean_rank"], heights, ls="none", marker="D", ms=4, color="#000000", zorder=3)
