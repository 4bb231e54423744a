"""The tables of the page, and apart from them the numbers of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.records import MARK, UNTRAINED
from benchmark.records.configurations import CONTROL, Configuration
from benchmark.records.headline import FLOOR, NOT_ABOVE
from benchmark.report.figures.drawing.press import Files, Picture
from benchmark.report.page.shelf import Shelf, origin
from benchmark.report.published.quoted import Quoted
from benchmark.report.tables.table import ABSENT, Table, reasons
from benchmark.report.views import Run, budget_text

SUMMARY = ("95 %", "tied", "less lora", "less full", "seeds", "trainable %", "step (ms)", "memory (MB)")
OVER_TASKS = {"ranking": "Ranks over tasks", "certainty": "What explains the scores", "methods": "Methods by task"}
BESIDE = Table("methods", ["table", "weights", "setting", "score", "headline", *SUMMARY])


@dataclass(frozen=True)
class TaskTable:
    """A table of one task, and the configurations behind its rows."""

    task: str
    budget: str  # and view
    table: Table
    members: Sequence[Configuration]
    scored: bool = True  # or there to measure costs

    @property
    def origins(self) -> list[str]:
        """Whether its runs are "yours", "shipped", or both."""
        return sorted({origin(one.source) for one in self.members if one.records})


@dataclass(frozen=True)
class Report:
    """Everything that the page shows."""

    runs: Sequence[Run]
    tables: Sequence[TaskTable]
    overviews: Sequence[Table] = ()
    claims: Table | None = None
    pictures: Sequence[tuple[Picture, Files]] = ()


@dataclass(frozen=True)
class Line:
    """A row of the page: state gives its look, setting the target of links."""

    cells: Sequence[str]
    state: str
    setting: str
    method: str
    why: str = ""


def heading(name: str) -> str:
    """Write in words what a table over tasks shows."""
    kind, _, budget = name.partition("_")
    return f"{OVER_TASKS.get(kind, kind)}: {budget_text(budget)}"


def origins(runs: Iterable[Run]) -> dict[tuple[str, str], list[str]]:
    """Return the origins of runs, by ("task", name) and ("method", name)."""
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    for source, record in runs:
        known["task", record.task].add(origin(source))
        known["method", record.method].add(origin(source))
    return {key: sorted(kinds) for key, kinds in known.items()}


def lines(shown: TaskTable, shelf: Shelf) -> list[Line]:
    """Return the rows of a table as lines of the page."""
    return [
        Line(row, state(one), shelf.setting(one, row[2], shown.table.name), one.method, why(one))
        for row, one in zip(shown.table.rows, shown.members, strict=True)
    ]


def state(one: Configuration) -> str:
    """Return done, partly, failed, skipped or missing."""
    ends = {record.status for record in one.records}
    if not ends:
        return "missing"
    if "done" in ends:
        return "done" if ends == {"done"} else "partly"
    return "failed" if "failed" in ends else "skipped"


def why(one: Configuration) -> str:
    """Return why runs gave no number."""
    if not one.records:
        return "not run"
    return "; ".join([*reasons(one), *[UNTRAINED] * (MARK in one.marks), *[NOT_ABOVE] * (FLOOR in one.marks)])


def summary(method: str, tables: Sequence[TaskTable], shown: Mapping[str, Sequence[Line]]) -> list[Line]:
    """Collect the rows of a method from all tables; columns are BESIDE."""
    collected = []
    for one in tables:
        columns = {name: i for i, name in enumerate(one.table.header)}
        for line in shown[one.table.name]:
            if line.method == method:
                score = [line.cells[3], one.table.header[3]] if one.scored else [ABSENT, ABSENT]
                cells = [one.table.name, line.cells[1], line.cells[2], *score]
                cells += [_cell(line, columns.get(column)) for column in SUMMARY]
                collected.append(replace(line, cells=cells))
    return collected


def _cell(line: Line, column: int | None) -> str:
    return line.cells[column] if column is not None and column < len(line.cells) else ABSENT


def over_tasks(
    table: Table, tables: Sequence[TaskTable], shown: Mapping[str, Sequence[Line]]
) -> tuple[Table, list[list[str]], list[str]]:
    """Return a table over tasks, the configurations behind its cells, and its origins."""
    budget = table.name.partition("_")[2]
    kinds = sorted({kind for one in tables if one.budget == budget for kind in one.origins})
    return table, across(table, tables, shown), kinds


def across(table: Table, tables: Sequence[TaskTable], shown: Mapping[str, Sequence[Line]]) -> list[list[str]]:
    """Return the configuration behind each cell; empty where not certain."""
    budget = table.name.partition("_")[2]
    lines = [(one.task, line) for one in tables if one.budget == budget for line in shown[one.table.name]]
    return [
        [
            ""
            if not number
            else _only(line.setting for task, line in lines if line.cells[2] == row[0] and _stands(task, line, column))
            for number, column in enumerate(_columns(table))
        ]
        for row in table.rows
    ]


def _columns(table: Table) -> list[str]:
    """Return for each column the column of scores that it belongs to."""
    return [name if name != "trained" else table.header[number - 1] for number, name in enumerate(table.header)]


def _stands(task: str, line: Line, column: str) -> bool:
    """Whether a row belongs to the column of a task, or of task and backbone."""
    named, *rest = column.split()
    return named == task and line.cells[1] != CONTROL and (len(rest) < 2 or rest[0] == line.cells[0])


def _only(names: Iterable[str]) -> str:
    settings = {setting for setting in names if setting}
    return settings.pop() if len(settings) == 1 else ""


def quotes(rows: Sequence[Quoted]) -> Table:
    """Lay out the numbers of others."""
    header = ["study", "task", "backbone", "method", "metric", "value", "unit", "trainable", "provenance", "where"]
    table = Table("quoted", header, legend="", names=5)
    for one in rows:
        value = one.status if one.value is None else f"{one.value:g}"
        trained = ABSENT if one.trainable_params is None else f"{one.trainable_params:,}"
        named = [one.study, one.task, one.backbone, one.method, one.metric, value, one.unit or ABSENT, trained]
        table.rows.append([*named, one.provenance, one.where])
    return table
