"""Loss during training, on training and validation data."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.records.configurations import CONTROL
from benchmark.report.figures.drawing import lines, style
from benchmark.report.material import Material, whole

BY = ("task", "budget", "board")
TAB = "training curves"
TITLE = "Loss during training"
POINTS = 12  # of a curve: losses of single batches jump
SERIES = ("train", "valid")
DATA = {"train": "training", "valid": "validation"}


def data(material: Material) -> pd.DataFrame:
    """Return the loss curves of every setting on pretrained weights.

    Means over seeds; a step that one seed lacks is left out.
    """
    settings = whole(material.settings)
    settings = settings[settings["weights"] != CONTROL]
    rows = []
    for row in settings.itertuples():
        several = (
            settings[(settings["task"] == row.task) & (settings["budget"] == row.budget)]["backbone"].nunique() > 1
        )
        fixed = [row.task, row.budget, row.backbone if several else "", row.method, row.label, row.score]
        for split in SERIES:
            curves = [
                {m.step: m.value for m in record.measurements if (m.split, m.name) == (split, "loss") and m.step}
                for record in row.configuration.done
            ]
            rows += [[*fixed, split, step, loss] for step, loss in averaged(curves)]
    return pd.DataFrame(rows, columns=[*BY, "method", "label", "score", "series", "step", "loss"])


def averaged(curves: list[dict[int, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """Average curves over seeds, then over at most so many stretches of steps."""
    seen = defaultdict(list)
    for curve in curves:
        for step, value in curve.items():
            seen[step].append(value)
    steps = sorted(step for step, values in seen.items() if len(values) == len(curves))
    stretches = np.array_split(np.array(steps, float), min(most, len(steps)) or 1)
    values = {step: float(np.mean(seen[step])) for step in steps}
    return [(float(s.mean()), float(np.mean([values[step] for step in s]))) for s in stretches if len(s)]


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw both losses side by side, or one below the other in one column."""
    shown = [series for series in SERIES if (table["series"] == series).any()]
    stacked = width == "one"
    figure = style.sheet(width, 0.5 + 2.1 * len(shown) if stacked else 4.1)
    shape = (len(shown), 1) if stacked else (1, len(shown))
    grid = list(figure.subplots(*shape, sharex=stacked, sharey=True, squeeze=False).flat)
    wide, high = figure.get_size_inches()
    figure.subplots_adjust(0.56 / wide, 0.42 / high, 1 - 1.2 / wide, 1 - 0.56 / high, 0.1, 0.18)
    ends = table.drop_duplicates("label").set_index("label")
    looks = lines.highlighted(ends["score"], dict(ends["method"]))
    left_out = 0
    for axes, series in zip(grid, shown, strict=True):
        measured = table[table["series"] == series].sort_values("step")
        curves = {label: part[["step", "loss"]].to_numpy() for label, part in measured.groupby("label")}
        _panel(axes, curves, looks, series)
        style.mark(axes, measured["step"], measured["loss"])
        if stacked or series == shown[-1]:
            left_out = lines.name(axes, curves, looks)
    for axes in grid[-1:] if stacked else grid:
        axes.set_xlabel("training step (number)")
    for axes in grid if stacked else grid[:1]:
        axes.set_ylabel("loss (log scale)" if axes.get_yscale() == "log" else "loss")
    line = style.subtitle(style.conditions(table.iloc[0]), f"{left_out} not named" * bool(left_out), width)
    figure.text(0.56 / wide, 1 - 0.18 / high, TITLE, size=8.5)
    figure.text(0.56 / wide, 1 - 0.31 / high, line, size=style.TEXT, color=style.DIM)
    return figure


def _panel(axes: Axes, curves: dict[str, np.ndarray], looks: dict[str, lines.Look], series: str) -> None:
    lines.draw(axes, curves, looks, marks=series == "valid")
    losses = np.concatenate(list(curves.values()))[:, 1]
    if losses.min() > 0 and losses.max() > 4 * losses.min():
        axes.set_yscale("log")
        style.logarithmic(axes.yaxis)
    axes.grid(axis="y", color=style.PALE, lw=0.5)
    axes.set_title(f"{DATA[series]} data", size=style.TEXT + 1)
