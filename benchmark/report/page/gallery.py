"""The report's figures as charts to point at, each beside the table it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

import pandas as pd

from benchmark.report.charts import Figure
from benchmark.report.drawing.material import label
from benchmark.report.drawing.press import Picture
from benchmark.report.figures import known
from benchmark.report.page.contents import Line, Report

PLACE = ("task", "budget", "backbone", "weights", "label")  # what a row of a figure shares with a row of a table
Links = Mapping[tuple[str, ...], str]  # by PLACE: the route of a setting
Tabs = dict[str, Figure]  # by what a tab is called


def drawn(report: Report, shown: Mapping[str, Sequence[Line]]) -> dict[str, Tabs]:
    """Draw every chart, by the name of the table it stands above; what belongs to no table is called by its figure."""
    found: dict[str, Tabs] = {}
    links = {
        (board.task, board.budget, group.backbone, group.weights, label(group)): f"setting/{line.setting}"
        for board in report.boards
        for group, line in zip(board.groups, shown[board.table.name], strict=True)
    }
    tables = {(board.task, board.budget): board.table.name for board in report.boards if board.scored}
    modules = {name: module for name, module in known().items() if hasattr(module, "chart")}
    for picture in sorted(report.pictures, key=lambda picture: not hasattr(modules.get(picture.figure), "LEADS")):
        if module := modules.get(picture.figure):
            table = _linked(picture.table, links)
            found.setdefault(_above(picture, module, tables), {})[_tab(picture, module)] = module.chart(table)
    return found


def _above(picture: Picture, module: ModuleType, tables: Mapping[tuple[str, str], str]) -> str:
    """Name the table that a picture belongs to; of tuning there need be none of its budget, but of its task.

    What is drawn over the tasks of a budget belongs to their ranking.
    """
    first = picture.table.iloc[0]
    if "task" in module.BY:
        mine = [name for (task, _), name in tables.items() if task == first["task"]]
        return tables.get((first["task"], first["budget"]), (*mine, picture.figure)[0])
    return "_".join(filter(None, ("ranking", first["budget"]))) if "budget" in module.BY else picture.figure


def _tab(picture: Picture, module: ModuleType) -> str:
    first = picture.table.iloc[0]
    return " ".join([module.TAB, *(str(first[by]) for by in module.BY if by not in ("task", "budget") and first[by])])


def _linked(table: pd.DataFrame, links: Links) -> pd.DataFrame:
    if not set(PLACE) <= set(table):
        return table
    return table.assign(link=[links.get(row, "") for row in table[list(PLACE)].itertuples(index=False, name=None)])
