"""Expected best validation score of k tuning trials."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.drawing import lines, style
from benchmark.report.figures.drawing.trials import trials
from benchmark.report.material import Material

BY = ("task", "budget", "board")
TAB = "tuning"
TITLE = "Expected best score of k tuning trials"


def data(material: Material) -> pd.DataFrame:
    """Return the expected best score of each method and number of trials.

    A failed trial counts as the worst score of its comparison.
    """
    rows = []
    for board, part in trials(material).groupby(list(BY), sort=True):
        worst = part["score"].min()
        for method, drawn in part.groupby("method", sort=True):
            scores = list(drawn["score"].fillna(worst))
            if drawn["score"].notna().any() and len(scores) > 1:
                metric, failed = drawn["metric"].iloc[0], int(drawn["score"].isna().sum())
                best = expected_best(scores)
                rows += [[*board, method, metric, k, len(scores), failed, value] for k, value in enumerate(best, 1)]
    return pd.DataFrame(rows, columns=[*BY, "method", "metric", "k", "trials", "failed", "expected"])


def expected_best(scores: Sequence[float]) -> list[float]:
    """Return the mean best of k different trials, for k = 1 ... n.

    Dodge et al. (2019, arXiv 1909.03004) draw with replacement, which is too low; this is the form without (Tang et al.
    2020, arXiv 2004.13705): the i-th lowest score is the best of comb(i - 1, k - 1) choices.
    """
    ranked, n = sorted(scores), len(scores)
    return [sum(comb(i, k - 1) * score for i, score in enumerate(ranked)) / comb(n, k) for k in range(1, n + 1)]


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw one comparison: a line per method."""
    first = table.iloc[0]
    figure = style.sheet(width, 2.7 if width == "one" else 4.1)
    axes = style.plain(figure, right=1.25)
    curves = {method: part.sort_values("k")[["k", "expected"]].to_numpy() for method, part in table.groupby("method")}
    ends = pd.Series({method: curve[-1, 1] for method, curve in curves.items()})
    looks = lines.highlighted(ends, {method: method for method in curves})
    lines.draw(axes, curves, looks)
    style.mark(axes, table["k"], table["expected"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("tuning trials (number)")
    axes.set_ylabel(f"expected best validation {style.metric(first)}")
    left_out = lines.name(axes, curves, looks)
    beside = "the default is one of the trials" + (f"; {left_out} not named" if left_out else "")
    style.title(axes, TITLE, style.conditions(first, trials=True), beside)
    return figure
