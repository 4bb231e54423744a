"""The figures of the page: drawings, with a hint and a link per mark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pandas as pd

from benchmark.records.configurations import label
from benchmark.report.figures import known
from benchmark.report.figures.drawing.press import MARKS, PAGE, Picture
from benchmark.report.figures.drawing.style import board_text
from benchmark.report.page.contents import Line, Report

SHARED = ("task", "budget", "backbone", "weights", "label")  # what a row of a figure shares with a row of a table
SHOWN_ABOVE = {*SHARED, "method", "board", "comparison", "decades", "open", "front"}
Links = Mapping[tuple[str, ...], str]  # by SHARED: the route of a configuration
Tabs = dict[str, dict[str, Any]]  # by the name of a tab: a drawing and its marks


def gallery(report: Report, shown: Mapping[str, Sequence[Line]]) -> dict[str, Tabs]:
    """Collect the figures by the table they stand above, else by figure."""
    links = {
        (one.task, one.budget, member.backbone, member.weights, label(member)): f"setting/{line.setting}"
        for one in report.tables
        for member, line in zip(one.members, shown[one.table.name], strict=True)
    }
    tables = {(one.task, one.budget): one.table.name for one in report.tables if one.scored}
    collected: dict[str, Tabs] = {}
    for picture, files in sorted(report.pictures, key=lambda drawn: not hasattr(known()[drawn[0].figure], "LEADS")):
        module = known()[picture.figure]
        rows = picture.table.to_dict("records")
        marks = [
            [*position, _text(rows[row], module), _link(rows[row], links)]
            for *position, row in json.loads(files[MARKS])
        ]
        tabs = collected.setdefault(_above(picture, module, tables), {})
        tabs[_tab(picture, module)] = {"drawing": files[PAGE].decode(), "marks": marks}
    return collected


def _above(picture: Picture, module: ModuleType, tables: Mapping[tuple[str, str], str]) -> str:
    """Name the table above which a picture is shown.

    Of tuning runs there may be no table with their budget; then another of the task.

    What is drawn over the tasks of a budget belongs to their ranking.
    """
    first = picture.table.iloc[0]
    if "task" in module.BY:
        same = [name for (task, _), name in tables.items() if task == first["task"]]
        return tables.get((first["task"], first["budget"]), (*same, picture.figure)[0])
    return "_".join(filter(None, ("ranking", first["budget"]))) if "budget" in module.BY else picture.figure


def _tab(picture: Picture, module: ModuleType) -> str:
    first = picture.table.iloc[0]
    others = [board_text(str(first[by])) for by in module.BY if by not in ("task", "budget") and first[by]]
    return ", ".join([module.TAB, *others])


def _text(row: Mapping[str, Any], module: ModuleType) -> str:
    """Write the hint of a mark: name, backbone and numbers."""
    start = [", ".join(str(row[key]) for key in ("backbone", "weights"))] if "backbone" in row else []
    values = {module.TAB if key == "cost" else key: value for key, value in row.items() if key not in SHOWN_ABOVE}
    numbers = [f"{key}: {_number(value)}" for key, value in values.items() if not pd.isna(value) and value != ""]
    return "\n".join([str(row.get("label", row.get("method", ""))), *start, *numbers])


def _number(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _link(row: Mapping[str, Any], links: Links) -> str:
    return links.get(tuple(row[key] for key in SHARED), "") if set(SHARED) <= row.keys() else ""
