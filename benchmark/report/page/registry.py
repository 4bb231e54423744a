"""Facts of methods and tasks, read as text, since imports need torch."""

from __future__ import annotations

import ast
import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.config.registry import ROOT, entry, names, path, plugins
from benchmark.identity import FACTS

NOT_SHOWN = {"_target_", "description", "sized_by", "facts", *FACTS}
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
LIBRARY = "benchmark.methods.hf_peft."  # its docstring speaks of every type


@dataclass(frozen=True)
class Method:
    """A method: its configuration, docstring and capabilities."""

    name: str
    what: str = ""
    paper: str = ""
    arxiv: str = ""
    category: str = ""
    formula: str = ""
    remarks: tuple[str, ...] = ()  # paragraphs of the docstrings: how it is built here
    settings: dict[str, Any] = field(default_factory=dict)
    capability: tuple[dict[str, str], ...] = ()

    def runs_on(self) -> list[str]:
        """List the architectures on which it runs."""
        return [row["network"] for row in self.capability if row.get("status") == "runs"]


def method(name: str, capability: list[dict[str, str]]) -> Method:
    """Collect the facts of a method; of a removed one only its name."""
    content = entry("method", name)
    paper = str(content.get("paper", ""))
    arxiv = match[1] if (match := ARXIV.search(paper)) else ""
    shown = {key: value for key, value in content.items() if key not in NOT_SHOWN}
    return Method(
        name=name,
        what=str(content.get("description", "")),
        paper=paper,
        arxiv=arxiv,
        category=str(content.get("category", "")),
        formula=str(content.get("formula", "")),
        remarks=remarks(str(content.get("_target_", ""))),
        settings=shown,
        capability=tuple(row for row in capability if row.get("method") == name),
    )


def methods() -> list[str]:
    """List the configured methods."""
    return names("method")


def remarks(target: str) -> tuple[str, ...]:
    """Return the paragraphs of the docstrings of a module and its class.

    None for the class of all PEFT types, whose docstring is about no single one.
    """
    module, _, name = target.rpartition(".")
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if not module.startswith("benchmark.methods.") or target.startswith(LIBRARY) or not path.is_file():
        return ()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    texts = [ast.get_docstring(node) or "" for node in (tree, *classes)]
    return tuple(" ".join(part.split()) for text in texts for part in text.split("\n\n") if part.strip())


def capabilities(results: Path) -> list[dict[str, str]]:
    """Read the tables of capabilities, if there are any."""
    tables = [results / "capabilities.csv", *(folder / "capabilities.csv" for folder in plugins())]
    return [row for table in tables if table.is_file() for row in csv.DictReader(table.read_text("utf-8").splitlines())]


def card(task: str) -> str:
    """Read the card of a task, without its title and the marks of the audit."""
    file = path("task", task, ".md")
    return re.sub(r"\A# .*\n|<!--.*?-->", "", file.read_text(encoding="utf-8")) if file else ""
