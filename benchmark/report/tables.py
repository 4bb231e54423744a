"""A table per task and budget, in Markdown and LaTeX."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass, field

from benchmark.report.groups import Group

ABSENT = "–"
BESIDE = (("test", "perplexity"), ("pretraining", "retention"))  # what stands beside the headline score
LEGEND = (
    "Scores on the test splits: mean ± sample standard deviation over seeds, higher is better except for perplexity. "
    "Retention: loss on held-out pretraining data after adaptation minus before, 0 where nothing is forgotten. "
    "Costs: median over seeds; 1 MB is a million bytes. "
    f"{ABSENT}: not recorded."
)
TEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
}


@dataclass
class Table:
    """Cells as text; markup comes last."""

    name: str  # of its files
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    legend: str = LEGEND
    words: int = 3  # columns that hold names, the others hold numbers

    def note(self, text: str) -> str:
        """Return the mark of a note; the same words get the same mark."""
        words = " ".join(text.split())
        words = words if len(words) <= 200 else words[:199] + "…"
        if words not in self.notes:
            self.notes.append(words)
        return f"({mark(self.notes.index(words))})"

    def marked(self) -> list[str]:
        """List the notes as they stand below the table."""
        return [f"({mark(i)}) {text}" for i, text in enumerate(self.notes)]


def mark(index: int) -> str:
    """Count a, b, ... z, aa, ab, ..."""
    return (mark(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)


def table(name: str, groups: list[Group]) -> Table:
    """Lay out a row per group."""
    metrics = sorted({metric for group in groups if (metric := group.metric())})
    splits = sorted({m.split for g in groups for r in g.done for m in r.measurements if m.split.startswith("test")})
    others = [column for column in BESIDE if any(g.values(*column) for g in groups)]
    columns = [(split, None) for split in splits] + others
    headline = metrics[0] if len(metrics) == 1 else "score"
    named = [f"{split} {name or headline}".removeprefix("pretraining ") for split, name in columns]
    result = Table(name, ["backbone", "weights", "method", *named])
    result.header += ["seeds", "trainable %", "step (ms)", "memory (MB)", "checkpoint (MB)"]
    found = [[g.values(split, name or g.metric() or "") for g in groups] for split, name in columns]
    scores = [_aligned(column) for column in found]
    for row, group in enumerate(groups):
        cells = [column[row] for column in scores]
        result.rows.append([group.backbone, group.weights, label(group, result), *_outcome(group, cells, result)])
    return result


def _outcome(group: Group, scores: list[str], result: Table) -> list[str]:
    """Fill the cells after the name: numbers, or why there are none."""
    if not group.done and group.records:
        why = "".join(dict.fromkeys(result.note(f"{r.status}: {r.reason or 'no reason given'}") for r in group.records))
        states = " or ".join(sorted({r.status for r in group.records}))
        return [f"{states} {why}"] + [""] * (len(scores) + 4)
    seeds = str(len(group.done)) if group.records else ABSENT
    if lost := [r for r in group.records if r.status != "done"]:
        why = "".join(result.note(f"seed {r.seed} {r.status}: {r.reason or 'no reason given'}") for r in lost)
        seeds += f" of {len(group.records)} {why}"
    machines = sorted({str(r.environment.get("device_name")) for r in group.done})
    many = " " + result.note(f"costs from different machines: {', '.join(machines)}") if len(machines) > 1 else ""
    step, memory, size = (
        _cost(group.values("cost", name), unit)
        for name, unit in (("seconds_per_step", 1e3), ("peak_memory_bytes", 1e-6), ("checkpoint_bytes", 1e-6))
    )
    return [*scores, seeds, _share(group), step + many, memory, size]


def label(group: Group, result: Table) -> str:
    """Name a method, and what tells it from others of its table."""
    if not group.differences:
        return group.method
    told = ", ".join(group.differences)
    return f"{group.method} {result.note(told) if len(group.differences) > 2 else f'({told})'}"


def _aligned(column: list[list[float]]) -> list[str]:
    """Give every mean of a column the same number of decimals."""
    decimals = 2 if max((abs(value) for values in column for value in values), default=0) >= 10 else 4
    return [_spread(values, decimals) for values in column]


def _spread(values: list[float], decimals: int) -> str:
    if not values:
        return ABSENT
    shown = [statistics.fmean(values), *([statistics.stdev(values)] if len(values) > 1 else [])]
    return " ± ".join(f"{v:.{decimals}f}" if abs(v) < 1e6 else f"{v:.2e}" for v in shown)


def _share(group: Group) -> str:
    trained, total = group.values("cost", "trainable_params"), group.values("cost", "params")
    return significant(100 * statistics.median(trained) / statistics.median(total)) if trained and total else ABSENT


def _cost(values: list[float], unit: float) -> str:
    return significant(statistics.median(values) * unit) if values else ABSENT


def significant(value: float, digits: int = 3) -> str:
    """Round to significant digits, never to fewer than the whole number has."""
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(decimals, 0)}f}"


def markdown(table: Table) -> str:
    """Write the table as GitHub shows it."""
    rule = [":--"] * table.words + ["--:"] * (len(table.header) - table.words)
    lines = ["| " + " | ".join(_markdown(cell) for cell in row) + " |" for row in (table.header, *table.rows)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    notes = "".join(f"\n- {_markdown(note)}" for note in table.marked())
    return (
        f"# {_markdown(table.name)}\n\n" + "\n".join(lines) + f"\n\n{table.legend}\n" + (f"{notes}\n" if notes else "")
    )


def _markdown(text: str) -> str:
    # An underscore inside a word is only a letter to GitHub; escaped, it would spoil the names for reading as text.
    return re.sub(r"([\\|*<>`\[\]~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split()))


def latex(table: Table) -> str:
    """Write the table for a paper."""
    body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in (table.header, *table.rows)]
    below = r" \\ ".join(_latex(text) for text in (table.legend, *table.marked()))
    lines = [
        f"% {' '.join(table.name.split())}: needs \\usepackage{{booktabs}}",
        r"\begin{tabular}{" + "l" * table.words + "r" * (len(table.header) - table.words) + "}",
        r"\toprule",
        body[0],
        r"\midrule",
        *body[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize " + below + r"\par}",
    ]
    return "\n".join(lines) + "\n"


def _latex(text: str) -> str:
    return re.sub("[" + re.escape("".join(TEX)) + "]", lambda m: TEX[m[0]], " ".join(text.split()))
