"""What stands on the page: boards of our own runs, methods, tasks, and apart from them the numbers of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.records import UNTRAINED
from benchmark.report.drawing.press import Picture
from benchmark.report.frame import Run
from benchmark.report.groups import CONTROL, Group
from benchmark.report.page.shelf import Shelf
from benchmark.report.quoted import Quoted
from benchmark.report.tables import ABSENT, Table

SUMMARY = ("95 %", "tied", "less lora", "less full", "seeds", "trainable %", "step (ms)", "memory (MB)")
BESIDE = Table("methods", ["board", "weights", "setting", "score", "headline", *SUMMARY])


@dataclass(frozen=True)
class Board:
    """One table of our own runs, and the groups behind its rows."""

    task: str
    budget: str  # and view
    table: Table
    groups: Sequence[Group]
    scored: bool = True  # or there to measure costs


@dataclass(frozen=True)
class Report:
    """All that is to be shown; without a table of verdicts the claims are listed unjudged."""

    runs: Sequence[Run]
    boards: Sequence[Board]
    overviews: Sequence[Table] = ()
    claims: Table | None = None
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Line:
    """A row as it is shown: its state decides how it looks, its setting where its numbers lead."""

    cells: Sequence[str]
    state: str
    setting: str
    method: str
    why: str = ""


def lines(board: Board, shelf: Shelf) -> list[Line]:
    """Set the rows of a board."""
    return [
        Line(row, state(group), shelf.setting(group, row[2], board.table.name), group.method, why(group))
        for row, group in zip(board.table.rows, board.groups, strict=True)
    ]


def state(group: Group) -> str:
    """Say in one word how the runs of a group ended."""
    ends = {record.status for record in group.records}
    if not ends:
        return "missing"
    if "done" in ends:
        return "done" if ends == {"done"} else "partly"
    return "failed" if "failed" in ends else "skipped"


def why(group: Group) -> str:
    """Give the reasons of those that did not end well."""
    if not group.records:
        return "nobody has run this"
    lost = [r for r in group.records if r.status != "done"]
    told = [f"{r.status}: {r.reason or 'no reason given'}" for r in lost] + [UNTRAINED] * bool(group.untrained)
    return "; ".join(dict.fromkeys(told))


def summary(method: str, boards: Sequence[Board], shown: Mapping[str, Sequence[Line]]) -> list[Line]:
    """Collect a method's rows of all boards, cell by cell as they stand there; columns are BESIDE."""
    found = []
    for board in boards:
        places = {name: i for i, name in enumerate(board.table.header)}
        for line in shown[board.table.name]:
            if line.method == method:
                scored = [line.cells[3], board.table.header[3]] if board.scored else [ABSENT, ABSENT]
                named = [board.table.name, line.cells[1], line.cells[2], *scored]
                cells = [*named, *(_cell(line, places.get(column)) for column in SUMMARY)]
                found.append(replace(line, cells=cells))
    return found


def _cell(line: Line, place: int | None) -> str:
    return line.cells[place] if place is not None and place < len(line.cells) else ABSENT


def across(table: Table, boards: Sequence[Board], shown: Mapping[str, Sequence[Line]]) -> list[list[str]]:
    """Find the setting behind each cell of a table over all tasks; empty where it is not certain."""
    budget = table.name.partition("_")[2]
    mine = [(board.task, line) for board in boards if board.budget == budget for line in shown[board.table.name]]
    return [
        [
            ""
            if not place
            else _only(line.setting for task, line in mine if line.cells[2] == row[0] and _stands(task, line, column))
            for place, column in enumerate(_columns(table))
        ]
        for row in table.rows
    ]


def _columns(table: Table) -> list[str]:
    """Name the column of scores that each column belongs to."""
    return [name if name != "trained" else table.header[place - 1] for place, name in enumerate(table.header)]


def _stands(task: str, line: Line, column: str) -> bool:
    """Whether a row stands under the heading of a task, or of a task and a backbone; never one of random weights."""
    named, *rest = column.split()
    return named == task and line.cells[1] != CONTROL and (len(rest) < 2 or rest[0] == line.cells[0])


def _only(found: Iterable[str]) -> str:
    settings = {setting for setting in found if setting}
    return settings.pop() if len(settings) == 1 else ""


def quotes(rows: Sequence[Quoted]) -> Table:
    """Lay out the numbers of others, which stand in no table of ours."""
    header = ["study", "task", "backbone", "method", "metric", "value", "unit", "trainable", "provenance", "where"]
    table = Table("quoted", header, legend="", words=5)
    for one in rows:
        value = one.status if one.value is None else f"{one.value:g}"
        trained = ABSENT if one.trainable_params is None else f"{one.trainable_params:,}"
        named = [one.study, one.task, one.backbone, one.method, one.metric, value, one.unit or ABSENT, trained]
        table.rows.append([*named, one.provenance, one.where])
    return table
