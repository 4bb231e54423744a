"""Rebuild the table of runs, the tables and the figures from the records of a results folder."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from benchmark.report import across, claimed, domains, figures, frame, groups, markup, overview, tables, verdicts
from benchmark.report.evidence import Evidence
from benchmark.report.standings import standings

USAGE = """usage: python -m benchmark.report [results=DIR]

Reads the records in DIR/reference (shipped) and DIR/runs (your own), and rebuilds from them
  DIR/runs.csv      one row per run
  DIR/measurements.parquet
                    one row per measurement, curves included
  DIR/tables/       per task and budget: score with its interval, ties, differences, sizes and costs
                    (Markdown, LaTeX, CSV); methods_<budget>: every method on every task
  DIR/figures/      per task and budget: score against trainable parameters (PDF and PNG)
DIR is "results" unless given."""


def main(arguments: list[str]) -> int:
    """Return the exit status: 0, or 2 for a call that makes no sense."""
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    results = Path("results")
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key != "results" or not value:
            print(f"{argument}: the report takes results=DIR and nothing else", file=sys.stderr)
            return 2
        results = Path(value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        runs = frame.load(results)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if not runs:
        folders = " and ".join(str(results / source) for source in frame.SOURCES)
        print(f"no records in {folders}: make one with python -m benchmark.run method=lora task=nmt")
        return 0
    build(runs, results)
    return 0


def build(runs: list[frame.Run], results: Path) -> None:
    """Write everything that is derived from records."""
    for name in ("tables", "figures"):
        (results / name).mkdir(parents=True, exist_ok=True)
    frame.write(frame.tidy(runs), results / "runs.csv")
    frame.measurements(runs).to_parquet(results / "measurements.parquet", index=False)
    evidence = Evidence(results)
    drawn, made = 0, []
    grids = groups.grouped(runs)
    for (task, budget), members in grids.items():
        table = tables.table("_".join(filter(None, (task, budget))), members, standings(members, evidence))
        made.append(table)
        drawn += bool(figures.draw(table, members, results / "figures"))
    made += over_tasks(grids, evidence)
    if (results / claimed.FILE).exists():
        made.append(verdicts.table(claimed.load(results), verdicts.Judge(grids, evidence)))
    for table in made:
        for ending, write in markup.KINDS.items():
            (results / "tables" / f"{table.name}.{ending}").write_text(write(table), encoding="utf-8")
    print(
        f"{len(runs)} runs: {results / 'runs.csv'}, measurements.parquet, {len(made)} tables in {results / 'tables'}, ",
        end="",
    )
    print(f"{drawn} figures in {results / 'figures'}")


def over_tasks(grids: Mapping[tuple[str, str], list[groups.Group]], evidence: Evidence) -> list[tables.Table]:
    """Make the tables that hold all tasks of a budget."""
    made = []
    for budget in sorted({budget for _, budget in grids}):
        tasks = {task: members for (task, of), members in grids.items() if of == budget}
        boards = domains.boards(tasks, evidence)
        if table := overview.overview(budget, tasks):
            made.append(table)
        if len(boards) > 1:
            made += [
                across.ranking(budget, boards),
                across.certainty(budget, boards),
                across.composites(budget, boards),
            ]
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
