"""Any frame as an interactive chart: a point per row, its names on hover, a click that leads to its records."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")  # with the colour, for those who see none


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn against what; the columns of a frame by name, its titles with their units."""

    title: str
    x: str
    y: str
    name: str  # column that says what a point is
    hover: Sequence[str] = ()  # columns told beside x and y
    low: str | None = None  # ends of the interval of y
    high: str | None = None
    group: str | None = None  # column of what shares a colour and a symbol
    link: str | None = None  # column of the route behind a point
    log: bool = False  # x; what is not positive becomes a level across the chart
    titles: dict[str, str] = field(default_factory=dict)  # of columns, where the column's name is not enough


def figure(frame: pd.DataFrame, chart: Chart) -> dict[str, Any]:
    """Turn a frame into what Plotly draws. Colours are the page's: they follow light and dark."""
    from plotly import graph_objects

    whole = frame.dropna(subset=[chart.x, chart.y])
    on_axis = whole[chart.x] > 0 if chart.log else whole[chart.x].notna()
    groups = sorted(whole[chart.group].unique()) if chart.group else [None]
    named = _front(whole[on_axis], chart)
    drawn = graph_objects.Figure()
    drawn.layout.template = None
    for name, symbol in zip(groups, itertools.cycle(SYMBOLS), strict=False):
        mine = whole if name is None else whole[whole[chart.group] == name]
        drawn.add_trace(_points(mine[on_axis[mine.index]], chart, name, symbol, named))
    drawn.update_layout(
        title={"text": _text(chart.title)},
        xaxis={
            "title": {"text": _title(chart, chart.x) + ", log scale" * chart.log},
            "type": "log" if chart.log else "linear",
        },
        yaxis={"title": {"text": _title(chart, chart.y)}},
        showlegend=len(groups) > 1,
    )
    made = drawn.to_plotly_json()
    ends = whole[on_axis][chart.x]
    for row in whole[~on_axis].to_dict("records") if len(ends) else ():
        made["data"].append(_level(row, chart, float(ends.min()), float(ends.max())))
    return {"data": made["data"], "layout": {k: v for k, v in made["layout"].items() if k != "template"}}


def _points(rows: pd.DataFrame, chart: Chart, group: Any, symbol: str, named: set[Any]) -> dict[str, Any]:
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "name": _text(group or chart.y),
        "x": rows[chart.x].tolist(),
        "y": rows[chart.y].tolist(),
        "text": [_text(row[chart.name]) if i in named else "" for i, row in rows.iterrows()],
        "textposition": "top center",
        "hovertext": [_told(row, chart) for row in rows.to_dict("records")],
        "hoverinfo": "text",
        "marker": {"size": 9, "symbol": symbol},
        "cliponaxis": False,
    }
    if chart.link:
        trace["customdata"] = rows[chart.link].tolist()
    if chart.low and chart.high and rows[chart.low].notna().any():
        up, down = rows[chart.high] - rows[chart.y], rows[chart.y] - rows[chart.low]
        trace["error_y"] = {
            "type": "data",
            "array": [None if pd.isna(v) else v for v in up],
            "arrayminus": [None if pd.isna(v) else v for v in down],
            "thickness": 1,
            "width": 3,
        }
    return trace


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
        "customdata": [row[chart.link]] * (steps + 1) if chart.link else None,
    }


def _front(rows: pd.DataFrame, chart: Chart) -> set[Any]:
    """Choose whom to name: what nothing with a smaller x beats."""
    ordered = rows.sort_values([chart.x, chart.y], ascending=[True, False])
    best = ordered[chart.y].cummax().shift(fill_value=float("-inf"))
    return set(ordered.index[ordered[chart.y] > best])


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
