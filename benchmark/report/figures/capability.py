"""Which method runs on which network, and which can be merged."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from benchmark.report.figures.drawing import style
from benchmark.report.material import Material

BY = ()
TAB = "capability"
TITLE = "Which method runs on which network"
FILE = "capabilities.csv"  # of the results
COLUMNS = ["method", "network", "status", "merges", "reason"]
CELL, KEY = 0.135, 0.48  # inches: of a square, and of title and key
SHADES = {"merges": "#0072B2", "runs": "#8fc3e8", "refused": "#dedede"}


def data(material: Material) -> pd.DataFrame:
    """Return every probed pair of method and network, with its status."""
    path = material.results / FILE
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in table]:
        warnings.warn(
            f"{path} has no {', '.join(missing)}: python -m benchmark.capabilities makes it anew", stacklevel=2
        )
        return pd.DataFrame(columns=COLUMNS)
    return table[COLUMNS]


def draw(table: pd.DataFrame, width: str) -> Figure:
    """Draw networks across methods, broken into bands that fit the page."""
    methods, networks = sorted(set(table["method"])), list(dict.fromkeys(table["network"]))
    wide, left = style.WIDTHS[width], 1.05
    across = min(int((wide - left - 0.1) / CELL), len(methods))
    bands = math.ceil(len(methods) / across)
    across = math.ceil(len(methods) / bands)
    high = CELL * len(networks) + 0.97
    figure = style.sheet(width, bands * high + KEY)
    height = figure.get_size_inches()[1]
    kinds = {(r.method, r.network): "merges" if r.merges == "yes" else r.status for r in table.itertuples()}
    for band in range(bands):
        band_methods = methods[band * across : (band + 1) * across]
        bottom = height - KEY - (band + 1) * high + 0.05
        box = (
            left / wide,
            bottom / height,
            (wide - left - 0.1) / wide * len(band_methods) / across,
            CELL * len(networks) / height,
        )
        _band(axes := figure.add_axes(box), band_methods, networks, kinds)
        rows = table[table["method"].isin(band_methods)]
        style.mark(axes, rows["method"].map(band_methods.index) + 0.5, rows["network"].map(networks.index) + 0.5)
    _key(figure, left)
    return figure


def _band(axes: Axes, methods: list[str], networks: list[str], kinds: dict[tuple[str, str], str]) -> None:
    order = list(SHADES)
    shown = [[kinds.get((method, network)) for method in methods] for network in networks]
    shades = np.array([[order.index(kind) if kind in SHADES else np.nan for kind in row] for row in shown])
    axes.pcolormesh(shades, cmap=ListedColormap(list(SHADES.values())), vmin=0, vmax=2, edgecolors="white", lw=1)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(methods)) + 0.5, [style.shown(m, 19) for m in methods], rotation=90)
    axes.set_yticks(np.arange(len(networks)) + 0.5, [style.shown(n, 20) for n in networks])
    axes.tick_params(length=0, pad=1, labelsize=6)
    axes.spines[:].set_visible(False)


def _key(figure: Figure, left: float) -> None:
    """Write the title and name the three shades; what was not probed is empty."""
    wide, high = figure.get_size_inches()
    figure.text((left - 0.95) / wide, 1 - 0.16 / high, TITLE, size=8.5, va="center")
    labels = {"merges": "runs, can be merged", "runs": "runs", "refused": "refused"}
    for at, (kind, text) in zip((0, 1.15, 1.6), labels.items(), strict=True):
        x, y = (left - 0.95 + at) / wide, 1 - 0.34 / high
        figure.text(x, y, "■", color=SHADES[kind], size=8, va="center")
        figure.text(x + 0.12 / wide, y, text, size=style.TEXT, va="center")
