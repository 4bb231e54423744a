"""Many lines in one picture: a few in colour, the others grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from benchmark.report.figures.drawing.style import COLOURS, GREY, KNOWN, LINES, MARKERS, TEXT, dots, shown

MOST = 6  # lines that all get a colour
PITCH = 8  # points from one name to the next
Look = tuple[str, object, str]  # colour, line, mark


def highlighted(scores: pd.Series, methods: Mapping[str, str]) -> dict[str, Look]:
    """Choose the labels to colour: all if few, else known methods and the best."""
    ranked = list(scores.sort_values(ascending=False, kind="stable").index)
    chosen = [label for known in KNOWN for label in ranked if methods[label] == known][: MOST - 1]
    chosen = [*chosen, *(label for label in ranked[:1] if label not in chosen)]
    if len(ranked) <= MOST:
        chosen += [label for label in ranked if label not in chosen]
    return {
        label: (COLOURS[i % len(COLOURS)], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])
        for i, label in enumerate(chosen)
    }


def draw(axes: Axes, lines: Mapping[str, np.ndarray], looks: Mapping[str, Look], marks: bool = True) -> None:
    """Draw each line, [points, 2], the grey ones below."""
    for label, points in lines.items():
        colour, line, marker = looks.get(label, (GREY, "-", "."))
        bold = label in looks
        size = (3.5 if bold else 3) if marks or len(points) == 1 else 0
        axes.plot(
            *points.T, color=colour, ls=line, marker=marker, ms=size, mew=0, lw=1.3 if bold else 0.6,
            alpha=1 if bold else 0.55, zorder=3 if bold else 2,
        )  # fmt: skip


def name(axes: Axes, lines: Mapping[str, np.ndarray], looks: Mapping[str, Look]) -> int:
    """Write the names of lines right of the axes; count those without room.

    Where not all fit, those in colour are named alone. Nothing of the axes may move afterwards.
    """
    pixel = axes.figure.dpi / 72
    axes.viewLim  # noqa: B018 - settles the limits, which are set late
    room = int(axes.bbox.height / (PITCH * pixel)) + 1
    wanted = [label for label in lines if len(lines) <= room or label in looks][:room]
    ends = {label: axes.transData.transform(lines[label][-1]) for label in wanted}
    wanted.sort(key=lambda label: (ends[label][1], label))
    for label, height in zip(wanted, spread([ends[w][1] for w in wanted], PITCH * pixel, axes), strict=True):
        colour = looks[label][0] if label in looks else "#595959"
        left = axes.bbox.x1 + 10 * pixel
        axes.text(left, height, shown(label, 20), color=colour, size=TEXT, va="center", transform=dots(axes))
        axes.plot(
            [ends[label][0], left - 7 * pixel, left - 1.5 * pixel], [ends[label][1], ends[label][1], height],
            color=colour, lw=0.4, alpha=0.7, transform=dots(axes), clip_on=False, scalex=False, scaley=False,
        )  # fmt: skip
    return len(lines) - len(wanted)


def spread(heights: Sequence[float], pitch: float, axes: Axes) -> np.ndarray:
    """Move sorted heights apart by a pitch, as little as possible."""
    if not len(heights):
        return np.zeros(0)
    steps = pitch * np.arange(len(heights))
    settled = isotonic_regression(np.array(heights) - steps).x
    return np.clip(settled, axes.bbox.y0, max(axes.bbox.y1 - steps[-1], axes.bbox.y0)) + steps
