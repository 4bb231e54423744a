"""Score against the number of training examples."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark.records.configurations import CONTROL, label
from benchmark.report.figures.drawing import lines, style
from benchmark.report.material import Material
from benchmark.report.statistics.standings import Standing

BY = ("task", "budget", "board")
TAB = "data size"
TITLE = "Score against the number of training examples"
REFERENCE = "full"
COLUMNS = [*BY, "method", "label", "metric", "train", "score", "low", "high", "crossover", "clear"]


def data(material: Material) -> pd.DataFrame:
    """Return the settings with several data sizes, and where full is ahead.

    That is clear where a paired test finds it ahead at every size from there on.
    """
    settings = material.settings.dropna(subset="train")
    settings = settings[settings["weights"] != CONTROL]
    several = settings.groupby(["task", "budget"])["backbone"].transform("nunique") > 1
    boards = [
        ", ".join(filter(None, (backbone if many else "", conditions)))
        for backbone, conditions, many in zip(settings["backbone"], settings["comparison"], several, strict=True)
    ]
    settings = settings.assign(board=boards, label=[label(one, "fraction=") for one in settings["configuration"]])
    sizes = settings.groupby([*BY, "label"])["train"].transform("nunique")
    settings = _named(settings[sizes > 1]).sort_values([*BY, "label", "train"])
    settings = settings.assign(crossover=np.nan, clear=False)
    for _, board in settings.groupby(list(BY)):
        reference = board[board["method"] == REFERENCE]
        if reference["label"].nunique() == 1:
            ahead = dict(zip(reference["train"], reference["score"], strict=True))
            for _, part in board[board["method"] != REFERENCE].groupby("label"):
                scores = dict(zip(part["train"], part["score"], strict=True))
                settings.loc[part.index, "crossover"] = at = crossover(scores, ahead)
                beyond = part.loc[part["train"] >= at, "standing"]
                settings.loc[part.index, "clear"] = bool(len(beyond)) and all(map(_behind, beyond))
    return settings[COLUMNS].reset_index(drop=True)


def _named(drawn: pd.DataFrame) -> pd.DataFrame:
    """Label each line by what distinguishes it from the other lines."""
    drawn = drawn.copy()
    for _, part in drawn.groupby([*BY, "method"]):
        shared = set.intersection(*(set(one.differences) for one in part["configuration"]))
        drawn.loc[part.index, "label"] = [label(one, ("fraction=", *shared)) for one in part["configuration"]]
    return drawn


def _behind(standing: Standing | None) -> bool:
    difference = standing.versus.get(REFERENCE) if standing else None
    return difference is not None and difference.clear and difference.estimate.value < 0


def crossover(scores: Mapping[float, float], reference: Mapping[float, float]) -> float:
    """Return the size from which on the reference stays ahead; NaN if none.

    Between sizes, scores are interpolated over log size.
    """
    sizes = sorted(scores.keys() & reference.keys())
    leads = [reference[size] - scores[size] for size in sizes]
    for i in reversed(range(1, len(sizes))):
        if leads[i] <= 0:
            break
        if leads[i - 1] <= 0:
            share = -leads[i - 1] / (leads[i] - leads[i - 1])
            return math.exp(math.log(sizes[i - 1]) + share * math.log(sizes[i] / sizes[i - 1]))
    return math.nan


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw a line per setting, and a cross where full overtakes it."""
    first = table.iloc[0]
    figure = style.sheet(width, 2.9 if width == "one" else 4.1)
    axes = style.plain(figure, right=1.25)
    parts = {name: part.sort_values("train") for name, part in table.groupby("label")}
    curves = {_name(name, part): part[["train", "score"]].to_numpy() for name, part in parts.items()}
    methods = {_name(name, part): part["method"].iloc[0] for name, part in parts.items()}
    looks = lines.highlighted(pd.Series({name: curve[-1, 1] for name, curve in curves.items()}), methods)
    for name, part in zip(curves, parts.values(), strict=True):
        if name in looks:
            axes.fill_between(part["train"], part["low"], part["high"], color=looks[name][0], alpha=0.1, lw=0)
    lines.draw(axes, curves, looks)
    style.mark(axes, table["train"], table["score"])
    for part in parts.values():
        at = part["crossover"].iloc[0]
        if at > 0:
            height = np.interp(math.log(at), np.log(part["train"]), part["score"])
            colour = "#000000" if part["clear"].iloc[0] else style.GREY
            axes.plot(at, height, marker="x", ms=6, mew=1.4, color=colour, zorder=4)
    axes.set_xscale("log")
    style.logarithmic(axes.xaxis, engineering=True, few=table["train"].max() < 100 * table["train"].min())
    axes.set_xlabel("training examples (number, log scale)")
    axes.set_ylabel(f"test {style.metric(first)} (mean, 95 % interval)")
    left_out = lines.name(axes, curves, looks)
    crossed = table[table["crossover"].notna()]
    rough = "" if crossed["clear"].all() else ", grey or ~: no test says so"
    beside = [f"✕: from here on {REFERENCE} is ahead{rough}" if len(crossed) else ""]
    beside += [f"{left_out} not named" if left_out else ""]
    style.title(axes, TITLE, style.conditions(first), "; ".join(filter(None, beside)))
    return figure


def _name(name: str, part: pd.DataFrame) -> str:
    at = part["crossover"].iloc[0]
    return f"{name} ✕ {'' if part['clear'].iloc[0] else '~'}{at:,.0f}" if at > 0 else name
