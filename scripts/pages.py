"""Build the site of docs/: python scripts/pages.py [--pages].

Needs pip install -e ".[docs]" -c constraints.txt.

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

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.config import registry  # noqa: E402

PAGES = ROOT / "docs" / "reference"  # not in git
FACTS = {"category": "Category", "paper": "Paper", "formula": "Formula", "sized_by": "Size knob"}
EXAMPLES = {  # an architecture of results/capabilities.csv, and a task whose shipped network is one
    "mbart": "nmt",
    "llama": "text_generation",
    "vision_transformer": "medical_images",
    "resnet": "medical_images backbone=cnn_textures",
    "esm": "protein",
    "wav2vec2": "speech",
}
ORIGIN = "This page is made by `scripts/pages.py`."


def main(arguments: Sequence[str]) -> int:
    """Write the generated pages and build the site.

    Returns the builder's exit status, 2 for an unknown argument.
    """
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
    with (ROOT / "results/capabilities.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = {name: [row for row in rows if row["method"] == name] for name in registry.names("method")}
    write_group("method", {name: method_page(name, runs[name]) for name in runs})
    write_group("task", {name: task_page(name) for name in registry.names("task")})
    (PAGES / "results.md").write_text((ROOT / "results/README.md").read_text())


def write_group(group: str, pages: Mapping[str, str]) -> None:
    """Write the pages of a group, and an index with the description of each."""
    folder = PAGES / f"{group}s"
    folder.mkdir(parents=True)
    descriptions = registry.descriptions(group)
    lines = [f"# {group.capitalize()}s", "", ORIGIN, "", "| name | what it is |", "| :-- | :-- |"]
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text)
        lines.append(f"| [`{name}`]({name}.md) | {descriptions[name]} |")
    (folder / "index.md").write_text("\n".join(lines) + "\n")


def method_page(name: str, rows: Sequence[Mapping[str, str]]) -> str:
    """Make the page of a method: facts, ranges, architectures."""
    node = registry.node("method", name)
    search: Mapping[str, Any] = node.get("search") or {}
    facts = [(title, node[key]) for key, title in FACTS.items() if node.get(key)]
    facts += [("Default learning rate", f"{float(node['lr']):g}")]
    facts += [(f"Range of `{knob}`", in_words(space)) for knob, space in search.items()]
    lines = [f"# {name}", "", node["description"], "", "| | value |", "| :-- | :-- |"]
    lines += [f"| {title} | {in_cell(value)} |" for title, value in facts]
    running = {row["network"] for row in rows if row["status"] == "runs"}
    tasks = [task for network, task in EXAMPLES.items() if network in running]
    lines += ["", *(command(f"python -m benchmark.run method={name} task={tasks[0]}") if tasks else [])]
    lines += ["## Where it runs", "", "| architecture | status | merges | reason |", "| :-- | :-- | :-- | :-- |"]
    lines += [f"| {r['network']} | {r['status']} | {r['merges']} | {in_cell(r['reason'])} |" for r in rows]
    return "\n".join([*lines, "", *configuration("method", name)])


def task_page(name: str) -> str:
    """Make the page of a task: its card and its configuration."""
    lines = [(registry.CONFIGS / "task" / f"{name}.md").read_text().rstrip(), ""]
    if "???" not in str(registry.node("data", registry.defaults(name)["data"])):  # else the card says how to name files
        lines += ["## Run it", "", *command(f"python -m benchmark.run method=lora task={name}")]
    return "\n".join([*lines, *configuration("task", name)])


def command(line: str) -> list[str]:
    """Show a command."""
    return ["```bash", line, "```", ""]


def configuration(group: str, name: str) -> list[str]:
    """Show the file of a name."""
    path = registry.CONFIGS / group / f"{name}.yaml"
    block = ["```yaml", path.read_text().rstrip(), "```"]
    return ["## Configuration", "", f"`{path.relative_to(ROOT)}`:", "", *block, "", ORIGIN, ""]


def in_words(space: Any) -> str:
    """Describe a range or list of values for tuning."""
    if isinstance(space, Mapping):
        return f"{float(space['low']):g} to {float(space['high']):g}"
    return ", ".join(map(str, space))


def in_cell(value: Any) -> str:
    """Format a value for a cell of a table."""
    return str(value).replace("|", r"\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
