"""A figure per task and budget: score against trainable parameters, one point per setting."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter
from matplotlib.transforms import Bbox

from benchmark.report.groups import Group
from benchmark.report.tables import Table

# Okabe and Ito's colours without the pale ones: told apart by colour-blind readers, and dark enough in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7")
MARKERS = "osDvP"
CROWD = 25  # more points than that have no room for their names
RADII = (7, 12, 18, 26, 36, 48, 62)  # points between a mark and its name, tried in turn
ANGLES = (0, 90, 270, 180, 45, 315, 135, 225)


class Point(NamedTuple):
    """One setting as it is drawn."""

    label: str
    style: str
    trained: float
    score: float
    spread: float


def draw(table: Table, groups: list[Group], folder: Path) -> list[Path]:
    """Write PDF and PNG; nothing where no run of the task has a score."""
    points = [p for row, group in zip(table.rows, groups, strict=False) if (p := _point(row[2], group))]
    if not points:
        return []
    figure = Figure(figsize=(6.4, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    styles = _styles(groups)
    for point in points:
        _mark(axes, point, styles)
    _dress(axes, table, points)
    _legend(figure, axes, styles, points)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # names are placed in pixels: from here on nothing may move
    _name(axes, points, styles, worth_naming(points))
    paths = [folder / f"{table.name}.{kind}" for kind in ("pdf", "png")]
    with rc_context({"pdf.fonttype": 42}):  # journals refuse Type 3 fonts
        figure.savefig(paths[0], metadata={"CreationDate": None})
        figure.savefig(paths[1])
    return paths


def _point(label: str, group: Group) -> Point | None:
    scores = group.values("test", group.metric() or "")
    trained = group.values("cost", "trainable_params")
    if not scores or not trained:
        return None
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return Point(label, _style(group), statistics.median(trained), statistics.fmean(scores), spread)


def _style(group: Group) -> str:
    return f"{group.backbone}, {group.weights} weights" if group.weights else group.backbone


def _styles(groups: list[Group]) -> dict[str, dict[str, str]]:
    """Give each backbone a colour and each kind of weights a marker; random weights are an open triangle."""
    colours = dict(zip(sorted({g.backbone for g in groups}), itertools.cycle(COLOURS), strict=False))
    markers = dict(zip(sorted({g.weights for g in groups} - {"random"}), itertools.cycle(MARKERS), strict=False))
    return {
        _style(g): {
            "color": colours[g.backbone],
            "marker": markers.get(g.weights, "^"),
            "markerfacecolor": "white" if g.weights == "random" else colours[g.backbone],
        }
        for g in groups
    }


def _mark(axes: Axes, point: Point, styles: dict[str, dict[str, str]]) -> None:
    style = styles[point.style]
    if point.trained:
        spread = point.spread or None
        axes.errorbar(point.trained, point.score, spread, ms=6, capsize=3, lw=1, ls="none", zorder=3, **style)
    else:  # no place on a logarithmic axis: what nothing trained reaches is a level to compare with
        line = (0, (1, 2)) if style["markerfacecolor"] == "white" else (0, (5, 3))
        axes.axhline(point.score, color=style["color"], lw=1, ls=line, zorder=1)
        axes.plot(0, point.score, ms=6, clip_on=False, transform=axes.get_yaxis_transform(), zorder=3, **style)
        if point.spread:
            low, high = point.score - point.spread, point.score + point.spread
            axes.axhspan(low, high, color=style["color"], alpha=0.12, lw=0, zorder=0)


def _dress(axes: Axes, table: Table, points: list[Point]) -> None:
    trained = [p.trained for p in points if p.trained] or [1e3, 1e6]
    axes.set_xscale("log")
    # Room for names, and at least a decade, so that the axis has two ticks.
    axes.set_xlim(min(trained) / 3, max(trained) * 4)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.14)
    axes.set_xlabel("trainable parameters (number, log scale)")
    axes.set_ylabel(f"{table.header[3]} (mean ± sd over seeds)")
    crowd = " (named: what no cheaper method beats)" if len(points) > CROWD else ""
    axes.set_title(f"{table.name}{crowd}", loc="left", fontsize=11)
    if any(mark.startswith("(") and f"{mark} " in " ".join(table.marked()) for p in points for mark in p.label.split()):
        axes.set_title(f"(a), (b), ...: notes in tables/{table.name}.md", loc="right", fontsize=8, color="#666666")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)


def _legend(figure: Figure, axes: Axes, styles: dict[str, dict[str, str]], points: list[Point]) -> None:
    shown = [style for style in styles if any(p.style == style for p in points)]
    handles = [axes.plot([], [], ls="none", ms=6, label=style, **styles[style])[0] for style in shown]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=8)


def worth_naming(points: list[Point]) -> set[Point]:
    """Choose whom to name: all, or of a crowd those that no cheaper one beats, and what nothing trained reaches."""
    if len(points) <= CROWD:
        return set(points)
    return {p for p in points if not any(o.trained <= p.trained and o.score > p.score for o in points)} | {
        p for p in points if not p.trained
    }


def _name(axes: Axes, points: list[Point], styles: dict[str, dict[str, str]], named: set[Point]) -> None:
    """Write each name at the nearest place that is free and not nearer to another mark."""
    marks = {point: _extent(axes, point) for point in points}
    taken = list(marks.values())
    for point in sorted(named, key=lambda p: (p.trained == 0, p.trained, p.score)):
        start = axes.transData.transform(_anchor(axes, point))
        text = axes.annotate(point.label, _anchor(axes, point), (0, 0), textcoords="offset points", fontsize=8)
        text.set_color(styles[point.style]["color"])
        size = text.get_window_extent()
        others = [mark for other, mark in marks.items() if other is not point and other.trained]
        best = math.inf
        for x, y, linked in _spots(axes, point, size):
            spot = Bbox.from_bounds(x, y, size.width, size.height)
            nearest = min((_gap(spot, mark) for mark in others), default=math.inf)
            unclear = point.trained and nearest < _gap(spot, marks[point])
            cost = _overlap(axes, spot, taken) + (0 if linked or not unclear else 50)
            if cost < best:
                best, box, line = cost, spot, linked
        text.set_position((box.p0 - start) * 72 / axes.figure.dpi)
        taken.append(box)
        if line:
            end = (min(max(start[0], box.x0), box.x1), min(max(start[1], box.y0), box.y1))
            ends = axes.transData.inverted().transform([start, end])
            axes.plot(*ends.T, color="#666666", lw=0.6, zorder=2, scalex=False, scaley=False)


def _anchor(axes: Axes, point: Point) -> tuple[float, float]:
    return (point.trained or axes.get_xlim()[0], point.score)


def _extent(axes: Axes, point: Point) -> Bbox:
    """Return the pixels a mark covers."""
    x, y = axes.transData.transform(_anchor(axes, point))
    if not point.trained:
        return Bbox.from_extents(axes.bbox.x0, y - 1, axes.bbox.x1, y + 1)
    low, high = (axes.transData.transform((point.trained, point.score + s))[1] for s in (-point.spread, point.spread))
    half = 5 * axes.figure.dpi / 72
    return Bbox.from_extents(x - half, min(low, y - half), x + half, max(high, y + half))


def _spots(axes: Axes, point: Point, size: Bbox) -> Iterator[tuple[float, float, bool]]:
    """Yield places for the lower left corner of a name, best first, and whether they need a line to their mark."""
    x, y = axes.transData.transform(_anchor(axes, point))
    pixel = axes.figure.dpi / 72
    if not point.trained:
        room = axes.bbox.width - size.width - 8 * pixel
        for share, above in itertools.product((1, 0, 0.5, 0.75, 0.25), (True, False)):
            yield x + 4 * pixel + share * room, y + (3 * pixel if above else -3 * pixel - size.height), False
        return
    for radius, angle in itertools.product(RADII, ANGLES):
        right, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        left = x + right * radius * pixel - (1 - right) / 2 * size.width
        yield left, y + up * radius * pixel - (1 - up) / 2 * size.height, radius > RADII[1]


def _overlap(axes: Axes, box: Bbox, taken: list[Bbox]) -> float:
    """Count the pixels shared with marks and names, and those outside the axes."""
    shared = sum(b.width * b.height for other in taken if (b := Bbox.intersection(box, other)))
    inside = Bbox.intersection(box, axes.bbox)
    return shared + box.width * box.height - (inside.width * inside.height if inside else 0)


def _gap(one: Bbox, other: Bbox) -> float:
    return math.hypot(
        max(one.x0 - other.x1, other.x0 - one.x1, 0),
        max(one.y0 - other.y1, other.y0 - one.y1, 0),
    )
