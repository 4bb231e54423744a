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
    whole = frame.dropna(subset=[chart.x, chart.y])
    on_axis = whole[chart.x] > 0 if chart.log else whole[chart.x].notna()
    groups = list(dict.fromkeys(whole[chart.group])) if chart.group else [None]
    groups = groups if chart.rows or chart.joined else sorted(groups, key=str)
    named = set() if chart.joined or chart.rows else _front(whole[on_axis], chart)
    data = []
    for place, name in enumerate(groups):
        mine = whole if name is None else whole[whole[chart.group] == name]
        mine = mine[on_axis[mine.index]]
        parts = [part for _, part in mine.groupby(chart.dash, sort=True)] if chart.dash else [mine]
        data += [_trace(part, chart, name, place, number, named) for number, part in enumerate(parts)]
    ends = whole[on_axis][chart.x]
    for row in whole[~on_axis].to_dict("records") if len(ends) else ():
        data.append(_level(row, chart, float(ends.min()), float(ends.max())))
    return {"data": data, "layout": _layout(chart, len(groups), whole)}


def _layout(chart: Chart, groups: int, rows: pd.DataFrame) -> dict[str, Any]:
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
        order = list(dict.fromkeys(rows[chart.y]))
        layout["yaxis"] = {
            "type": "category",
            "categoryarray": [_text(name) for name in order],
            "autorange": "reversed",
        }
        layout |= {"height": ROW * len(order) + 150, "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"}}
    return layout


def _trace(rows: pd.DataFrame, chart: Chart, group: Any, place: int, number: int, named: set[Any]) -> dict[str, Any]:
    """Set the points of one group; number counts its lines."""
    rows = rows.sort_values(chart.x, kind="stable") if chart.joined else rows
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if chart.joined else "markers+text",
        "name": _text(group or chart.y),
        "x": _numbers(rows[chart.x]),
        "y": [_text(name) for name in rows[chart.y]] if chart.rows else _numbers(rows[chart.y]),
        "text": [_text(row[chart.name]) if i in named else "" for i, row in rows.iterrows()],
        "textposition": "top center",
        "hovertext": [_told(row, chart) for row in rows.to_dict("records")],
        "hoverinfo": "text",
        "marker": {"size": 5 if chart.joined else 9, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        "cliponaxis": False,
    }
    if chart.joined:
        drawn = number if chart.dash else place // 5  # the page has five colours
        trace |= {"line": {"dash": DASHES[drawn % len(DASHES)], "width": 1.5}, "legendgroup": trace["name"]}
        trace["showlegend"] = number == 0
    if chart.link in rows:
        trace["customdata"] = rows[chart.link].tolist()
    if chart.low and chart.high and rows[chart.low].notna().any():
        trace["error_x" if chart.rows else "error_y"] = _arms(rows, chart)
    return trace


def _arms(rows: pd.DataFrame, chart: Chart) -> dict[str, Any]:
    centre = rows[chart.x if chart.rows else chart.y]
    up, down = rows[chart.high] - centre, centre - rows[chart.low]
    return {"type": "data", "array": _numbers(up), "arrayminus": _numbers(down), "thickness": 1, "width": 3}


def _numbers(column: pd.Series) -> list[float | None]:
    """Round to what a screen shows; the page is read as text."""
    return [None if pd.isna(value) else float(f"{value:.6g}") for value in column]


def heat(frame: pd.DataFrame, x: str, y: str, shade: str, shades: Mapping[str, str], said: str) -> Figure:
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
    return {"data": [trace], "layout": layout | {"title": {"text": ""}, "height": 15 * len(down) + 190}}


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


def _front(rows: pd.DataFrame, chart: Chart) -> set[Any]:
    """Choose whom to name: what nothing with a smaller x beats, the best first, where there is room for a name."""
    ordered = rows.sort_values([chart.x, chart.y], ascending=[True, False])
    best = ordered[chart.y].cummax().shift(fill_value=float("-inf"))
    front = ordered[ordered[chart.y] > best].sort_values(chart.y, ascending=False)
    places = pd.DataFrame({"x": rows[chart.x].map(math.log) if chart.log else rows[chart.x], "y": rows[chart.y]})
    places = (places - places.min()) / (places.max() - places.min()).replace(0, 1)
    named: list[Any] = []
    for one in front.index:
        apart = (places.loc[named] - places.loc[one]).abs()
        if ((apart["x"] > ROOM[0]) | (apart["y"] > ROOM[1])).all():
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
