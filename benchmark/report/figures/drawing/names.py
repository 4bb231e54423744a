"""Names beside their marks, where there is room."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from benchmark.report.figures.drawing.style import TEXT, dots, shown

RADII = (6, 10, 15, 22, 30, 40, 52)  # points between a mark and its name, tried in turn
ANGLES = (0, 90, 270, 180, 45, 315, 135, 225)
LINKED = 12  # points from which on a line leads to the mark
NEAR = 24  # points that an ordinary name may stand away


@dataclass(frozen=True)
class Name:
    """A name and its mark, in data coordinates; a horizontal line has no x."""

    text: str
    x: float | None
    y: float
    colour: str
    first: bool = False  # placed before the others, and further away if it must be


def write(axes: Axes, names: Sequence[Name], lines: Sequence[np.ndarray] = ()) -> int:
    """Write names that cover nothing; count those without room.

    Lines are vertices in data coordinates, [points, 2]. Nothing of the axes may move afterwards.
    """
    pixel = axes.figure.dpi / 72
    axes.viewLim  # noqa: B018 - settles the limits, which are set late
    centres = np.array([_centre(axes, name) for name in names]).reshape(-1, 2)
    half = np.array([[axes.bbox.width / 2, 1] if name.x is None else [3.5 * pixel] * 2 for name in names])
    marks = np.hstack([centres - half, centres + half])
    taken = [*marks, *(box for line in lines for box in _beads(axes.transData.transform(line), pixel))]
    left_out = 0
    for index in sorted(range(len(names)), key=lambda i: (not names[i].first, names[i].x is None, names[i].y)):
        name = names[index]
        text = axes.text(0, 0, shown(name.text), size=TEXT, color=name.colour, transform=dots(axes), va="bottom")
        extent = text.get_window_extent()
        spots, linked = _spots(axes, name, centres[index], (extent.width, extent.height))
        rivals = [marks[i] for i in range(len(names)) if i != index and names[i].x is not None]
        clear = np.where(linked, _passes(spots, centres[index], rivals), _clear(spots, marks[index], rivals))
        free = _free(axes, spots, np.array(taken)) & clear
        if not free.any():
            text.remove()
            left_out += 1
            continue
        best = int(free.argmax())
        text.set_position(spots[best][:2])
        text.set_va("bottom")
        taken.append(spots[best])
        if linked[best]:
            ends = np.array([centres[index], np.clip(centres[index], spots[best][:2], spots[best][2:])])
            axes.plot(*ends.T, color="#8c8c8c", lw=0.5, zorder=1.5, transform=dots(axes), scalex=False, scaley=False)
            taken += _beads(ends, pixel)[2:]
    return left_out


def _centre(axes: Axes, name: Name) -> np.ndarray:
    if name.x is not None:
        return axes.transData.transform((name.x, name.y))
    return np.array([axes.bbox.x0 + axes.bbox.width / 2, axes.transData.transform((axes.get_xlim()[0], name.y))[1]])


def _beads(line: np.ndarray, pixel: float) -> list[np.ndarray]:
    """Cover a line with boxes of two points, [x0, y0, x1, y1]."""
    points = []
    for start, end in itertools.pairwise(line):
        many = max(int(math.dist(start, end) / (2 * pixel)), 1)
        points += [start + (end - start) * i / many for i in range(many + 1)]
    return [np.hstack([bead - pixel, bead + pixel]) for bead in points]


def _spots(axes: Axes, name: Name, centre: np.ndarray, size: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """List boxes for a name, best first, and whether a line must lead to them."""
    pixel, (width, height) = axes.figure.dpi / 72, size
    if name.x is None:
        shares, sides = (1, 0, 0.5, 0.75, 0.25, 0.9, 0.1), (2 * pixel, -2 * pixel - height)
        left = [axes.bbox.x0 + 4 * pixel + share * (axes.bbox.width - width - 8 * pixel) for share in shares]
        corners = np.array([[x, centre[1] + y] for x, y in itertools.product(left, sides)])
        return np.hstack([corners, corners + size]), np.zeros(len(corners), bool)
    tried = [(r, a) for r, a in itertools.product(RADII, ANGLES) if name.first or r <= NEAR]
    radius, angle = np.array(tried, float).T
    right, up = np.cos(np.radians(angle)).round(6), np.sin(np.radians(angle)).round(6)
    x = centre[0] + right * radius * pixel - (1 - right) / 2 * width
    y = centre[1] + up * radius * pixel - (1 - up) / 2 * height
    return np.stack([x, y, x + width, y + height], 1), radius > LINKED


def _free(axes: Axes, spots: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Mark the boxes that lie within the axes and touch nothing."""
    box = axes.bbox
    inside = (spots[:, 0] >= box.x0) & (spots[:, 1] >= box.y0) & (spots[:, 2] <= box.x1) & (spots[:, 3] <= box.y1)
    apart = (spots[:, None, :2] >= taken[None, :, 2:]) | (spots[:, None, 2:] <= taken[None, :, :2])
    return inside & apart.any(2).all(1)


def _clear(spots: np.ndarray, mark: np.ndarray, rivals: Sequence[np.ndarray]) -> np.ndarray:
    """Mark the boxes that are nearest to the mark they name."""
    if not rivals:
        return np.ones(len(spots), bool)
    return _gap(spots, mark[None])[:, 0] <= _gap(spots, np.array(rivals)).min(1)


def _passes(spots: np.ndarray, centre: np.ndarray, rivals: Sequence[np.ndarray]) -> np.ndarray:
    """Mark the boxes whose line to their mark crosses no other mark."""
    ends = np.clip(centre, spots[:, :2], spots[:, 2:])
    points = centre + np.linspace(0, 1, 12)[:, None, None] * (ends - centre)
    crossed = [((points > rival[:2]) & (points < rival[2:])).all(2).any(0) for rival in rivals]
    return ~np.any(crossed, axis=0) if crossed else np.ones(len(spots), bool)


def _gap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Measure the distance of each box from each other one."""
    below = others[None, :, :2] - boxes[:, None, 2:]
    above = boxes[:, None, :2] - others[None, :, 2:]
    return np.hypot(*np.moveaxis(np.maximum(np.maximum(below, above), 0), 2, 0))
