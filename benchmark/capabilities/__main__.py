"""Attach methods to tiny networks of every architecture.

python -m benchmark.capabilities [method=A] [plugins=DIR]
"""

from __future__ import annotations

import csv
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from benchmark.capabilities.networks import NETWORKS
from benchmark.capabilities.page import page
from benchmark.capabilities.probe import Capability, method_of, probe
from benchmark.command import end
from benchmark.config import registry
from benchmark.config.registry import ROOT
from benchmark.engine.progress import watching
from benchmark.errors import InputError, near

TABLE = ROOT / "results" / "capabilities.csv"
PAGE = ROOT / "docs" / "methods.md"


def main(arguments: Sequence[str]) -> int:
    """Write table and page; return 0, 1 if a method crashed, 2 if refused."""
    try:
        arguments = registry.use(arguments)
        table_file, page_file, known = outputs()
        chosen = parse_methods(arguments, known)
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # of libraries about each other
    logging.getLogger("transformers").setLevel(logging.ERROR)
    rows = {(row.method, row.network): row for row in read(table_file)}
    crashed = []
    pairs = [(name, network) for name in chosen for network in NETWORKS]
    with watching() as watch:
        for name, network in watch.track(pairs, "probe", len(pairs)):
            try:
                rows[name, network] = probe(name, method_of(name), network)
            except Exception as error:  # not a refusal but a bug: printed, and not part of the table
                crashed.append(f"{name} on {network}: {type(error).__name__}: {error}")
    table = [rows[m, n] for m in known for n in NETWORKS if (m, n) in rows]
    write(table_file, table)
    page_file.parent.mkdir(exist_ok=True)
    page_file.write_text(page(table, known))
    runs = sum(row.status == "runs" for row in table)
    print(f"{len(known)} methods, {len(table)} pairs: {runs} run, {len(table) - runs} are refused (see {PAGE.name})")
    for line in crashed:
        print(f"crashed: {line}", file=sys.stderr)
    return 1 if crashed else 0


def outputs() -> tuple[Path, Path, list[str]]:
    """Give table, page and methods of the project, or of a plug-in."""
    if not registry.plugins():
        return TABLE, PAGE, registry.names("method")
    folder = registry.plugins()[-1]
    names = sorted(file.stem for file in (folder / "configs" / "method").glob("*.yaml"))
    return folder / TABLE.name, folder / PAGE.name, names


def parse_methods(arguments: Sequence[str], known: Sequence[str]) -> list[str]:
    """Parse the methods to probe; all by default. Raises InputError."""
    if not arguments:
        return list(known)
    for argument in arguments:
        if not argument.startswith("method="):
            raise InputError(f"{argument}: method=NAME,NAME wanted, or nothing for all")
    chosen = [name for argument in arguments for name in argument.removeprefix("method=").split(",")]
    for name in chosen:
        if name not in known:
            raise InputError(f"method={name}: no such method{near(name, known)}")
    return chosen


def read(path: Path) -> Iterable[Capability]:
    """Read the table; empty where there is none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [Capability(**row) for row in csv.DictReader(file)]


def write(path: Path, rows: Sequence[Capability]) -> None:
    """Write the table, a row per method and network."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Capability)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
