"""Build the site of docs/: python scripts/pages.py [--pages]. Needs pip install -e ".[docs]" -c constraints.txt.

Writes a page for each method and task into docs/reference/, from configs/ and results/; then builds site/ and fails
on any warning, such as a broken link. --pages writes the pages only.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"  # not in git
FACTS = {"category": "Category", "paper": "Paper", "formula": "Formula", "sized_by": "Size knob"}
ORIGIN = "This page is made by `scripts/pages.py`."


def main(arguments: Sequence[str]) -> int:
    """Write the generated pages and build the site; return the builder's exit status, 2 for an unknown argument."""
    if unknown := [argument for argument in arguments if argument != "--pages"]:
        help_wanted = bool({"-h", "--help"} & set(unknown))
        print(__doc__ if help_wanted else f"refused: {unknown[0]}: --pages or nothing", file=sys.stderr)
        return 0 if help_wanted else 2
    write_pages()
    if arguments:
        return 0
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--clean",
        "--strict",
        "--config-file",
        str(ROOT / "mkdocs.yml"),
    ]
    return subprocess.run(command, check=False).returncode


def write_pages() -> None:
    """Write a page for each method and task, and the page of the shipped results."""
    shutil.rmtree(PAGES, ignore_errors=True)
    methods = {path.stem: path for path in sorted((ROOT / "configs/method").glob("*.yaml"))}
    tasks = {path.stem: path for path in sorted((ROOT / "configs/task").glob("*.yaml"))}
    with (ROOT / "results/capabilities.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    write_group(
        "methods", "Methods", {n: method_page(n, p, [r for r in rows if r["method"] == n]) for n, p in methods.items()}
    )
    write_group("tasks", "Tasks", {name: task_page(name, path) for name, path in tasks.items()})
    (PAGES / "results.md").write_text((ROOT / "results/README.md").read_text())


def write_group(folder: str, title: str, pages: Mapping[str, tuple[str, str]]) -> None:
    """Write the pages of a group, and an index with the description of each."""
    (PAGES / folder).mkdir(parents=True)
    lines = [f"# {title}", "", ORIGIN, "", "| name | what it is |", "| :-- | :-- |"]
    for name, (description, text) in pages.items():
        (PAGES / folder / f"{name}.md").write_text(text)
        lines.append(f"| [`{name}`]({name}.md) | {description} |")
    (PAGES / folder / "index.md").write_text("\n".join(lines) + "\n")


def method_page(name: str, path: Path, rows: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """Return the description and the page of a method: its facts, its ranges and where it runs."""
    node = read(path)
    search: Mapping[str, Any] = node.get("search") or {}
    facts = [(title, node[key]) for key, title in FACTS.items() if node.get(key)]
    facts += [("Default learning rate", f"{float(node['lr']):g}")]
    facts += [(f"Range of `{knob}`", in_words(space)) for knob, space in search.items()]
    lines = [f"# {name}", "", node["description"], "", "| | value |", "| :-- | :-- |"]
    lines += [f"| {title} | {in_cell(value)} |" for title, value in facts]
    lines += ["", *command(f"python -m benchmark.run method={name} task=nmt")]
    lines += ["## Where it runs", "", "| architecture | status | merges | reason |", "| :-- | :-- | :-- | :-- |"]
    lines += [f"| {r['network']} | {r['status']} | {r['merges']} | {in_cell(r['reason'])} |" for r in rows]
    return node["description"], "\n".join([*lines, "", *configuration(path)])


def task_page(name: str, path: Path) -> tuple[str, str]:
    """Return the description and the page of a task: its card and its configuration."""
    description = read(path)["task"]["description"]
    card = path.with_suffix(".md").read_text().rstrip()
    lines = [card, "", "## Run it", "", *command(f"python -m benchmark.run method=lora task={name}")]
    return description, "\n".join([*lines, *configuration(path)])


def read(path: Path) -> dict[str, Any]:
    """Read a file of configs/, interpolations as they stand."""
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return content


def command(line: str) -> list[str]:
    """Show a command."""
    return ["```bash", line, "```", ""]


def configuration(path: Path) -> list[str]:
    """Show a file of configs/."""
    return [
        "## Configuration",
        "",
        f"`{path.relative_to(ROOT)}`:",
        "",
        "```yaml",
        path.read_text().rstrip(),
        "```",
        "",
        ORIGIN,
        "",
    ]


def in_words(space: Any) -> str:
    """Name what tuning may draw."""
    if isinstance(space, Mapping):
        return f"{float(space['low']):g} to {float(space['high']):g}"
    return ", ".join(map(str, space))


def in_cell(value: Any) -> str:
    """Put a value into a cell of a table."""
    return str(value).replace("|", r"\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
