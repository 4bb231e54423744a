"""Tables as Markdown, LaTeX and comma-separated values."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd

from benchmark.report.tables.scores import Table

TEX = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "–": "--",
    "†": r"\textdagger{}",
})  # fmt: skip


def markdown(table: Table) -> str:
    """Write the table as GitHub shows it."""
    rule = [":--"] * table.names + ["--:"] * (len(table.header) - table.names)
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
    header, *rows = [[_latex(cell) for cell in row] for row in (table.header, *table.rows)]
    aligned = "l" * table.names + "r" * (len(header) - table.names)
    tabular = pd.DataFrame(rows, columns=header).to_latex(index=False, escape=False, column_format=aligned)
    below = r" \\ ".join(_latex(text) for text in (table.legend, *table.marked()))
    needs = f"% {' '.join(table.name.split())}: needs \\usepackage{{booktabs}}\n"
    return f"{needs}{tabular}\\par\\smallskip{{\\footnotesize {below}\\par}}\n"


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(TEX)


def comma_separated(table: Table) -> str:
    """Write the cells for programs; notes follow as rows of one cell."""
    text = io.StringIO()
    rows = [table.header, *table.rows, *([note] for note in table.marked())]
    csv.writer(text, lineterminator="\n").writerows([" ".join(cell.split()) for cell in row] for row in rows)
    return text.getvalue()


KINDS = {"md": markdown, "tex": latex, "csv": comma_separated}  # by the ending of its file
