"""Mean ranks over ten tasks or more, with a bar over methods that no test tells apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from benchmark.report import charts
from benchmark.report.drawing import style
from benchmark.report.drawing.material import Material

BY = ("budget",)
TAB = "critical difference"  # what it is called beside others
COLUMNS = ["budget", "method", "mean_rank", "tasks", "difference", "p"]
FEWEST = 10  # tasks
LEVEL = 0.05
ROW, BAR = 0.15, 0.07  # inches


def data(material: Material) -> pd.DataFrame:
    """Give mean ranks, the critical difference between two of them, and Friedman's p that all are equal."""
    rows = []
    for budget, ranks in material.ranks.items():
        by_method = [list(rank.by_task.values()) for rank in ranks.values()]
        tasks = min(map(len, by_method), default=0)
        if tasks >= FEWEST and len(ranks) > 2:
            apart, p = critical(len(ranks), tasks), float(stats.friedmanchisquare(*by_method).pvalue)
            rows += [[budget, method, rank.mean, tasks, apart, p] for method, rank in ranks.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def critical(methods: int, tasks: int) -> float:
    """Return how far apart two mean ranks are by Nemenyi's test (Demsar 2006, JMLR 7, section 3.2.2)."""
    quantile = float(stats.studentized_range.isf(LEVEL, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * tasks))


def cliques(ranks: Sequence[float], apart: float) -> list[tuple[float, float]]:
    """Give the ends of the longest stretches of ranks that are not apart, without those that lie in another."""
    ordered = sorted(set(ranks))
    ends = [(first, max(rank for rank in ordered if rank - first < apart)) for first in ordered]
    reached = [0.0, *(last for _, last in ends)]  # by the stretches before
    return [(first, last) for (first, last), before in zip(ends, reached, strict=False) if first < last > before]


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one budget: the better half of the methods is named on the left, the other on the right."""
    ranked, first = table.sort_values(["mean_rank", "method"]), table.iloc[0]
    half, joined = math.ceil(len(table) / 2), cliques(list(table["mean_rank"]), first["difference"])
    top = BAR * (len(joined) + 1.5)
    high = top + ROW * half
    figure = style.sheet(width, high + 0.75)
    axes = style.plain(figure, left=1.15, right=1.15, top=0.65, bottom=0.1)
    axes.set(ylim=(high, 0), xlim=(1, len(table)), yticks=[])
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines[["left", "bottom", "right"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    for place, row in enumerate(ranked.itertuples()):
        left = place < half
        y = top + ROW * ((place if left else len(table) - 1 - place) + 0.5)
        edge = 1 if left else len(table)
        colour = style.COLOURS[0] if row.method in style.KNOWN else style.GREY
        axes.plot([row.mean_rank, row.mean_rank, edge], [0, y, y], color=colour, lw=0.7, clip_on=False)
        name = f"{style.shown(row.method, 18)} {row.mean_rank:.1f}"
        side = {"xytext": (-3, 0), "ha": "right"} if left else {"xytext": (3, 0), "ha": "left"}
        axes.annotate(name, (edge, y), textcoords="offset points", va="center", size=style.TEXT, **side)
    for number, ends in enumerate(joined, 1):
        axes.plot(ends, [BAR * number] * 2, color="#000000", lw=2.2, solid_capstyle="butt")
    wide, tall = figure.get_size_inches()
    said = _said(first, "a bar joins what is not")
    figure.text(0.1 / wide, 1 - 0.16 / tall, f"mean rank over {first['tasks']} tasks, {first['budget']}", size=8.5)
    figure.text(0.1 / wide, 1 - 0.32 / tall, said, size=style.TEXT, color="#595959")
    return figure


def _said(first: pd.Series, how: str) -> str:
    if first["p"] >= LEVEL:
        return f"that all are equal is not ruled out (Friedman, p = {first['p']:.2f})"
    return f"differences from {first['difference']:.2f} on are clear (Nemenyi); {how}"


def chart(table: pd.DataFrame) -> charts.Figure:
    """Describe the same for the page: half the critical difference to either side, so that bars meet or do not."""
    ranked, half = table.sort_values(["mean_rank", "method"]), table["difference"] / 2
    ends = ranked.assign(low=ranked["mean_rank"] - half, high=ranked["mean_rank"] + half)
    said = _said(table.iloc[0], "bars that overlap are not")
    return charts.figure(
        ends,
        charts.Chart(
            title=f"mean rank over {table['tasks'].iloc[0]} tasks: {said}", x="mean_rank", y="method", name="method",
            hover=["difference"], low="low", high="high", rows=True,
            titles={"mean_rank": "mean rank (1: best)", "difference": "critical difference"},
        ),
    )  # fmt: skip
