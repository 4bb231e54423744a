"""What is known of a method and a task without running anything: read as text, since importing them needs torch."""

from __future__ import annotations

import ast
import csv
import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.report import facts
from benchmark.report.again import CONFIGS, entry

ROOT = CONFIGS.parent
PAPER = re.compile(r" \(([^()]*\d{4}[^()]*)\)\.?$")  # the end of a description: who, when, where
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
LIBRARY = "benchmark.methods.hf_peft."  # its docstring speaks of every type


@dataclass(frozen=True)
class Method:
    """What a method is, from its configuration, its docstring and the table of capabilities."""

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
        """List the architectures on which the probe saw it run."""
        return [row["network"] for row in self.capability if row.get("status") == "runs"]


def method(name: str, capability: list[dict[str, str]]) -> Method:
    """Collect what is known of a method; of one that is not configured any more, its name."""
    content = entry("method", name)
    text = str(content.get("description", ""))
    paper = found[1] if (found := PAPER.search(text)) else ""
    arxiv = found[1] if (found := ARXIV.search(paper)) else ""
    shown = {key: value for key, value in content.items() if key not in ("_target_", "description", "sized_by")}
    return Method(
        name=name,
        what=PAPER.sub(".", text),
        paper=paper,
        arxiv=arxiv,
        category=categories().get(name, ""),
        formula=formulas().get(name, ""),
        remarks=remarks(str(content.get("_target_", ""))),
        settings=shown,
        capability=tuple(row for row in capability if row.get("method") == name),
    )


def methods() -> list[str]:
    """List the configured methods."""
    return sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))


@functools.cache
def formulas() -> dict[str, str]:
    """Read the formula of each method."""
    return facts.read(Path(__file__).with_name("formulas.yaml"))


@functools.cache
def categories() -> dict[str, str]:
    """Read each method's category off the page of methods, which is made with the classes at hand."""
    path, found, category = ROOT / "docs" / "methods.md", {}, ""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        category = line[3:] if line.startswith("## ") else category
        if row := re.match(r"\| `(\w+)` \| \w", line):
            found.setdefault(row[1], category.lower())
    return found


def remarks(target: str) -> tuple[str, ...]:
    """Give the paragraphs of a module's and its class's docstring; of a class for everything in the library, none."""
    module, _, name = target.rpartition(".")
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if not module.startswith("benchmark.methods.") or target.startswith(LIBRARY) or not path.is_file():
        return ()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    texts = [ast.get_docstring(node) or "" for node in (tree, *classes)]
    return tuple(" ".join(part.split()) for text in texts for part in text.split("\n\n") if part.strip())


def capabilities(results: Path) -> list[dict[str, str]]:
    """Read what the probe saw; nothing where there is no such table."""
    path = results / "capabilities.csv"
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def card(task: str) -> str:
    """Read the card of a task, without its title and the marks of the audit."""
    path = CONFIGS / "task" / f"{task}.md"
    if not re.fullmatch(r"\w+", task) or not path.is_file():
        return ""
    return re.sub(r"\A# .*\n|<!--.*?-->", "", path.read_text(encoding="utf-8"))
