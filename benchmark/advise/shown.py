"""How advice looks in a terminal: paragraphs, a table of methods, commands that can be pasted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.report.choice import COSTS, TRAINING, Candidate
from benchmark.report.costs import Cost
from benchmark.report.tables.scores import ABSENT, significant

WIDTH = 100
RUN = "python -m benchmark.run"
UNITS = {"peak_memory_bytes": (1e6, "MB"), "seconds_per_step": (1e-3, "ms"), TRAINING: (1.0, "s")}
SHORT = {"trainable_params": "size", "peak_memory_bytes": "memory", "seconds_per_step": "step"}


@dataclass(frozen=True)
class Row:
    """A line of the table: a candidate, its verdict against the best, and the costs for which nothing beats it."""

    candidate: Candidate
    against: str
    least: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """Words of a run to type; something about it may be told."""

    words: tuple[str, ...]
    about: str = ""
    module: str = RUN


Line = str | Row | Command


def show(lines: Iterable[Line]) -> None:
    """Print advice; rows that follow each other make a table, empty lines one gap."""
    whole = list(lines)
    told = [line for line, following in zip(whole, [*whole[1:], ""], strict=True) if line or following]
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    rows: list[Row] = []
    for line in [*told, None]:
        if isinstance(line, Row):
            rows.append(line)
            continue
        if rows:
            console.print(table(rows))
            rows = []
        if isinstance(line, Command):
            print(typed(line))
        elif line is not None:
            console.print(Text(clean(line)))


def table(rows: Sequence[Row]) -> Table:
    """Lay out methods with their scores and costs."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    metric = (rows[0].candidate.group.metric() or "score").replace("_", " ")  # so that a long one wraps
    most = max(abs(row.candidate.estimate.value) for row in rows)
    for column in ("method", metric, "95 %", "seeds", "", "trained", "memory", "step", "training", "least for"):
        drawn.add_column(column, justify="left" if column in ("method", "least for") else "right", overflow="fold")
    for row in rows:
        found = row.candidate.estimate
        interval = ABSENT if found.low is None else f"{score(found.low, most)} to {score(found.high, most)}"
        costs = [amount(row.candidate.costs.get(name), name) for name in (*COSTS, TRAINING)]
        cells = [
            row.candidate.name,
            score(found.value, most) + row.candidate.group.untrained,
            interval,
            str(found.seeds),
            row.against,
            *costs,
        ]
        drawn.add_row(*(Text(clean(cell)) for cell in (*cells, ", ".join(row.least))))
    return drawn


def score(value: float, largest: float | None = None) -> str:
    """Write a headline score, with as many decimals as the largest beside it has."""
    return f"{value:.2f}" if abs(largest or value) >= 10 else f"{value:.3f}"


def amount(cost: Cost | None, name: str) -> str:
    """Write a cost with its unit; a time that others lengthened is an upper bound."""
    if cost is None:
        return ABSENT
    if name not in UNITS:
        return f"{cost.value:,.0f}"
    unit, word = UNITS[name]
    return f"{'≤' * cost.shared}{significant(cost.value / unit)} {word}"


def typed(command: Command) -> str:
    """Write a command as one types it, in lines that a shell takes for one."""
    lines = [f"  {command.module}"]
    for word in (shlex.quote(clean(word)) for word in command.words):
        if len(lines[-1]) + len(word) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {word}"
    about = f"# {clean(command.about)}"
    if not command.about:
        return "\n".join(lines)
    if len(lines[-1]) + len(about) + 2 > WIDTH:
        return "\n".join([f"  {about}", *lines])
    return "\n".join(lines) + f"  {about}"


def clean(text: str) -> str:
    """Keep what a terminal shows: text of records must not steer it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
