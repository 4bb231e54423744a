"""Audit a task's data: python -m benchmark.audit task=T [any.field=value]."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.audit.findings import Audit, audit
from benchmark.command import end
from benchmark.config import registry
from benchmark.config.build import convert
from benchmark.config.compose import task_of
from benchmark.config.registry import CONFIGS
from benchmark.config.with_hydra import SWEEP
from benchmark.errors import InputError

BEGIN, END = "<!-- audit: written by benchmark.audit -->", "<!-- end of the audit -->"


def usage() -> str:
    """Write the help page."""
    known = registry.descriptions("task")
    width = max(map(len, known))
    return "\n".join([
        "python -m benchmark.audit task=T [data=D] [any.field=value] [write=true]",
        "",
        "Sizes, class balance, exact and near-duplicates across splits, and groups that splits share.",
        "LEAK: two splits share a source or group; NEAR: sources are almost the same.",
        "Copying: the score of answering with the target of the most similar training example.",
        "write=true writes the audit to the end of the task's card, configs/task/T.md.",
        "",
        "task=",
        *(f"  {name:<{width}}  {text}" for name, text in known.items()),
    ])  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command; return 0 whatever is found, 2 for a refused call."""
    if {"--help", "-h"} & set(arguments):
        print(usage())
        return 0
    try:
        overrides, write = split_arguments(arguments)
        method = [] if any(word.startswith("method=") for word in overrides) else ["method=frozen"]  # to compose
        name, task = task_of([*overrides, *method])
        card = CONFIGS / "task" / f"{name}.md"
        if write and not card.is_file():
            raise InputError(f"write=true: task {name} has no card (configs/task/{card.name})")
        result = audit(task)
        command = f"python -m benchmark.audit {' '.join(map(without_folders, overrides))}"
        show(result, command)
        if write:
            card.write_text(insert(card.read_text(encoding="utf-8"), markdown(result, command)), encoding="utf-8")
            print(f"written to configs/task/{card.name}")
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing is written", file=sys.stderr)
        return 130
    return 0


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Separate the overrides from the options of this command.

    Raises InputError.
    """
    write = False
    overrides = []
    for word in arguments:
        key, _, value = word.partition("=")
        if word in SWEEP or (key == "task" and "," in value):
            raise InputError(f"{word}: one audit is of one task; run the command once per task")
        if key == "write":
            write = convert(value, bool, "write")
        else:
            overrides.append(word)
    return overrides, write


def without_folders(word: str) -> str:
    """Replace an absolute path in an override by its last part."""
    key, equals, value = word.partition("=")
    return f"{key}={Path(value).name}" if equals and Path(value).is_absolute() else word


def show(result: Audit, command: str) -> None:
    """Print an audit as tables on a terminal, as Markdown elsewhere."""
    console = Console()
    if not console.is_terminal:
        print(markdown(result, command))
        return
    for line in result.findings:
        style = {"LEAK": "bold red", "CLEAN": "bold green"}.get(line.partition(":")[0], "bold yellow")
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    for section in result.sections:
        table = Table(title=section.title, title_justify="left", title_style="bold", caption_justify="left")
        for i, column in enumerate(section.table[0]):
            table.add_column(column.replace("[", r"\["), justify="left" if i == 0 else "right", overflow="fold")
        for row in section.table[1:]:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        console.print(table)
        if section.note:
            console.print(section.note, markup=False, highlight=False)


def markdown(result: Audit, command: str) -> str:
    """Write an audit in Markdown, as in a task's card."""
    lines = [f"`{command}` (data {result.fingerprint})", "", *(f"- {plain(line)}" for line in result.findings)]
    for section in result.sections:
        header, *rows = section.table
        lines += ["", f"### {section.title}", "", f"| {' | '.join(header)} |"]
        lines += [f"|{' --- |' + ' ---: |' * (len(header) - 1)}"]
        lines += [f"| {' | '.join(map(plain, row))} |" for row in rows]
        lines += ["", section.note] if section.note else []
    return "\n".join(lines)


def plain(text: str) -> str:
    """Escape a text for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|")


def insert(card: str, text: str) -> str:
    """Insert an audit between the marks of a card, or at its end.

    Raises InputError.
    """
    if card.count(BEGIN) != card.count(END) or card.count(BEGIN) > 1:
        raise InputError(f"the card must have the marks {BEGIN} and {END} once each, or not at all")
    before, _, behind = card.partition(BEGIN)
    after = behind.partition(END)[2].strip()
    return f"{before.rstrip()}\n\n{BEGIN}\n\n{text}\n\n{END}\n" + (f"\n{after}\n" if after else "")


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
