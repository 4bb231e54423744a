"""The look of all figures: sizes, colours, texts and scales."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import Affine2D, Transform

from benchmark.records.configurations import CONTROL
from benchmark.report.views import budget_text

WIDTHS = {"one": 3.3, "two": 6.9}  # inches
DPI = 160
# Okabe and Ito's colours, dark ones first: told apart by colour-blind readers, and in grey with their marks and lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osDvP*X"
LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
GREY, DIM, PALE, TEXT = "#8c8c8c", "#595959", "#dddddd", 6.5
KNOWN = ("lora", "full", "head", "frozen")  # methods that a reader looks for first
COLUMNS = {"one": 2, "two": 3}  # of the key to the marks
LETTERS = {"one": 62, "two": 150}  # of a line of small text
METRICS = {"bleu": "BLEU", "chrf++": "chrF++", "macro_f1": "macro-F1", "spearman": "Spearman"}
Looks = dict[tuple[str, str], tuple[str, str]]  # backbone, weights: colour, mark
LONGEST = 26  # letters of a name
EDGE = 2  # dots that stay free around a sheet
LEAST = 4.5  # points, below which nothing can be read
RC: dict[str, Any] = {
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.titley": 1.0,  # else every drawing measures all labels to place a title that nothing pushes up
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "svg.hashsalt": "crosspeft",  # the same drawing has the same bytes
}


class Sheet(Figure):
    """A figure that notes where the rows of its table are drawn."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=DPI)
        self.rows: list[tuple[Axes, float, float, int]] = []
        FigureCanvasAgg(self)


def mark(axes: Axes, x: pd.Series, y: pd.Series) -> None:
    """Note where the rows of a table are drawn, for the hints of the page."""
    rows = zip(x.index.tolist(), x.tolist(), y.tolist(), strict=True)
    axes.figure.rows += [(axes, float(one), float(other), row) for row, one, other in rows]


def marks(figure: Sheet) -> list[list[float]]:
    """Return x, y and row of each mark, x and y as shares from the top left."""
    drawn = []
    for axes, x, y, row in figure.rows:
        across, up = figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
        drawn.append([round(float(across), 4), round(1 - float(up), 4), row])
    return drawn


def sheet(width: str, height: float) -> Sheet:
    """Return an empty figure of one or two columns, so many inches high."""
    return Sheet(WIDTHS[width], height)


def width_of(figure: Figure) -> str:
    """Return whether a figure is one or two columns wide."""
    return "two" if figure.get_size_inches()[0] > WIDTHS["one"] else "one"


def dots(axes: Axes) -> Transform:
    """Return a transform from the present dots of the sheet.

    A PDF has dots of another size.
    """
    figure = axes.get_figure()
    return Affine2D().scale(1 / figure.dpi) + figure.dpi_scale_trans


def within(figure: Figure) -> None:
    """Shrink or move labels and keys that the edge of the sheet would cut."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        _within(axes, figure, figure.bbox.width - EDGE, figure.bbox.height - EDGE)


def _within(axes: Axes, figure: Figure, wide: float, high: float) -> None:
    across, up, key = axes.xaxis.label, axes.yaxis.label, axes.get_legend()
    _shrink([across], lambda: across.get_window_extent().width <= wide - EDGE)
    _shrink([up], lambda: up.get_window_extent().height <= high - EDGE)
    if key_texts := key.get_texts() if key else []:
        _shrink(key_texts, lambda: all(text.get_window_extent().x1 <= wide for text in key_texts), figure)
    box, beside = across.get_window_extent(), up.get_window_extent()
    across.set_x(across.get_position()[0] + _inward(box.x0, box.x1, wide) / axes.bbox.width)
    up.set_y(up.get_position()[1] + _inward(beside.y0, beside.y1, high) / axes.bbox.height)
    axes.yaxis.labelpad -= max(EDGE - beside.x0, 0) * 72 / figure.dpi if up.get_text() else 0


def _shrink(texts: list[Text], fits: Callable[[], bool], figure: Figure | None = None) -> None:
    """Shrink texts step by step until they fit.

    Letters have whole dots, so their width is not proportional to their size.
    """
    while not fits() and texts[0].get_size() > LEAST:
        for text in texts:
            text.set_size(text.get_size() - 0.25)
        if figure:  # what a layout places moves only when it is drawn
            figure.draw_without_rendering()


def _inward(first: float, last: float, most: float) -> float:
    """Return how far a span must move to lie within the sheet."""
    return max(EDGE - first, 0) - max(last - most, 0)


def plain(figure: Figure, right: float = 0.15, left: float = 0.6, top: float = 0.42, bottom: float = 0.42) -> Axes:
    """Add the only axes, with margins in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))
    axes.grid(axis="y", color=PALE, lw=0.5)
    return axes


def shown(name: object, longest: int = LONGEST) -> str:
    """Make a name fit to be drawn: one line, printable, shortened in the middle."""
    text = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in str(name)).split())
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[: longest - 1 - half]}…{text[-half:]}"


def conditions(row: pd.Series, trials: bool = False) -> str:
    """Write what all marks of a picture share: task, budget, view and more."""
    budget = f"budget {row['budget']}" if trials and row["budget"] else budget_text(row["budget"])
    return ", ".join(filter(None, (row.get("task", ""), budget, board_text(row.get("board", "")))))


def board_text(board: str) -> str:
    """Write a board in words: "until=30" is "stopped after 30 steps"."""
    return re.sub(r"\buntil=(\d+)", r"stopped after \1 steps", board)


def metric(row: pd.Series, column: str = "metric") -> str:
    """Write the name of a score as papers do."""
    return shown(METRICS.get(row[column], str(row[column]).replace("_", " ")))


def looks(table: pd.DataFrame) -> Looks:
    """Give each backbone a colour and a mark; random weights are a triangle."""
    backbones = sorted(set(table["backbone"]))
    chosen = dict(zip(backbones, itertools.cycle(zip(COLOURS, MARKERS, strict=True)), strict=False))
    boards = sorted(set(zip(table["backbone"], table["weights"], strict=True)))
    return {(b, w): (chosen[b][0], "^" if w == CONTROL else chosen[b][1]) for b, w in boards}


def headroom(keys: int, width: str) -> float:
    """Return the inches that title, conditions and a key of so many marks need."""
    return 0.42 + (0.13 * math.ceil(keys / COLUMNS[width]) if keys > 1 else 0)


def title(axes: Axes, text: str, below: str, beside: str = "", keys: int = 0) -> None:
    """Write a title, below it the conditions, and in two columns also a remark."""
    width = width_of(axes.get_figure())
    pad = 4 + 72 * (headroom(keys, width) - headroom(0, width))
    axes.set_title(text, pad=pad + 10)
    line = subtitle(below, beside, width)
    axes.annotate(line, (0, 1), (0, pad), "axes fraction", "offset points", size=TEXT, color=DIM)


def subtitle(below: str, beside: str, width: str) -> str:
    """Join conditions and a remark to one line; long conditions lose their middle."""
    beside = f"; {beside}" if beside and width == "two" else ""
    return shown(below, LETTERS[width] - len(beside)) + beside


def named_looks(axes: Axes, looks: Looks) -> None:
    """Write above the axes which backbone has which mark, if there are several."""
    width = width_of(axes.get_figure())
    if len(looks) == 1:
        return
    for (backbone, weights), (colour, marker) in looks.items():
        label = shown(", ".join(filter(None, (backbone, weights))), 34)
        axes.plot([], [], ls="none", marker=marker, ms=4.5, mec=colour, mfc="white", color=colour, label=label)
    key(axes, width)


def key(axes: Axes, width: str) -> None:
    """Write above the axes what the labelled marks are."""
    axes.legend(
        frameon=False, fontsize=TEXT, loc="lower left", bbox_to_anchor=(0, 1), ncols=COLUMNS[width],
        handletextpad=0.1, borderpad=0, borderaxespad=0.2, labelspacing=0.2, columnspacing=1,
    )  # fmt: skip


def scaled(axes: Axes, values: list[float], room: tuple[float, float] = (1.6, 2.2), engineering: bool = False) -> None:
    """Make x logarithmic where values span more than a factor of four."""
    low, high = min(values), max(values)
    if high <= 4 * low and not engineering:
        axes.margins(x=0.12)
        return
    axes.set_xscale("log")
    axes.set_xlim(low / room[0], high * room[1])
    logarithmic(axes.xaxis, few=high * room[1] / low * room[0] < 60, engineering=engineering)


def logarithmic(axis: Axis, few: bool = True, engineering: bool = False) -> None:
    """Write plain numbers along a logarithmic axis; of few also 2 and 5."""
    if few:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(EngFormatter(sep="") if engineering else "{x:g}")
    axis.set_minor_formatter(NullFormatter())
