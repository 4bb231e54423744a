"""Score against a cost, with the Pareto front."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.records.configurations import CONTROL
from benchmark.report.costs import Cost, front
from benchmark.report.figures.drawing import cloud, names, style
from benchmark.report.material import SETTING, Material, whole

BESIDE = "beside other runs"


def table(material: Material, cost: str, unit: float = 1.0) -> pd.DataFrame:
    """Return every setting with its cost and whether it is on the front."""
    settings = whole(material.settings)
    known = pd.Series(index=settings.index, dtype=object)
    for _, part in settings.groupby(["task", "budget"], sort=False):
        known.loc[part.index] = material.costs.of(list(part["configuration"]), cost)
    known[settings["trained"] == 0] = Cost(0.0, 0.0, 0.0)  # trains nothing: no place on an axis
    settings, known = settings[known.notna()], known.dropna()
    settings = settings.assign(cost=[one.value * unit for one in known], front=False)
    settings = settings.assign(least=[one.low * unit for one in known], most=[one.high * unit for one in known])
    settings["measured"] = [BESIDE if one.shared else "alone" for one in known]
    for (*_, weights, _), part in settings.groupby(["task", "budget", "backbone", "weights", "comparison"], sort=False):
        on = front(known[part.index], part["score"])
        settings.loc[part.index, "front"] = weights != CONTROL and np.array(on)
    # without a cost that is known there is nothing to draw against
    settings = settings[settings.groupby(["task", "budget"])["cost"].transform("max") > 0]
    return settings[[*SETTING, "cost", "least", "most", "measured", "front"]].reset_index(drop=True)


def draw(table: pd.DataFrame, width: str, title: str, cost_label: str, engineering: bool = False) -> Figure:
    """Draw the settings of one task and budget."""
    figure, axes, looks = cloud.start(table, width)
    for board, part in table.groupby(["backbone", "weights"]):
        _marks(axes, part, looks[board])
    priced = table[table["cost"] > 0]
    style.scaled(axes, [*priced["least"], *priced["most"]] or [1.0], engineering=engineering)
    axes.margins(y=0.1)
    ends = axes.get_xlim()
    middle = math.sqrt(ends[0] * ends[1]) if axes.get_xscale() == "log" else sum(ends) / 2
    style.mark(axes, table["cost"].where(table["cost"] > 0, middle), table["score"])
    first = table.iloc[0]
    axes.set_ylabel(f"test {style.metric(first)} (mean, 95 % interval)")
    scale = "log scale" if axes.get_xscale() == "log" else ""
    rough = f"measured {BESIDE}" if BESIDE in set(priced["measured"]) else ""
    axes.set_xlabel(f"{cost_label[:-1]}{''.join(f', {more}' for more in (scale, rough) if more)})")
    left_out = _name(axes, table, looks)
    beside = ["filled: on the Pareto front"]
    beside += ["horizontal line: least to most measured"] * bool((table["least"] < table["most"]).any())
    beside += [f"{left_out} not named"] * (left_out > 0)
    style.title(axes, title, style.conditions(first), "; ".join(beside), len(looks))
    style.named_looks(axes, looks)
    return figure


def _marks(axes: Axes, part: pd.DataFrame, look: tuple[str, str]) -> None:
    colour, marker = look
    for row in part[part["cost"] == 0].itertuples():  # what nothing trained reaches is a level to compare with
        axes.axhline(row.score, color=colour, lw=0.9, ls=style.LINES[1 if marker != "^" else 2], zorder=1)
    priced = part[part["cost"] > 0]
    for on_front, some in priced.groupby("front"):
        bars = {"color": colour if on_front else style.GREY, "alpha": 0.35, "lw": 1, "zorder": 1.2}
        axes.vlines(some["cost"], some["low"], some["high"], **bars)
        axes.hlines(some["score"], some["least"], some["most"], **bars)
        face = colour if on_front else "white"
        axes.plot(
            some["cost"], some["score"], ls="none", marker=marker, ms=4.5, mec=colour, mfc=face, mew=0.8, zorder=3
        )
    for line in _fronts(part):
        axes.plot(*line.T, color=colour, lw=0.8, alpha=0.6, zorder=2)


def _fronts(part: pd.DataFrame) -> list[np.ndarray]:
    """Return the vertices of each front, as steps."""
    lines = []
    for _, some in part[part["front"] & (part["cost"] > 0)].groupby(["backbone", "weights", "comparison"]):
        points = some.sort_values(["cost", "score"])[["cost", "score"]].to_numpy()
        corners = [[later[0], earlier[1]] for earlier, later in itertools.pairwise(points)]
        lines.append(np.array([p for pair in itertools.zip_longest(points, corners) for p in pair if p is not None]))
    return lines


def _name(axes: Axes, table: pd.DataFrame, looks: dict) -> int:
    wanted = table[table["front"] | cloud.worth_naming(table)]
    rest = table.drop(wanted.index)
    labels = [
        names.Name(
            r.label, r.cost or None, r.score, looks[r.backbone, r.weights][0], r.front or r.method in style.KNOWN
        )
        for r in wanted.itertuples()
    ]
    obstacles = [np.array([[r.cost, r.score]] * 2) for r in rest.itertuples() if r.cost]
    bars = [np.array([[r.cost, r.low], [r.cost, r.high]]) for r in wanted.itertuples() if r.cost]
    bars += [np.array([[r.least, r.score], [r.most, r.score]]) for r in table.itertuples() if r.least < r.most]
    bars = [bar for bar in bars if np.isfinite(bar).all()]
    return names.write(axes, labels, [*_fronts(table), *bars, *obstacles]) + len(rest)
