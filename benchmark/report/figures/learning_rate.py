"""Validation score against the learning rate of tuning trials."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from benchmark.report.figures.drawing import style
from benchmark.report.figures.drawing.trials import trials
from benchmark.report.material import Material

BY = ("task", "budget", "board")
TAB = "learning rate"
TITLE = "Score against the learning rate of trials"
SHARE = 0.95  # of the best score: what still counts as the plateau
RATE = "method.lr"
DRAWN = "*: trials differ in other settings too"  # such a line does not show the learning rate alone
ABREAST = {"one": 3, "two": 6}
LONGEST = {"one": 10, "two": 14}  # letters of a method's name, beside the number
BAND, LINE, POINT = "#cfe3f1", "#0072B2", "#D55E00"


class Plateau(NamedTuple):
    """The learning rates that score near the best.

    Open if an end is the lowest or highest rate tried.
    """

    low: float
    high: float
    decades: float
    open: bool


def data(material: Material) -> pd.DataFrame:
    """Return every trial with its learning rate, score and plateau."""
    drawn, others = trials(material).dropna(subset=["lr", "score"]), _others(material)
    drawn["others"] = [others[square] for square in zip(drawn["task"], drawn["budget"], drawn["method"], strict=True)]
    drawn["trials"] = drawn.groupby([*BY, "method"])["trial"].transform("size")
    # trials of one learning rate differ in other knobs alone: the best of them stands for it
    drawn = drawn.sort_values("score").drop_duplicates([*BY, "method", "lr"], keep="last")
    parts = [part for _, part in drawn.groupby([*BY, "method"], sort=True) if len(part) > 1]
    made = [part.assign(**plateau(part["lr"], part["score"])._asdict()) for part in parts]
    columns = [*BY, "method", "metric", "trial", "lr", "score", "others", "trials", *Plateau._fields]
    table = pd.concat(made) if made else pd.DataFrame(columns=columns)
    return table[columns].sort_values([*BY, "method", "lr"], ignore_index=True)


def _others(material: Material) -> dict[tuple[str, str, str], str]:
    """Name the settings beside the learning rate in which a method's trials differ."""
    varied: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for (task, budget), members in material.trials.items():
        for one in members:
            names = {difference.partition("=")[0] for difference in one.differences} - {RATE}
            varied[task, budget, one.method] |= {n.removeprefix("method.") for n in names if n.startswith("method.")}
    return {key: ", ".join(sorted(names)) for key, names in varied.items()}


def plateau(rates: Sequence[float], scores: Sequence[float]) -> Plateau:
    """Find the learning rates around the best that score SHARE of it."""
    points = sorted((math.log10(rate), score) for rate, score in zip(rates, scores, strict=True))
    x, y = np.array(points).T
    best = int(y.argmax())
    level = y[best] - (1 - SHARE) * abs(y[best])
    low, high = _reach(x[best::-1], y[best::-1], level), _reach(x[best:], y[best:], level)
    return Plateau(10**low, 10**high, high - low, bool(low == x[0] or high == x[-1]))


def _reach(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Go from the first point until the line falls below a level."""
    below = np.flatnonzero(y < level)
    if not len(below):
        return float(x[-1])
    i = below[0]
    return float(x[i - 1] + (x[i] - x[i - 1]) * (y[i - 1] - level) / (y[i - 1] - y[i]))


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw a small panel per method, the widest plateau first."""
    methods = list(table.groupby("method")["decades"].first().sort_values(ascending=False, kind="stable").index)
    across = min(ABREAST[width], len(methods))
    down = math.ceil(len(methods) / across)
    height = 0.78 * down + 0.97
    figure = style.sheet(width, height)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    wide = style.WIDTHS[width]
    figure.subplots_adjust(left=0.52 / wide, right=1 - 0.1 / wide, bottom=0.42 / height, top=1 - 0.62 / height,
                           hspace=0.55, wspace=0.12)  # fmt: skip
    grid[0, 0].set_xscale("log")
    for axes, method in zip(grid.flat, methods, strict=False):
        _panel(axes, style.shown(method, LONGEST[width]), table[table["method"] == method])
    for axes in grid.flat[len(methods) :]:
        axes.remove()
    for axes in grid.flat[max(len(methods) - across, 0) : len(methods)]:
        axes.tick_params(labelbottom=True)
    grid[0, 0].xaxis.set_major_locator(LogLocator(numticks=4))
    grid[0, 0].xaxis.set_minor_locator(NullLocator())
    grid[0, 0].xaxis.set_major_formatter(lambda rate, _: f"{rate:.0e}".replace("e-0", "e-"))
    grid[0, 0].yaxis.set_major_locator(MaxNLocator(3))
    _texts(figure, table, height)
    return figure


def _panel(axes: Axes, name: str, part: pd.DataFrame) -> None:
    first = part.iloc[0]
    axes.margins(y=0.15)
    axes.axvspan(first["low"], first["high"], color=BAND, lw=0)
    axes.plot(part["lr"], part["score"], color=LINE, lw=0.9, marker="o", ms=2.5)
    style.mark(axes, part["lr"], part["score"])
    best = part.loc[part["score"].idxmax()]
    axes.plot(best["lr"], best["score"], marker="D", ms=3.5, color=POINT)
    axes.set_title(name + "*" * bool(first["others"]), size=style.TEXT, pad=2)
    axes.set_title(_width(first), loc="right", size=style.TEXT, pad=2, color="#404040")
    axes.tick_params(length=2, pad=1.5, labelsize=6)


def _width(first: pd.Series) -> str:
    """Write how wide a plateau is; nothing for an open one without a width."""
    decades = f"{first['decades']:.1f}"
    if first["open"]:
        return f"≥ {decades}" if float(decades) else ""
    return decades if float(decades) else "< 0.1"


def _texts(figure: Figure, table: pd.DataFrame, height: float) -> None:
    """Write what all panels share."""
    first, wide, width = table.iloc[0], figure.get_size_inches()[0], style.width_of(figure)
    texts = _conditions(table)
    if width == "two":
        texts += [f"band: within {100 * SHARE:.0f} % of the best", "number: its width in decades"]
    lines = style.subtitle(style.conditions(first, trials=True), "", width), "; ".join(texts)
    figure.text(0.52 / wide, 1 - 0.16 / height, TITLE, size=8.5)
    for number, line in enumerate(lines):
        figure.text(0.52 / wide, 1 - (0.3 + 0.12 * number) / height, line, size=style.TEXT, color=style.DIM)
    figure.text(0.5, 0.09 / height, "learning rate (log scale)", ha="center", size=8)
    figure.text(0.06 / wide, 0.5, f"validation {style.metric(first)}", rotation=90, va="center", size=8)


def _conditions(table: pd.DataFrame) -> list[str]:
    """Write the number of trials, and what else they varied."""
    fewest, most = table["trials"].min(), table["trials"].max()
    many = f"{fewest if fewest == most else f'{fewest} to {most}'} trials each"
    return [DRAWN, many] if any(table["others"]) else [many]
