"""Any frame as an interactive chart: a point per row, its names on hover, a click that leads to its records."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")  # with the colour, for those who see none
Figure = dict[str, Any]  # data and layout, as Plotly takes them
Row = dict[str, Any]  # of a frame, by column
DASHES = ("solid", "dash", "dot", "dashdot")
FEW = 8  # groups that a legend below a chart holds
ROW = 19  # pixels
ROOM = (0.12, 0.05)  # of the width and height of a chart, that a name takes


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn against what; the columns of a frame by name, its titles with their units."""

    title: str
    x: str
    y: str
    name: str  # column that says what a point is
    hover: Sequence[str] = ()  # columns told beside x and y
    low: str | None = None  # ends of the interval of y, or of x where y is rows
    high: str | None = None
    group: str | None = None  # column of what shares a colour and a symbol
    dash: str | None = None  # column of what tells lines of one group apart
    link: str | None = None  # column of the route behind a point
    log: bool = False  # x; what is not positive becomes a level across the chart
    joined: bool = False  # the points of a group are a line
    rows: bool = False  # y holds names, the first on top
    titles: dict[str, str] = field(default_factory=dict)  # of columns, where the column's name is not enough


def figure(frame: pd.DataFrame, chart: Chart) -> Figure:
    """Turn a frame into what Plotly draws. Colours are the page's: they follow light and dark."""
    rows = frame.dropna(subset=[chart.x, chart.y]).to_dict("records")
    on_axis = [row for row in rows if not chart.log or row[chart.x] > 0]
    groups = list(dict.fromkeys(row[chart.group] for row in rows)) if chart.group else [None]
    groups = groups if chart.rows or chart.joined else sorted(groups, key=str)
    named = set() if chart.joined or chart.rows else _front(on_axis, chart)
    members: dict[Any, list[Row]] = {group: [] for group in groups}
    for row in on_axis:
        members[row[chart.group] if chart.group else None].append(row)
    data = []
    for place, (group, mine) in enumerate(members.items()):
        parts = sorted({row[chart.dash] for row in mine}) if chart.dash else [None]
        for number, part in enumerate(parts):
            its = [row for row in mine if not chart.dash or row[chart.dash] == part]
            data.append(_trace(its, chart, group, place, number, named))
    ends = [row[chart.x] for row in on_axis]
    data += [_level(row, chart, min(ends), max(ends)) for row in rows if ends and chart.log and row[chart.x] <= 0]
    return {"data": data, "layout": _layout(chart, len(groups), rows)}


def _layout(chart: Chart, groups: int, rows: Sequence[Row]) -> dict[str, Any]:
    axis = {"title": {"text": _title(chart, chart.x) + ", log scale" * chart.log}}
    layout = {
        "title": {"text": _text(chart.title)},
        "xaxis": axis | {"type": "log" if chart.log else "linear"},
        "yaxis": {"title": {"text": _title(chart, chart.y)}},
        "showlegend": groups > 1,
    }
    if chart.joined and groups > FEW:
        layout["legend"] = {"orientation": "v", "x": 1.02, "y": 1}
    if chart.rows:
        names = [_text(name) for name in dict.fromkeys(row[chart.y] for row in rows)]
        layout["yaxis"] = {"type": "category", "categoryarray": names, "autorange": "reversed"}
        layout |= {"height": ROW * len(names) + 150, "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"}}
    return layout


def _trace(rows: list[Row], chart: Chart, group: Any, place: int, number: int, named: set[int]) -> dict[str, Any]:
    """Set the points of one group; number counts its lines."""
    rows = sorted(rows, key=lambda row: row[chart.x]) if chart.joined else rows
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if chart.joined else "markers+text",
        "name": _text(group or chart.y),
        "x": [_number(row[chart.x]) for row in rows],
        "y": [_text(row[chart.y]) if chart.rows else _number(row[chart.y]) for row in rows],
        "text": [_text(row[chart.name]) if id(row) in named else "" for row in rows],
        "textposition": "top center",
        "hovertext": [_told(row, chart) for row in rows],
        "hoverinfo": "text",
        "marker": {"size": 5 if chart.joined else 9, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        "cliponaxis": False,
    }
    if chart.joined:
        drawn = number if chart.dash else place // 5  # the page has five colours
        trace |= {"line": {"dash": DASHES[drawn % len(DASHES)], "width": 1.5}, "legendgroup": trace["name"]}
        trace["showlegend"] = number == 0
    if rows and chart.link in rows[0]:
        trace["customdata"] = [row[chart.link] for row in rows]
    if chart.low and chart.high and any(not pd.isna(row[chart.low]) for row in rows):
        trace["error_x" if chart.rows else "error_y"] = _arms(rows, chart)
    return trace


def _arms(rows: Sequence[Row], chart: Chart) -> dict[str, Any]:
    centre = chart.x if chart.rows else chart.y
    known = [not pd.isna(row[chart.low]) and not pd.isna(row[chart.high]) for row in rows]
    both = list(zip(rows, known, strict=True))
    up = [_number(row[chart.high] - row[centre]) if there else None for row, there in both]
    down = [_number(row[centre] - row[chart.low]) if there else None for row, there in both]
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1, "width": 3}


def _number(value: float) -> float:
    """Round to what a screen shows; the page is read as text."""
    return float(f"{value:.6g}")


def heat(frame: pd.DataFrame, x: str, y: str, shade: str, shades: Mapping[str, str], said: str, title: str) -> Figure:
    """Turn a frame into a map of shades, one for each pair of x and y; said is the column told on hover."""
    across, down, order = list(dict.fromkeys(frame[x])), list(dict.fromkeys(frame[y])), list(shades)
    found = {(row[x], row[y]): row for row in frame.to_dict("records")}
    cells = [[found.get((one, other)) for one in across] for other in down]
    shown = [
        [None if c is None else f"<b>{_text(c[x])} on {_text(c[y])}</b><br>{_text(c[said])}" for c in r] for r in cells
    ]
    steps = [[(i + end) / len(order), colour] for i, colour in enumerate(shades.values()) for end in (0, 1)]
    trace = {
        "type": "heatmap",
        "x": [_text(name) for name in across],
        "y": [_text(name) for name in down],
        "z": [[None if cell is None else order.index(cell[shade]) for cell in row] for row in cells],
        "text": shown,
        "hoverinfo": "text",
        "colorscale": steps,
        "zmin": -0.5,
        "zmax": len(order) - 0.5,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    axis = {"type": "category", "dtick": 1, "tickfont": {"size": 9}}
    layout = {"xaxis": axis | {"tickangle": 90}, "yaxis": axis | {"autorange": "reversed"}}
    return {"data": [trace], "layout": layout | {"title": {"text": _text(title)}, "height": 15 * len(down) + 190}}


def _level(row: dict[str, Any], chart: Chart, low: float, high: float) -> dict[str, Any]:
    """Draw what has no place on a logarithmic axis as a line at its height."""
    steps = 24  # a line is hovered at its points alone
    return {
        "type": "scatter",
        "mode": "lines+text",
        "showlegend": False,
        "x": [low * (high / low) ** (i / steps) for i in range(steps + 1)] if high > low else [low / 2, low * 2],
        "y": [row[chart.y]] * (steps + 1 if high > low else 2),
        "text": [_text(row[chart.name])],
        "textposition": "top right",
        "line": {"dash": "dash", "width": 1},
        "hovertext": _told(row, chart),
        "hoverinfo": "text",
        "customdata": [row[chart.link]] * (steps + 1) if chart.link in row else None,
    }


def _front(rows: Sequence[Row], chart: Chart) -> set[int]:
    """Choose whom to name: what nothing with a smaller x beats, the best first, where there is room for a name."""
    best, front = -math.inf, []
    for row in sorted(rows, key=lambda row: (row[chart.x], -row[chart.y])):
        if row[chart.y] > best:
            best = row[chart.y]
            front.append(row)
    places = {id(row): (math.log(row[chart.x]) if chart.log else row[chart.x], row[chart.y]) for row in rows}
    spans = [max(values) - min(values) or 1 for values in zip(*places.values(), strict=True)]
    named: list[int] = []
    for one in map(id, reversed(front)):
        apart = [[abs(a - b) for a, b in zip(places[one], places[other], strict=True)] for other in named]
        if all(x > ROOM[0] * spans[0] or y > ROOM[1] * spans[1] for x, y in apart):
            named.append(one)
    return set(named)


def started(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a column that says on what network, from which weights: what shares a colour."""
    return frame.assign(start=frame["backbone"] + ", " + frame["weights"])


def _told(row: dict[str, Any], chart: Chart) -> str:
    told = [f"{_title(chart, key)}: {_shown(row[key])}" for key in (chart.y, chart.x, *chart.hover)]
    return "<br>".join([f"<b>{_text(row[chart.name])}</b>", *told])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if pd.isna(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _title(chart: Chart, column: str) -> str:
    return _text(chart.titles.get(column, column))


def _text(value: Any) -> str:
    """Escape for Plotly, whose texts know some HTML."""
    return html.escape(str(value), quote=False)
